"""Every official client on every backend, through one sidecar, and the table that tells of it.

`make matrix` writes the table of `docs/dialects.md` from the run; without it the run is compared
with the table.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.e2e.harness import NEVER_EJECTED, Config, Sidecar
from tests.e2e.matrix import table
from tests.e2e.matrix.clients import CLIENTS, VENDORS
from tests.e2e.matrix.outcomes import (
    CELLS,
    THINKING,
    Cell,
    Refused,
    Works,
    expected,
    idle_rules,
)
from tests.e2e.matrix.scenarios import SCENARIOS, Stage, thought_again
from tests.e2e.matrix.talk import Client, Failed, Why
from tests.fakes.strict.backend import KEY, StrictBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEN: dict[tuple[Cell, bool], str] = {}  # how each cell of this run went
CLIENT_KEY = "key-of-the-client"  # no backend may see it


@dataclass(frozen=True)
class World:
    """A sidecar in front of a strict backend of each dialect, and every client before it."""

    clients: Mapping[str, Client]
    backends: Mapping[str, StrictBackend]


def configuration(fakes: Mapping[str, StrictBackend]) -> Config:
    """Model `<backend>/<scenario>` goes to that backend as it stands; nothing is tried twice."""
    key = {"env": "STRICT_KEY"}
    auth: Mapping[str, Config] = {
        "openai": {"auth": {"bearer": key}},
        "openai-responses": {"auth": {"bearer": key}},
        "anthropic": {"auth": {"header": {"name": "x-api-key", "value": key}}},
        "ollama": {},
    }
    return {
        "backends": {
            name: {"dialect": name, "base_url": fake.base_url, **auth[name], **NEVER_EJECTED}
            for name, fake in fakes.items()
        },
        "routes": {
            name: {
                "models": [f"{name}/*"],
                "targets": [{"backend": name}],
                "retry": {"attempts": 0},
            }
            for name in fakes
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        backends = {
            name: await stack.enter_async_context(StrictBackend(vendor))
            for name, vendor in VENDORS.items()
        }
        folder, env = tmp_path_factory.mktemp("matrix"), {"STRICT_KEY": KEY}
        sidecar = Sidecar(folder, configuration(backends), env=env)
        await stack.enter_async_context(sidecar)
        clients = {name: make(sidecar.base_url, CLIENT_KEY) for name, make in CLIENTS.items()}
        for client in clients.values():
            stack.push_async_callback(client.close)
        yield World(clients, backends)


@pytest.mark.parametrize(
    ("cell", "stream"),
    [pytest.param(cell, stream, id=cell.id(stream)) for cell in CELLS for stream in cell.modes],
)
async def test_cell(world: World, cell: Cell, stream: bool) -> None:
    client, backend = world.clients[cell.client], world.backends[cell.backend]
    stage = Stage(client, backend, stream, prefix=f"{cell.backend}/")
    before = len(backend.requests)
    client.losses.take()
    outcome = expected(cell)
    if isinstance(outcome, Works):
        await SCENARIOS[cell.feature](stage)
        losses = client.losses.take()
        assert losses == outcome.losses
        if cell.feature in THINKING:
            assert thought_again(stage) is ("thinking" not in losses)
    else:
        with pytest.raises(Failed) as caught:
            await SCENARIOS[cell.feature](stage)
        failed, losses = caught.value, frozenset[str]()
        if isinstance(outcome, Refused):
            assert failed.why is Why.REFUSED, failed
            assert outcome.words in str(failed.cause)
            assert len(backend.requests) == before, "the backend was asked all the same"
        else:
            assert failed.why is Why.UNASKED, failed
    for seen in backend.requests[before:]:
        assert CLIENT_KEY not in repr(seen.headers)
    SEEN[cell, stream] = table.went(cell, losses)


async def test_no_rule_is_idle() -> None:
    assert list(idle_rules()) == []


async def test_the_table_on_the_page() -> None:
    """The rows of the cells that this run has seen stand on the page, and no others do."""
    if os.environ.get("WRITE_MATRIX"):
        assert len(SEEN) == sum(len(cell.modes) for cell in CELLS), "not every cell has passed"
        table.write(SEEN)
    told = table.committed()
    assert told.startswith(table.HEAD)
    assert told.count("\n") == table.HEAD.count("\n") + len(CELLS)
    for row in table.rows(SEEN):
        assert row in told, "run `make matrix` and look at the difference"
