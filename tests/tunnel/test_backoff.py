"""How long the pauses are, when they are short again, and what counts as a crash loop."""

from __future__ import annotations

import pytest

from tunnel.backoff import CRASHES, LIMITED, NAMED, QUICK, Backoff, Pace
from tunnel.events import Cause

ALMOST = 1 - 1e-9


def pauses(count: int, pace: Pace, draw: float, cause: Cause = Cause.EDGE) -> list[float]:
    """Those of so many failures, too far apart to be a crash loop."""
    backoff = Backoff()
    return [backoff.crashed(cause, pace, now=1000.0 * one, draw=draw) for one in range(count)]


@pytest.mark.parametrize(
    ("pace", "draw", "expected"),
    [
        (NAMED, 0.0, [0.5, 1, 2, 4, 8, 15, 15]),
        (NAMED, ALMOST, [1, 2, 4, 8, 16, 30, 30]),
        (QUICK, 0.0, [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150]),
        (QUICK, ALMOST, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
    ],
)
def test_pauses_double_up_to_the_cap(pace: Pace, draw: float, expected: list[float]) -> None:
    assert pauses(len(expected), pace, draw) == pytest.approx(expected)


def test_many_failures_overflow_nothing() -> None:
    assert pauses(5000, NAMED, 0.0)[-1] == 15


@pytest.mark.parametrize("draw", [0.0, 0.5, ALMOST])
def test_too_many_quick_tunnels_wait_a_minute_from_the_start(draw: float) -> None:
    told = pauses(6, QUICK, draw, Cause.QUICK_LIMITED)
    assert told[0] == LIMITED
    assert all(LIMITED <= one <= QUICK.cap for one in told)
    assert told[-1] == pytest.approx(QUICK.cap * (0.5 + draw / 2))


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 0.2), (0.5, 0.6), (ALMOST, 1.0)])
def test_the_first_restart_after_a_stable_run_is_soon(draw: float, expected: float) -> None:
    backoff = Backoff()
    for now in (0.0, 1000.0, 2000.0):
        backoff.crashed(Cause.EDGE, NAMED, now, draw)
    backoff.is_stable()
    first = backoff.crashed(Cause.UNKNOWN, NAMED, 3000.0, draw)
    second = backoff.crashed(Cause.UNKNOWN, NAMED, 4000.0, draw)
    assert first == pytest.approx(expected)
    assert second == pytest.approx(2 * (0.5 + draw / 2))


def test_one_that_replaced_itself_starts_at_once_but_only_once() -> None:
    backoff = Backoff()
    first = [backoff.crashed(Cause.UPDATED, NAMED, 1000.0 * one, 0.0) for one in range(4)]
    assert first == pytest.approx([0, 0.5, 1, 2])
    backoff.is_stable()
    assert backoff.crashed(Cause.UPDATED, NAMED, 9000.0, 0.0) == 0


@pytest.mark.parametrize(("apart", "is_loop"), [(1.0, True), (74.0, True), (76.0, False)])
def test_a_crash_loop_is_five_within_five_minutes(apart: float, is_loop: bool) -> None:
    backoff = Backoff()
    flags = []
    for one in range(CRASHES):
        backoff.crashed(Cause.EDGE, NAMED, one * apart, 0.0)
        flags.append(backoff.is_crash_loop)
    assert flags == [False] * (CRASHES - 1) + [is_loop]


def test_a_crash_loop_waits_for_the_cap_and_ends_with_a_stable_run() -> None:
    backoff = Backoff()
    told = [backoff.crashed(Cause.EDGE, QUICK, float(one), 0.0) for one in range(CRASHES + 1)]
    assert told[-2:] == [150, 150]
    backoff.is_stable()
    assert not backoff.is_crash_loop
    assert backoff.crashed(Cause.EDGE, QUICK, 10.0, 0.0) == pytest.approx(0.2)
    assert not backoff.is_crash_loop


@pytest.mark.parametrize(
    ("lived", "expected"), [(0.0, 15.0), (10.0, 5.0), (45.0, 0.2), (150.0, 0.2)]
)
def test_the_time_of_a_child_that_asked_in_vain_counts_as_a_pause(
    lived: float, expected: float
) -> None:
    backoff = Backoff(failures=9)
    assert backoff.missed(NAMED, lived, 0.0) == pytest.approx(expected)
    assert not backoff.is_crash_loop


@pytest.mark.parametrize(("pace", "seconds"), [(NAMED, 60), (QUICK, 600)])
def test_what_counts_as_stable(pace: Pace, seconds: float) -> None:
    assert pace.stable == seconds
