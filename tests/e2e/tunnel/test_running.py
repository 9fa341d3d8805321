"""Faults while cloudflared runs, seen from outside: what is told, restarted, or left alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import chat
from tests.e2e.tunnel.harness import IS_REAL, commands, through_the_name
from tests.e2e.tunnel.house import MARGIN, READY_LIMIT, House
from tests.fakes import behaviours as b
from tests.fakes.backend import refusing_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 8  # until one that hangs is noticed: three questions, two seconds each
LAST_WORDS = 5


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with refusing_port() as port:
        yield port


async def says_ready(port: int) -> bool:
    """What a child itself says of its connections."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = await reader.readline()
        writer.close()
        return b" 200 " in head
    return False


# --- 12 to 15: connections that end ---------------------------------------------------------------


@commands
async def test_one_connection_that_drops_restarts_nothing(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        await tunnel.edge.until_registered(4)
        seen = await tunnel.until(lambda seen: seen["connections"]["ready"] == 4, "all four")
        for index in (1, 0):
            assert tunnel.edge.drop(index=index) == 1
            assert await tunnel.ask() == 200
            await tunnel.edge.until_registered(4)
        after = await tunnel.until_healthy()
        assert after["child"]["pid"] == seen["child"]["pid"]
        assert (after["restarts"], len(tunnel.standin.starts)) == (0, 1)


@commands
async def test_all_connections_that_drop_come_back_by_themselves(
    house: House, tmp_path: Path
) -> None:
    async with house.tunnel(tmp_path, {"scale": 0.4 / house.haste}) as tunnel:
        seen = await tunnel.until_healthy()
        await tunnel.edge.until_registered(4)
        tunnel.edge.door = "close"  # or they may be back before anybody has looked
        tunnel.edge.drop_all()
        assert await tunnel.ask() == 530
        await tunnel.until_told("does not carry: no connection with the edge", "warning")
        tunnel.edge.door = "open"
        assert await tunnel.until_answered(READY_LIMIT) < READY_LIMIT * MARGIN
        after = await tunnel.until_healthy()
        assert after["child"]["pid"] == seen["child"]["pid"]
        assert await tunnel.value("restarts_total") == 0
        assert await tunnel.value("recovery_seconds_count") == 1


@commands
@pytest.mark.parametrize("down", [5, 60])
async def test_an_edge_that_was_down_carries_again_at_once(
    house: House, tmp_path: Path, down: float
) -> None:
    """Its own retries bring the first child back; after 27 s without an edge another one waits."""
    async with house.tunnel(tmp_path, {"scale": 0.1 / house.haste}, protocol="http2") as tunnel:
        await tunnel.until_healthy()
        await tunnel.edge.stop()
        await tunnel.until_state("suspect")
        assert await tunnel.ask() in (502, 530)
        assert await tunnel.value("up") == 0
        if down > 27:
            await tunnel.leap(24)
            await tunnel.until(lambda _: len(tunnel.standin.starts) == 2, "another child")
            await tunnel.leap(30)
        else:
            await tunnel.pass_by(down)
        await tunnel.edge.start()
        assert await tunnel.until_answered(READY_LIMIT) < READY_LIMIT * MARGIN
        await tunnel.until_healthy()
        assert len(tunnel.standin.starts) == (2 if down > 27 else 1)
        assert await tunnel.value("crash_loop") == 0


@commands
async def test_connections_that_flap_cause_no_storm(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path, {"scale": 0.1 / house.haste}) as tunnel:
        await tunnel.until_healthy()
        for _ in range(8):
            await tunnel.pass_by(3)
            tunnel.edge.drop_all()
            await tunnel.edge.until_registered(1)
        await tunnel.until_healthy()
        assert len(tunnel.standin.starts) == 1
        assert await tunnel.value("restarts_total") == 0
        assert await tunnel.ask() == 200


# --- 16 to 18: what `/ready` does not tell --------------------------------------------------------


@commands
async def test_a_frozen_edge_is_seen_by_the_probe_alone(house: House, tmp_path: Path) -> None:
    """Another child cannot help there; the first one is not touched for it."""
    async with house.tunnel(tmp_path, protocol="http2") as tunnel:
        first = await tunnel.until_healthy()
        port = tunnel.standin.ports[0]
        tunnel.edge.freeze()
        seen = await tunnel.until(lambda seen: seen["replacing"] is not None, "a second", 70)
        assert seen["state"] == "suspect"
        assert await says_ready(port)
        assert "4 probes in a row failed" in seen["why"]
        assert seen["probe"]["found"] == "tunnel"
        assert seen["child"]["pid"] == first["child"]["pid"]
        assert await tunnel.value("up") == await tunnel.value("probe_success") == 0
        tunnel.edge.thaw()
        await tunnel.until_healthy(seconds=20)
        assert await tunnel.ask() == 200


@commands
async def test_without_a_network_a_restart_is_not_tried(
    house: House, tmp_path: Path, nobody: int
) -> None:
    """Packets vanish, here and on the way to the control target; `/ready` says that all is well."""
    orders, gone = {"scale": 0.1 / house.haste}, [f"http://127.0.0.1:{nobody}/"]
    async with house.tunnel(tmp_path, orders, probe={"control": gone}) as tunnel:
        first = await tunnel.until_healthy()
        await tunnel.edge.blackhole()
        await tunnel.until(lambda seen: seen["probe"]["found"] == "network", "a failed probe", 20)
        await tunnel.leap(60)
        await tunnel.until_told(r"a probe did not come through \(network\)", "warning")
        assert await says_ready(tunnel.standin.ports[0])
        assert await tunnel.value("probe_success") == 0
        await tunnel.edge.heal()
        assert await tunnel.until_answered(READY_LIMIT) < READY_LIMIT * MARGIN
        after = await tunnel.until_healthy()
        assert after["child"]["pid"] == first["child"]["pid"]
        assert await tunnel.value("restarts_total") == 0


@commands
async def test_packets_that_vanish_are_noticed_long_before_cloudflared_does(
    house: House, tmp_path: Path
) -> None:
    async with house.tunnel(tmp_path, protocol="http2") as tunnel:
        await tunnel.until_healthy()
        await tunnel.edge.blackhole()
        seen = await tunnel.until(lambda seen: seen["replacing"] is not None, "a second", 70)
        assert seen["state"] == "suspect"
        assert seen["seconds"] < 147
        await tunnel.edge.heal()
        assert await tunnel.until_answered(READY_LIMIT) < READY_LIMIT * MARGIN
        await tunnel.until_healthy(seconds=20)


@commands
async def test_one_wedged_connection_of_four_is_told(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        first = await tunnel.until_healthy()
        await tunnel.edge.until_registered(4)
        assert tunnel.edge.wedge(index=2) == 1
        seen = await tunnel.until_state("degraded", seconds=120)
        assert seen["why"] == "part of the probes fails"
        assert await says_ready(tunnel.standin.ports[0])
        before = len(tunnel.edge.carried)
        got = [await tunnel.ask() for _ in range(4)]
        by = [one.index for one in tunnel.edge.carried[before:] if one.method == "POST"]
        assert [status == 200 for status in got] == [index != 2 for index in by], (
            "probes come between"
        )
        after = await tunnel.status()
        assert after["child"]["pid"] == first["child"]["pid"]
        assert await tunnel.value("up") == 1
        assert await tunnel.value("restarts_total") == 0


# --- 19 to 21: its process ------------------------------------------------------------------------


@through_the_name
@pytest.mark.parametrize(
    ("number", "codes"),
    [
        (signal.SIGKILL, ("-9",)),
        (signal.SIGTERM, ("0",)),
        (signal.SIGQUIT, ("2",)),
        (signal.SIGABRT, ("-6", "2")),
        (signal.SIGHUP, ("-1",)),
    ],
)
async def test_a_child_that_somebody_ends_is_back_within_the_first_pause(
    house: House, tmp_path: Path, number: signal.Signals, codes: tuple[str, ...]
) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        os.kill(first, number)
        after = await tunnel.until_healthy(but=first, seconds=5)
        assert after["restarts"] == 1
        assert await tunnel.ask() == 200
        ends = [await tunnel.value("exits_total", code=one, expected="false") for one in codes]
        assert sum(ends) == await tunnel.value("restarts_total", reason="exit") == 1
        await tunnel.until_told("carries", count=2)
        (pause,) = tunnel.pauses()
        assert 0 < pause <= 1
        assert await tunnel.value("recovery_seconds_count") == 1


@through_the_name
async def test_a_child_that_is_stopped_is_replaced(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        os.kill(first, signal.SIGSTOP)
        await tunnel.until_told("it does not answer on its metrics port")
        await tunnel.until_healthy(but=first, seconds=SECONDS + LAST_WORDS + 2)
        assert await tunnel.value("exits_total", code="-9", expected="true") == 1
        assert await tunnel.ask() == 200


@commands
@pytest.mark.parametrize("code", [0, 1, 2, 11, -13, -6])
async def test_a_child_that_ends_by_itself_is_started_again(
    house: House, tmp_path: Path, code: int
) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        tunnel.standin.script({"exit": {"code": code, "once_up": True, "after": 0.2}})
        await tunnel.until(lambda _: len(tunnel.standin.starts) == 2, "another one")
        await tunnel.until_healthy(seconds=5)
        assert await tunnel.value("exits_total", code=str(code), expected="false") == 1
        assert await tunnel.value("restarts_total", reason="exit") == 1
        await tunnel.until_told("carries")
        assert [pause <= 1 for pause in tunnel.pauses()] == ([] if code == 11 else [True])
        assert await tunnel.ask() == 200


@commands
@pytest.mark.parametrize(("lived", "longest"), [(61, 1), (2, 8)])
async def test_only_a_stable_run_makes_the_pauses_short_again(
    house: House, tmp_path: Path, lived: float, longest: float
) -> None:
    dies = {"exit": {"code": 1}}
    async with house.tunnel(tmp_path) as tunnel:
        tunnel.standin.script(dies, dies, dies)
        await tunnel.restart()
        first = (await tunnel.until_healthy(seconds=10))["child"]["pid"]
        await tunnel.leap(lived)
        await tunnel.until(lambda seen: seen["child"]["uptime"] >= lived, "it has lived")
        os.kill(first, signal.SIGKILL)
        await tunnel.until_healthy(but=first, seconds=10)
        await tunnel.until_told("carries", count=2)
        last = tunnel.pauses()[-1]
        assert (longest / 2 if longest > 1 else 0) < last <= longest


# --- 22: what it leads to -------------------------------------------------------------------------


@through_the_name
async def test_a_backend_that_is_down_restarts_nothing(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        house.backend.rest = b.hang_up
        assert await tunnel.ask() in (502, 503)
        seen = await tunnel.status()
        house.backend.rest = b.well()
        assert (seen["state"], seen["child"]["pid"]) == ("healthy", first)
        assert await tunnel.ask() == 200


# --- 23: odd answers to `/ready` ------------------------------------------------------------------


@commands
@pytest.mark.parametrize(
    "odd",
    [{"after": 10}, {"cut": True}, {"status": 500}, {"huge": 1_000_000}, {"endless": True}],
    ids=["slow", "truncated", "500", "huge", "endless"],
)
async def test_a_child_whose_answers_make_no_sense_is_replaced(
    house: House, tmp_path: Path, odd: dict[str, Any]
) -> None:
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        tunnel.standin.script({"ready": odd})
        await tunnel.until_told("it does not answer on its metrics port")
        await tunnel.until_healthy(but=first, seconds=SECONDS + LAST_WORDS + 2)
        assert len(tunnel.standin.starts) == 2
        assert await tunnel.value("restarts_total", reason="unhealthy") == 1
        assert await tunnel.ask() == 200


# --- 24, 25: the supervisor's own troubles --------------------------------------------------------


@through_the_name
async def test_a_leap_of_the_clock_restarts_nothing(house: House, tmp_path: Path) -> None:
    """A machine that slept: all deadlines pass at once, and nobody has missed one."""
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        house.signal(signal.SIGSTOP)
        await asyncio.sleep(1)
        house.signal(signal.SIGCONT)
        await tunnel.until_healthy()
        if not IS_REAL:
            await tunnel.leap(3600)
            await tunnel.until(lambda seen: seen["child"]["uptime"] > 3600, "an hour has passed")
        await tunnel.until(lambda seen: seen["probe"]["age"] <= 30, "another probe came back", 30)
        after = await tunnel.until_healthy()
        assert (after["child"]["pid"], after["restarts"]) == (first, 0)
        assert await tunnel.ask() == 200


@through_the_name
@pytest.mark.parametrize("what", ["descriptors", "processes"])
async def test_a_system_that_has_nothing_left_to_give(
    house: House, tmp_path: Path, what: str
) -> None:
    """The child is dead, and there can be no other one, for a while."""
    pid = house.process.pid
    async with house.tunnel(tmp_path) as tunnel:
        first = (await tunnel.until_healthy())["child"]["pid"]
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        if what == "descriptors":
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, usual[1]))
        else:
            house.scarce.touch()
        try:
            os.kill(first, signal.SIGKILL)
            await tunnel.until_told("the system gave no process", "warning", count=2)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
            house.scarce.unlink(missing_ok=True)
        await tunnel.until_healthy(but=first, seconds=10)
        assert (await house.visit(chat())).status == 200
        assert await tunnel.ask() == 200
