"""Whole answers: is it one, what did it cost, and its way into the neutral form and out of it."""

from collections.abc import Iterable, Mapping

from sidecar.dialects.anthropic_messages.errors import disguised
from sidecar.dialects.anthropic_messages.thinking import NAME
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.arguments import as_object
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, objects_in, text_in
from sidecar.wire.names import safe_id
from sidecar.wire.signature import unwrapped, wrapped

_STOPS = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "max_tokens": StopReason.MAX_TOKENS,
    "model_context_window_exceeded": StopReason.MAX_TOKENS,
    "tool_use": StopReason.TOOL_CALLS,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE,
}
_REASONS = {
    StopReason.END: "end_turn",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.TOOL_CALLS: "tool_use",
    StopReason.REFUSAL: "refusal",
    StopReason.PAUSE: "pause_turn",
    StopReason.LOADED: "end_turn",
}
_COUNTS = (
    "input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "output_tokens",
    "output_tokens_details",
)
_SWITCHED = "fallback"  # says that another model went on; no content


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    if operation is Operation.COUNT:
        if decode_count(body) is None:
            return Problem(ProblemKind.PROTOCOL, "answered a count without `input_tokens`")
        return None
    content = body.get("content")
    if not isinstance(content, list):
        return Problem(ProblemKind.PROTOCOL, "answered an object without `content`")
    if not all(isinstance(block, dict) for block in content):
        return Problem(ProblemKind.PROTOCOL, "answered `content` that are not objects")
    return None


def decode_count(body: Json) -> int | None:
    """The tokens that a backend counts; None where it does not say."""
    count = body.get("input_tokens")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def encode_count(tokens: int) -> Json:
    """The answer to a request that asks for its tokens."""
    return {"input_tokens": tokens}


# --- usage ----------------------------------------------------------------------------------------


def usage(body: Json) -> Usage | None:
    """The tokens that an answer reports."""
    told = body.get("usage")
    return usage_of(told) if isinstance(told, dict) and told else None


def usage_of(told: Json) -> Usage:
    """The vendor counts what was read from a cache, and written to one, beside the input."""
    read = count_in(told, "cache_read_input_tokens")
    written = count_in(told, "cache_creation_input_tokens")
    return Usage(
        input_tokens=count_in(told, "input_tokens") + read + written,
        output_tokens=count_in(told, "output_tokens"),
        cached_input_tokens=read,
        reasoning_output_tokens=count_in(told.get("output_tokens_details"), "thinking_tokens"),
        cache_write_input_tokens=written,
    )


def add_usage(counts: dict[str, object], more: object) -> None:
    """Take in what an event tells: counts are running totals, left out where nothing changed."""
    if isinstance(more, Mapping):
        counts |= {name: more[name] for name in _COUNTS if more.get(name) is not None}


def encode_usage(usage: Usage) -> Json:
    """The tokens of an answer in the vendor's way of counting."""
    read, written = usage.cached_input_tokens, usage.cache_write_input_tokens
    told: dict[str, object] = {
        "input_tokens": max(0, usage.input_tokens - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_output_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_output_tokens}
    return told


# --- a backend's answer ---------------------------------------------------------------------------


def decode_response(body: Json, ctx: AnswerContext) -> ChatResponse:
    """What a model answered; `judge` has seen the body."""
    parts: list[AnswerPart] = []
    for block in objects_in(body, "content"):
        parts += decode_block(block, ctx)
    if words := refusal(body):
        parts.append(Refusal(words))
    has_called = any(isinstance(part, ToolCall) for part in parts)
    return ChatResponse(
        tuple(parts),
        stop_of(body.get("stop_reason"), has_called),
        text_in(body, "stop_sequence") or None,
        usage(body),
        text_in(body, "id"),
        text_in(body, "model") or ctx.model,
    )


def decode_block(block: Json, ctx: AnswerContext) -> Iterable[AnswerPart]:
    """What a block says; nothing where it is empty."""
    match block.get("type"):
        case "text":
            if text := text_in(block, "text"):
                yield Text(text)
        case "thinking":
            text = text_in(block, "thinking")
            signature, signed_by = unwrapped(text_in(block, "signature"), NAME)
            if text or signature:
                yield Thinking(text, signature, signed_by)
        case "redacted_thinking":
            signature, signed_by = unwrapped(text_in(block, "data"), NAME)
            yield Thinking("", signature, signed_by, redacted=True)
        case "tool_use":
            yield call_of(block, arguments_of(block.get("input")), ctx)
        case str(kind) if kind != _SWITCHED:
            yield Opaque(NAME, kind, block)
        case _:
            pass


def call_of(block: Json, arguments: str, ctx: AnswerContext) -> ToolCall:
    """The call in a block, with the arguments that stand in it or come behind it."""
    id = text_in(block, "id") or "call_" + ctx.new_id()
    return ToolCall(id, text_in(block, "name"), arguments)


def arguments_of(input: object) -> str:
    """The text of a call's arguments; some backends give it as it is."""
    if isinstance(input, str):
        return input
    return json.dumps({} if input is None else input).decode()


def refusal(told: Json) -> str:
    """Why the model refused, where that is told beside the content."""
    return text_in(told.get("stop_details"), "explanation")


def stop_of(reason: object, has_called: bool) -> StopReason:
    """Why the model stopped; a call of a tool is a reason, whatever a backend says."""
    stop = _STOPS.get(reason, StopReason.END) if isinstance(reason, str) else StopReason.END
    return StopReason.TOOL_CALLS if has_called and stop is StopReason.END else stop


# --- an answer for a client -----------------------------------------------------------------------


def encode_response(answer: ChatResponse, ctx: AnswerContext) -> Json:
    """The answer as the vendor would give it."""
    content = [block for part in answer.parts if (block := encode_part(part, ctx)) is not None]
    has_refused = any(isinstance(part, Refusal) for part in answer.parts)
    usage = answer.usage or Usage(ctx.estimate, 0)
    return {
        **head(answer.id, answer.model, ctx),
        "content": content,
        **ending(answer.stop, answer.stop_sequence, has_refused),
        "usage": encode_usage(usage),
    }


def head(id: str, model: str, ctx: AnswerContext) -> Json:
    """What an answer begins with."""
    return {
        "id": id if id.startswith("msg_") else "msg_" + ctx.new_id(),
        "type": "message",
        "role": "assistant",
        "model": model or ctx.model,
    }


def ending(stop: StopReason, sequence: str | None, has_refused: bool) -> Json:
    """Why an answer ended; the model's own words for refusing stand in its content."""
    reason = _REASONS[StopReason.REFUSAL if has_refused else stop]
    told: dict[str, object] = {"stop_reason": reason, "stop_sequence": sequence}
    if reason == "refusal":
        told["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    return told


def encode_part(part: AnswerPart, ctx: AnswerContext) -> Json | None:
    """A part as a block; None where it says nothing to this dialect's clients."""
    match part:
        case Text(text) | Refusal(text):
            return {"type": "text", "text": text} if text else None
        case Thinking(redacted=True):
            return {
                "type": "redacted_thinking",
                "data": wrapped(part.signature, part.signed_by, NAME),
            }
        case Thinking():
            signature = wrapped(part.signature, part.signed_by, NAME)
            return {"type": "thinking", "thinking": part.text, "signature": signature}
        case ToolCall():
            return {**call_head(part, ctx), "input": as_object(part.arguments)}
        case Opaque():
            return part.raw if part.dialect == NAME else None


def call_head(call: ToolCall, ctx: AnswerContext) -> Json:
    """What the block of a call begins with."""
    id = safe_id(call.id) if call.id else "toolu_" + ctx.new_id()
    return {"type": "tool_use", "id": id, "name": call.name}
