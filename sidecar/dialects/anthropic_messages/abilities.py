"""What a model behind this dialect takes, told by its name: the one place that knows models.

Anthropic's models refuse what their successors or predecessors want, so a request that was written
for another vendor must be fitted to the one that answers it. Source: the models overview and the
migration guides on platform.claude.com. A Claude that is not listed is taken for a newest one; a
model that is no Claude stands behind somebody's copy of the API and takes what that is known for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from sidecar.neutral.request import Effort


class Thinks(Enum):
    """How a model is told to think."""

    NEVER = "never"
    BUDGET = "budget"  # a number of tokens
    ADAPTIVE = "adaptive"  # as it likes, steered by effort


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes; the values here are those of the newest ones."""

    max_output: int | None = None  # tokens that it writes at most, where that is known for sure
    thinks: Thinks = Thinks.ADAPTIVE
    thinks_unasked: bool = True
    off: str | None = None  # the `thinking` that turns it off, where leaving it out does not
    needs_history: bool = False  # a thinking model wants its own thinking before its tool calls
    efforts: tuple[Effort, ...] = (Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.XHIGH, Effort.MAX)
    samples: bool = False  # takes temperature, top_p and top_k
    can_be_forced: bool = False  # to call a tool, as long as it is not to think
    continues: bool = False  # goes on with a last turn of the assistant
    has_schemas: bool = True  # output_config.format, strict tools


NEWEST = Abilities()
_NEWER_SONNET = replace(NEWEST, off="between_tools")
_FIVE = replace(NEWEST, off="disabled", can_be_forced=True)
_LATE_FOUR = replace(NEWEST, thinks_unasked=False, can_be_forced=True)
_FOUR_SIX = replace(
    _LATE_FOUR, samples=True, efforts=(Effort.LOW, Effort.MEDIUM, Effort.HIGH, Effort.MAX)
)
_FOUR_FIVE = replace(
    _FOUR_SIX, thinks=Thinks.BUDGET, needs_history=True, efforts=(), continues=True
)
_FOUR = replace(_FOUR_FIVE, has_schemas=False)
_THREE = replace(_FOUR, thinks=Thinks.NEVER, needs_history=False, max_output=8192)
_FOREIGN = replace(_FOUR, needs_history=False, off="disabled")

# names as Anthropic, Bedrock, Vertex AI and OpenRouter write them, dots read as dashes
_FAMILIES: Sequence[tuple[re.Pattern[str], Abilities]] = tuple(
    (re.compile(pattern), abilities)
    for pattern, abilities in (
        (r"claude-(instant|2|3-(opus|sonnet|haiku))", replace(_THREE, max_output=4096)),
        (r"claude-3-7", _FOUR),
        (r"claude-3", _THREE),
        (r"claude-(opus|sonnet|haiku)-4-5", _FOUR_FIVE),
        (r"claude-(opus|sonnet)-4-6", _FOUR_SIX),
        (r"claude-opus-4-[78]", _LATE_FOUR),
        (r"claude-(opus|sonnet)-4|claude-4", _FOUR),
        (r"claude-sonnet-5-5", _NEWER_SONNET),
        (r"claude-haiku-5-5|claude-(opus|sonnet)-5(?!-\d(?!\d))", _FIVE),
        (r"claude", NEWEST),
    )
)


def abilities_of(model: str | None) -> Abilities:
    """What the model of that name takes."""
    name = (model or "").casefold().replace(".", "-")
    return next((found for pattern, found in _FAMILIES if pattern.search(name)), _FOREIGN)
