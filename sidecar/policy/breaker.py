"""The circuit breaker: ejects a backend, or its model, that fails, and lets it back by degrees.

        too many failures                  the rest is over, or a probe went well
 CLOSED ─────────────────▶ OPEN ◀────────────────────────────────▶ HALF_OPEN
    ▲                                       a trial failed             │
    └──────────────────────────────────────────────────────────────────┘
                       `trials` successes; then as many at once as have gone well

Settings come with every call, so that a reload changes them at once. `now` is monotonic seconds,
`draw` uniform in [0, 1). What an attempt that began before an ejection tells counts no more.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.policy.window import SlidingWindow

GROWTH = 1.5  # of the rest, with each opening after the first
MOST_GROWTHS = 32  # past any ceiling; keeps the power finite
JITTER = 0.2  # of a rest is left out at most, so that sidecars do not come back in step
RAMP_END = 64  # attempts at once, from which on a breaker that has closed bounds them no more
TRIAL_LOOK = 1.0  # seconds until it is worth while to look whether a trial has ended


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class RateSettings:
    """Opens when that `share` of at least `calls` calls within `window` seconds failed."""

    share: float = 0.5
    window: float = 60.0
    calls: int = 20


@dataclass(frozen=True, slots=True)
class SlowSettings:
    """Opens when that `share` of at least `calls` calls took `first_token` seconds or more."""

    share: float = 0.8
    first_token: float = 5.0
    calls: int = 20


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """`failures` in a row open it; `rest` and `ceiling` are seconds, `trials` attempts at once."""

    failures: int = 5
    rate: RateSettings = RateSettings()
    slow: SlowSettings | None = None  # over the window of `rate`
    rest: float = 30.0
    ceiling: float = 300.0
    trials: int = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the end of an attempt tells. None: nothing, such as where the client left.

    `words` say what went wrong.
    """

    is_failure: bool | None = None
    is_slow: bool | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What an attempt began with, to be handed in at its end."""

    era: int = 0
    state: BreakerState = BreakerState.CLOSED
    holds_place: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Whether an attempt may begin.

    `wait` is in seconds until it is worth asking again; `is_crowded` tells that others go first, if
    there are any.
    """

    may_pass: bool
    wait: float = 0.0
    is_crowded: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A backend, or one model of it, was ejected for `rest` seconds, or is back."""

    backend: str
    model: str | None
    is_back: bool
    why: str = ""
    rest: float = 0.0


_PASS, _CROWDED = Look(True), Look(True, is_crowded=True)
_TRIALS_UNDER_WAY = Look(False, TRIAL_LOOK)


@dataclass(slots=True)
class Breaker:
    """One breaker; `failures` are those in a row, `why` tells what it was opened for."""

    failures: int = 0
    openings: int = 0  # since it was last well for a while
    why: str = ""
    _state: BreakerState = BreakerState.CLOSED
    _era: int = 0  # openings; a ticket of an earlier one is void
    _until: float = 0.0  # when the rest is over
    _ended_early: bool = False
    _no_early_end_before: float = 0.0
    _in_flight: int = 0  # attempts that hold a place: trials, and those of the ramp
    _passed: int = 0  # trials that went well
    _ramp: int = 0  # attempts at once while it comes back; 0: any number
    _well_since: float = 0.0
    _seen: SlidingWindow = field(default_factory=SlidingWindow)

    @property
    def is_closed(self) -> bool:
        """Whether traffic flows."""
        return self._state is BreakerState.CLOSED

    @property
    def era(self) -> int:
        """Another one with each opening and each reset."""
        return self._era

    def state(self, now: float) -> BreakerState:
        """Where it stands."""
        if self._state is BreakerState.OPEN and now >= self._until:
            return BreakerState.HALF_OPEN
        return self._state

    def rest(self, now: float) -> float:
        """Seconds for which it is still open."""
        return self._until - now if self.state(now) is BreakerState.OPEN else 0.0

    def look(self, settings: BreakerSettings, now: float) -> Look:
        """Whether an attempt may begin now; claims nothing."""
        if self._state is BreakerState.CLOSED:
            return _CROWDED if 0 < self._ramp <= self._in_flight else _PASS
        if self._state is BreakerState.OPEN and now < self._until:
            return Look(False, self._until - now)
        return _PASS if self._in_flight < settings.trials else _TRIALS_UNDER_WAY

    def claim(self, now: float) -> Ticket:
        """An attempt begins, whatever `look` says."""
        self._advance(now)
        holds_place = self._state is BreakerState.HALF_OPEN or self._ramp > 0
        self._in_flight += holds_place
        return Ticket(self._era, self._state, holds_place)

    def settle(
        self, ticket: Ticket, told: Evidence, settings: BreakerSettings, now: float, draw: float
    ) -> None:
        """An attempt has ended."""
        if ticket.era != self._era:
            return
        self._advance(now)
        self._in_flight -= ticket.holds_place
        if self._state is BreakerState.CLOSED:
            self._settle_call(told, settings, now, draw)
        elif ticket.state is BreakerState.HALF_OPEN:
            self._settle_trial(told, settings, now, draw)
        elif told.is_failure is False:
            # it was asked while it was ejected, for want of another
            self._state = BreakerState.HALF_OPEN
            self._pass_trial(settings, now)

    def end_rest(self, now: float, *, was_asked_for: bool = False) -> bool:
        """Let trials through at once, for a probe went well; whether it did.

        Where such an end has just been followed by a failed trial, probes do not see what is wrong:
        then only time ends the rest, or a probe that an operator asked for.
        """
        is_held = now < self._no_early_end_before and not was_asked_for
        if self.state(now) is not BreakerState.OPEN or is_held:
            return False
        self._state, self._ended_early = BreakerState.HALF_OPEN, True
        return True

    def force_open(self, now: float, seconds: float, why: str = "by an operator") -> None:
        """Eject it for so many seconds."""
        self._enter_open(now + seconds)
        self.why = why

    def reset(self) -> None:
        """Close it, and forget."""
        self._era += 1
        self._state = BreakerState.CLOSED
        self.failures = self.openings = self._in_flight = self._ramp = 0
        self._no_early_end_before = 0.0
        self.why = ""
        self._seen.clear()

    def _advance(self, now: float) -> None:
        self._state = self.state(now)

    def _settle_call(
        self, told: Evidence, settings: BreakerSettings, now: float, draw: float
    ) -> None:
        if told.is_failure is None and told.is_slow is None:
            return
        self._seen.add(settings.rate.window, now, told.is_failure, told.is_slow)
        if told.is_failure:
            self.failures += 1
        elif told.is_failure is False:
            self.failures = 0
            if self._ramp:
                self._ramp = self._ramp + 1 if self._ramp + 1 < RAMP_END else 0
            if now - self._well_since >= settings.rate.window:
                self.openings = 0
        if why := self._excess(settings, now):
            words = f", the last: {told.words}" if told.is_failure and told.words else ""
            self._open(settings, now, draw, f"after {why}{words}")

    def _excess(self, settings: BreakerSettings, now: float) -> str:
        """What is too much, in words; empty where nothing is."""
        if self.failures >= settings.failures:
            return f"{self.failures} failures in a row" if self.failures > 1 else "a failure"
        rate, slow = settings.rate, settings.slow
        seen = self._seen.count(rate.window, now)
        if seen.calls >= rate.calls and seen.failed >= rate.share * seen.calls:
            return f"{seen.failed} failures in {seen.calls} calls"
        if slow and seen.timed >= slow.calls and seen.slow >= slow.share * seen.timed:
            return f"{seen.slow} of {seen.timed} calls without a token in {slow.first_token:g} s"
        return ""

    def _settle_trial(
        self, told: Evidence, settings: BreakerSettings, now: float, draw: float
    ) -> None:
        if told.is_failure is False:
            self._pass_trial(settings, now)
        elif told.is_failure:
            why = f"after a failed trial: {told.words}" if told.words else "after a failed trial"
            if self._ended_early:
                self._no_early_end_before = now + settings.rest * (1 - JITTER)
            if self._ended_early and now < self._until:
                self._enter_open(self._until)  # the rest goes on as if nobody had looked
                self.why = why
            else:
                self._open(settings, now, draw, why)

    def _pass_trial(self, settings: BreakerSettings, now: float) -> None:
        self._passed += 1
        if self._passed >= settings.trials:
            self._state = BreakerState.CLOSED
            self.failures, self._ramp, self._well_since = 0, settings.trials, now
            self._no_early_end_before = 0.0
            self.why = ""
            self._seen.clear()

    def _open(self, settings: BreakerSettings, now: float, draw: float, why: str) -> None:
        longest = settings.rest * GROWTH ** min(self.openings, MOST_GROWTHS)
        self._enter_open(now + min(settings.ceiling, longest) * (1 - JITTER * draw))
        self.openings += 1
        self.why = why

    def _enter_open(self, until: float) -> None:
        self._era += 1
        self._state, self._until, self._ended_early = BreakerState.OPEN, until, False
        self._in_flight = self._passed = self._ramp = 0
