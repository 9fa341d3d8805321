"""A supervisor with children that follow a script, and a record of all that it tells."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.tunnel.play import MINE, ORIGIN, proof
from tunnel import steps
from tunnel.events import (
    Cause,
    ConnectorTold,
    Exit,
    Ingress,
    MetricsTold,
    Readiness,
    Ready,
    Registered,
    Sighting,
)
from tunnel.facts import Facts, Log, Reason, State
from tunnel.means import Means, Post, Refusal, World
from tunnel.settings import Settings
from tunnel.supervisor import Supervisor


class Scripted:
    """A process that registers at once and ends a moment after it is told to."""

    def __init__(self, spawn: steps.Spawn, post: Post) -> None:
        self.number, self.settings, self.pid = spawn.number, spawn.settings, 100 + spawn.number
        self.connector = f"connector-{self.number}"
        self.port = 20_000 + self.number
        self.ready = Ready.READY
        self.drains: float | None = 0.1  # seconds; None: never
        self.dies_of_kill = True
        self.signals: list[str] = []
        self._post = post
        self.ended = asyncio.Event()
        self.end_of_it: Exit | None = None

    def boot(self) -> None:
        self._post(self.number, ConnectorTold(self.connector))
        self._post(self.number, MetricsTold(self.port))
        self._post(self.number, Registered(0, "quic"))

    def terminate(self) -> None:
        self.signals.append("TERM")
        if self.drains is not None:
            end = Exit(0, Cause.ASKED)
            asyncio.get_running_loop().call_later(self.drains, self.end, end)

    def kill(self) -> None:
        self.signals.append("KILL")
        if self.dies_of_kill:
            self.end(Exit(-9, Cause.ASKED))

    def end(self, end: Exit) -> None:
        if self.end_of_it is None:
            self.end_of_it = end
            self.ended.set()
            self._post(self.number, end)

    async def wait(self) -> Exit:
        await self.ended.wait()
        assert self.end_of_it is not None
        return self.end_of_it


class Counts:
    """An observer that keeps it all."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def restarted(self, reason: Reason) -> None:
        self.told.append(("restarted", reason))

    def exited(self, code: int, *, expected: bool) -> None:
        self.told.append(("exited", (code, expected)))

    def started(self, seconds: float) -> None:
        self.told.append(("started", seconds))

    def recovered(self, seconds: float) -> None:
        self.told.append(("recovered", seconds))

    def logged(self, level: Log) -> None:
        self.told.append(("logged", level))

    def dropped(self, lines: int) -> None:
        self.told.append(("dropped", lines))

    def of(self, kind: str) -> list[object]:
        return [value for name, value in self.told if name == kind]


@dataclass
class Stage:
    """Whatever a test wants to be otherwise it sets here."""

    kids: dict[int, Scripted] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    lines: list[tuple[Log, str]] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    nonces: list[str] = field(default_factory=list)
    looked_here: int = 0
    asked_controls: list[Sequence[str]] = field(default_factory=list)
    slow: dict[str, float] = field(default_factory=dict)  # seconds that a question takes
    faults: dict[str, Exception] = field(default_factory=dict)
    refusal: Refusal | None = None
    shape: Callable[[Scripted], None] = lambda _: None
    see: Callable[[str], Sighting] | None = None
    draw: Callable[[], float] = lambda: 0.5

    def supervisor(self, settings: Settings | None) -> Supervisor:
        means = Means(
            self._spawn,
            self._ready,
            self._ingress,
            self._hostname,
            self._look,
            self._look_local,
            self._reachable,
        )
        world = World(
            asyncio.get_running_loop().time, lambda: self.draw(), self.counts, self._log,
            self._tell, MINE,
        )  # fmt: skip
        return Supervisor(settings, means, world)

    @asynccontextmanager
    async def running(self, settings: Settings | None) -> AsyncIterator[Supervisor]:
        """One that runs, and is stopped in the end; nothing of it may be left then."""
        before = asyncio.all_tasks()
        one = self.supervisor(settings)
        async with asyncio.timeout(1e6), asyncio.TaskGroup() as group:
            group.create_task(one.run())
            await asyncio.sleep(0)
            yield one
            await one.stop(30)
        assert all(kid.end_of_it for kid in self.kids.values() if kid.dies_of_kill)
        assert all(kid.signals.count("TERM") <= 1 for kid in self.kids.values())
        assert asyncio.all_tasks() == before
        assert max(self.most.values(), default=0) <= 2, "one question of a kind for each child"

    async def until(self, one: Supervisor, state: State, within: float = 1000.0) -> Facts:
        """Wait for a state."""
        began = asyncio.get_running_loop().time()
        while (facts := one.facts()).state is not state:
            waited = asyncio.get_running_loop().time() - began
            assert waited < within, f"{facts.state} after {waited:.0f} s"
            await asyncio.sleep(0.05)
        return facts

    def words(self, level: Log) -> list[str]:
        return [message for one, message in self.lines if one == level]

    def _log(self, level: Log, message: str) -> None:
        self.lines.append((level, message))

    def _tell(self, url: str) -> None:
        self.published.append(url)

    async def _take(self, what: str) -> None:
        self.under_way[what] += 1
        self.most[what] = max(self.most[what], self.under_way[what])
        try:
            await asyncio.sleep(self.slow.get(what, 0.01))
            if what in self.faults:
                raise self.faults[what]
        finally:
            self.under_way[what] -= 1

    async def _spawn(self, spawn: steps.Spawn, post: Post) -> Scripted | Refusal:
        await self._take("spawn")
        if self.refusal is not None:
            return self.refusal
        kid = self.kids[spawn.number] = Scripted(spawn, post)
        self.shape(kid)
        kid.boot()
        return kid

    def _by_port(self, port: int) -> Scripted:
        return self.kids[port - 20_000]

    async def _ready(self, port: int, connector: str | None) -> Readiness:
        await self._take("ready")
        kid = self._by_port(port)
        if kid.end_of_it is not None:
            return Readiness(Ready.NO_ANSWER)
        assert connector == kid.connector
        return Readiness(kid.ready, 4 if kid.ready is Ready.READY else 0)

    async def _ingress(self, _: int) -> Ingress:
        await self._take("ingress")
        return Ingress((ORIGIN,))

    async def _hostname(self, _: int) -> str:
        await self._take("hostname")
        return "words.trycloudflare.com"

    async def _look(self, url: str, _: Settings, nonce: str) -> Sighting:
        self.nonces.append(nonce)
        await self._take("look")
        if self.see is not None:
            return self.see(url)
        alive = [kid for kid in self.kids.values() if kid.end_of_it is None and not kid.signals]
        return proof(alive[-1].connector) if alive else Sighting(530)

    async def _look_local(self, _: Settings, nonce: str) -> bool:
        self.nonces.append(nonce)
        self.looked_here += 1
        await self._take("look here")
        return True

    async def _reachable(self, controls: Sequence[str]) -> bool | None:
        self.asked_controls.append(controls)
        await self._take("reachable")
        return True if controls else None
