"""Whole answers: is it one, what did it cost, and both ways through the neutral form."""

from collections.abc import Sequence

from sidecar.dialects.ollama_chat.errors import disguised
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json, rfc3339
from sidecar.wire.arguments import as_object
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, object_in, objects_in, text_in

_STOPS = {
    "length": StopReason.MAX_TOKENS,
    "load": StopReason.LOADED,
    "unload": StopReason.LOADED,
}
_REASONS = {StopReason.MAX_TOKENS: "length", StopReason.LOADED: "load"}


def judge(operation: Operation, body: object) -> Problem | None:
    """What is wrong with the body of a 200; None where it is an answer."""
    if not isinstance(body, dict):
        return Problem(ProblemKind.PROTOCOL, "answered JSON that is not an object")
    if problem := disguised(body):
        return problem
    match operation:
        case Operation.CHAT:
            lacks = None if isinstance(body.get("message"), dict) else "message"
        case Operation.COMPLETION:
            lacks = None if isinstance(body.get("response"), str) else "response"
        case Operation.EMBED:
            vectors = body.get("embeddings", body.get("embedding"))
            lacks = None if isinstance(vectors, list) else "embeddings"
        case _:
            return None
    if lacks is not None:
        return Problem(ProblemKind.PROTOCOL, f"answered an object without `{lacks}`")
    if body.get("done") is False:
        return Problem(ProblemKind.TRUNCATED, "answered only the beginning of an answer")
    return None


def usage(body: Json) -> Usage | None:
    """The tokens that an answer or a line reports.

    A count of nought is left out, as of a prompt that was all in the cache.
    """
    read, written = count_in(body, "prompt_eval_count"), count_in(body, "eval_count")
    load = count_in(body, "load_duration") / 1e9
    return Usage(read, written, load=load) if read or written else None


def usage_or_estimate(body: Json, ctx: AnswerContext) -> Usage | None:
    """The same, with our own estimate of a prompt that was not counted."""
    told = usage(body)
    if told is None or told.input_tokens:
        return told
    return Usage(ctx.estimate, told.output_tokens, is_estimated=True, load=told.load)


# --- decoding -------------------------------------------------------------------------------------


def decode_response(body: Json, ctx: AnswerContext) -> ChatResponse:
    """A whole answer of /api/chat that `judge` has found good."""
    said = object_in(body, "message")
    parts: list[AnswerPart] = []
    if thinking := text_in(said, "thinking"):
        parts.append(Thinking(thinking))
    if content := text_in(said, "content"):
        parts.append(Text(content))
    calls = Calls(ctx)
    parts += calls.read(said)
    return ChatResponse(
        parts=tuple(parts),
        stop=stop_of(body, calls_tools=calls.made),
        usage=usage_or_estimate(body, ctx),
        model=text_in(body, "model"),
    )


def stop_of(body: Json, *, calls_tools: bool) -> StopReason:
    """Why the model stopped; of calls of tools the backend says only `stop`."""
    if calls_tools:
        return StopReason.TOOL_CALLS
    return _STOPS.get(text_in(body, "done_reason"), StopReason.END)


_REMEMBERED = 64  # calls that are recognised when they come again


class Calls:
    """The tool calls of one answer, each of them once and under an id of its own."""

    __slots__ = ("_ctx", "_told", "made")

    def __init__(self, ctx: AnswerContext) -> None:
        self.made = False  # whether there was any
        self._ctx = ctx
        self._told: dict[str, tuple[str, str]] = {}  # id → name and arguments

    def read(self, message: Json) -> list[ToolCall]:
        """The new calls of a message."""
        found = map(self._read, objects_in(message, "tool_calls"))
        return [call for call in found if call is not None]

    def _read(self, told: Json) -> ToolCall | None:
        function = object_in(told, "function")
        name, id = text_in(function, "name"), text_in(told, "id")
        if not name:
            return None
        arguments = _arguments(function.get("arguments"))
        if self._told.get(id) == (name, arguments):
            return None  # some servers repeat a call in their last line
        self.made = True
        if not id or id in self._told:
            return ToolCall(f"call_{self._ctx.new_id()}", name, arguments)
        self._remember(id, name, arguments)
        return ToolCall(id, name, arguments)

    def _remember(self, id: str, name: str, arguments: str) -> None:
        if len(self._told) >= _REMEMBERED:
            del self._told[next(iter(self._told))]
        self._told[id] = (name, arguments)


def _arguments(told: object) -> str:
    if isinstance(told, str):  # as the OpenAI dialect has it
        return told
    return json.dumps(told or {}).decode()


# --- encoding -------------------------------------------------------------------------------------


def encode_response(response: ChatResponse, ctx: AnswerContext) -> Json:
    """A whole answer as /api/chat or /api/generate gives it."""
    said: dict[str, list[str]] = {"content": [], "thinking": []}
    calls: list[ToolCall] = []
    for part in response.parts:
        match part:
            case Text(text) | Refusal(text):
                said["content"].append(text)
            case Thinking(text):
                said["thinking"].append(text)
            case ToolCall():
                calls.append(part)
            case Opaque():
                pass
    answer = line(
        response.model or ctx.model,
        ctx,
        content="".join(said["content"]),
        thinking="".join(said["thinking"]),
        calls=[encode_call(call, place) for place, call in enumerate(calls)],
    )
    return {**answer, **ending(response.stop, response.usage, ctx)}


def line(
    model: str,
    ctx: AnswerContext,
    *,
    content: str = "",
    thinking: str = "",
    calls: Sequence[Json] = (),
) -> Json:
    """One line of a stream, or the first half of a whole answer."""
    head: dict[str, object] = {"model": model, "created_at": rfc3339.written(ctx.created)}
    more: dict[str, object] = {"thinking": thinking} if thinking else {}
    if calls:
        more["tool_calls"] = calls
    if ctx.facts.operation is Operation.COMPLETION:
        return {**head, "response": content, **more, "done": False}
    return {**head, "message": {"role": "assistant", "content": content, **more}, "done": False}


def encode_call(call: ToolCall, place: int) -> Json:
    """A call as clients expect it: its arguments are an object."""
    function = {"index": place, "name": call.name, "arguments": as_object(call.arguments)}
    return {"id": call.id, "function": function}


def ending(stop: StopReason, usage: Usage | None, ctx: AnswerContext, waited: float = 0.0) -> Json:
    """The second half of a whole answer: why it ended, and the times in nanoseconds.

    `waited` are the seconds before the first word. Clients divide by the times, so none is nought;
    how long a model took to load is not known here.
    """
    told: dict[str, object] = {"done": True, "done_reason": _REASONS.get(stop, "stop")}
    if stop is StopReason.LOADED:
        return told
    total = ctx.elapsed()
    told |= {"total_duration": _nanoseconds(total), "load_duration": 0}
    if usage is not None:
        told["prompt_eval_count"] = usage.input_tokens
    told["prompt_eval_duration"] = _nanoseconds(waited)
    if usage is not None:
        told["eval_count"] = usage.output_tokens
    told["eval_duration"] = _nanoseconds(total - waited)
    return told


def _nanoseconds(seconds: float) -> int:
    return max(1, round(seconds * 1e9))
