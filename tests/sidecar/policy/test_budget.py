"""The retry budget: a share of the traffic and a floor, whatever the order of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.budget import BURST, BudgetSettings, RetryBudget

USUAL = BudgetSettings(share=0.2, floor=10)


def taken(budget: RetryBudget, settings: BudgetSettings, now: float, wanted: int = 10_000) -> int:
    """How many retries are allowed at one moment, up to `wanted`."""
    for count in range(wanted):
        if not budget.withdraw(settings, now):
            return count
    return wanted


def test_a_new_budget_is_full() -> None:
    assert taken(RetryBudget(), USUAL, now=1000.0) == BURST * (10 + 0.2)


def test_an_empty_budget_fills_by_time_and_by_requests() -> None:
    budget = RetryBudget()
    taken(budget, USUAL, now=0.0)
    assert taken(budget, USUAL, now=0.5) == 5
    for _ in range(11):
        budget.deposit(USUAL, 0.5)
    assert taken(budget, USUAL, now=0.5) == 2


def test_it_never_holds_more_than_full() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.deposit(USUAL, 0.0)
    assert taken(budget, USUAL, now=1e6) == 102


def test_new_settings_count_at_once() -> None:
    budget = RetryBudget()
    assert taken(budget, BudgetSettings(share=0.0, floor=0.5), now=0.0) == 5
    assert taken(budget, USUAL, now=0.0) == 0
    assert taken(budget, USUAL, now=1.0) == 10


def test_a_small_floor_still_gives_a_whole_retry() -> None:
    small = BudgetSettings(share=0.0, floor=0.01)
    budget = RetryBudget()
    assert taken(budget, small, now=0.0) == 1
    assert taken(budget, small, now=99.0) == 0
    assert taken(budget, small, now=101.0) == 1


def test_no_share_and_no_floor_means_no_retries() -> None:
    assert taken(RetryBudget(), BudgetSettings(share=0.0, floor=0.0), now=0.0) == 0


@pytest.mark.parametrize("now", [0.0, 100.0])
def test_a_clock_that_stands_still_earns_nothing(now: float) -> None:
    budget = RetryBudget()
    taken(budget, USUAL, now)
    assert taken(budget, USUAL, now) == 0


@given(
    share=st.floats(0, 1),
    floor=st.floats(0, 100),
    events=st.lists(st.tuples(st.booleans(), st.floats(0, 10)), max_size=300),
)
def test_retries_never_pass_share_and_floor(
    share: float, floor: float, events: list[tuple[bool, float]]
) -> None:
    settings, budget = BudgetSettings(share, floor), RetryBudget()
    full = max(1.0, BURST * (floor + share))
    now, requests, retries = 0.0, 0, 0
    for is_request, passed in events:
        now += passed
        if is_request:
            budget.deposit(settings, now)
            requests += 1
        else:
            retries += budget.withdraw(settings, now)
        assert retries <= full + share * requests + floor * now + 1e-6
