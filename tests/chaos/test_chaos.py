"""A short chaos run; `make chaos` plays a longer one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.play import Chaos, check


@pytest.mark.timeout(300)
async def test_a_short_chaos(tmp_path: Path) -> None:
    result = await Chaos(tmp_path, clients=40, seconds=10, seed=4).run()
    check(result)
    assert result.reloads > 0
