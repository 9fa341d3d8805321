"""Calls and failures within the latest seconds, in a ring of coarse buckets: memory is constant."""

from dataclasses import dataclass, field

BUCKETS = 12


@dataclass(slots=True)
class Counts:
    """Calls, those that failed, those whose first token was timed, and those that were slow."""

    calls: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0


@dataclass(slots=True)
class SlidingWindow:
    """Forgets a call between a window and eleven twelfths of one after it; both times in seconds.

    Another window than before begins anew.
    """

    _window: float = 0.0
    _ring: list[tuple[int, Counts]] = field(default_factory=list)  # by number of the bucket

    def add(self, window: float, now: float, failed: bool | None, slow: bool | None) -> None:
        """One more call; None where it tells nothing of that."""
        if window != self._window:
            self._window, self._ring = window, []
        number = int(now / window * BUCKETS)
        if not self._ring or self._ring[-1][0] != number:
            self._ring = [*self._fresh(number), (number, Counts())]
        counts = self._ring[-1][1]
        if failed is not None:
            counts.calls += 1
            counts.failed += failed
        if slow is not None:
            counts.timed += 1
            counts.slow += slow

    def count(self, window: float, now: float) -> Counts:
        """What happened within the window that ends now."""
        total = Counts()
        if window != self._window:
            return total
        for _, counts in self._fresh(int(now / window * BUCKETS)):
            total.calls += counts.calls
            total.failed += counts.failed
            total.timed += counts.timed
            total.slow += counts.slow
        return total

    def clear(self) -> None:
        """Forget everything."""
        self._ring = []

    def _fresh(self, number: int) -> list[tuple[int, Counts]]:
        return [pair for pair in self._ring if pair[0] > number - BUCKETS]
