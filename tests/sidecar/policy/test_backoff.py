"""Pauses: exponential, half of it jitter, never past the cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.backoff import RetrySettings, pause

SETTINGS = RetrySettings(base=0.2, cap=5.0)


@pytest.mark.parametrize(
    ("tries", "draw", "seconds"),
    [(1, 0.0, 0.1), (1, 0.5, 0.15), (2, 0.0, 0.2), (3, 0.0, 0.4), (6, 0.0, 2.5), (60, 0.0, 2.5)],
)
def test_pauses_double_up_to_the_cap(tries: int, draw: float, seconds: float) -> None:
    assert pause(tries, SETTINGS, draw) == pytest.approx(seconds)


@given(
    tries=st.integers(1, 10_000),
    base=st.floats(0, 60),
    cap=st.floats(0, 600),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_lies_between_half_the_step_and_the_step(
    tries: int, base: float, cap: float, draw: float
) -> None:
    step = min(cap, base * 2.0 ** min(tries - 1, 30))
    assert step / 2 <= pause(tries, RetrySettings(base=base, cap=cap), draw) <= step
