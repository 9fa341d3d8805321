"""The tunnel's end, judged from outside: what is in flight, what does not end, what is killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.harness import Config
from tests.e2e.tunnel.exposed import Exposed
from tests.e2e.tunnel.harness import Ground, commands, through_the_name
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.processes import state_of, until, until_gone

TERM, KILL = signal.SIGTERM, signal.SIGKILL
SHORT: Config = {"drain": {"limit": "8s"}}  # 7 s of it are not the tunnel's
SOON, LATE = 10.0, 35.0  # bounds for a machine that has much else to do


async def ends(sidecar: Exposed, code: int = 0) -> float:
    """Wait until it and all it started have ended; gives the seconds."""
    began = time.monotonic()
    assert await sidecar.exit_code() == code
    await until_gone(*sidecar.seen_pids, *sidecar.started())
    return time.monotonic() - began


# --- 31 to 33: what is in flight, and what does not end -------------------------------------------


@through_the_name
async def test_idle(tmp_path: Path, place: Ground, backend: Backend) -> None:
    section: Config = {"grace": "60s"}
    async with (
        Exposed(tmp_path, place, backend, tunnel=section) as sidecar,
        place.visitor() as http,
    ):
        child = await sidecar.child()
        assert (await sidecar.ask_from_outside(http))[0] == 200
        sidecar.signal(TERM)
        assert await ends(sidecar) < SOON, "nothing is waited for"
        assert state_of(child) is None
    assert "ended before they were done" not in sidecar.output


@commands
async def test_a_stream_in_flight_is_brought_to_its_end(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    gate = asyncio.Event()
    backend.rest = b.gated(gate)
    async with Exposed(tmp_path, place, backend) as sidecar, place.visitor() as http:
        async with sidecar.stream_from_outside(http) as answer:
            await answer.content.readany()
            sidecar.signal(TERM)
            await place.inside.edge.until(lambda: not place.inside.edge.registered)
            assert (await sidecar.ask_from_outside(http))[0] == 530, "nothing new comes in"
            assert (await sidecar.get("/v1/models")).status == 200, "localhost is served on"
            gate.set()
            rest = await answer.content.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        await ends(sidecar)
    assert "ended before they were done" not in sidecar.output


@through_the_name
async def test_a_stream_without_end_is_cut_when_the_grace_is_over(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    backend.rest = b.gated(asyncio.Event())
    section: Config = {"grace": "1s"}
    async with Exposed(tmp_path, place, backend, tunnel=section) as sidecar:
        async with place.visitor() as http, sidecar.stream_from_outside(http) as answer:
            await answer.content.readany()
            began = time.monotonic()
            sidecar.signal(TERM)
            with contextlib.suppress(aiohttp.ClientPayloadError):
                assert b"[DONE]" not in await answer.content.read()
            assert 0.9 < time.monotonic() - began < SOON
        await ends(sidecar)
    (seen,) = backend.requests
    await asyncio.wait_for(seen.left.wait(), 5)


@commands
async def test_one_that_ignores_the_signal_is_killed(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    """After grace and 5 s where there is that much time; else when the time is over."""
    place.inside.standin.behave(ignore_sigterm=True)
    async with Exposed(tmp_path, place, backend, tunnel={"grace": "100ms"}) as sidecar:
        child = await sidecar.child()
        sidecar.signal(TERM)
        assert 5.0 < await ends(sidecar) < LATE
        assert state_of(child) is None
    assert "killed" in sidecar.output


@commands
async def test_there_may_be_less_time_than_the_grace(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    place.inside.standin.behave(ignore_sigterm=True)
    config: Config = {"drain": {"limit": "8s"}}
    section: Config = {"grace": "20s"}
    async with Exposed(tmp_path, place, backend, tunnel=section, config=config) as sidecar:
        sidecar.signal(TERM)
        assert 1.0 < await ends(sidecar) < SOON


@commands
@pytest.mark.parametrize("fault", ["never answers", "never closes"])
async def test_an_edge_that_lets_nobody_go(
    tmp_path: Path, place: Ground, backend: Backend, fault: str
) -> None:
    edge = place.inside.edge
    edge.answers_unregister = fault != "never answers"
    edge.closes_when_drained = False
    async with Exposed(tmp_path, place, backend, tunnel={"grace": "500ms"}) as sidecar:
        sidecar.signal(TERM)
        assert await ends(sidecar) > 0.5
    assert "killed" not in sidecar.output, "it ends by itself, once its grace is over"


# --- 34: in every state ---------------------------------------------------------------------------

Shape = Callable[[Path, Ground, Backend], AbstractAsyncContextManager[Exposed]]
SHAPES: dict[str, Shape] = {}


def shape(name: str) -> Callable[[Shape], Shape]:
    def keep(make: Shape) -> Shape:
        SHAPES[name] = make
        return make

    return keep


@contextlib.asynccontextmanager
async def waiting(
    folder: Path, place: Ground, backend: Backend, state: str, tunnel: Config | None = None
) -> AsyncIterator[Exposed]:
    sidecar = Exposed(folder, place, backend, config=SHORT, tunnel=tunnel)
    sidecar.waits = False
    async with sidecar:
        await sidecar.until_state(state)
        yield sidecar


@shape("starting")
@contextlib.asynccontextmanager
async def _starting(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    place.inside.standin.behave(holds=["dns"])
    async with waiting(folder, place, backend, "starting") as sidecar:
        await until(lambda: bool(sidecar.started()))  # its process runs a little later
        yield sidecar


@shape("connecting")
@contextlib.asynccontextmanager
async def _connecting(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    place.inside.edge.door = "silent"
    async with waiting(folder, place, backend, "connecting") as sidecar:
        yield sidecar


@shape("suspect")
@contextlib.asynccontextmanager
async def _suspect(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    async with Exposed(folder, place, backend, config=SHORT) as sidecar:
        await place.inside.edge.stop()
        await sidecar.until_state("suspect")
        yield sidecar


@shape("backoff")
@contextlib.asynccontextmanager
async def _backoff(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    """A pause that nothing here outlasts."""
    place.inside.quick.mood = "limited"
    async with waiting(folder, place, backend, "backoff", {"quick": True}) as sidecar:
        yield sidecar


@shape("parked")
@contextlib.asynccontextmanager
async def _parked(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    place.inside.standin.behave(exit={"code": 255})
    async with waiting(folder, place, backend, "parked") as sidecar:
        yield sidecar


@shape("draining")
@contextlib.asynccontextmanager
async def _draining(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    """Its section was taken out of the file, while something is in flight."""
    backend.rest = b.silent
    async with Exposed(folder, place, backend, config=SHORT, tunnel={"grace": "60s"}) as sidecar:
        child = await sidecar.child()
        async with place.visitor() as http:
            asked = asyncio.ensure_future(sidecar.ask_from_outside(http))
            await backend.seen()
            assert isinstance(sidecar.config, dict)
            without = {key: told for key, told in sidecar.config.items() if key != "tunnel"}
            await sidecar.reload(without)
            await place.inside.edge.until(lambda: not place.inside.edge.registered)
            assert state_of(child) is not None
            yield sidecar
            assert (await asked)[0] == 502


@shape("replacing")
@contextlib.asynccontextmanager
async def _replacing(folder: Path, place: Ground, backend: Backend) -> AsyncIterator[Exposed]:
    place.inside.standin.script({}, {"holds": ["registration"]})
    async with Exposed(folder, place, backend, config=SHORT) as sidecar:
        asked = asyncio.ensure_future(sidecar.control("POST", "/tunnel/restart"))
        await sidecar.until_tunnel(lambda told: told["replacing"] == "connecting", "two run")
        yield sidecar
        assert await asked == {"message": "The tunnel stops."}


@commands
@pytest.mark.parametrize(
    ("name", "times"),
    [*((name, 1) for name in SHAPES), *((name, 2) for name in ("starting", "draining"))],
)
async def test_a_signal_in_every_state(
    tmp_path: Path, place: Ground, backend: Backend, name: str, times: int
) -> None:
    async with SHAPES[name](tmp_path, place, backend) as sidecar:
        before = len(sidecar.started())
        for _ in range(times):
            sidecar.signal(TERM)
            await sidecar.says("stopping")
        assert await ends(sidecar) < LATE
        assert len(sidecar.started()) == before, "none is started any more"


@commands
async def test_a_second_signal_ends_the_drain(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    backend.rest = b.silent
    async with Exposed(tmp_path, place, backend, tunnel={"grace": "60s"}) as sidecar:
        async with place.visitor() as http:
            asked = asyncio.ensure_future(sidecar.ask_from_outside(http))
            await backend.seen()
            sidecar.signal(TERM)
            await place.inside.edge.until(lambda: not place.inside.edge.registered)
            sidecar.signal(TERM)
            assert (await asked)[0] == 502
        assert await ends(sidecar) < LATE


# --- 35: the supervisor is killed -----------------------------------------------------------------


@commands
@pytest.mark.parametrize(
    ("setpriv", "stopped"),
    [(True, False), (True, True), (False, True)],
    ids=["running", "stopped", "stopped, and the system does not help"],
)
async def test_killed_it_takes_its_child_along_or_the_next_one_ends_it(
    tmp_path: Path, place: Ground, backend: Backend, setpriv: bool, stopped: bool
) -> None:
    env = {} if setpriv else {"PATH": str(tmp_path)}
    sidecar = Exposed(tmp_path, place, backend, env=env)
    sidecar.was_killed = True
    async with sidecar:
        orphan = await sidecar.child()
        if stopped:
            os.kill(orphan, signal.SIGSTOP)
        sidecar.signal(KILL)
        assert await sidecar.exit_code() == -KILL
    try:
        if setpriv:
            await until_gone(orphan)
        else:
            assert state_of(orphan) == ("T" if stopped else "S")
        sidecar.was_killed = False
        async with sidecar, place.visitor() as http:
            await until_gone(orphan)
            assert (await sidecar.child()) != orphan
            await place.inside.edge.until(lambda: len(place.inside.edge.connectors) == 1)
            assert (await sidecar.ask_from_outside(http))[0] == 200
            told = "left behind by a killed supervisor" in sidecar.output
            assert told is not setpriv
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, KILL)
