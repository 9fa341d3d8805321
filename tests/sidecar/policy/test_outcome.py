"""The table is complete, and says what the documents say."""

import pytest

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.outcome import (
    DESTINATIONS,
    MOVABLE,
    OUTCOMES,
    Disposition,
    Outcome,
    Scope,
    disposition_of,
    scope_of,
)

K, D = ProblemKind, Disposition
ATTEMPTS = {
    "connect", "server_error", "timeout", "protocol", "truncated", "rate_limited", "auth",
    "client_error", "cancelled",
}  # fmt: skip
REQUESTS = {
    "upstream_error", "timeout", "rate_limited", "client_error", "client_disconnect", "overloaded",
}  # fmt: skip
ROWS = [
    # kind, what follows, whether the backend is blamed
    (K.CONNECT, D.RETRY_SAME, True),
    (K.BACKEND_ERROR, D.RETRY_SAME, True),
    (K.MODEL_FAILED, D.FAIL_OVER, True),
    (K.OVERLOADED, D.RETRY_SAME, True),
    (K.DNS, D.FAIL_OVER, True),
    (K.TLS, D.FAIL_OVER, True),
    (K.TIMEOUT, D.FAIL_OVER, True),
    (K.PROTOCOL, D.FAIL_OVER, True),
    (K.TRUNCATED, D.FAIL_OVER, True),
    (K.RATE_LIMITED, D.RETRY_SAME, False),
    (K.BACKEND_AUTH, D.FAIL_OVER, False),
    (K.CLIENT_AUTH, D.FINAL, False),
    (K.UNKNOWN_MODEL, D.FAIL_OVER, False),
    (K.CONTEXT_LENGTH, D.FAIL_OVER, False),
    (K.CONTENT_REFUSED, D.FINAL, False),
    (K.BAD_REQUEST, D.FINAL, False),
    (K.TOO_LARGE, D.FINAL, False),
    (K.NOT_LOCAL, D.FAIL_OVER, False),
    (K.CANNOT_TRANSLATE, D.FAIL_OVER, False),
    (K.UNMET, D.RETRY_SAME, False),
    (K.UNSUPPORTED, D.RETRY_SAME, False),
    (K.CLIENT_GONE, D.IGNORED, False),
    (K.INTERNAL, D.FINAL, False),
]


def test_every_kind_of_problem_has_its_row() -> None:
    assert set(OUTCOMES) == set(ProblemKind)


@pytest.mark.parametrize(("kind", "disposition", "blames"), ROWS)
def test_row(kind: ProblemKind, disposition: Disposition, blames: bool) -> None:
    assert (OUTCOMES[kind].disposition, OUTCOMES[kind].blames) == (disposition, blames)


@pytest.mark.parametrize("kind", ProblemKind)
def test_the_words_are_those_of_the_metrics(kind: ProblemKind) -> None:
    assert OUTCOMES[kind].attempt in ATTEMPTS
    assert OUTCOMES[kind].request in REQUESTS


@pytest.mark.parametrize("kind", ProblemKind)
def test_a_route_may_move_backends_and_requests_but_not_what_is_ours(kind: ProblemKind) -> None:
    ours = {K.CLIENT_AUTH, K.TOO_LARGE, K.FORBIDDEN, K.CLIENT_GONE, K.NOT_LOCAL, K.UNAVAILABLE}
    ours |= {
        K.DEADLINE,
        K.SHUTDOWN,
        K.LOOP,
        K.INTERNAL,
        K.CANNOT_TRANSLATE,
        K.UNSUPPORTED,
        K.DIVERGED,
        K.HURRIED,
    }
    assert (kind in MOVABLE) is (kind not in ours)


@pytest.mark.parametrize("where", DESTINATIONS)
def test_moved_rows(where: Disposition) -> None:
    assert disposition_of(Problem(K.TIMEOUT, ""), {K.TIMEOUT: where}) is where
    assert disposition_of(Problem(K.TIMEOUT, ""), {K.TLS: where}) is D.FAIL_OVER


@pytest.mark.parametrize("kind", ProblemKind)
def test_what_a_failure_counts_against(kind: ProblemKind) -> None:
    of_model = {K.TIMEOUT, K.MODEL_FAILED}
    assert scope_of(Problem(kind, "")) is (Scope.MODEL if kind in of_model else Scope.BACKEND)


def test_where_nobody_took_the_call_it_is_not_the_model() -> None:
    assert scope_of(Problem(K.TIMEOUT, "", unreached=True)) is Scope.BACKEND


def test_label() -> None:
    assert Outcome(0, "b", None, D.SUCCESS).label == "ok"
    assert Outcome(0, "b", None, D.FINAL, Problem(K.TIMEOUT, "")).label == "timeout"
