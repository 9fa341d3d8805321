"""Whichever limit comes first, and who is told to be late."""

import math

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.limits import first_limit
from sidecar.policy.routing import Timeouts

LIMITS = Timeouts(connect=3, first_token=10, idle=30, whole=600)


@pytest.mark.parametrize(
    ("left", "is_stream", "wait", "kind", "says"),
    [
        (math.inf, True, 10, ProblemKind.TIMEOUT, "no token within 10 s"),
        (math.inf, False, 600, ProblemKind.TIMEOUT, "finish its answer within 600 s"),
        (10, True, 10, ProblemKind.TIMEOUT, "no token within 10 s"),
        (3, True, 3, ProblemKind.DEADLINE, "the time that the request has"),
        (50, False, 50, ProblemKind.DEADLINE, "the time that the request has"),
    ],
)
def test_first_limit(
    left: float, is_stream: bool, wait: float, kind: ProblemKind, says: str
) -> None:
    seconds, problem = first_limit(LIMITS, left, is_stream=is_stream)
    assert (seconds, problem.kind) == (wait, kind)
    assert says in problem.message


@pytest.mark.parametrize(
    ("left", "is_stream", "wait", "kind"),
    [
        (3, True, 1.5, ProblemKind.HURRIED),
        (10, True, 10, ProblemKind.TIMEOUT),
        (3, False, 3, ProblemKind.DEADLINE),
    ],
)
def test_a_stream_in_a_hurry_leaves_half_of_its_time_to_the_next_target(
    left: float, is_stream: bool, wait: float, kind: ProblemKind
) -> None:
    seconds, problem = first_limit(LIMITS, left, is_stream=is_stream, has_next=lambda: True)
    assert (seconds, problem.kind) == (wait, kind)
