"""When the next child may be started: pauses that grow, and the count of crashes. Pure.

Only a stable run makes the pauses short again, never a mere start; nothing here gives up.
`now` is monotonic seconds, `draw` uniform in [0, 1).
"""

from dataclasses import dataclass, field

from tunnel.events import Cause

BASE = 1.0  # seconds; doubles with each failure
SOON = 0.2  # the shortest pause after a stable run
LIMITED = 60.0  # the shortest pause after "too many quick tunnels from here"
STABLE = 60.0  # seconds; at least this long a child must carry to count as stable
CRASHES = 5  # within WINDOW: a crash loop
WINDOW = 300.0
PARKED = 300.0  # between tries while somebody must change something
MISSING = 30.0  # between looks for a program, which cost nothing and are told once
REMEMBERED = 16  # failures; more tell nothing


@dataclass(frozen=True, slots=True)
class Pace:
    """`cap` is the longest pause in seconds."""

    cap: float

    @property
    def stable(self) -> float:
        """Seconds that a child must carry until its predecessors' failures are forgotten."""
        return max(STABLE, 2 * self.cap)


NAMED = Pace(30.0)
QUICK = Pace(300.0)  # a service that anybody may use counts how often it is asked


@dataclass(slots=True)
class Backoff:
    """The failures since the last stable run."""

    failures: int = 0
    is_crash_loop: bool = False
    _was_stable: bool = False
    _has_updated: bool = False
    _crashes: list[float] = field(default_factory=list)

    def crashed(self, cause: Cause, pace: Pace, now: float, draw: float) -> float:
        """A child ended by itself, hung, or could not be spawned; returns the pause in seconds.

        One that replaced its own file starts again at once, but only once until a stable run.
        """
        self._crashes = [one for one in self._crashes if now - one < WINDOW][-REMEMBERED:]
        self._crashes.append(now)
        self.is_crash_loop = self.is_crash_loop or len(self._crashes) >= CRASHES
        if cause is Cause.UPDATED and not self._has_updated:
            self._has_updated = True
            return 0.0
        return self._pause(cause, pace, draw)

    def missed(self, pace: Pace, lived: float, draw: float) -> float:
        """A child that ran for `lived` seconds was ended because it had no connection.

        That time counts as a pause: it asked the edge all the while, and when the edge is back the
        next one must not sit idle.
        """
        return max(SOON + (BASE - SOON) * draw, self._pause(Cause.EDGE, pace, draw) - lived)

    def is_stable(self) -> None:
        """A child has carried for as long as its pace asks."""
        self.failures, self.is_crash_loop, self._was_stable = 0, False, True
        self._has_updated = False
        self._crashes.clear()

    def _pause(self, cause: Cause, pace: Pace, draw: float) -> float:
        self.failures += 1
        if self.failures == 1 and self._was_stable and cause is not Cause.QUICK_LIMITED:
            self._was_stable = False
            return SOON + (BASE - SOON) * draw
        self._was_stable = False
        base = LIMITED if cause is Cause.QUICK_LIMITED else BASE
        step = min(pace.cap, base * 2.0 ** min(self.failures - 1, 30))
        if self.is_crash_loop:
            step = pace.cap
        return max(0.0 if base == BASE else base, step * (0.5 + draw / 2))
