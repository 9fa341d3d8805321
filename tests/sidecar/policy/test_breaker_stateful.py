"""The breaker and the retry budget under any order of events, with a clock of their own."""

import math

from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sidecar.policy.breaker import (
    Breaker,
    BreakerSettings,
    BreakerState,
    Evidence,
    RateSettings,
    SlowSettings,
    Ticket,
)
from sidecar.policy.budget import BURST, BudgetSettings, RetryBudget
from sidecar.policy.window import BUCKETS

SETTINGS = st.builds(
    BreakerSettings,
    failures=st.integers(1, 6),
    rate=st.builds(RateSettings, st.floats(0.1, 1), st.floats(1, 100), st.integers(1, 30)),
    slow=st.none() | st.builds(SlowSettings, st.floats(0.1, 1), st.just(5.0), st.integers(1, 30)),
    rest=st.floats(1, 60),
    ceiling=st.floats(60, 300),
    trials=st.integers(1, 4),
)


class BreakerMachine(RuleBasedStateMachine):
    """Attempts begin only where the breaker lets them, but for those that are asked anyway."""

    @initialize(settings=SETTINGS)
    def begin(self, settings: BreakerSettings) -> None:
        self.settings, self.breaker, self.now = settings, Breaker(), 0.0
        self.held: list[Ticket] = []
        self.trials: list[Ticket] = []  # those of the present time on trial
        self.opened_until = 0.0
        self.successes = 0

    def _note(self, before: BreakerState) -> None:
        """Keep the model in step with a change of state."""
        now = self.breaker.state(self.now)
        if now is BreakerState.OPEN and before is not BreakerState.OPEN:
            self.opened_until = self.now + self.breaker.rest(self.now)
        if now is not BreakerState.HALF_OPEN:
            self.trials.clear()
        if now is BreakerState.OPEN:
            self.successes = 0

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def an_attempt_asks(self) -> None:
        look = self.breaker.look(self.settings, self.now)
        if not look.may_pass:
            assert 0 < look.wait < math.inf
            return
        state = self.breaker.state(self.now)
        assert state is not BreakerState.OPEN, "open lets nobody through before its time"
        ticket = self.breaker.claim(self.now)
        self.held.append(ticket)
        if state is BreakerState.HALF_OPEN:
            self.trials.append(ticket)

    @rule()
    def an_attempt_is_made_anyway(self) -> None:
        if self.breaker.state(self.now) is BreakerState.OPEN:
            self.held.append(self.breaker.claim(self.now))

    @precondition(lambda self: self.held)
    @rule(
        place=st.integers(0, 1000),
        told=st.builds(
            Evidence, st.sampled_from([True, False, None]), st.sampled_from([True, False, None])
        ),
        draw=st.floats(0, 1, exclude_max=True),
    )
    def an_attempt_ends(self, place: int, told: Evidence, draw: float) -> None:
        ticket = self.held.pop(place % len(self.held))
        before = self.breaker.state(self.now)
        if ticket in self.trials:
            self.trials.remove(ticket)
        was_trial = ticket.era == self.breaker._era and before is not BreakerState.CLOSED
        if was_trial and told.is_failure is False:
            self.successes += 1
        self.breaker.settle(ticket, told, self.settings, self.now, draw)
        after = self.breaker.state(self.now)
        if after is BreakerState.CLOSED and before is not BreakerState.CLOSED:
            assert self.successes == self.settings.trials, "it closes by that many successes"
        self._note(before)

    @rule()
    def a_probe_goes_well(self) -> None:
        before = self.breaker.state(self.now)
        if self.breaker.end_rest(self.now):
            assert before is BreakerState.OPEN
            assert self.breaker.look(self.settings, self.now).may_pass
        self._note(before)

    @rule()
    def an_operator_ejects(self) -> None:
        self.breaker.force_open(self.now, self.settings.rest)
        self.opened_until = self.now + self.settings.rest
        self._note(BreakerState.OPEN)

    @rule()
    def an_operator_resets(self) -> None:
        self.breaker.reset()
        assert self.breaker.state(self.now) is BreakerState.CLOSED
        self._note(BreakerState.OPEN)

    @rule(settings=SETTINGS)
    def the_configuration_changes(self, settings: BreakerSettings) -> None:
        # successes that were counted under other settings are not what is tested here
        if self.breaker.state(self.now) is BreakerState.CLOSED:
            self.settings = settings

    @invariant()
    def a_rest_has_its_bounds(self) -> None:
        rest = self.breaker.rest(self.now)
        assert 0 <= rest <= self.settings.ceiling
        if self.breaker.state(self.now) is BreakerState.OPEN:
            assert self.now + rest <= self.opened_until + 1e-6

    @invariant()
    def trials_are_few(self) -> None:
        assert len(self.trials) <= self.settings.trials

    @invariant()
    def no_place_is_lost(self) -> None:
        holding = [one for one in self.held if one.era == self.breaker._era and one.holds_place]
        assert self.breaker._in_flight == len(holding)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.breaker._seen._ring) <= BUCKETS


class BudgetMachine(RuleBasedStateMachine):
    """Whatever happens, retries add no more than a floor, a share and a burst."""

    @initialize(share=st.floats(0, 1), floor=st.floats(0, 50))
    def begin(self, share: float, floor: float) -> None:
        self.settings, self.budget = BudgetSettings(share, floor), RetryBudget()
        self.start = self.now = 1000.0
        self.requests = self.retries = 0
        self.refused_at: float | None = None

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 50))
    def requests_come(self, count: int) -> None:
        for _ in range(count):
            self.budget.deposit(self.settings, self.now)
        self.requests += count
        self.refused_at = None

    @rule(count=st.integers(1, 50))
    def retries_are_wanted(self, count: int) -> None:
        for _ in range(count):
            allowed = self.budget.withdraw(self.settings, self.now)
            self.retries += allowed
            if self.refused_at == self.now:
                assert not allowed, "nothing was earned since the last refusal"
            self.refused_at = None if allowed else self.now

    @invariant()
    def retries_stay_within_their_share(self) -> None:
        share, floor = self.settings.share, self.settings.floor
        burst = max(1.0, BURST * (share + floor))
        earned = floor * (self.now - self.start) + share * self.requests
        assert self.retries <= burst + earned + 1e-6
        if share == floor == 0:
            assert self.retries == 0


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = profile(max_examples=150, stateful_step_count=60, deadline=None)
TestBudget = BudgetMachine.TestCase
TestBudget.settings = profile(max_examples=100, stateful_step_count=40, deadline=None)
