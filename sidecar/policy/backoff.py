"""Pauses between tries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """`attempts` are retries per target; the rest is in seconds.

    `max_wait` bounds the wait for a backend that says when it may be asked again.
    """

    attempts: int = 2
    max_wait: float = 3.0
    base: float = 0.2
    cap: float = 5.0


def pause(tries: int, settings: RetrySettings, draw: float) -> float:
    """Seconds before the next try after `tries` failed ones: exponential, half of it jitter.

    `draw` is uniform in [0, 1); the result lies between half the exponential step and all of it.
    """
    step = min(settings.cap, settings.base * 2.0 ** min(tries - 1, 30))
    return float(step * (0.5 + draw / 2))
