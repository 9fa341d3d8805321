"""A machine, children that do as they are told, and a clock that is set by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

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
    Told,
    Trouble,
    VersionTold,
)
from tunnel.facts import Facts, State
from tunnel.lifecycle import Lifecycle
from tunnel.settings import Probe, Settings

Kind = TypeVar("Kind", bound=steps.Action)

ORIGIN = "http://127.0.0.1:14402"
URL = "https://llm.example.com"
PLAIN = Settings(kind="token", origin=ORIGIN, secret="one", probe=Probe(url=URL))
UNPROBED = replace(PLAIN, probe=Probe())
QUICK = Settings(kind="quick", origin=ORIGIN, probe=Probe())
CHANGED = replace(PLAIN, secret="two")
REFUSED = Trouble(Cause.UNAUTHORIZED, "Unauthorized: Invalid tunnel secret")


MINE = "me"


def proof(connector: str | None, replica: str = MINE) -> Sighting:
    return Sighting(200, proven=True, connector=connector, replica=replica)


LOST = Sighting(530, detail="error 1033")


@dataclass
class Kid:
    """One child, and how it behaves."""

    number: int
    spawn: steps.Spawn
    at: float
    boots: bool = True  # tells its port at once
    ready: Ready = Ready.READY
    connections: int = 4
    protocol: str = "quic"
    services: tuple[str, ...] = (ORIGIN, "http_status:404")
    hostnames: tuple[str, ...] = ()
    hostname: str | None = "words.trycloudflare.com"
    obeys: bool = True  # ends when it is told to
    dies: Exit | None = None  # as soon as it runs
    signals: list[tuple[str, float]] = field(default_factory=list)
    ended: bool = False

    @property
    def connector(self) -> str:
        return f"connector-{self.number}"


class Play:
    """Feeds a machine and does what it asks for."""

    def __init__(self, settings: Settings | None = None, draw: float = 0.5) -> None:
        self.machine = Lifecycle(MINE)
        self.now = 1000.0
        self.draw = draw
        self.kids: dict[int, Kid] = {}
        self.breed: Callable[[Kid], None] = lambda _: None  # shapes each new child
        self.spawns = True  # whether a process is to be had
        self.see: Callable[[steps.Look], Sighting] = lambda look: proof(
            self.kids[look.number].connector
        )
        self.origin: bool | None = True
        self.network: bool | None = True
        self.done: list[tuple[float, steps.Action]] = []
        self.states: list[State] = []
        self._events: deque[steps.Event] = deque()
        if settings is not None:
            self.feed(steps.Apply(settings))

    def watch(
        self, told: Sequence[steps.Event], before: Facts, actions: Sequence[steps.Action]
    ) -> None:
        """For who wants to look at every step."""

    # -- what happens

    def feed(self, *given: steps.Event) -> None:
        self._events.extend(given)
        if not given:
            self._step()
        while self._events:
            self._step(self._events.popleft())

    def _step(self, *told: steps.Event) -> None:
        before = self.facts
        actions = self.machine.step(told, self.now, self.draw)
        self.watch(told, before, actions)
        for action in actions:
            self.done.append((self.now, action))
            self._do(action)
        state = self.state()
        if not self.states or self.states[-1] is not state:
            self.states.append(state)

    def tell(self, number: int, *told: Told | Exit) -> None:
        self.feed(*(steps.FromChild(number, one) for one in told))

    def end(self, number: int, code: int = 1, cause: Cause = Cause.UNKNOWN) -> None:
        self.kids[number].ended = True
        self.tell(number, Exit(code, cause))

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        until, ticks = self.now + seconds, 0
        while (due := self.machine.deadline(self.now)) is not None and due <= until:
            ticks = ticks + 1 if due <= self.now else 0
            assert ticks < 5, "the machine never sleeps"
            self.now = max(self.now, due)
            self.feed()
        self.now = until

    def wait_for(self, state: State, within: float) -> float:
        """Until the state comes; returns the seconds that took."""
        began = self.now
        while self.facts.state is not state:
            due = self.machine.deadline(self.now)
            assert due is not None, f"{self.facts.state} for ever, not {state}"
            assert due - began <= within, f"{self.facts.state} after {within} s, not {state}"
            self.wait(max(0.0, due - self.now))
        return self.now - began

    def _do(self, action: steps.Action) -> None:
        match action:
            case steps.Spawn():
                self._spawn(action)
            case steps.Terminate(number):
                self.kids[number].signals.append(("TERM", self.now))
                if self.kids[number].obeys:
                    self._exit(number, Exit(0, Cause.ASKED))
            case steps.Kill(number):
                self.kids[number].signals.append(("KILL", self.now))
                self._exit(number, Exit(-9, Cause.ASKED))
            case steps.AskReady(number):
                kid = self.kids[number]
                count = kid.connections if kid.ready is Ready.READY else 0
                self._events.append(steps.Answered(number, Readiness(kid.ready, count)))
            case steps.AskIngress(number):
                kid = self.kids[number]
                self._events.append(steps.Serves(number, Ingress(kid.services, kid.hostnames)))
            case steps.AskName(number):
                self._events.append(steps.Named(number, self.kids[number].hostname))
            case steps.Look():
                seen = self.see(action)
                self._events.append(steps.Looked(action.number, seen, self.origin, self.network))
            case _:
                pass

    def _spawn(self, action: steps.Spawn) -> None:
        number = action.number
        assert number not in self.kids, "a number is used twice"
        kid = self.kids[number] = Kid(number, action, self.now)
        self.breed(kid)
        if not self.spawns:
            kid.ended = True
            self._events.append(steps.NotSpawned(number, Cause.RESOURCES, "no process is left"))
            return
        self._events.append(steps.Spawned(number, 100 + number))
        if kid.dies is not None:
            self._exit(number, kid.dies)
        elif kid.boots:
            told: list[Told] = [VersionTold("2026.8.2"), ConnectorTold(kid.connector)]
            told.append(MetricsTold(20_000 + number))
            if kid.ready is Ready.READY:
                told.append(Registered(0, kid.protocol))
            self._events.extend(steps.FromChild(number, one) for one in told)

    def _exit(self, number: int, end: Exit) -> None:
        if not self.kids[number].ended:
            self.kids[number].ended = True
            self._events.append(steps.FromChild(number, end))

    # -- what came of it

    @property
    def facts(self) -> Facts:
        return self.machine.facts(self.now)

    def state(self) -> State:
        return self.facts.state

    @property
    def alive(self) -> list[int]:
        return [number for number, kid in self.kids.items() if not kid.ended]

    @property
    def last(self) -> Kid:
        return self.kids[max(self.kids)]

    def spawned(self) -> list[float]:
        return [kid.at for kid in self.kids.values()]

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [action for _, action in self.done if isinstance(action, kind)]

    def lines(self, level: str) -> list[str]:
        tells = [one for _, one in self.done if isinstance(one, steps.Tell)]
        return [one.message for one in tells if one.level == level]

    def silence(self, number: int, ready: Ready = Ready.NOT_READY) -> None:
        """From now on it answers so."""
        self.kids[number].ready = ready


def healthy(settings: Settings = PLAIN, draw: float = 0.5) -> Play:
    play = Play(settings, draw)
    play.wait_for(State.HEALTHY, 20)
    return play


def bare(kid: Kid) -> None:
    """A child that registers nothing."""
    kid.ready = Ready.NOT_READY


def mute(kid: Kid) -> None:
    """A child that tells no port."""
    kid.boots = False


def stubborn(kid: Kid) -> None:
    kid.obeys = False


def dying(code: int, cause: Cause, message: str = "") -> Callable[[Kid], None]:
    def breed(kid: Kid) -> None:
        kid.dies = Exit(code, cause, message)

    return breed
