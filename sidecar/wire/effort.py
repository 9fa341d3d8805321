"""Efforts of reasoning that only some models know, in the words of those that all know."""

from sidecar.neutral.request import Effort

_NEAREST = {Effort.MINIMAL: Effort.LOW, Effort.XHIGH: Effort.HIGH, Effort.MAX: Effort.HIGH}


def common_effort(effort: Effort) -> Effort:
    """The nearest effort that every reasoning model of OpenAI's API knows; none stays none."""
    return _NEAREST.get(effort, effort)
