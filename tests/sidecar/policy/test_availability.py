"""Which of several reasons is named, and how long it lasts."""

import math
from dataclasses import replace

import pytest

from sidecar.policy.availability import READY, Availability, Facts, Standing, standing
from sidecar.policy.breaker import Look

A = Availability
OPEN, CROWDED, WELL = Look(False, 20.0), Look(True, is_crowded=True), Look(True)
SICK = Facts(is_unhealthy=True, health_wait=3.0)
TIRED = Facts(rest=7.0, rest_why="slow down")
BOTH = replace(SICK, rest=7.0)


@pytest.mark.parametrize(
    ("facts", "looks", "expected"),
    [
        (Facts(), [], READY),
        (Facts(), [WELL, WELL], READY),
        (Facts(is_enabled=False, is_draining=True), [OPEN], Standing(A.DISABLED, math.inf)),
        (replace(TIRED, is_draining=True), [OPEN], Standing(A.DRAINING, math.inf)),
        (Facts(), [OPEN], Standing(A.EJECTED, 20.0, why="0")),
        (Facts(), [WELL, OPEN], Standing(A.EJECTED, 20.0, why="1")),
        (Facts(), [OPEN, Look(False, 30.0)], Standing(A.EJECTED, 30.0, why="1")),
        (BOTH, [OPEN], Standing(A.EJECTED, 20.0, why="0")),
        (Facts(rest=60.0), [OPEN], Standing(A.EJECTED, 60.0, why="0")),
        (SICK, [WELL], Standing(A.UNHEALTHY, 3.0)),
        (BOTH, [WELL], Standing(A.UNHEALTHY, 7.0)),
        (TIRED, [CROWDED], Standing(A.RESTING, 7.0, why="slow down")),
        (Facts(), [WELL, CROWDED], Standing(A.READY, is_crowded=True)),
    ],
)
def test_the_gravest_reason_and_the_longest_wait(
    facts: Facts, looks: list[Look], expected: Standing
) -> None:
    told = standing(facts, [(look, str(place)) for place, look in enumerate(looks)])
    assert told == expected
    assert told.is_ready is (expected.availability is A.READY)
