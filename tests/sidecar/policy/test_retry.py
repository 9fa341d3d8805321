"""History in, step out: each rule of the outcome table and of the fallback chain."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.availability import READY, Availability, Standing
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.outcome import OUTCOMES, Disposition, Outcome
from sidecar.policy.retry import GiveUp, Moment, Step, Try, Wait, next_step, rest_after
from sidecar.policy.routing import Candidate, Plan
from tests.sidecar.policy.plans import TIMEOUTS, F, G, P, failure, plan_of, success

K, D, A = ProblemKind, Disposition, Availability
FLAT = RetrySettings(attempts=2, max_wait=3.0, base=0.2, cap=5.0)
RETRIED = (K.CONNECT, K.BACKEND_ERROR, K.OVERLOADED)
STOPPED = [kind for kind, rule in OUTCOMES.items() if rule.disposition in (D.FINAL, D.IGNORED)]
PASSED_ON = [kind for kind, rule in OUTCOMES.items() if rule.disposition is D.FAIL_OVER]


def step(  # noqa: PLR0913  # each stands for one thing that a row may set
    history: Sequence[Outcome],
    plan: Plan | None = None,
    *,
    standings: Mapping[int, Standing] | None = None,
    may_retry: Callable[[], bool] = lambda: True,
    time_left: float = float("inf"),
    waited: float = 0.0,
    draw: float = 0.0,
) -> Step:
    return next_step(
        plan or plan_of(retry=FLAT),
        history,
        Moment(time_left, waited, draw),
        standing_of=lambda place: (standings or {}).get(place, READY),
        may_retry=may_retry,
    )


def resting(rests: Mapping[int, float]) -> dict[int, Standing]:
    return {place: Standing(A.RESTING, rest) for place, rest in rests.items()}


def never() -> bool:
    return False


def test_the_first_step_asks_the_first_candidate_at_once() -> None:
    assert step([]) == Try(P)


def test_a_plan_without_candidates_is_given_up() -> None:
    assert step([], plan_of(0)) == GiveUp()


def test_after_a_success_there_is_nothing_to_do() -> None:
    assert step([success(P)]) == GiveUp()


@pytest.mark.parametrize("kind", RETRIED)
def test_what_may_pass_is_tried_again_on_the_same_backend(kind: ProblemKind) -> None:
    assert step([failure(P, kind)]) == Try(P, 0.1)


@pytest.mark.parametrize("kind", RETRIED)
@pytest.mark.parametrize("attempts", [0, 1, 2, 5])
def test_attempts_are_retries_per_target(kind: ProblemKind, attempts: int) -> None:
    plan = plan_of(retry=RetrySettings(attempts=attempts))
    history: list[Outcome] = []
    for _ in range(attempts + 1):
        found = step(history, plan)
        assert isinstance(found, Try) and found.candidate == P
        history.append(failure(P, kind))
    assert step(history, plan) == Try(F)
    history.append(failure(F, kind))
    again = step(history, plan)
    assert again == (Try(F, 0.1) if attempts else GiveUp())


@pytest.mark.parametrize("kind", PASSED_ON)
def test_what_will_not_pass_goes_to_the_next_candidate_at_once(kind: ProblemKind) -> None:
    assert step([failure(P, kind)]) == Try(F)
    assert step([failure(P, kind), failure(F, kind)]) == GiveUp()


@pytest.mark.parametrize("kind", STOPPED)
def test_what_nobody_else_would_like_better_is_final(kind: ProblemKind) -> None:
    assert step([failure(P, kind)]) == GiveUp()


def test_pauses_grow_and_start_anew_on_the_next_candidate() -> None:
    one = [failure(P, K.CONNECT)]
    two = [*one, failure(P, K.CONNECT)]
    over = [*two, failure(P, K.CONNECT), failure(F, K.CONNECT)]
    assert step(two) == Try(P, 0.2)
    assert step(over) == Try(F, 0.1)


def test_a_route_may_move_a_row_of_the_table() -> None:
    moved = {K.CONTENT_REFUSED: D.FAIL_OVER, K.TIMEOUT: D.RETRY_SAME, K.BACKEND_ERROR: D.FINAL}
    plan = plan_of(retry=FLAT, on=moved)
    assert step([failure(P, K.CONTENT_REFUSED, on=moved)], plan) == Try(F)
    assert step([failure(P, K.TIMEOUT, on=moved)], plan) == Try(P, 0.1)
    assert step([failure(P, K.BACKEND_ERROR, on=moved)], plan) == GiveUp()


# --- a backend that says when it may be asked again -----------------------------------------------


@pytest.mark.parametrize(
    ("kind", "retry_after", "expected"),
    [
        pytest.param(K.RATE_LIMITED, 2.0, Try(P, 2.0), id="429 within max_wait"),
        pytest.param(K.RATE_LIMITED, 3.0, Try(P, 3.0), id="429 at max_wait"),
        pytest.param(K.RATE_LIMITED, 3.1, Try(F), id="429 past max_wait"),
        pytest.param(K.RATE_LIMITED, None, Try(F), id="429 without a word"),
        pytest.param(K.RATE_LIMITED, 0.0, Try(P, 0.1), id="429 that says now"),
        pytest.param(K.OVERLOADED, 2.0, Try(P, 2.0), id="503 within max_wait"),
        pytest.param(K.OVERLOADED, 60.0, Try(F), id="503 past max_wait"),
        pytest.param(K.OVERLOADED, None, Try(P, 0.1), id="503 without a word"),
    ],
)
def test_retry_after(kind: ProblemKind, retry_after: float | None, expected: Step) -> None:
    assert step([failure(P, kind, retry_after)]) == expected


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.999])
def test_a_retry_never_comes_earlier_than_the_backend_says(draw: float) -> None:
    found = step([failure(P, K.RATE_LIMITED, 2.0)], draw=draw)
    assert isinstance(found, Try) and 2.0 <= found.after <= 2.2


def test_a_rate_limit_is_waited_for_once() -> None:
    limited = failure(P, K.RATE_LIMITED, 1.0)
    assert step([limited, limited]) == Try(F)
    assert step([limited, limited], plan_of(1, FLAT)) == GiveUp()


def test_a_rate_limit_counts_among_the_attempts() -> None:
    assert step([failure(P, K.RATE_LIMITED, 1.0)], plan_of(retry=RetrySettings(0))) == Try(F)
    mixed = [failure(P, K.BACKEND_ERROR), failure(P, K.RATE_LIMITED, 1.0)]
    assert step(mixed) == Try(P, 1.0)
    assert step([*mixed, failure(P, K.BACKEND_ERROR)]) == Try(F)


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (success(P), 0.0),
        (failure(P, K.RATE_LIMITED), 5.0),
        (failure(P, K.RATE_LIMITED, 2.0), 2.0),
        (failure(P, K.RATE_LIMITED, 86_400.0), 300.0),
        (failure(P, K.OVERLOADED), 0.0),
        (failure(P, K.OVERLOADED, 20.0), 20.0),
        (failure(P, K.BACKEND_ERROR, 20.0), 0.0),
        (failure(P, K.TIMEOUT), 0.0),
    ],
)
def test_how_long_a_backend_rests(outcome: Outcome, seconds: float) -> None:
    assert rest_after(outcome) == seconds


# --- backends that rest ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rests", "time_left", "expected"),
    [
        pytest.param({P: 5}, 100, Try(F), id="one that is ready goes before one that rests"),
        pytest.param({P: 2, F: 1}, 100, Wait(1), id="the soonest is waited for"),
        pytest.param({P: 1, F: 1}, 100, Wait(1), id="the order of the file"),
        pytest.param({P: 5, F: 4}, 100, GiveUp(), id="none within max_wait"),
        pytest.param({P: 2, F: 2}, 1, GiveUp(), id="none within the deadline"),
    ],
)
def test_resting_backends(rests: dict[int, float], time_left: float, expected: Step) -> None:
    assert step([], standings=resting(rests), time_left=time_left) == expected


def test_a_fallback_that_rests_is_passed_over() -> None:
    history = [failure(P, K.TIMEOUT)]
    assert step(history, plan_of(3, FLAT), standings=resting({F: 2})) == Try(G)
    assert step(history, plan_of(2, FLAT), standings=resting({F: 2})) == Wait(2)
    assert step(history, plan_of(2, FLAT), standings=resting({F: 20})) == GiveUp()


def test_a_candidate_that_was_passed_over_may_still_get_its_turn() -> None:
    history = [failure(F, K.TIMEOUT)]
    assert step(history, standings=resting({P: 1})) == Wait(1)


def test_waits_for_rests_add_up_to_max_wait() -> None:
    rests = resting({P: 1.0, F: 1.0})
    assert step([], standings=rests, waited=2.0) == Wait(1.0)
    assert step([], standings=rests, waited=2.1) == GiveUp()


# --- backends that may not be asked -------------------------------------------------------------

EJECTED, CROWDED = Standing(A.EJECTED, 20.0), Standing(A.READY, is_crowded=True)
FULL, DRAINED = Standing(A.FULL, math.inf), Standing(A.DRAINING, math.inf)
UNHEALTHY, RESTS = Standing(A.UNHEALTHY, 5.0), Standing(A.RESTING, 1.0)


@pytest.mark.parametrize(
    ("standings", "expected"),
    [
        pytest.param([EJECTED], Try(F), id="an ejected one is passed over"),
        pytest.param([UNHEALTHY, DRAINED], Try(G), id="so is an unhealthy and a drained one"),
        pytest.param([FULL], Try(F), id="so is a full one"),
        pytest.param([CROWDED], Try(F), id="a crowded one gives way to who is ready"),
        pytest.param([EJECTED, CROWDED], Try(G), id="whoever that is"),
        pytest.param([CROWDED, EJECTED, FULL], Try(P), id="a crowded one is asked for want"),
        pytest.param([CROWDED, CROWDED, RESTS], Try(P), id="the order of the file among those"),
        pytest.param([EJECTED, RESTS, FULL], Wait(1.0), id="only a rest is waited for"),
        pytest.param([Standing(A.EJECTED, 0.1)] * 3, GiveUp(), id="an ejection never is"),
        pytest.param([UNHEALTHY, DRAINED, FULL], GiveUp(), id="nor anything else"),
    ],
)
def test_who_may_be_asked(standings: list[Standing], expected: Step) -> None:
    assert step([], plan_of(3, FLAT), standings=dict(enumerate(standings))) == expected


@pytest.mark.parametrize(
    ("kind", "standing", "expected"),
    [
        (K.OVERLOADED, READY, Try(P, 0.1)),
        (K.OVERLOADED, CROWDED, Try(P, 0.1)),
        (K.OVERLOADED, EJECTED, Try(F)),
        (K.CONNECT, EJECTED, Try(F)),
        (K.CONNECT, UNHEALTHY, Try(F)),
        (K.CONNECT, DRAINED, Try(F)),
        (K.CONNECT, Standing(A.RESTING, 60.0), Try(F)),
        (K.UNSUPPORTED, EJECTED, Try(F)),
        (K.UNSUPPORTED, CROWDED, Try(P)),
        (K.UNMET, EJECTED, Try(F)),
    ],
)
def test_a_backend_that_was_ejected_meanwhile_is_not_asked_again(
    kind: ProblemKind, standing: Standing, expected: Step
) -> None:
    assert step([failure(P, kind)], standings={P: standing}) == expected


def test_a_retry_waits_out_the_rest_that_the_backend_asked_for() -> None:
    limited = [failure(P, K.RATE_LIMITED, 2.0)]
    assert step(limited, standings=resting({P: 2.0})) == Try(P, 2.0)
    assert step(limited, standings=resting({P: 2.5})) == Try(F)


def test_a_retry_that_is_not_made_takes_nothing_from_the_budget() -> None:
    asked: list[None] = []

    def may_retry() -> bool:
        asked.append(None)
        return True

    step([failure(P, K.CONNECT)], standings={P: EJECTED}, may_retry=may_retry)
    assert not asked


@pytest.mark.parametrize(
    ("standings", "history", "expected"),
    [
        pytest.param([EJECTED, Standing(A.EJECTED, 9.0)], [], Try(F), id="whose rest ends first"),
        pytest.param([EJECTED, UNHEALTHY], [], Try(F), id="or who is probed first"),
        pytest.param([EJECTED, FULL], [], Try(P), id="never a full one"),
        pytest.param([DRAINED, FULL], [], GiveUp(), id="nor a drained one"),
        pytest.param([EJECTED, RESTS], [], Wait(1.0), id="a short rest is waited for first"),
        pytest.param([EJECTED, Standing(A.RESTING, 60.0)], [], Try(P), id="a long one is not"),
        pytest.param([EJECTED, EJECTED], [failure(P, K.OVERLOADED)], GiveUp(), id="once"),
        pytest.param([READY, EJECTED], [failure(P, K.TIMEOUT)], GiveUp(), id="not as a fallback"),
    ],
)
def test_a_route_may_try_what_is_ejected(
    standings: list[Standing], history: list[Outcome], expected: Step
) -> None:
    plan = plan_of(2, FLAT)
    tries = replace(plan, route=replace(plan.route, tries_ejected=True))
    told = dict(enumerate(standings))
    assert step(history, tries, standings=told) == expected
    if expected != Wait(1.0):
        assert step(history, plan, standings=told) == GiveUp(), "unless it says so"


# --- context lengths ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param((8_000, 32_000, None), Try(F), id="larger"),
        pytest.param((8_000, None, None), Try(F), id="not declared"),
        pytest.param((None, 8_000, None), Try(F), id="the first did not declare its own"),
        pytest.param((8_000, 8_000, 32_000), Try(G), id="the same size is passed over"),
        pytest.param((8_000, 4_000, 8_000), GiveUp(), id="nobody has more room"),
    ],
)
def test_too_long_for_one_goes_to_a_larger_one(
    context: tuple[int | None, ...], expected: Step
) -> None:
    plan = plan_of(3, FLAT, context)
    assert step([failure(P, K.CONTEXT_LENGTH)], plan) == expected


def test_the_same_model_of_a_backend_is_not_asked_twice_for_what_is_too_long() -> None:
    twice = Candidate("primary", "m", TIMEOUTS)
    other = Candidate("primary", "larger", TIMEOUTS)
    same = Plan(plan_of().route, (twice, twice))
    assert step([failure(P, K.CONTEXT_LENGTH)], same) == GiveUp()
    assert step([failure(P, K.CONTEXT_LENGTH)], Plan(same.route, (twice, other))) == Try(F)


def test_every_refusal_for_length_counts() -> None:
    plan = plan_of(3, FLAT, (8_000, 32_000, 16_000))
    history = [failure(P, K.CONTEXT_LENGTH), failure(F, K.CONTEXT_LENGTH)]
    assert step(history, plan) == GiveUp()
    later = [failure(P, K.CONTEXT_LENGTH), failure(F, K.TIMEOUT)]
    assert step(later, plan) == Try(G)


# --- time and budget ------------------------------------------------------------------------------


def test_no_retry_that_the_deadline_would_cut_off() -> None:
    limited = [failure(P, K.RATE_LIMITED, 2.0)]
    assert step(limited, time_left=1.9) == Try(F)
    assert step(limited, time_left=2.0) == Try(F)  # nothing would be left of it for the answer
    assert step(limited, time_left=2.1) == Try(P, 2.0)


def test_without_budget_the_failover_comes_at_once() -> None:
    assert step([failure(P, K.BACKEND_ERROR)], may_retry=never) == Try(F)
    assert step([failure(P, K.BACKEND_ERROR)], plan_of(1), may_retry=never) == GiveUp()


@pytest.mark.parametrize(
    ("history", "plan", "taken"),
    [
        pytest.param([], plan_of(), 0, id="a first try is free"),
        pytest.param([failure(P, K.TIMEOUT)], plan_of(), 0, id="a failover is free"),
        pytest.param([failure(P, K.CONNECT)], plan_of(), 1, id="a retry costs one"),
        pytest.param(
            [failure(P, K.CONNECT)] * 3, plan_of(), 0, id="no retry, nothing taken: attempts"
        ),
        pytest.param(
            [failure(P, K.RATE_LIMITED, 9)], plan_of(), 0, id="no retry, nothing taken: too long"
        ),
    ],
)
def test_only_a_retry_takes_from_the_budget(history: list[Outcome], plan: Plan, taken: int) -> None:
    asked: list[None] = []

    def may_retry() -> bool:
        asked.append(None)
        return True

    step(history, plan, may_retry=may_retry)
    assert len(asked) == taken


# --- features that are refused, answers that are not what was asked for ---------------------------


def test_a_refused_feature_is_left_out_at_once_whatever_the_budget_says() -> None:
    refused = [failure(P, K.UNSUPPORTED)]
    assert step(refused) == Try(P)
    assert step(refused, may_retry=never) == Try(P)
    assert step(refused, plan_of(retry=RetrySettings(attempts=0))) == Try(P)
    assert step([failure(P, K.TIMEOUT), failure(F, K.UNSUPPORTED)]) == Try(F)


def test_time_that_is_up_ends_that_too() -> None:
    assert step([failure(P, K.UNSUPPORTED)], time_left=0) == GiveUp()


def test_a_request_that_cannot_be_sent_again_is_not() -> None:
    gone = replace(failure(P, K.UNSUPPORTED), disposition=D.FINAL)
    assert step([gone]) == GiveUp()


def test_a_refused_feature_counts_among_the_tries_of_what_fails_next() -> None:
    history = [failure(P, K.UNSUPPORTED), failure(P, K.BACKEND_ERROR)]
    assert step(history) == Try(P, 0.2)
    assert step(history, plan_of(retry=RetrySettings(attempts=1))) == Try(F)


def test_a_model_that_did_not_do_it_is_asked_again_and_then_another_one() -> None:
    unmet = failure(P, K.UNMET)
    assert step([unmet]) == Try(P, 0.1)
    assert step([unmet] * 3) == Try(F)
    assert step([unmet], may_retry=never) == Try(F)


def test_what_one_dialect_has_no_words_for_goes_to_the_next_one() -> None:
    assert step([failure(P, K.CANNOT_TRANSLATE)]) == Try(F)


def test_another_key_is_tried_at_once_whatever_the_budget_says() -> None:
    refused = replace(failure(P, K.BACKEND_AUTH), disposition=D.RETRY_SAME, at_once=True)
    assert step([refused], may_retry=never) == Try(P)
    assert step([refused, failure(P, K.BACKEND_AUTH)]) == Try(F)
