"""What is left of a request behind a crossing: all of it, or a loss says what is not."""

from sidecar.neutral.request import ChatRequest, Role, Severity
from sidecar.wire.contract import Encoded
from tests.laws import views

# other names under which a wish is named as lost
ALIASES = {
    "response_format": {"strict"},
    "thinking": {"reasoning_effort", "reasoning", "reasoning.effort"},
    "stop_sequences": {"stop"},
}
# what is asked for in words, and verified, where no field makes a backend do it
VERIFIED = {"tool_choice", "tools", "response_format"}


def lost(encoded: Encoded) -> set[str]:
    named = {loss.field for loss in encoded.losses}
    lost = named | {wish for wish, others in ALIASES.items() if others & named}
    if "tool_choice" in lost:  # tools that were not to be called are offered
        lost.add("tools")
    return lost | VERIFIED if encoded.expects else lost


def spoken(request: ChatRequest) -> object:
    """The conversation without its prompts."""
    prompts = (Role.SYSTEM, Role.DEVELOPER)
    return views.conversation(tuple(one for one in request.messages if one.role not in prompts))


def assert_same(before: ChatRequest, after: ChatRequest, encoded: Encoded) -> None:
    """What was wished for is still wished for, or was named as lost."""
    named = lost(encoded)
    wished, still = views.wishes(before), views.wishes(after)
    if encoded.expects:  # the words that ask for it stand in a prompt
        wished |= {"messages": spoken(before)}
        still |= {"messages": spoken(after)}
    gone = {wish: (wished[wish], still[wish]) for wish in wished if wished[wish] != still[wish]}
    # a backend that was not told of a bound has one of its own
    bound = {"max_tokens"} if before.max_tokens is None else set()
    assert {wish: gone[wish] for wish in gone if wish not in named | bound} == {}
    assert not any(loss.severity is Severity.FATAL for loss in encoded.losses)
