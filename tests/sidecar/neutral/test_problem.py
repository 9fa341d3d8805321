"""The exceptions carry a problem and show its message."""

import pytest

from sidecar.neutral.problem import (
    AttemptFailed,
    Exhausted,
    Problem,
    ProblemKind,
    RequestRefused,
    SidecarError,
)


@pytest.mark.parametrize("error", [RequestRefused, AttemptFailed, Exhausted])
def test_errors_carry_their_problem(error: type[SidecarError]) -> None:
    problem = Problem(ProblemKind.TIMEOUT, "sent nothing", retry_after=2.0)
    with pytest.raises(SidecarError, match="sent nothing") as caught:
        raise error(problem)
    assert caught.value.problem is problem


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (Problem(ProblemKind.TIMEOUT, "sent nothing"), "sent nothing"),
        (
            Problem(ProblemKind.BAD_REQUEST, "answered 400: your prompt …", 400, quotes=True),
            "bad_request (the backend's words are not repeated here)",
        ),
        (
            Problem(ProblemKind.PROTOCOL, "your prompt …", code="odd", quotes=True),
            "odd (the backend's words are not repeated here)",
        ),
    ],
)
def test_the_log_never_repeats_what_a_backend_wrote(problem: Problem, told: str) -> None:
    assert problem.in_our_words == told
