"""Everything the program remembers; it survives reloads and holds no settings.

State belongs to a backend's key: its name and its fingerprint. A backend that is still the same
target keeps all of it. A removed one drains and vanishes with its last attempt. No clock is read
here: `now` is monotonic seconds, `wall` seconds since the epoch.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from sidecar.config.snapshot import Backend, Credential, Forward, Snapshot
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.admission import Line
from sidecar.policy.availability import Availability, Facts, Standing, standing
from sidecar.policy.breaker import Breaker, Change
from sidecar.policy.budget import RetryBudget
from sidecar.policy.health import Era, Health, ProbeVerdict, ends_rest
from sidecar.policy.outcome import OUTCOMES, Outcome
from sidecar.policy.retry import rest_after
from sidecar.policy.routing import DEFAULT_TAG, BackendView
from sidecar.runtime.calibration import Calibration
from sidecar.runtime.ejection import Claim, ModelBreakers
from sidecar.wire.contract import ModelEntry

DURATIONS_KEPT = 512
FAULTS_KEPT = 20
PROBATION_LOOK = 0.05  # seconds between looks at a backend whose trial is under way
FAILURES_TO_DOWN = 3  # in a row, all the backend's fault


class BackendKey(NamedTuple):
    """What makes a backend the same target before and after a reload."""

    name: str
    fingerprint: str


def key_of(backend: Backend) -> BackendKey:
    """The key of a configured backend's state."""
    return BackendKey(backend.name, backend.fingerprint)


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed attempt, for people."""

    at: float  # wall time
    backend: str
    model: str | None
    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Durations of the latest successful attempts, in seconds."""

    count: int
    mean: float
    p95: float
    shortest: float
    longest: float


@dataclass(slots=True)
class BackendState:
    """What is remembered of one backend."""

    key: BackendKey
    draining: bool = False  # no longer configured
    drained: bool = False  # an operator wants nothing new there
    breaker: Breaker = field(default_factory=Breaker)
    model_breakers: ModelBreakers = field(default_factory=ModelBreakers)
    health: Health = field(default_factory=Health)
    in_flight: int = 0
    line: Line = field(default_factory=Line)  # the requests that stay here or wait to
    rest_until: float = 0.0
    rest_since: float = 0.0
    rest_why: str = ""
    on_probation: bool = False  # since a rest: one trial at a time, until one is taken
    trials: int = 0  # attempts in flight that began on probation
    key_turn: int = 0  # which of its keys is in use; one more with each that was refused
    credential: Credential | Forward | None = None  # a new key clears the old one's rest
    # its models, by name in lower case: what it tells of them, and its own name; None until known
    entries: Mapping[str, ModelEntry] | None = None
    listed: Mapping[str, str] | None = None
    context: Mapping[str, int] = field(default_factory=dict)  # tokens, by its own name
    max_output: Mapping[str, int] = field(default_factory=dict)  # the same
    ok: int = 0
    failed: int = 0
    failed_in_row: int = 0  # by its own fault
    last_success: float | None = None
    last_fault: Fault | None = None
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=DURATIONS_KEPT))

    @property
    def is_up(self) -> bool:
        """Whether traffic and probes speak for it: not after several failures in a row by its own
        fault, nor from its ejection until it is back, nor while it is unhealthy.
        """
        fails = self.failed_in_row >= FAILURES_TO_DOWN or not self.breaker.is_closed
        return not fails and not self.health.is_unhealthy

    @property
    def era(self) -> Era:
        """Another one with each ejection, be it of a model."""
        return self.breaker.era, sum(one.era for _, one in self.model_breakers)

    def rest(self, now: float) -> float:
        """Seconds for which it still rests, or until it is worth while to look again."""
        if self.on_probation and self.trials and self.rest_until <= now:
            return PROBATION_LOOK
        return max(0.0, self.rest_until - now)

    def latency(self) -> Latency | None:
        """Summary of the durations; None before the first success."""
        if not self.durations:
            return None
        ordered = sorted(self.durations)
        count = len(ordered)
        p95 = ordered[ceil(0.95 * count) - 1]
        return Latency(count, sum(ordered) / count, p95, ordered[0], ordered[-1])


class Attempt:
    """One try in flight. Whatever ends it settles it, exactly once."""

    __slots__ = ("_backend", "_began", "_claim", "_is_trial", "_settled", "_state", "_store",
                 "changes")  # fmt: skip

    def __init__(
        self,
        store: "RuntimeStore",
        state: BackendState,
        backend: Backend,
        model: str | None,
        now: float,
    ) -> None:
        self._store, self._state, self._backend, self._began = store, state, backend, now
        self._claim = Claim(state.breaker, state.model_breakers, model, now)
        self.changes: tuple[Change, ...] = ()  # of breakers, by its end
        self._settled = False
        self._is_trial = state.on_probation
        state.in_flight += 1
        state.trials += self._is_trial

    @property
    def key(self) -> BackendKey:
        """Whose attempt this is."""
        return self._state.key

    def was_taken(self) -> None:
        """The backend answers well: it asks for no more time, and others may come too."""
        if self._is_trial:
            self._state.on_probation = False

    def settle(self, outcome: Outcome, now: float, wall: float, draw: float = 0.0) -> bool:
        """Record how it ended; `draw` in [0, 1) is the jitter of an ejection.

        True when this was the last attempt of a removed backend: what is kept open for its key may
        be closed now. A second call is a bug and raises RuntimeError.
        """
        if self._settled:
            raise RuntimeError(f"an attempt on {self.key.name!r} was settled twice")
        self._settled = True
        state = self._state
        state.in_flight -= 1
        state.trials -= self._is_trial
        self.changes = self._claim.settle(outcome, self._backend.breaker, now, draw)
        if outcome.problem is None:
            state.health.answered(self._began, now)
            self._succeed(outcome, wall)
        else:
            self._fail(outcome, outcome.problem, now, wall)
        return self._store.forget_if_gone(state)

    def _succeed(self, outcome: Outcome, wall: float) -> None:
        state = self._state
        state.ok += 1
        state.failed_in_row = 0
        state.last_success = wall
        state.durations.append(outcome.duration)
        # an attempt older than the rest says nothing about it
        if self._began >= state.rest_since:
            state.rest_until = 0.0

    def _fail(self, outcome: Outcome, problem: Problem, now: float, wall: float) -> None:
        state = self._state
        blames = OUTCOMES[problem.kind].blames
        if not blames and problem.kind not in (ProblemKind.RATE_LIMITED, ProblemKind.BACKEND_AUTH):
            return  # the client's fault, or nobody's
        state.failed += 1
        state.failed_in_row += blames
        if blames:
            state.health.failed()
        state.last_fault = Fault(
            wall, state.key.name, outcome.model, problem.kind, problem.in_our_words
        )
        self._store.faults.append(state.last_fault)
        rest = rest_after(outcome)
        if rest > 0:
            state.on_probation = True
            state.rest_until = max(state.rest_until, now + rest)
            state.rest_since = now
            state.rest_why = problem.in_our_words


class RuntimeStore:
    """The states of all backends, and what is shared by all requests."""

    def __init__(self) -> None:
        self.retry_budget = RetryBudget()
        self.calibration = Calibration()
        self.faults: deque[Fault] = deque(maxlen=FAULTS_KEPT)
        self.in_flight: Counter[str] = Counter()  # requests, by route
        self.line = Line()  # of the data listener
        self._states: dict[BackendKey, BackendState] = {}

    @contextmanager
    def request(self, route: str) -> Iterator[None]:
        """Counts a request as in flight on its route while the block runs."""
        self.in_flight[route] += 1
        try:
            yield
        finally:
            self.in_flight[route] -= 1
            if not self.in_flight[route]:
                del self.in_flight[route]

    def state(self, backend: Backend) -> BackendState:
        """What is remembered of a backend; nothing but `draining` where its key is gone."""
        key = key_of(backend)
        return self._states.get(key) or BackendState(key, draining=True)

    def begin(self, backend: Backend, now: float, model: str | None = None) -> Attempt:
        """One more attempt is in flight, that asks for this model.

        A request that began on an older snapshot may still come to a removed backend; its state
        lives again until the attempt has ended.
        """
        state = self.state(backend)
        self._states[state.key] = state
        return Attempt(self, state, backend, model, now)

    def view(self, snapshot: Snapshot, name: str) -> BackendView:
        """What planning must know of a backend. The file is right where the backend says else."""
        backend = snapshot.backends[name]
        state = self.state(backend)
        return BackendView(
            backend.enabled,
            backend.model,
            backend.models,
            {**state.context, **backend.context} if backend.context else state.context,
            state.listed,
            state.max_output,
        )

    def standing(self, backend: Backend, model: str | None, now: float) -> Standing:
        """Whether a backend may take a request for a model now.

        Without a model: for any that it is known to have. A backend that is no longer configured
        stands as before towards the requests that began before.
        """
        state, settings = self.state(backend), backend.breaker
        looks = [(state.breaker.look(settings, now), state.breaker.why)]
        if model is None:
            whole = state.model_breakers.as_a_whole(settings, now)
            looks += [whole] if whole is not None else []
        elif (one := state.model_breakers.of(model)) is not None:
            looks.append((one.look(settings, now), one.why))
        facts = Facts(
            is_enabled=backend.enabled,
            is_draining=state.drained,
            is_unhealthy=state.health.is_unhealthy,
            health_wait=state.health.retry_in(now),
            rest=state.rest(now),
            rest_why=state.rest_why,
        )
        return standing(facts, looks)

    def availability(self, backend: Backend, now: float, model: str | None = None) -> Availability:
        """The same in a word, for people; a backend that is no longer configured drains."""
        if backend.enabled and self.state(backend).draining:
            return Availability.DRAINING
        found = self.standing(backend, model, now).availability
        # only the door itself can say who gets in: a newcomer may take the place of a waiter
        is_full = found is Availability.READY and self.state(backend).line.is_full(backend.bounds)
        return Availability.FULL if is_full else found

    def probed(
        self, backend: Backend, verdict: ProbeVerdict, now: float, *, was_asked_for: bool = False
    ) -> bool:
        """A probe has come back; whether it ended the rest of an ejected backend."""
        state = self.state(backend)
        health, era, before = state.health, state.era, state.health.verdict
        health.probed(verdict, backend.probe, now, era=era, is_final=was_asked_for)
        has_failed = health.failed_in == era
        if not ends_rest(verdict, before, has_failed_since=has_failed, was_asked_for=was_asked_for):
            return False
        return self.end_rest(backend, now, was_asked_for=was_asked_for)

    def end_rest(self, backend: Backend, now: float, *, was_asked_for: bool = False) -> bool:
        """A probe went well: an ejected backend gets its trials at once; whether it does now.

        Models get theirs where all that are known are ejected: then it looked as if the backend
        were.
        """
        state, settings = self.state(backend), backend.breaker
        ended = [state.breaker.end_rest(now, was_asked_for=was_asked_for)]
        if state.model_breakers.as_a_whole(settings, now) is not None:
            models = (one for _, one in state.model_breakers)
            ended += [one.end_rest(now, was_asked_for=was_asked_for) for one in models]
        return any(ended)

    def eject(self, backend: Backend, now: float) -> None:
        """An operator takes a backend out, for as long as its ejections last."""
        self.state(backend).breaker.force_open(now, backend.breaker.rest)

    def reset(self, backend: Backend, now: float) -> None:
        """An operator knows that a backend is well: all that speaks against it is forgotten."""
        state = self.state(backend)
        state.breaker.reset()
        state.model_breakers.clear()
        state.rest_until, state.on_probation = now, False
        state.failed_in_row = 0
        state.health.forget()

    def drain(self, backend: Backend) -> None:
        """An operator wants nothing new to go to a backend, until `enable`."""
        self.state(backend).drained = True

    def enable(self, backend: Backend) -> None:
        """The end of `drain` and of `eject`."""
        state = self.state(backend)
        state.drained = False
        if not state.breaker.is_closed:
            state.breaker.reset()

    def learn_models(self, backend: Backend, entries: Iterable[ModelEntry]) -> None:
        """A backend told of its models; what it told before is forgotten."""
        state, told = self.state(backend), tuple(entries)
        bare = {one.id.removesuffix(DEFAULT_TAG): one for one in told}
        by_name = {**bare, **{one.id: one for one in told}}
        state.entries = {name.casefold(): one for name, one in by_name.items()}
        state.listed = {name: one.id for name, one in state.entries.items()}
        state.context = {
            name: one.context for name, one in by_name.items() if one.context is not None
        }
        state.max_output = {
            name: one.max_output for name, one in by_name.items() if one.max_output is not None
        }

    def reconcile(self, snapshot: Snapshot) -> tuple[BackendKey, ...]:
        """Bring the states in line with a new snapshot.

        Returns the keys that are gone at once; those with attempts in flight drain, and the
        attempt that ends last says so.
        """
        wanted = {key_of(backend): backend for backend in snapshot.backends.values()}
        for key, backend in wanted.items():
            state = self._states.setdefault(key, BackendState(key, credential=backend.auth))
            state.draining = False
            if state.credential != backend.auth:
                state.credential = backend.auth
                state.rest_until = 0.0
            state.line.admit(backend.bounds)
        self.line.admit(snapshot.data.bounds)
        removed = [state for key, state in self._states.items() if key not in wanted]
        for state in removed:
            state.draining = True
        return tuple(state.key for state in removed if self.forget_if_gone(state))

    def forget_if_gone(self, state: BackendState) -> bool:
        """Drop the state of a removed backend that has nothing in flight; whether it did."""
        if state.draining and state.in_flight == 0:
            return self._states.pop(state.key, None) is not None
        return False
