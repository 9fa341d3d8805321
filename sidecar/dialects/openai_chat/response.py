"""Whole answers of a backend: is it one, what did it cost, what does it say."""

from collections.abc import Callable

from sidecar.dialects.openai_chat.errors import disguised
from sidecar.dialects.openai_chat.mend import place_of
from sidecar.dialects.openai_chat.reasoning import spoken, thinking_of
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Refusal, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.arguments import of_free_text
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, object_in, objects_in, text_in

_HOLDS = {
    Operation.CHAT: "choices",
    Operation.COMPLETION: "choices",
    Operation.EMBED: "data",
}
# what vendors say for an answer that broke off: OpenRouter, vLLM, Zhipu, DeepSeek
INTERRUPTED = ("error", "abort", "network_error", "insufficient_system_resource")
_STOPS = {
    "length": StopReason.MAX_TOKENS,
    "max_tokens": StopReason.MAX_TOKENS,
    "model_length": StopReason.MAX_TOKENS,  # Mistral: the context is full
    "content_filter": StopReason.REFUSAL,
    "refusal": StopReason.REFUSAL,
    "sensitive": StopReason.REFUSAL,  # Zhipu
}


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    if operation is Operation.COUNT:
        counted = decode_count(body) is not None
        return None if counted else Problem(ProblemKind.PROTOCOL, "answered without a count")
    wanted = _HOLDS.get(operation)
    if wanted is None:
        return None
    held = body.get(wanted)
    if not isinstance(held, list) or not held:
        return Problem(ProblemKind.PROTOCOL, f"answered an object without `{wanted}`")
    if not all(isinstance(one, dict) for one in held):
        return Problem(ProblemKind.PROTOCOL, f"answered `{wanted}` that are not objects")
    if operation is not Operation.EMBED:
        return next(filter(None, map(_judge_choice, held)), None)
    return None


def _judge_choice(choice: Json) -> Problem | None:
    reason, message = choice.get("finish_reason"), choice.get("message")
    if (isinstance(reason, str) and reason in INTERRUPTED) or choice.get("error"):
        return Problem(ProblemKind.PROTOCOL, "answered 200 with an error inside a choice")
    if isinstance(message, dict):
        if not all(_is_named(call) for call in objects_in(message, "tool_calls")):
            return Problem(ProblemKind.PROTOCOL, "called a tool without naming it")
    elif not isinstance(choice.get("text"), str):
        return Problem(ProblemKind.PROTOCOL, "answered a choice that says nothing")
    return None


def _is_named(call: Json) -> bool:
    """Whether a call says what it calls; kinds of calls that are unknown pass."""
    if "function" not in call:
        return True
    return bool(text_in(call["function"], "name"))


def usage(body: Json) -> Usage | None:
    """The tokens that an answer or a chunk reports, in any of the places where vendors do.

    Groq's streams told them in `x_groq`, Moonshot's tell them in the choice.
    """
    for holder in (body, body.get("x_groq"), first_choice(body)):
        told = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(told, dict):
            return _usage(told)
    return None


def later(held: Usage | None, told: Usage | None) -> Usage | None:
    """Two reports of one answer as one: of each count the later one that says something."""
    if held is None or told is None:
        return told or held
    return Usage(
        told.input_tokens or held.input_tokens,
        told.output_tokens or held.output_tokens,
        told.cached_input_tokens or held.cached_input_tokens,
        told.reasoning_output_tokens or held.reasoning_output_tokens,
        told.cache_write_input_tokens or held.cache_write_input_tokens,
    )


def first_choice(body: Json) -> Json:
    """The choice with index 0; empty where there is none."""
    return next((one for one in objects_in(body, "choices") if place_of(one) == 0), {})


def _usage(told: Json) -> Usage:
    details = told.get("prompt_tokens_details")
    input, output = count_in(told, "prompt_tokens"), count_in(told, "completion_tokens")
    reasoning = count_in(told.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning and count_in(told, "total_tokens") == input + output + reasoning:
        output += reasoning  # xAI counts them apart
    return Usage(
        input_tokens=input,
        output_tokens=output,
        cached_input_tokens=count_in(details, "cached_tokens")
        or count_in(told, "prompt_cache_hit_tokens")  # DeepSeek
        or count_in(told, "cached_tokens"),  # Moonshot
        reasoning_output_tokens=reasoning,
        cache_write_input_tokens=count_in(details, "cache_write_tokens"),
    )


def decode_response(body: Json, context: AnswerContext) -> ChatResponse:
    """What a backend answered, of a body that `judge` has passed: the first choice."""
    choice = first_choice(body)
    message = choice.get("message")
    told = message if isinstance(message, dict) else {"content": choice.get("text")}
    calls = _calls(told, context.new_id)
    parts: list[AnswerPart] = [*thinking_of(told), *spoken(told)]
    refusal = text_in(told, "refusal")
    if refusal:
        parts.append(Refusal(refusal))
    stop, sequence = stop_of(choice, has_calls=bool(calls), refuses=bool(refusal))
    return ChatResponse(
        parts=(*parts, *calls),
        stop=stop,
        stop_sequence=sequence,
        usage=usage(body),
        id=text_in(body, "id"),
        model=text_in(body, "model"),
    )


def stop_of(choice: Json, *, has_calls: bool, refuses: bool) -> tuple[StopReason, str | None]:
    """Why a choice ended, and the stop sequence that it met: vLLM tells it in `stop_reason`."""
    reason, met = choice.get("finish_reason"), choice.get("stop_reason")
    stop = _STOPS.get(reason.casefold()) if isinstance(reason, str) else None
    if stop is not None:
        return stop, None
    if has_calls:
        return StopReason.TOOL_CALLS, None
    if refuses:
        return StopReason.REFUSAL, None
    if isinstance(met, str) and met and reason == "stop":
        return StopReason.STOP_SEQUENCE, met
    return StopReason.END, None


def _calls(message: Json, new_id: Callable[[], str]) -> list[ToolCall]:
    """The calls of a message; ids that a backend leaves out are made."""
    told = objects_in(message, "tool_calls")
    calls = [_call(one, new_id) for one in told if "function" in one or "custom" in one]
    if not calls and isinstance(old := message.get("function_call"), dict):
        calls = [_call({"function": old}, new_id)]
    return calls


def _call(told: Json, new_id: Callable[[], str]) -> ToolCall:
    id = text_in(told, "id") or f"call_{new_id()}"
    if isinstance(custom := told.get("custom"), dict):
        whole = of_free_text(text_in(custom, "input"))
        return ToolCall(id, text_in(custom, "name"), whole, custom=True)
    function = object_in(told, "function")
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments).decode()
    return ToolCall(id, text_in(function, "name"), arguments or "")


def decode_count(body: Json) -> int | None:
    """The tokens of a request, as a count of them answers."""
    count = body.get("input_tokens")
    return count if type(count) is int and count >= 0 else None


def encode_count(tokens: int) -> Json:
    """The answer to a count."""
    return {"input_tokens": tokens}
