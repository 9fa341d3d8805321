"""The one problem that stands for all attempts."""

import math
from collections.abc import Sequence

import pytest

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.outcome import Outcome
from sidecar.policy.verdict import conclude
from tests.sidecar.policy.plans import F, P, failure, plan_of, told

K, A = ProblemKind, Availability
RAW = b'{"error":{}}'


def verdict(
    history: Sequence[Outcome], size: int = 2, standings: dict[int, Standing] | None = None
) -> Problem:
    return conclude(plan_of(size), history, standings or {})


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (K.TIMEOUT, K.BACKEND_ERROR, K.BACKEND_ERROR),
        (K.BACKEND_ERROR, K.UNKNOWN_MODEL, K.BACKEND_ERROR),
        (K.RATE_LIMITED, K.BACKEND_AUTH, K.RATE_LIMITED),
        (K.TIMEOUT, K.NOT_LOCAL, K.TIMEOUT),
        (K.CONTEXT_LENGTH, K.TIMEOUT, K.CONTEXT_LENGTH),
        (K.TIMEOUT, K.BAD_REQUEST, K.BAD_REQUEST),
        (K.CONTEXT_LENGTH, K.CLIENT_AUTH, K.CLIENT_AUTH),
        (K.UNKNOWN_MODEL, K.UNKNOWN_MODEL, K.UNKNOWN_MODEL),
        (K.BACKEND_AUTH, K.UNKNOWN_MODEL, K.UNKNOWN_MODEL),
        (K.TIMEOUT, K.CANNOT_TRANSLATE, K.TIMEOUT),
        (K.CANNOT_TRANSLATE, K.UNMET, K.UNMET),
        (K.CANNOT_TRANSLATE, K.CANNOT_TRANSLATE, K.CANNOT_TRANSLATE),
    ],
)
def test_the_most_telling_fault_speaks(
    first: ProblemKind, second: ProblemKind, kind: ProblemKind
) -> None:
    assert verdict([failure(P, first), failure(F, second)]).kind is kind


def test_a_lone_backend_is_told_by_name_and_in_its_own_words() -> None:
    alone = told(failure(P, K.OVERLOADED), message="answered 503: busy", status=503, raw=RAW)
    problem = verdict([alone], size=1)
    assert problem.message == "Backend 'primary' answered 503: busy"
    assert (problem.status, problem.raw) == (503, RAW)


def test_every_target_is_named_with_what_was_wrong() -> None:
    history = [failure(P, K.CONNECT), failure(P, K.CONNECT), failure(F, K.TIMEOUT)]
    problem = verdict(history, size=3, standings={2: Standing(A.RESTING, 12.4)})
    assert problem.message == (
        "No backend of this route could answer. primary: failed by connect (2 tries); "
        "fallback: failed by timeout; third: rests for 12 s more."
    )
    assert "third: not tried" in verdict(history, size=3).message


def test_what_the_client_can_mend_is_called_a_refusal() -> None:
    history = [failure(P, K.TIMEOUT), failure(F, K.BAD_REQUEST)]
    assert verdict(history).message.startswith("The request was refused. primary:")


def test_a_refused_key_of_ours_is_never_the_clients_401() -> None:
    refused = told(failure(P, K.BACKEND_AUTH), status=401, raw=b"{}")
    problem = verdict([refused], size=1)
    assert (problem.status, problem.raw) == (502, None)


def test_a_refused_key_of_the_client_is_its_own() -> None:
    raw = b"{}"
    problem = verdict([told(failure(P, K.CLIENT_AUTH), status=401, raw=raw)], size=1)
    assert (problem.status, problem.raw) == (401, raw)


@pytest.mark.parametrize("kind", [K.CONNECT, K.DNS, K.TLS])
def test_where_nobody_can_be_reached_the_client_may_come_back(kind: ProblemKind) -> None:
    problem = verdict([failure(P, kind), failure(F, kind)])
    assert (problem.status, problem.retry_after) == (503, 5.0)


def test_a_rate_limit_is_passed_on_with_its_time() -> None:
    raw = b"{}"
    limited = told(failure(P, K.RATE_LIMITED, 60.0), status=429, raw=raw)
    problem = verdict([limited], size=1)
    assert (problem.status, problem.retry_after, problem.raw) == (429, 60.0, raw)


@pytest.mark.parametrize(
    ("standings", "retry_after"),
    [
        ({P: Standing(A.RESTING, 40.0), F: Standing(A.RESTING, 12.0)}, 12.0),
        ({P: Standing(A.EJECTED, 40.0), F: Standing(A.RESTING, 50.0)}, 40.0),
        ({P: Standing(A.EJECTED, 40.0), F: Standing(A.DRAINING, math.inf)}, 40.0),
        ({P: Standing(A.RESTING, 0.2)}, 1.0),
        ({P: Standing(A.DRAINING, math.inf)}, 1.0),
        ({}, 1.0),
    ],
)
def test_when_nobody_may_be_asked_the_client_hears_for_how_long(
    standings: dict[int, Standing], retry_after: float
) -> None:
    problem = verdict([], standings=standings)
    assert (problem.kind, problem.code) == (K.UNAVAILABLE, "no_backend_available")
    assert problem.retry_after == retry_after
    assert "primary: " in problem.message and "fallback: " in problem.message


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (Standing(A.READY), "primary: not tried."),
        (
            Standing(A.EJECTED, 20.2, why="after 5 failures in a row, the last: refused"),
            "primary: ejected after 5 failures in a row, the last: refused (tried again in 21 s).",
        ),
        (Standing(A.UNHEALTHY, 3.0, why="no route"), "unhealthy: no route (tried again in 3 s)."),
        (Standing(A.UNHEALTHY, math.inf), "primary: unhealthy."),
        (Standing(A.FULL, math.inf), "primary: has as many requests as it may."),
        (Standing(A.RESTING, 12.4, why="slow down"), "primary: rests for 12 s more."),
        (Standing(A.DRAINING, math.inf), "primary: drained by an operator, takes nothing new."),
        (Standing(A.DISABLED, math.inf), "primary: switched off."),
    ],
)
def test_what_is_wrong_with_a_target_that_was_not_asked(standing: Standing, words: str) -> None:
    assert words in verdict([], 1, {P: standing}).message


def test_a_route_whose_backends_are_all_disabled() -> None:
    problem = verdict([], size=0)
    assert (problem.kind, problem.code) == (K.UNAVAILABLE, "no_backend")
    assert "Switched off" in problem.message


@pytest.mark.parametrize("size", [1, 2])
def test_what_nobody_has_words_for_names_the_field(size: int) -> None:
    history = [
        told(failure(place, K.CANNOT_TRANSLATE), param="n", code="cannot_translate")
        for place in range(size)
    ]
    problem = verdict(history, size)
    assert (problem.kind, problem.param, problem.status) == (K.CANNOT_TRANSLATE, "n", None)
    assert problem.code == "cannot_translate"


FULL = "takes no more requests, and its queue is full (4 in flight, 9 waiting)"
NO_ROOM = Standing(Availability.FULL, math.inf, why=FULL)


def test_where_nobody_has_room_the_client_is_told_to_come_back() -> None:
    resting = Standing(Availability.RESTING, 7)
    problem = verdict([], standings={P: resting, F: NO_ROOM})
    assert (problem.kind, problem.code, problem.retry_after) == (K.UNAVAILABLE, "overloaded", 5)
    assert problem.message == (
        "No backend of route 'chat' has room for this request. primary: rests for 7 s more; "
        f"fallback: {FULL}."
    )
    assert problem.advice == (
        "Come back in 5 s; or raise `in_flight` or `queue` of a backend, or add a target."
    )


@pytest.mark.parametrize(
    ("kind", "verdict_kind"),
    [
        (K.CONTEXT_LENGTH, K.UNAVAILABLE),
        (K.UNKNOWN_MODEL, K.UNAVAILABLE),
        (K.CANNOT_TRANSLATE, K.UNAVAILABLE),
        (K.BAD_REQUEST, K.BAD_REQUEST),
        (K.BACKEND_ERROR, K.BACKEND_ERROR),
        (K.RATE_LIMITED, K.RATE_LIMITED),
        (K.BACKEND_AUTH, K.BACKEND_AUTH),
    ],
)
def test_one_without_room_might_have_answered(kind: ProblemKind, verdict_kind: ProblemKind) -> None:
    problem = verdict([failure(P, kind)], standings={F: NO_ROOM})
    assert problem.kind is verdict_kind
    assert f"fallback: {FULL}" in problem.message
