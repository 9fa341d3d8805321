"""What ejects, for how long, and how it comes back."""

import pytest

from sidecar.policy.breaker import (
    GROWTH,
    JITTER,
    RAMP_END,
    TRIAL_LOOK,
    Breaker,
    BreakerSettings,
    BreakerState,
    Evidence,
    Look,
    RateSettings,
    SlowSettings,
    Ticket,
)

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
USUAL = BreakerSettings()
GOOD, BAD, NOTHING = Evidence(False), Evidence(True, words="refused"), Evidence()


def run(
    breaker: Breaker,
    told: Evidence,
    now: float,
    settings: BreakerSettings = USUAL,
    draw: float = 0.0,
) -> None:
    """One attempt, from begin to end at one moment."""
    breaker.settle(breaker.claim(now), told, settings, now, draw)


def opened(settings: BreakerSettings = USUAL, draw: float = 0.0) -> Breaker:
    """Ejected at 0."""
    breaker = Breaker()
    for _ in range(settings.failures):
        run(breaker, BAD, 0.0, settings, draw)
    assert breaker.state(0.0) is OPEN
    return breaker


# --- what opens it --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "opens"),
    [
        ([BAD] * 4, False),
        ([BAD] * 5, True),
        ([BAD] * 4 + [GOOD] + [BAD] * 4, False),
        ([BAD] * 4 + [NOTHING] * 3 + [BAD], True),
        ([NOTHING] * 9, False),
    ],
)
def test_failures_in_a_row(told: list[Evidence], opens: bool) -> None:
    breaker = Breaker()
    for one in told:
        run(breaker, one, 0.0)
    assert (breaker.state(0.0) is OPEN) is opens
    assert breaker.is_closed is not opens
    if opens:
        assert breaker.why == "after 5 failures in a row, the last: refused"


@pytest.mark.parametrize(
    ("failed", "well", "span", "opens"),
    [
        pytest.param(10, 10, 0.0, True, id="half of twenty"),
        pytest.param(9, 11, 0.0, False, id="less than half"),
        pytest.param(9, 9, 0.0, False, id="too few calls"),
        pytest.param(30, 30, 300.0, False, id="spread over five windows"),
        pytest.param(30, 30, 60.0, True, id="within one window"),
    ],
)
def test_the_share_of_failures(failed: int, well: int, span: float, opens: bool) -> None:
    breaker, total = Breaker(), failed + well
    story = [BAD if n * failed % total < failed else GOOD for n in range(total)]
    assert (story.count(BAD), max(failed, well) / total < 0.6) == (failed, True)
    for place, one in enumerate(story):
        if breaker.is_closed:
            run(breaker, one, span * place / total)
    assert breaker.is_closed is not opens
    if opens:
        assert " failures in " in breaker.why


def test_slow_calls_are_no_matter_unless_asked() -> None:
    slow, fast = Evidence(False, is_slow=True), Evidence(False, is_slow=False)
    asked = BreakerSettings(slow=SlowSettings())
    for settings, story, opens in [
        (USUAL, [slow] * 50, False),
        (asked, [slow] * 19, False),
        (asked, [slow] * 20, True),
        (asked, [fast] * 5 + [slow] * 19, False),
        (asked, [fast] * 4 + [slow] * 16, True),
        (asked, [GOOD] * 50 + [slow] * 20, True),
    ]:
        breaker = Breaker()
        for one in story:
            run(breaker, one, 0.0, settings)
        assert breaker.is_closed is not opens, story
        assert opens is (" calls without a token in 5 s" in breaker.why)


def test_new_settings_count_at_once() -> None:
    breaker = Breaker()
    for _ in range(4):
        run(breaker, BAD, 0.0)
    run(breaker, BAD, 0.0, BreakerSettings(failures=6))
    assert breaker.is_closed
    run(breaker, NOTHING, 0.0, BreakerSettings(failures=2))
    run(breaker, BAD, 0.0, BreakerSettings(failures=2, rest=7))
    assert breaker.rest(0.0) == 7


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_jitter_only_shortens_a_rest(draw: float) -> None:
    rest = opened(draw=draw).rest(0.0)
    assert rest == pytest.approx(30 * (1 - JITTER * draw))
    assert 24 <= rest <= 30


def test_while_it_is_open_nobody_passes_and_the_time_is_told() -> None:
    breaker = opened()
    assert breaker.look(USUAL, 10.0) == Look(False, 20.0)
    assert breaker.look(USUAL, 29.9).may_pass is False
    assert breaker.look(USUAL, 30.0) == Look(True)


def test_each_relapse_rests_longer_up_to_the_ceiling() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(9):
        rests.append(breaker.rest(now))
        now += rests[-1]
        run(breaker, BAD, now)
    assert rests[:3] == [30, 30 * GROWTH, 30 * GROWTH**2]
    assert rests[-1] == USUAL.ceiling
    assert breaker.why == "after a failed trial: refused"


def test_an_outage_of_a_minute_is_over_within_a_rest_of_its_end() -> None:
    for draw in (0.0, 0.999):
        breaker, now = opened(draw=draw), 0.0
        while now < 60:
            now += breaker.rest(now)
            run(breaker, BAD if now < 60 else GOOD, now, draw=draw)
        assert now <= 60 + 30
        assert breaker.state(now) is HALF_OPEN


def test_relapses_are_forgotten_after_it_was_well_for_a_window() -> None:
    for well_for, rest in [(59.0, 45.0), (60.0, 30.0)]:
        breaker = opened()
        for _ in range(3):
            run(breaker, GOOD, 30.0)
        assert breaker.is_closed
        run(breaker, GOOD, 30.0 + well_for)
        for _ in range(5):
            run(breaker, BAD, 100.0)
        assert breaker.rest(100.0) == rest


# --- on trial -------------------------------------------------------------------------------------


def test_three_trials_at_once_and_three_successes_close_it() -> None:
    breaker = opened()
    tickets = []
    for _ in range(3):
        assert breaker.look(USUAL, 30.0).may_pass
        tickets.append(breaker.claim(30.0))
    assert breaker.look(USUAL, 30.0) == Look(False, TRIAL_LOOK)
    breaker.settle(tickets[0], GOOD, USUAL, 31.0, 0.0)
    assert breaker.look(USUAL, 31.0).may_pass, "its place is free"
    breaker.settle(tickets[1], GOOD, USUAL, 31.0, 0.0)
    assert breaker.state(31.0) is HALF_OPEN
    breaker.settle(tickets[2], GOOD, USUAL, 32.0, 0.0)
    assert breaker.state(32.0) is CLOSED
    assert (breaker.why, breaker.failures) == ("", 0)


def test_a_failed_trial_opens_it_and_voids_the_others() -> None:
    breaker = opened()
    first, second, third = (breaker.claim(30.0) for _ in range(3))
    breaker.settle(first, BAD, USUAL, 31.0, 0.0)
    assert breaker.rest(31.0) == 45.0
    breaker.settle(second, GOOD, USUAL, 32.0, 0.0)
    breaker.settle(third, BAD, USUAL, 33.0, 0.0)
    assert breaker.rest(33.0) == 43.0, "what began before tells nothing"


def test_a_trial_that_tells_nothing_only_frees_its_place() -> None:
    breaker = opened()
    tickets = [breaker.claim(30.0) for _ in range(3)]
    breaker.settle(tickets[0], NOTHING, USUAL, 31.0, 0.0)
    assert breaker.state(31.0) is HALF_OPEN
    assert breaker.look(USUAL, 31.0).may_pass


def test_attempts_in_flight_when_it_opens_tell_nothing_more() -> None:
    breaker = Breaker()
    crowd = [breaker.claim(0.0) for _ in range(20)]
    for ticket in crowd[:19]:
        breaker.settle(ticket, BAD, USUAL, 1.0, 0.0)
    breaker.settle(crowd[19], GOOD, USUAL, 2.0, 0.0)
    assert (breaker.openings, breaker.rest(2.0)) == (1, 29.0)


# --- back by degrees ------------------------------------------------------------------------------


def back(now: float = 30.0) -> Breaker:
    breaker = opened()
    for _ in range(3):
        run(breaker, GOOD, now)
    assert breaker.is_closed
    return breaker


def test_it_comes_back_by_degrees() -> None:
    breaker = back()
    held = [breaker.claim(30.0) for _ in range(3)]
    assert breaker.look(USUAL, 30.0) == Look(True, is_crowded=True)
    breaker.settle(held.pop(), GOOD, USUAL, 31.0, 0.0)
    held += [breaker.claim(31.0)]
    assert breaker.look(USUAL, 31.0) == Look(True), "four at once now"
    held += [breaker.claim(31.0)]
    assert breaker.look(USUAL, 31.0).is_crowded
    for _ in range(RAMP_END):
        breaker.settle(held.pop(0), GOOD, USUAL, 32.0, 0.0)
        held += [breaker.claim(32.0)]
    many = [breaker.claim(32.0) for _ in range(1000)]
    assert breaker.look(USUAL, 32.0) == Look(True), "as many as will"
    for ticket in (*held, *many):
        breaker.settle(ticket, NOTHING, USUAL, 33.0, 0.0)
    assert breaker.look(USUAL, 33.0) == Look(True)


def test_one_that_has_never_failed_bounds_nobody() -> None:
    breaker = Breaker()
    for _ in range(1000):
        breaker.claim(0.0)
    assert breaker.look(USUAL, 0.0) == Look(True)


# --- probes and operators -------------------------------------------------------------------------


def test_a_probe_that_went_well_ends_a_rest_at_once() -> None:
    breaker = opened()
    assert breaker.end_rest(5.0) is True
    assert breaker.state(5.0) is HALF_OPEN
    assert breaker.end_rest(5.0) is False, "there is nothing to end"
    assert Breaker().end_rest(0.0) is False


def test_probes_that_do_not_see_the_fault_are_not_believed_for_a_while() -> None:
    breaker = opened()
    breaker.end_rest(5.0)
    run(breaker, BAD, 6.0)
    assert breaker.rest(6.0) == 24.0, "the rest goes on as if nobody had looked"
    assert breaker.end_rest(7.0) is False
    assert breaker.end_rest(6.0 + 23.9) is False
    run(breaker, BAD, 30.0)
    assert breaker.rest(30.0) == 45.0, "a relapse"
    assert breaker.end_rest(30.1) is True, "believed once more"


def test_a_late_failure_of_an_early_trial_is_a_relapse() -> None:
    breaker = opened()
    breaker.end_rest(5.0)
    trial = breaker.claim(5.0)
    breaker.settle(trial, BAD, USUAL, 65.0, 0.0)
    assert breaker.rest(65.0) == 45.0


def test_an_operator_ejects_and_resets() -> None:
    breaker = Breaker()
    before = breaker.claim(0.0)
    breaker.force_open(0.0, 30.0)
    assert (breaker.rest(0.0), breaker.why) == (30.0, "by an operator")
    breaker.settle(before, GOOD, USUAL, 1.0, 0.0)
    assert breaker.state(1.0) is OPEN
    assert breaker.end_rest(2.0) is True
    breaker.reset()
    assert breaker.look(USUAL, 2.0) == Look(True)
    assert (breaker.openings, breaker.failures, breaker.why) == (0, 0, "")


def test_a_reset_forgets_what_was_counted() -> None:
    breaker = opened(BreakerSettings(failures=100, rate=RateSettings(calls=100)))
    breaker.reset()
    for _ in range(4):
        run(breaker, BAD, 1.0)
    assert breaker.is_closed


# --- asked all the same ---------------------------------------------------------------------------


def test_who_is_asked_while_ejected_may_prove_to_be_well() -> None:
    breaker = opened()
    run(breaker, BAD, 5.0)
    assert breaker.rest(5.0) == 25.0, "a failure is no news"
    run(breaker, GOOD, 6.0)
    assert breaker.state(6.0) is HALF_OPEN
    run(breaker, GOOD, 6.0)
    run(breaker, GOOD, 6.0)
    assert breaker.is_closed


def test_an_old_ticket_is_void() -> None:
    breaker = opened()
    breaker.settle(Ticket(), GOOD, USUAL, 1.0, 0.0)
    assert breaker.state(1.0) is OPEN
