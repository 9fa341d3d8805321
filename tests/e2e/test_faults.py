"""Every fault of a single request before the clients of all four dialects: docs/faults.md.

The units of a client are played together, when its first test needs them; each test judges one.
Rows that need more than one request, or a moment in the middle of one, are in
test_fault_moments.py; row 15 is in test_ejection.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import pytest_asyncio

from tests.e2e.crossing import DIALECTS
from tests.e2e.faults.cells import Unit, units
from tests.e2e.faults.held import HELD
from tests.e2e.faults.judge import judge
from tests.e2e.faults.stage import Played, play
from tests.e2e.faults.table import TABLE

pytestmark = pytest.mark.timeout(400)  # the first test of a client plays all of its units

UNITS = [unit for client in DIALECTS for unit in units(TABLE, client)]
Stages = dict[str, Mapping[str, Played] | Exception]


@pytest.fixture(scope="module")
def stages() -> Stages:
    """What has been played, by client."""
    return {}


@pytest_asyncio.fixture
async def went(unit: Unit, stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """How a unit went. A client's units are played together, once."""
    if unit.client not in stages:
        try:
            mates = list(units(TABLE, unit.client))
            stages[unit.client] = await play(tmp_path_factory.mktemp(unit.client), mates)
        except Exception as error:  # noqa: BLE001  # every test of the client tells of it
            stages[unit.client] = error
    played = stages[unit.client]
    if isinstance(played, Exception):
        raise played
    return played[unit.id]


@pytest.mark.parametrize("unit", [pytest.param(unit, id=unit.id) for unit in UNITS])
async def test_fault(went: Played, unit: Unit) -> None:
    """What the client got, what the backends saw and when, and what the metrics tell of it."""
    judge(went)
    HELD.add(unit.shown)
