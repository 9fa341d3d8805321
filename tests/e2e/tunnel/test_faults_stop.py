"""Faults of a tunnel that stops, or is replaced: streams, signals, edges that never answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.tunnel.harness import Ground, commands, through_the_name
from tests.e2e.tunnel.supervised import CARRIES, SPEED, Plan, Stage, fast, stage
from tests.fakes.cloudflared.links import Refuse
from tunnel.facts import State


async def ended(one: Stage, within: float) -> float:
    """Stop it; gives the seconds that it took."""
    began = one.now()
    await one.supervisor.stop(within)
    assert one.facts.pid is None
    return one.now() - began


@fast
async def test_31_an_idle_tunnel_ends_at_once(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        assert await ended(one, 20) < 15
        assert one.metric("exits_total", code="0", expected="true") == 1


@through_the_name
@fast
async def test_31_a_stream_ends_before_the_tunnel_does(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        async with one.stream() as stream:
            stopping = asyncio.ensure_future(ended(one, 20))
            await one.until_state(State.DRAINING)
            one.origin.go.set()
            assert b"data: done" in await stream.content.read()
            assert await stopping < 20
        assert one.origin.cut == 0


@through_the_name
@fast
async def test_31_a_stream_that_outlasts_the_grace_is_cut(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, grace=10)) as one:
        await one.until(lambda: one.state in CARRIES)
        async with one.stream() as stream:
            assert await ended(one, 10) < 5 * 10
            with pytest.raises(aiohttp.ClientError):
                await stream.content.read()


@commands
@fast
async def test_32_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, grace=5)) as one:
        await one.healthy()
        one.standin.behave(ignore_sigterm=True)
        assert await ended(one, 5) < 5 * 10
        assert one.metric("exits_total", code="-9", expected="true") == 1


@pytest.mark.parametrize("answers", [True, False])
@commands
@fast
async def test_33_an_edge_that_never_lets_go(tmp_path: Path, answers: bool) -> None:
    async with stage(Plan(tmp_path, grace=5)) as one:
        await one.healthy()
        one.edge.answers_unregister = answers
        one.edge.closes_when_drained = False
        assert await ended(one, 5) < 5 * 10
        assert one.metric("exits_total", expected="true") == 1


@commands
@fast
async def test_34_a_stop_while_it_starts(tmp_path: Path) -> None:
    def slow(ground: Ground) -> None:
        ground.inside.standin.behave(dns_takes=2)

    async with stage(Plan(tmp_path, slow)) as one:
        await one.until(lambda: one.standin.starts)
        await ended(one, 20)


@commands
@fast
async def test_34_a_stop_while_it_connects(tmp_path: Path) -> None:
    def silent(ground: Ground) -> None:
        ground.inside.edge.door = "silent"

    async with stage(Plan(tmp_path, silent)) as one:
        await one.until_state(State.CONNECTING)
        assert await ended(one, 20) < 5 * 5


@commands
@fast
async def test_34_a_stop_in_a_pause(tmp_path: Path) -> None:
    def refuse(ground: Ground) -> None:
        ground.inside.edge.door = Refuse("no")

    async with stage(Plan(tmp_path, refuse)) as one:
        await one.until_state(State.BACKOFF)
        assert await ended(one, 20) < 5
        starts = len(one.standin.starts)
        await asyncio.sleep(20)
        assert len(one.standin.starts) == starts


@through_the_name
@fast
async def test_34_two_stops_are_one(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        async with one.stream() as stream:
            both = asyncio.gather(ended(one, 20), ended(one, 20))
            await one.until_state(State.DRAINING)
            one.origin.go.set()
            assert b"data: done" in await stream.content.read()
            await both
        assert one.metric("exits_total", code="0", expected="true") == 1


@commands
@fast
async def test_34_a_stop_while_it_is_replaced(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        one.edge.door = "silent"
        restart = asyncio.ensure_future(one.supervisor.restart())
        await one.until(lambda: one.facts.replacing is not None)
        await one.until(lambda: len(one.standin.alive()) == 2)
        await ended(one, 20)
        assert isinstance(await restart, str)


# --- make before break ----------------------------------------------------------------------------


class Load:
    """Requests without pause, and streams that last, until the block ends."""

    def __init__(self, one: Stage, rate: float, streams: int) -> None:
        self._one, self._pause, self._streams = one, 1 / rate, streams
        self.seen = Counter[object]()
        self.whole = 0
        self._tasks: list[asyncio.Future[None]] = []
        self._over = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.ensure_future(self._ask())]
        self._tasks += [asyncio.ensure_future(self._stream()) for _ in range(self._streams)]
        await self._one.until(lambda: self._one.origin.streams == self._streams, "streams are open")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        self._one.origin.go.set()
        await asyncio.gather(*self._tasks)

    async def _once(self) -> None:
        try:
            self.seen[await self._one.get()] += 1
        except aiohttp.ClientError as error:
            self.seen[type(error).__name__] += 1

    async def _ask(self) -> None:
        asked = set[asyncio.Future[None]]()
        while not self._over:
            asked.add(asyncio.ensure_future(self._once()))
            await asyncio.sleep(self._pause)
        await asyncio.gather(*asked)

    async def _stream(self) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._one.stream() as stream:
                answer = await stream.content.read()
                self.whole += b"data: done" in answer


RATE, STREAMS = 200 / SPEED, 50  # 200 requests a second on the wall


@through_the_name
@fast
async def test_36_a_planned_restart_under_load_loses_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=5, grace=60)) as one:
        await one.healthy()
        pid = one.pid
        async with Load(one, RATE, STREAMS) as load:
            told = await one.supervisor.restart()
            await one.until(lambda: one.facts.pid not in (pid, None) and not one.facts.replacing)
            await asyncio.sleep(5)
        assert told
        assert set(load.seen) == {200}
        assert load.whole == STREAMS
        assert one.metric("restarts_total", reason="operator") == 1


@commands
@fast
async def test_37_a_replacement_that_never_gets_ready_touches_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=5)) as one:
        await one.healthy()
        pid = one.pid
        one.standin.script({}, rest={"exit": {"code": 1, "stderr": "failed\n"}})
        one.apply(secret=one.ground.rotate().token)
        await one.until(lambda: len(one.standin.starts) >= 3)
        await one.for_seconds(15, lambda: one.pid == pid)
        assert await one.get() == 200
        await one.until(lambda: one.alarms, "somebody is told")
        one.standin.script()
        one.apply(secret=one.ground.rotate().token)
        await one.until(lambda: one.facts.pid not in (pid, None), "the next one takes over")


@commands
@fast
async def test_38_a_token_that_is_rotated_under_load_loses_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=5, grace=60)) as one:
        await one.healthy()
        pid = one.pid
        old = one.ground.token
        async with Load(one, RATE, STREAMS) as load:
            one.apply(secret=one.ground.rotate().token)
            await one.until(lambda: one.facts.pid not in (pid, None) and not one.facts.replacing)
            await asyncio.sleep(5)
        assert set(load.seen) == {200}
        assert load.whole == STREAMS
        assert one.metric("restarts_total", reason="config") == 1
        assert one.edge.registrations[-1]["secret"] != old


@commands
@fast
async def test_the_token_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        token, secret = one.ground.token, one.edge.tunnel.secret
        told = {place: _of_process(one.pid, place) for place in ("cmdline", "environ")}
        assert str(one.ground.binary) in told["cmdline"]
        assert "TUNNEL_EDGE" in told["environ"]
        told |= _files(tmp_path)
        assert token in told.pop(str(one.ground.token_file))
        told["log"], told["metrics"] = one.log, one.exposition
        assert [place for place, text in told.items() if secret in text or token in text] == []


def _of_process(pid: int, place: str) -> str:
    return Path(f"/proc/{pid}/{place}").read_bytes().decode(errors="replace")


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path): path.read_text(encoding="utf-8", errors="replace")
        for path in folder.rglob("*")
        if path.is_file()
    }


@commands
@fast
async def test_a_child_has_nothing_open_that_is_not_its_own(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        mine = {os.readlink(f"/proc/self/fd/{each}") for each in _descriptors("self")}
        its = {os.readlink(f"/proc/{one.pid}/fd/{each}") for each in _descriptors(str(one.pid))}
        sockets = {each for each in mine & its if each.startswith("socket:")}
        assert sockets == set()


def _descriptors(pid: str) -> list[str]:
    return [each for each in os.listdir(f"/proc/{pid}/fd") if _is_open(pid, each)]


def _is_open(pid: str, descriptor: str) -> bool:
    return os.path.islink(f"/proc/{pid}/fd/{descriptor}")
