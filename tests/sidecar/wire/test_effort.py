"""Efforts in the words that every reasoning model knows."""

from sidecar.neutral.request import Effort
from sidecar.wire.effort import common_effort


def test_every_effort_has_a_near_one_that_all_models_know() -> None:
    assert {effort.value: common_effort(effort).value for effort in Effort} == {
        "none": "none",
        "minimal": "low",
        "low": "low",
        "medium": "medium",
        "high": "high",
        "xhigh": "high",
        "max": "high",
    }
