"""Where a play takes place: the operator's route on the real program, all of its backends replaced.

Nothing of the operator's leaves: addresses, keys, authorities and proxies are exchanged before the
program sees the configuration, and the loop connects to the stage only.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import StringIO
from typing import Literal, NoReturn

from sidecar.app import Sidecar
from sidecar.config.load import Loaded
from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward, Listener, Log, Snapshot
from sidecar.dataplane.job import Clock
from sidecar.dataplane.listener import HttpListener
from sidecar.policy import routing
from sidecar.policy.routing import AUTO, Candidate, Route, RouteTable, is_pattern
from sidecar.rehearsal import client
from sidecar.rehearsal.client import Heard, Question, Understood
from sidecar.rehearsal.clockwork import Clockwork
from sidecar.rehearsal.standin import Behaviour, StandIn
from sidecar.rehearsal.voice import Voice
from sidecar.runtime.store import RuntimeStore
from sidecar.wire.contract import Dialect

Reach = Literal["http", "dns", "tls"]

EPOCH = 1_700_000_000.0  # the wall time at which every play begins
CONNECTIONS = 100  # many more than a row has clients
_ROOM = 64_000  # bytes of a head, as `limits.header` may be too small for no client
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Cast:
    """A route as it is played: who is asked for what, in order, and by whom."""

    loaded: Loaded
    route: Route
    model: str | None  # what the client asks for
    dialect: Dialect  # of the client: that of the first target
    candidates: tuple[Candidate, ...]

    @property
    def backends(self) -> Mapping[str, Backend]:
        """The backends of the route."""
        return self.loaded.snapshot.backends

    @property
    def primary(self) -> str:
        """The backend of the first target, who misbehaves."""
        return self.candidates[0].backend

    @property
    def others(self) -> tuple[str, ...]:
        """All further backends, in the order in which they are asked."""
        names = dict.fromkeys(one.backend for one in self.candidates)
        return tuple(name for name in names if name != self.primary)

    @property
    def letters(self) -> Mapping[str, str]:
        """Who says which words; backends of the same model say the same."""
        first = {one.backend: one.model for one in reversed(self.candidates)}
        names = list(dict.fromkeys((one.model or "").casefold() for one in self.candidates))
        return {
            backend: _letter(names.index((model or "").casefold()))
            for backend, model in first.items()
        }


def _letter(place: int) -> str:
    return _LETTERS[place % 26] * (place // 26 + 1)


def cast(loaded: Loaded, route: Route) -> Cast | str:
    """The cast of a route, or why it has none."""
    if not route.models and not route.default:
        return "it takes no chats: it only relays other paths"
    snapshot, model = loaded.snapshot, _asked(route)
    store = RuntimeStore()
    plan = routing.plan(route, model, lambda name: store.view(snapshot, name))
    if not plan.candidates:
        return "none of its backends is enabled"
    dialect = snapshot.backends[plan.candidates[0].backend].dialect
    return Cast(loaded, route, model, dialect, plan.candidates)


def _asked(route: Route) -> str | None:
    """A name that the route claims."""
    plain = next((name for name in route.models if not is_pattern(name)), None)
    if plain is not None or not route.models:
        return plain
    made = "".join(
        AUTO if mark == "*" else "x" if mark == "?" else mark for mark in route.models[0]
    )
    return made if RouteTable([route]).match(made) is not None else None


@dataclass(slots=True)
class Scene:
    """What happened in a play, for its judge; moments are seconds since it began."""

    cast: Cast
    stream: bool
    standins: Mapping[str, StandIn]
    heard: list[Heard] = field(default_factory=list)
    understood: list[Understood] = field(default_factory=list)
    began: list[float] = field(default_factory=list)  # by request
    in_flight: int = 0  # requests, at the end

    @property
    def primary(self) -> StandIn:
        """The one that misbehaves."""
        return self.standins[self.cast.primary]


class Stage:
    """One sidecar with its stand-ins."""

    def __init__(self, scene: Scene, program: Sidecar, loop: Clockwork) -> None:
        self.scene = scene
        self._program, self._loop = program, loop
        self._listener = HttpListener(
            partial(program.data.handle, door=program.local),
            lambda: _ROOM,
            lambda: "rehearsal",
            CONNECTIONS,
        )
        self._server: asyncio.Server | None = None
        self._started = 0.0

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await self._loop.create_server(self._listener, "127.0.0.1", 0)
        self._loop.stage.add(self._server.sockets[0].getsockname())
        self._started = self._loop.time()

    async def close(self) -> None:
        """Leave nothing behind."""
        if self._server is not None:
            self._server.close()
        await self._listener.shutdown(1.0)
        await self._program.upstream.close()
        self._program.instruments.logs.close()

    def now(self) -> float:
        """Seconds since the play began."""
        return self._loop.time() - self._started

    async def ask(self, leave_after: float | None = None) -> None:
        """One request of a client, from its beginning to its end."""
        assert self._server is not None
        scene, address = self.scene, self._server.sockets[0].getsockname()
        question = Question(scene.cast.dialect, scene.cast.model, scene.stream, leave_after)
        scene.began.append(self.now())
        heard = await client.ask(address, question, self._loop.time)
        scene.heard.append(heard)
        scene.understood.append(client.understand(heard, question))

    async def wait_until(self, moment: float) -> None:
        """Let time pass until so many seconds after the beginning."""
        await asyncio.sleep(max(0.0, moment - self.now()))

    async def reload(self) -> None:
        """Apply a configuration in which the first backend is another one, where nobody is."""
        loaded, name = self.scene.cast.loaded, self.scene.cast.primary
        snapshot = self._program.current.get()
        assert snapshot is not None
        moved = replace(
            snapshot.backends[name], base_url="http://rehearsal.invalid", fingerprint="moved"
        )
        after = replace(snapshot, revision="0" * 16, backends={**snapshot.backends, name: moved})
        await self._program.reloader.accept(replace(loaded, snapshot=after, warnings=()))

    async def stop(self) -> None:
        """What a SIGTERM does, to the end of the drain."""
        await self._program.drain()

    def look(self) -> None:
        """Note what is in flight."""
        self.scene.in_flight = self._program.data.in_flight


@dataclass(frozen=True, slots=True)
class Setting:
    """How a play is set up: the scripts of the first backend and of all others."""

    script: Sequence[Behaviour]
    others: Sequence[Behaviour]
    reach: Reach = "http"  # how the first backend's address leads to it
    asking: bool = False  # whether backends are asked in the background too


@asynccontextmanager
async def stage(cast: Cast, setting: Setting, stream: bool) -> AsyncIterator[Stage]:
    """A sidecar with all its stand-ins while the block runs. Needs a Clockwork to run on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Clockwork)
    loop.stage.clear()
    async with AsyncExitStack() as stack:
        standins: dict[str, StandIn] = {}
        started = loop.time()
        for place, name in enumerate((cast.primary, *cast.others)):
            voice = Voice(cast.backends[name].dialect, cast.letters[name], 100 + place)
            script = setting.others if place else setting.script
            one = StandIn(name, voice, script, lambda: loop.time() - started)
            standins[name] = await stack.enter_async_context(one)
            loop.stage.add(one.address)
        snapshot = staged(cast, standins, setting.reach)
        draw = random.Random(cast.route.name).random  # noqa: S311  # the same play every time
        wall = lambda: EPOCH + loop.time() - started  # noqa: E731
        program = Sidecar(_never, Clock(loop.time, wall, draw), StringIO())
        await program.reloader.accept(replace(cast.loaded, snapshot=snapshot, warnings=()))
        program.life.started = True
        built = Stage(Scene(cast, stream, standins), program, loop)
        stack.push_async_callback(built.close)
        await built.open()
        async with asyncio.TaskGroup() as group:
            works = program.asking() if setting.asking else {}
            tasks = [group.create_task(_run(work)) for work in works.values()]
            try:
                yield built
            finally:
                for task in tasks:
                    task.cancel()


async def _run(work: object) -> None:
    assert callable(work)
    await work()


def _never() -> NoReturn:
    raise AssertionError("a rehearsal reads no configuration again")


def staged(cast: Cast, standins: Mapping[str, StandIn], reach: Reach) -> Snapshot:
    """The operator's configuration with one route, whose backends are stand-ins."""
    nowhere = Listener(("127.0.0.1",), 0)
    backends = {
        name: _replaced(cast.backends[name], one, reach if name == cast.primary else "http")
        for name, one in standins.items()
    }
    targets = tuple(one for one in cast.route.targets if one.backend in backends)
    models = cast.route.models if cast.model is None else (cast.model,)
    route = replace(cast.route, models=models, targets=targets, default=True, relay=False)
    return replace(
        cast.loaded.snapshot,
        log=Log("error", "json"),
        data=nowhere,
        admin=nowhere,
        control_socket="",
        hosts=(),
        backends=backends,
        routes=RouteTable([route]),
        fetch_images=False,
        manages=None,
        secrets=(),
    )


def _replaced(backend: Backend, standin: StandIn, reach: Reach) -> Backend:
    host, port = standin.address
    start = {
        "http": f"http://{host}:{port}",
        "tls": f"https://{host}:{port}",
        "dns": f"http://rehearsal.invalid:{port}",
    }[reach]
    return replace(
        backend,
        base_url=start + backend.dialect.base_prefix,
        auth=_dummy(backend.auth),
        ca=None,
        proxy=False,
        echo=False,
        local=True,
    )


def _dummy(auth: Credential | Forward | None) -> Credential | Forward | None:
    match auth:
        case Credential():
            dummies = [
                Secret(f"rehearsal-own-{nth}", "the rehearsal")
                for nth in range(1 + len(auth.further))
            ]
            return replace(auth, secret=dummies[0], further=tuple(dummies[1:]))
        case Forward(otherwise=Credential() as otherwise):
            dummy = _dummy(otherwise)
            assert isinstance(dummy, Credential)
            return replace(auth, otherwise=dummy)
        case _:
            return auth
