"""The supervisor with real processes, in a loop whose time runs fast; judged from outside.

What a test looks at is what a person has: the state, metrics, the log, the table of processes, and
what a visitor gets at the public name. The stand-in's own waits are as much shorter as the loop is
faster; with a real binary both keep their natural pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import selectors
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.tunnel.harness import IS_REAL, Ground, Inside, ground
from tests.fakes.cloudflared.edge import Edge
from tests.fakes.cloudflared.launch import Standin
from tunnel import build
from tunnel.facts import Facts, State
from tunnel.metrics import CARRIES, TunnelMetrics
from tunnel.proof import Proof
from tunnel.settings import Kind, Probe, Protocol, Settings
from tunnel.supervisor import Supervisor

SPEED = 1.0 if IS_REAL else 5.0
HANG = 60.0  # real seconds in which whatever is waited for must come
SECRET = b"what probes are proved with, in tests"
PACKAGE = os.path.dirname(build.__file__)
REPLICA = "replica-of-this-test"


# --- time that runs fast --------------------------------------------------------------------------


class _Selector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout / SPEED if timeout is not None and timeout > 0 else timeout)


class FastLoop(asyncio.SelectorEventLoop):
    """Its clock runs `SPEED` times as fast as the one on the wall, and so do all of its timers."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return time.monotonic() * SPEED


def fast(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that runs in a fast loop; it takes no asynchronous fixtures."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=FastLoop) as runner:
            runner.run(test(*args, **named))

    return run


# --- what is exposed ------------------------------------------------------------------------------


class Origin:
    """Answers the probe as the public listener does, `/stream` piece by piece, all else with ok."""

    def __init__(self) -> None:
        self.proof = Proof.of(SECRET)
        self.proves = True
        self.go = asyncio.Event()  # lets streams end
        self.streams = 0
        self.cut = 0
        self.port = 0
        self._server = web.Server(self._answer, handler_cancellation=True, access_log=None)
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def up(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections, and end those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            for each in list(self._server.connections):
                if each.transport is not None:
                    each.transport.abort()
            await asyncio.sleep(0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/stream":
            return await self._stream(request)
        connector = request.headers.get("cf-warp-tag-id")
        body = self.proof.answer(request.path, REPLICA, connector) if self.proves else None
        if body is not None:
            return web.Response(body=body, headers={"cache-control": "no-store"})
        if request.path.startswith(self.proof.path):
            return web.Response(status=404)
        return web.Response(text="ok")

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        self.streams += 1
        try:
            await answer.write(b"data: begun\n\n")
            await self.go.wait()
            await answer.write(b"data: done\n\n")
            await answer.write_eof()
        except (ConnectionError, asyncio.CancelledError):
            self.cut += 1
            raise
        return answer


# --- the supervisor -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clock:
    now: Callable[[], float]
    draw: Callable[[], float]


class _Lines(logging.Handler):
    def __init__(self, one: Stage) -> None:
        super().__init__()
        self._one = one

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        self._one.said.append(f"{record.name}: {record.levelname}: {line}")
        if record.levelno >= logging.ERROR and record.name == "tunnel":
            self._one.alarms.append(line)


@dataclass
class Stage:
    """A supervisor that runs, and all that one can see of it."""

    ground: Ground
    origin: Origin
    supervisor: Supervisor
    settings: Settings
    registry: CollectorRegistry
    visitor: aiohttp.ClientSession
    said: list[str] = field(default_factory=list)  # our log, lines of children included
    alarms: list[str] = field(default_factory=list)  # what was told as an error by ourselves
    published: list[str] = field(default_factory=list)

    # what is there

    @property
    def inside(self) -> Inside:
        return self.ground.inside

    @property
    def edge(self) -> Edge:
        return self.inside.edge

    @property
    def standin(self) -> Standin:
        return self.inside.standin

    @property
    def facts(self) -> Facts:
        return self.supervisor.facts()

    @property
    def state(self) -> State:
        return self.facts.state

    @property
    def pid(self) -> int:
        pid = self.facts.pid
        assert pid is not None
        return pid

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name (without prefix) that bear these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.exposition)
            for sample in family.samples
            if sample.name == f"llm_sidecar_tunnel_{name}"
            and labels.items() <= sample.labels.items()
        )

    @property
    def exposition(self) -> str:
        return generate_latest(self.registry).decode()

    @property
    def log(self) -> str:
        return "\n".join(self.said)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    # waiting

    async def until(self, fits: Callable[[], object], what: str = "it is so") -> None:
        """Look again and again; real seconds limit it."""
        end = time.monotonic() + HANG
        while not fits():
            if time.monotonic() > end:
                raise AssertionError(f"never: {what}; {self.facts}\n{self.log[-4000:]}")
            await asyncio.sleep(0.005 * SPEED)

    async def until_state(self, *states: State) -> None:
        await self.until(lambda: self.state in states, " or ".join(states))

    async def healthy(self) -> None:
        await self.until_state(State.HEALTHY)

    async def for_seconds(self, seconds: float, holds: Callable[[], object]) -> None:
        """It is so now, and stays so; in the loop's seconds."""
        end = self.now() + seconds
        while self.now() < end:
            assert holds(), f"{self.facts}\n{self.log[-4000:]}"
            await asyncio.sleep(0.005 * SPEED)

    # what a visitor gets

    async def get(self, path: str = "/") -> int:
        """The status of an answer that came whole."""
        async with self.visitor.get(path, headers=self._host) as answer:
            await answer.read()
            return answer.status

    @property
    def _host(self) -> dict[str, str]:
        return {"host": self.ground.url.partition("://")[2]}

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[aiohttp.ClientResponse]:
        """One that has begun; `origin.go` lets it end."""
        async with self.visitor.get("/stream", headers=self._host) as answer:
            assert answer.status == 200
            assert await answer.content.readline() == b"data: begun\n"
            yield answer

    # changes

    def apply(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)
        self.supervisor.apply(self.settings)


@dataclass
class Plan:
    """What a stage is to be like; `before` is called with the ground before anything starts."""

    folder: Path
    before: Callable[[Ground], None] = lambda _: None
    kind: Kind = "token"
    protocol: Protocol = "auto" if IS_REAL else "http2"
    grace: float = 20.0
    every: float = 10.0
    timeout: float = 10.0 if IS_REAL else 40.0  # of a probe; a busy machine takes its time
    probed: bool = True
    binary: str = ""
    open: bool = False


@contextlib.asynccontextmanager
async def stage(plan: Plan) -> AsyncIterator[Stage]:
    """A supervisor at work. After the block nothing of it is left: no process, no task."""
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(ground(plan.folder, scale=1 / SPEED))
        plan.before(place)
        origin = Origin()
        await origin.up()
        stack.push_async_callback(origin.down)
        visitor = await stack.enter_async_context(place.visitor())
        one = _made(plan, place, origin, visitor)
        logger = logging.getLogger("tunnel")
        handler, level = _Lines(one), logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        stack.callback(logger.removeHandler, handler)
        stack.callback(logger.setLevel, level)
        before = asyncio.all_tasks()
        await stack.enter_async_context(_Running(one))
        yield one
        await one.supervisor.stop(plan.grace)
        assert one.facts.pid is None
        assert "Traceback" not in one.log
        assert "could not do" not in one.log
        await one.until(lambda: not _children(), "no child of ours is left")
        await one.until(
            lambda: not {task for task in asyncio.all_tasks() - before if _is_ours(task)},
            "no task of the supervisor is left",
        )
        if place.inside_or_none is not None:
            assert place.inside.standin.alive() == []


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(PACKAGE)


class _Running:
    """The supervisor's one task; an error of it ends the test."""

    def __init__(self, one: Stage) -> None:
        self._one = one
        self._task: asyncio.Future[None]

    async def __aenter__(self) -> None:
        self._task = asyncio.ensure_future(self._one.supervisor.run())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(f"--- {self._one.facts}\n--- log ---\n{self._one.log[-6000:]}")
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def _made(plan: Plan, place: Ground, origin: Origin, visitor: aiohttp.ClientSession) -> Stage:
    settings = Settings(
        kind=plan.kind,
        origin=origin.url,
        secret=None if plan.kind == "quick" else place.token,
        tunnel_id=None if plan.kind == "quick" else place.tunnel_id,
        protocol=plan.protocol,
        grace=plan.grace,
        binary=plan.binary or str(place.binary),
        proof_secret=SECRET,
        open=plan.open,
        probe=Probe(
            url=place.url if plan.probed and plan.kind != "quick" else None,
            every=plan.every,
            timeout=plan.timeout,
            connect=place.connect if plan.probed else None,
            ca=place.ca.read_text(encoding="ascii"),
        ),
    )
    registry = CollectorRegistry()
    made: list[Supervisor] = []
    metrics = TunnelMetrics(registry, lambda: made[0].facts())
    metrics.begin()
    environ = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(plan.folder), **place.environ}
    published: list[str] = []
    clock = _Clock(asyncio.get_running_loop().time, random.random)
    made.append(build.supervisor(clock, metrics, published.append, REPLICA, environ))
    made[0].apply(settings)
    return Stage(
        ground=place,
        origin=origin,
        supervisor=made[0],
        settings=settings,
        registry=registry,
        visitor=visitor,
        published=published,
    )


def _children() -> list[int]:
    """Processes whose parent we are, zombies too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    found.append(int(entry.name))
    return found


__all__ = ["CARRIES", "SPEED", "Plan", "Stage", "fast", "stage"]
