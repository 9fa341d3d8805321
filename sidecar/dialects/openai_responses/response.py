"""Whole answers: is it one, what did it cost, and both ways between it and the neutral form."""

from collections.abc import Callable, Collection, Iterable

from sidecar.dialects.openai_responses.envelope import closed, opened
from sidecar.dialects.openai_responses.errors import disguised
from sidecar.dialects.openai_responses.items import (
    NAME,
    as_arguments,
    call_item,
    is_custom,
    message_item,
    objects_in,
    reasoning_item,
    refusal_part,
    text_of,
    text_part,
    thinking_of,
)
from sidecar.dialects.openai_responses.settings import custom_tools
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json

NewId = Callable[[], str]


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    if operation is Operation.CHAT and not isinstance(body.get("output"), list):
        return Problem(ProblemKind.PROTOCOL, "answered an object without `output`")
    if operation is Operation.COUNT and decode_count(body) is None:
        return Problem(ProblemKind.PROTOCOL, "answered an object without `input_tokens`")
    return None


def usage(body: Json) -> Usage | None:
    """The tokens that a response reports."""
    told = body.get("usage")
    if not isinstance(told, dict):
        return None
    read = told.get("input_tokens_details")
    return Usage(
        input_tokens=_count(told, "input_tokens"),
        output_tokens=_count(told, "output_tokens"),
        cached_input_tokens=_count(read, "cached_tokens"),
        reasoning_output_tokens=_count(told.get("output_tokens_details"), "reasoning_tokens"),
        cache_write_input_tokens=_count(read, "cache_write_tokens"),
    )


def _count(told: object, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def decode_count(body: Json) -> int | None:
    """The tokens of a request that was counted."""
    count = body.get("input_tokens")
    return count if isinstance(count, int) and count >= 0 else None


def encode_count(tokens: int) -> Json:
    """The answer to a request that was counted."""
    return {"object": "response.input_tokens", "input_tokens": tokens}


# --- from a backend -------------------------------------------------------------------------------


def decode_response(body: Json, ctx: AnswerContext) -> ChatResponse:
    """What a backend answered."""
    parts = tuple(
        part for item in objects_in(body, "output") for part in _parts_of(item, ctx.new_id)
    )
    return ChatResponse(
        parts,
        stop_of(body, {type(part) for part in parts}),
        usage=usage(body),
        id=text_of(body, "id"),
        model=text_of(body, "model"),
    )


def stop_of(response: Json, said: Collection[type[AnswerPart]]) -> StopReason:
    """Why a model stopped; `said` are the kinds of the parts of its answer."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return StopReason.REFUSAL if reason == "content_filter" else StopReason.MAX_TOKENS
    if ToolCall in said:
        return StopReason.TOOL_CALLS
    return StopReason.REFUSAL if Refusal in said else StopReason.END


def _parts_of(item: Json, new_id: NewId) -> Iterable[AnswerPart]:
    match item.get("type"):
        case "message":
            yield from filter(None, map(said_of, objects_in(item, "content")))
        case "function_call" | "custom_tool_call":
            yield call_of(item, new_id)
        case "reasoning":
            if thinking := thinking_of(item):
                yield thinking
        case kind:
            yield Opaque(NAME, str(kind), item)


def said_of(content: Json) -> Text | Refusal | None:
    """A part of a message's content; None where it says nothing."""
    if text := text_of(content):
        return Text(text)
    if refusal := text_of(content, "refusal"):
        return Refusal(refusal)
    return None


def call_of(item: Json, new_id: NewId) -> ToolCall:
    """The call that an item holds."""
    call_id, name = text_of(item, "call_id") or f"call_{new_id()}", text_of(item, "name")
    if item.get("type") == "custom_tool_call":
        return ToolCall(call_id, name, as_arguments(text_of(item, "input")), custom=True)
    return ToolCall(call_id, name, text_of(item, "arguments"))


# --- to a client ----------------------------------------------------------------------------------


def encode_response(answer: ChatResponse, ctx: AnswerContext) -> Json:
    """The answer as a client gets it: every part is an item of its own."""
    custom = custom_tools(ctx.request)
    output = [item for part in answer.parts for item in _items_of(part, custom, ctx.new_id)]
    response = opened(ctx, answer.id, answer.model)
    return closed(response, output, answer.stop, answer.usage, ctx)


def _items_of(part: AnswerPart, custom: Collection[str], new_id: NewId) -> Iterable[Json]:
    match part:
        case Text(text):
            yield message_item(f"msg_{new_id()}", "completed", text_part(text))
        case Refusal(text):
            yield message_item(f"msg_{new_id()}", "completed", refusal_part(text))
        case Thinking():
            yield reasoning_item(part, f"rs_{new_id()}")
        case ToolCall():
            takes_text = is_custom(part, custom)
            head = {"id": f"{'ctc' if takes_text else 'fc'}_{new_id()}", "status": "completed"}
            yield {**head, **call_item(part, takes_text)}
        case Opaque() if part.dialect == NAME:
            yield part.raw
        case Opaque():
            pass  # what a foreign server has done of its own; clients here could not read it
