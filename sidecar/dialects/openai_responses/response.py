"""Whole answers: is it one, what did it cost, and both ways between it and the neutral form."""

from collections.abc import Callable, Collection, Iterable, Mapping

from sidecar.dialects.openai_responses.envelope import closed, opened
from sidecar.dialects.openai_responses.errors import disguised
from sidecar.dialects.openai_responses.items import (
    NAME,
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
    thinking_of,
)
from sidecar.dialects.openai_responses.namespaces import Origin, origins
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.arguments import custom_tools, is_custom, of_free_text
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, objects_in, text_in

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
        input_tokens=count_in(told, "input_tokens"),
        output_tokens=count_in(told, "output_tokens"),
        cached_input_tokens=count_in(read, "cached_tokens"),
        reasoning_output_tokens=count_in(told.get("output_tokens_details"), "reasoning_tokens"),
        cache_write_input_tokens=count_in(read, "cache_write_tokens"),
    )


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
        id=text_in(body, "id"),
        model=text_in(body, "model"),
    )


def stop_of(response: Json, said: Collection[type[AnswerPart]]) -> StopReason:
    """Why a model stopped; `said` are the kinds of the parts of its answer."""
    if response.get("status") == "incomplete":
        reason = text_in(response.get("incomplete_details"), "reason")
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
    if text := text_in(content, "text"):
        return Text(text)
    if refusal := text_in(content, "refusal"):
        return Refusal(refusal)
    return None


def call_of(item: Json, new_id: NewId) -> ToolCall:
    """The call that an item holds."""
    call_id, name = text_in(item, "call_id") or f"call_{new_id()}", text_in(item, "name")
    if item.get("type") == "custom_tool_call":
        return ToolCall(call_id, name, of_free_text(text_in(item, "input")), custom=True)
    return ToolCall(call_id, name, text_in(item, "arguments"))


# --- to a client ----------------------------------------------------------------------------------


def encode_response(answer: ChatResponse, ctx: AnswerContext) -> Json:
    """The answer as a client gets it: every part is an item of its own."""
    custom = custom_tools(ctx.request.tools)
    grouped = origins(ctx.request.tools)
    output = [
        item for part in answer.parts for item in _items_of(part, custom, grouped, ctx.new_id)
    ]
    response = opened(ctx, answer.id, answer.model)
    return closed(response, output, answer.stop, answer.usage, ctx)


def _items_of(
    part: AnswerPart, custom: frozenset[str], grouped: Mapping[str, Origin], new_id: NewId
) -> Iterable[Json]:
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
            yield {**head, **call_item(part, takes_text, grouped.get(part.name))}
        case Opaque() if part.dialect == NAME:
            yield part.raw
        case Opaque():
            pass  # what a foreign server has done of its own; clients here could not read it
