"""Which breaker an attempt's end concerns: the backend's, its model's, or both."""

from typing import Any

import pytest

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.availability import Availability
from sidecar.policy.breaker import BreakerSettings, BreakerState, Change, SlowSettings
from sidecar.policy.outcome import OUTCOMES, Disposition, Outcome
from sidecar.runtime.ejection import MODELS_KEPT
from sidecar.runtime.store import RuntimeStore
from tests.sidecar.examples import backend, failed, snapshot, succeeded

K, A = ProblemKind, Availability
HOME = backend("home")
SLOW = backend("home", breaker=BreakerSettings(slow=SlowSettings(calls=3)))


def new() -> RuntimeStore:
    store = RuntimeStore()
    store.reconcile(snapshot([HOME]))
    return store


def run(
    store: RuntimeStore, outcome: Outcome, model: str | None = "m", now: float = 0.0, times: int = 1
) -> tuple[Change, ...]:
    """Attempts one after the other; what the last of them has changed."""
    changes: tuple[Change, ...] = ()
    for _ in range(times):
        attempt = store.begin(HOME, now, model)
        attempt.settle(outcome, now, 0.0)
        changes = attempt.changes
    return changes


def fails(store: RuntimeStore, kind: ProblemKind, model: str | None = "m", times: int = 5) -> None:
    run(store, failed("home", kind), model, times=times)


def of(store: RuntimeStore, model: str | None, now: float = 0.0) -> Availability:
    return store.standing(HOME, model, now).availability


@pytest.mark.parametrize("kind", [kind for kind, rule in OUTCOMES.items() if rule.blames])
def test_five_failures_eject_whose_they_are(kind: ProblemKind) -> None:
    store = new()
    fails(store, kind, "m", times=4)
    assert of(store, "m") is A.READY
    fails(store, kind, "m", times=1)
    assert of(store, "m") is A.EJECTED
    only_the_model = kind in (K.TIMEOUT, K.MODEL_FAILED)
    assert (of(store, "other") is A.READY) is only_the_model
    assert store.state(HOME).breaker.is_closed is only_the_model


@pytest.mark.parametrize("kind", [kind for kind, rule in OUTCOMES.items() if not rule.blames])
def test_what_blames_nobody_ejects_nobody(kind: ProblemKind) -> None:
    store = new()
    fails(store, kind, times=50)
    assert store.state(HOME).breaker.is_closed
    assert not list(store.state(HOME).model_breakers)


def test_where_no_model_is_named_the_backend_is_ejected() -> None:
    store = new()
    fails(store, K.TIMEOUT, None)
    assert not store.state(HOME).breaker.is_closed


def test_where_nobody_took_the_call_the_backend_is_ejected() -> None:
    store = new()
    late = Problem(K.TIMEOUT, "gave no connection", unreached=True)
    run(store, Outcome(0, "home", "m", Disposition.FAIL_OVER, late), times=5)
    assert of(store, "other") is A.EJECTED


def test_a_success_counts_for_both() -> None:
    store = new()
    fails(store, K.TIMEOUT, times=4)
    fails(store, K.CONNECT, times=4)
    run(store, succeeded("home"))
    fails(store, K.TIMEOUT, times=4)
    fails(store, K.CONNECT, times=4)
    assert of(store, "m") is A.READY


def test_a_backend_whose_known_models_are_all_ejected_is() -> None:
    store = new()
    fails(store, K.TIMEOUT, "a")
    assert store.availability(HOME, 0.0) is A.EJECTED
    assert "with its model 'a' after 5 failures" in store.standing(HOME, None, 0.0).why
    run(store, succeeded("home"), "b")
    assert store.availability(HOME, 0.0) is A.READY, "another model is well"
    fails(store, K.TIMEOUT, "b")
    assert store.availability(HOME, 0.0) is A.EJECTED
    assert store.availability(HOME, 0.0, "c") is A.READY


def test_changes_are_told_once() -> None:
    store = new()
    fails(store, K.CONNECT, times=4)
    (change,) = run(store, failed("home", K.CONNECT))
    assert change == Change(
        "home", None, is_back=False,
        why="after 5 failures in a row, the last: connect happened", rest=30.0,
    )  # fmt: skip
    assert run(store, failed("home", K.CONNECT), now=30.0) == (), "a relapse is no news"
    assert run(store, succeeded("home"), now=80.0, times=2) == ()
    assert run(store, succeeded("home"), now=80.0) == (Change("home", None, is_back=True),)


def test_a_models_ejection_names_it() -> None:
    store = new()
    fails(store, K.MODEL_FAILED, times=4)
    (change,) = run(store, failed("home", K.MODEL_FAILED))
    assert (change.backend, change.model, change.is_back) == ("home", "m", False)


def test_breakers_of_models_are_bounded_and_the_open_ones_stay() -> None:
    store = new()
    fails(store, K.TIMEOUT, "sick")
    for number in range(MODELS_KEPT * 3):
        fails(store, K.TIMEOUT, f"m{number}", times=1)
    kept = dict(store.state(HOME).model_breakers)
    assert len(kept) == MODELS_KEPT
    assert {"sick", f"m{MODELS_KEPT * 3 - 1}"} <= set(kept)
    assert of(store, "sick") is A.EJECTED


def test_trials_are_few_until_they_end() -> None:
    store = new()
    fails(store, K.CONNECT)
    trials = [store.begin(HOME, 30.0, "m") for _ in range(3)]
    assert of(store, "m", 30.0) is A.EJECTED
    trials[0].settle(failed("home", K.CLIENT_GONE), 31.0, 0.0)
    assert of(store, "m", 31.0) is A.READY


# --- slow calls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ejects"),
    [
        ({"ttft": 6.0, "streamed": True}, True),
        ({"ttft": 4.0, "streamed": True}, False),
        ({"ttft": 6.0, "streamed": False}, False),
        ({"ttft": 36.0, "streamed": True, "load": 33.0}, False),
        ({"ttft": 36.0, "streamed": True, "load": 3.0}, True),
    ],
)
def test_what_is_a_slow_call(changes: dict[str, Any], ejects: bool) -> None:
    store = new()
    for _ in range(3):
        store.begin(SLOW, 0.0, "m").settle(succeeded("home", **changes), 0.0, 0.0)
    assert store.state(HOME).breaker.is_closed is not ejects


def test_a_stream_that_never_began_is_slow() -> None:
    store = new()
    silent = failed("home", K.TIMEOUT, duration=60.0, streamed=True)
    for model in "abc":
        store.begin(SLOW, 0.0, model).settle(silent, 0.0, 0.0)
    assert not store.state(HOME).breaker.is_closed
    assert store.state(HOME).breaker.why == "after 3 of 3 calls without a token in 5 s"


@pytest.mark.parametrize("kind", [K.CLIENT_GONE, K.DEADLINE])
@pytest.mark.parametrize(
    ("changes", "ejects"),
    [
        ({"duration": 6.0, "streamed": True}, True),
        ({"duration": 4.0, "streamed": True}, False),
        ({"duration": 6.0, "streamed": False}, False),
        ({"duration": 60.0, "streamed": True, "ttft": 1.0}, False),
    ],
)
def test_who_gave_up_waiting_for_a_token_has_seen_a_slow_call(
    kind: ProblemKind, changes: dict[str, Any], ejects: bool
) -> None:
    store = new()
    for _ in range(3):
        store.begin(SLOW, 0.0, "m").settle(failed("home", kind, **changes), 0.0, 0.0)
    assert store.state(HOME).breaker.is_closed is not ejects


def test_who_gave_up_soon_tells_nothing_of_the_pace() -> None:
    store = new()
    left = failed("home", K.CLIENT_GONE, duration=1.0, streamed=True)
    silent = failed("home", K.TIMEOUT, duration=60.0, streamed=True)
    for outcome in [left] * 10 + [silent] * 3:
        store.begin(SLOW, 0.0, "m").settle(outcome, 0.0, 0.0)
    assert not store.state(HOME).breaker.is_closed


# --- operators and probes -------------------------------------------------------------------------


def test_what_operators_do() -> None:
    store = new()
    store.eject(HOME, 0.0)
    told = store.standing(HOME, "m", 1.0)
    assert (told.availability, told.wait, told.why) == (A.EJECTED, 29.0, "by an operator")
    assert store.state(HOME).is_up is False
    store.drain(HOME)
    assert of(store, "m", 60.0) is A.DRAINING
    store.reset(HOME, 2.0)
    assert of(store, "m", 2.0) is A.DRAINING, "that is another matter"
    store.enable(HOME)
    assert of(store, "m", 2.0) is A.READY
    assert store.state(HOME).is_up is True


def test_a_reset_clears_rests_and_models() -> None:
    store = new()
    run(store, failed("home", K.RATE_LIMITED, retry_after=60))
    fails(store, K.TIMEOUT)
    store.reset(HOME, 1.0)
    assert of(store, "m", 1.0) is A.READY
    assert store.state(HOME).failed_in_row == 0


def test_a_probe_lets_trials_through() -> None:
    store = new()
    assert store.end_rest(HOME, 0.0) is False
    fails(store, K.CONNECT)
    assert store.end_rest(HOME, 1.0) is True
    assert store.state(HOME).breaker.state(1.0) is BreakerState.HALF_OPEN


def test_a_probe_speaks_for_models_only_where_all_were_ejected() -> None:
    store = new()
    fails(store, K.TIMEOUT, "a")
    run(store, succeeded("home"), "b")
    assert store.end_rest(HOME, 1.0) is False, "the backend was well all the time"
    fails(store, K.TIMEOUT, "b")
    assert store.end_rest(HOME, 1.0) is True
    assert of(store, "a", 1.0) is of(store, "b", 1.0) is A.READY


def test_a_backend_that_is_gone_from_the_configuration_still_serves_older_requests() -> None:
    store = new()
    attempt = store.begin(HOME, 0.0, "m")
    store.reconcile(snapshot([]))
    assert store.availability(HOME, 0.0) is A.DRAINING
    assert of(store, "m") is A.READY
    attempt.settle(succeeded("home"), 1.0, 0.0)
