"""A short run of each; `make tunnel` plays the long ones."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.e2e.tunnel.harness import through_the_name
from tests.tunnel_load import play, restarts

SECRET = "c2VjcmV0LW9mLXRoZS1zZWFyY2g="


@through_the_name
@pytest.mark.timeout(300)
async def test_a_short_load(tmp_path: Path) -> None:
    play.check(await play.Load(tmp_path, rate=30, streams=12, calm=0.5).run())


@through_the_name
@pytest.mark.timeout(300)
async def test_some_restarts_leave_nothing(tmp_path: Path) -> None:
    restarts.check(await restarts.Restarts(tmp_path, times=16, every=8).run())


@pytest.mark.parametrize("where", ["argument", "environment"])
async def test_the_search_finds_a_secret(tmp_path: Path, where: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "print(flush=True); input()"),
        *((SECRET,) if where == "argument" else ()),
        env={"TOKEN": SECRET} if where == "environment" else {},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    await process.stdout.readline()  # from now on it is what it was told to be
    kind = {"argument": "cmdline", "environment": "environ"}[where]
    assert processes.told_by_processes([SECRET]) == [f"/proc/{process.pid}/{kind}"]
    await process.communicate(b"\n")
    assert processes.state_of(process.pid) is None
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_text(f"token={SECRET}\n")
    files = processes.files_below(tmp_path)
    assert processes.holding(files, [SECRET]) == [str(tmp_path / "deep" / "file")]
