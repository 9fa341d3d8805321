"""Whole answers: is it one, and what did it cost."""

from sidecar.dialects.openai_chat.errors import disguised
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation
from sidecar.wire.json import Json

_HOLDS = {
    Operation.CHAT: "choices",
    Operation.COMPLETION: "choices",
    Operation.EMBED: "data",
}


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    wanted = _HOLDS[operation]
    held = body.get(wanted)
    if not isinstance(held, list) or not held:
        return Problem(ProblemKind.PROTOCOL, f"answered an object without `{wanted}`")
    if not all(isinstance(one, dict) for one in held):
        return Problem(ProblemKind.PROTOCOL, f"answered `{wanted}` that are not objects")
    if operation is not Operation.EMBED:
        return next(filter(None, map(_judge_choice, held)), None)
    return None


def _judge_choice(choice: Json) -> Problem | None:
    if choice.get("finish_reason") == "error" or choice.get("error"):
        return Problem(ProblemKind.PROTOCOL, "answered 200 with an error inside a choice")
    if not isinstance(choice.get("message"), dict) and not isinstance(choice.get("text"), str):
        return Problem(ProblemKind.PROTOCOL, "answered a choice that says nothing")
    return None


def usage(body: Json) -> Usage | None:
    """The tokens that an answer or a chunk reports."""
    told = body.get("usage")
    if not isinstance(told, dict):
        return None
    return Usage(
        input_tokens=_count(told, "prompt_tokens"),
        output_tokens=_count(told, "completion_tokens"),
        cached_input_tokens=_count(told.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_output_tokens=_count(told.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(told: object, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and value > 0 else 0
