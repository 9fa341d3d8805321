"""Whether and how a model is told to think: the wish of a request, fitted to the model.

Source: "Extended thinking", "Adaptive thinking" and "Effort" on platform.claude.com. A budget lies
between 1024 tokens and max_tokens; thinking takes no forced tool choice; where it has a budget, the
turn whose tools are answered must begin with the thinking that led to the calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.dialects.anthropic_messages.abilities import Abilities, Thinks
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    Message,
    Reasoning,
    Role,
    Thinking,
    ToolCall,
)
from sidecar.wire.contract import Feature, Target
from sidecar.wire.json import Json
from sidecar.wire.signature import is_signed_by

NAME = "anthropic"
LEAST_BUDGET = 1024  # tokens
_BUDGETS = {  # tokens; read back as the same effort
    Effort.MINIMAL: LEAST_BUDGET,
    Effort.LOW: 2048,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 16_384,
    Effort.XHIGH: 24_576,
    Effort.MAX: 32_768,
}
_ORDER = tuple(Effort)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request says of thinking; `is_kept` tells that the wish of the client is fulfilled."""

    thinking: Json | None = None
    effort: Effort | None = None
    thinks: bool = False
    is_kept: bool = True


def planned(request: ChatRequest, target: Target, abilities: Abilities, max_tokens: int) -> Plan:
    """How the model is told to think, or not to."""
    wish = request.reasoning
    if wish is None:
        forced = abilities.can_be_forced and _forces(request) and abilities.thinks_unasked
        return _off(abilities) if forced else Plan(thinks=abilities.thinks_unasked)
    if wish.effort is Effort.NONE:
        return _off(abilities)
    if Feature.THINKING in target.without:
        return Plan(is_kept=False)
    if abilities.thinks is Thinks.NEVER or _is_hindered(request, target, abilities):
        return _given_up(abilities)
    if abilities.thinks is Thinks.ADAPTIVE:
        # newer models leave the text of their thinking out unless they are asked for it
        told = {"type": "adaptive", "display": "summarized"}
        return Plan(told, _effort(wish, abilities), thinks=True)
    budget = _budget(wish, max_tokens)
    if budget is None:
        return _given_up(abilities)
    return Plan({"type": "enabled", "budget_tokens": budget}, thinks=True)


def _off(abilities: Abilities) -> Plan:
    if abilities.off is not None:
        return Plan({"type": abilities.off})
    if abilities.thinks_unasked:
        return Plan(effort=abilities.efforts[0], thinks=True, is_kept=False)
    return Plan()


def _given_up(abilities: Abilities) -> Plan:
    off = _off(abilities)
    return Plan(off.thinking, None, off.thinks, is_kept=False)


def _is_hindered(request: ChatRequest, target: Target, abilities: Abilities) -> bool:
    """Whether the model would refuse to think about this request."""
    last = request.messages[-1] if request.messages else None
    if last is not None and last.role is Role.ASSISTANT and abilities.continues:
        return True  # a turn that is to be continued has no place for thinking
    if abilities.can_be_forced and _forces(request):
        return True
    is_bare = Feature.SIGNED_THINKING in target.without  # so the model does ask for its thinking
    needs_history = abilities.needs_history or (is_bare and abilities.thinks is Thinks.BUDGET)
    return needs_history and _calls_without_thinking(request.messages, is_bare)


def _forces(request: ChatRequest) -> bool:
    choice = request.tool_choice
    if choice is None or not request.tools:
        return False
    return choice.choosing in (Choosing.REQUIRED, Choosing.NAMED)


def _calls_without_thinking(messages: Sequence[Message], is_bare: bool) -> bool:
    """Whether the last turn of the assistant calls tools and its thinking cannot be shown."""
    said = [message for message in messages if message.role is Role.ASSISTANT]
    if not said or not any(isinstance(part, ToolCall) for part in said[-1].parts):
        return False
    thoughts = [part for part in said[-1].parts if isinstance(part, Thinking)]
    return is_bare or not any(is_signed_by(part, NAME) for part in thoughts)


def _effort(wish: Reasoning, abilities: Abilities) -> Effort | None:
    """The greatest effort that the model knows and that is not above the wish."""
    wanted = wish.level
    if wanted is None:
        return None
    rank = _ORDER.index(wanted)
    fitting = [effort for effort in abilities.efforts if _ORDER.index(effort) <= rank]
    return fitting[-1] if fitting else abilities.efforts[0]


def _budget(wish: Reasoning, max_tokens: int) -> int | None:
    """Tokens to think with; None where there is no room.

    Half of what may be written is left to the answer, unless the client set the budget itself.
    """
    if max_tokens <= LEAST_BUDGET:
        return None
    if wish.budget is not None:
        return max(LEAST_BUDGET, min(wish.budget, max_tokens - 1))
    wanted = _BUDGETS[wish.effort or Effort.MEDIUM]
    return max(LEAST_BUDGET, min(wanted, max_tokens // 2))
