"""Faults that need the whole program: it is killed, runs twice, writes to nobody, ends."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.harness import until
from tests.e2e.tunnel.harness import Ground, commands, ground
from tests.e2e.tunnel.program import Program
from tests.fakes.backend import Backend
from tests.fakes.cloudflared.links import Refuse

CARRIES = ("up", "healthy", "degraded")


def url(origin: Backend) -> str:
    return f"http://127.0.0.1:{origin.port}"


async def gone(pid: int) -> None:
    async def is_gone() -> bool:
        return str(pid) not in os.listdir("/proc")

    await until(is_gone, f"process {pid} has ended")


async def gone_all(place: Ground) -> None:
    async def is_gone() -> bool:
        return not place.inside.standin.alive()

    await until(is_gone, "no child runs")


async def get(place: Ground) -> int:
    async with place.visitor() as http:
        try:
            async with http.get("/v1/models") as answer:
                await answer.read()
                return answer.status
        except aiohttp.ClientError:
            return 0


async def test_35_a_supervisor_that_is_killed_takes_its_child_along(tmp_path: Path) -> None:
    async with ground(tmp_path) as place, Backend() as origin:
        async with Program(tmp_path / "one", place, url(origin)) as first:
            child = (await first.until_state(*CARRIES))["child"]["pid"]
            first.signal(signal.SIGKILL)
            assert await first.end() == -9
            await gone(child)
        async with Program(tmp_path / "two", place, url(origin)) as second:
            assert (await second.until_state(*CARRIES))["child"]["pid"] != child
            assert (await second.status())["others"] == []
            second.signal(signal.SIGTERM)
            assert await second.end() == 0


@commands
async def test_35_a_killed_supervisor_whose_child_is_stopped(tmp_path: Path) -> None:
    async with (
        ground(tmp_path) as place,
        Backend() as origin,
        Program(tmp_path / "one", place, url(origin)) as first,
    ):
        child = (await first.until_state(*CARRIES))["child"]["pid"]
        os.kill(child, signal.SIGSTOP)
        first.signal(signal.SIGKILL)
        await first.end()
        await gone(child)


@commands
async def test_39_two_supervisors_at_once_both_carry_and_say_so(tmp_path: Path) -> None:
    async with (
        ground(tmp_path) as place,
        Backend() as origin,
        Program(tmp_path / "one", place, url(origin)) as first,
        Program(tmp_path / "two", place, url(origin)) as second,
    ):
        await first.until_state(*CARRIES)
        await second.until_state(*CARRIES)
        await place.inside.edge.until_registered(8)
        assert len(place.inside.edge.connectors) == 2
        assert {await get(place) for _ in range(8)} == {200}

        async def is_told() -> bool:
            return "same tunnel" in first.output + second.output

        await until(is_told, "one of them tells of the other")
        second.signal(signal.SIGTERM)
        assert await second.end() == 0
        assert {await get(place) for _ in range(4)} == {200}


@commands
async def test_26_fifty_thousand_lines_a_second_stop_nothing(tmp_path: Path) -> None:
    async with (
        ground(tmp_path) as place,
        Backend() as origin,
        Program(tmp_path / "one", place, url(origin)) as program,
    ):
        child = (await program.until_state(*CARRIES))["child"]["pid"]
        place.inside.standin.behave(log={"flood": 50_000, "seconds": 2})

        async def is_flooded() -> bool:
            return await program.metric("log_dropped_total") > 0

        await until(is_flooded, "lines are left out")
        assert {await get(place) for _ in range(8)} == {200}
        assert (await program.status())["child"]["pid"] == child
        assert len(program.output) < 5_000_000


@commands
async def test_28_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    async with (
        ground(tmp_path) as place,
        Backend() as origin,
        Program(tmp_path / "one", place, url(origin), reads=False) as program,
    ):
        await program.until_state(*CARRIES)
        place.inside.standin.behave(log={"flood": 20_000, "seconds": 2})
        await asyncio.sleep(1)  # the pipe is full by then: there is no event to wait for
        assert {await get(place) for _ in range(8)} == {200}
        assert (await program.status())["state"] in CARRIES
        program.signal(signal.SIGTERM)
        await gone_all(place)


@pytest.mark.parametrize(
    ("state", "orders", "door"),
    [
        ("starting", {"dns_takes": 1}, "open"),
        ("connecting", {}, "silent"),
        ("backoff", {}, Refuse("no")),
        ("parked", {"exit": {"code": 255}}, "open"),
        ("healthy", {}, "open"),
    ],
)
@commands
async def test_34_sigterm_to_the_program(
    tmp_path: Path, state: str, orders: dict[str, Any], door: Any
) -> None:
    async with ground(tmp_path) as place, Backend() as origin:
        place.inside.standin.behave(**orders)
        place.inside.edge.door = door
        async with Program(tmp_path / "one", place, url(origin)) as program:
            await program.until_state(state)
            program.signal(signal.SIGTERM)
            program.signal(signal.SIGTERM)
            assert await program.end() == 0
            assert place.inside.standin.alive() == []
