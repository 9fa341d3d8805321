"""The retry budget: retries may add a share to the traffic, plus a small floor.

A token bucket that requests and time fill and retries empty; it keeps a sick backend from being
beaten to death by retries. Settings come with every call, so a reload changes it at once.
"""

from dataclasses import dataclass

BURST = 10.0  # seconds of the floor, and as many requests' shares, that may be saved up


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """`share` of requests that may be retries, and retries a second that are always allowed."""

    share: float
    floor: float


class RetryBudget:
    """Tokens left for retries, shared by all requests."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens: float | None = None  # full at first use
        self._at = 0.0

    def _refill(self, settings: BudgetSettings, now: float, deposit: float) -> float:
        full = BURST * (settings.floor + settings.share)
        if full > 0:
            full = max(1.0, full)  # a small floor must still add up to one whole retry
        held = full if self._tokens is None else self._tokens
        earned = max(0.0, now - self._at) * settings.floor + deposit
        self._tokens = min(full, held + earned)
        self._at = now
        return self._tokens

    def deposit(self, settings: BudgetSettings, now: float) -> None:
        """A request has come in."""
        self._refill(settings, now, settings.share)

    def withdraw(self, settings: BudgetSettings, now: float) -> bool:
        """Whether one more retry is allowed; takes it."""
        tokens = self._refill(settings, now, 0.0)
        if tokens < 1.0:
            return False
        self._tokens = tokens - 1.0
        return True
