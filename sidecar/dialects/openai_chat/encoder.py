"""Events → the chunks that clients get."""

from typing import assert_never

from sidecar.dialects.openai_chat.encode_response import ending, head, usage_fields
from sidecar.dialects.openai_chat.errors import encode_event
from sidecar.dialects.openai_chat.reasoning import detail
from sidecar.dialects.openai_chat.tap import DONE_FRAME
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    StreamFailed,
    UsageReport,
)
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.arguments import custom_tools, free_text, is_custom
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.framing import sse
from sidecar.wire.json import Json

KEEP_ALIVE = b": keepalive\n\n"


class OpenAiEncoder:
    """Writes one stream of `chat.completion.chunk`."""

    _object = "chat.completion.chunk"

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._custom = custom_tools(context.request.tools)
        self._head: dict[str, object] = {}
        self._usage: Usage | None = None
        self._part: AnswerPart = Text("")  # the open one
        self._said: list[str] = []  # of the open one, where it must be told whole
        self._has_arguments = False
        self._calls = 0
        self._details = 0

    def encode(self, event: Event) -> bytes:
        """The chunks of an event."""
        match event:
            case MessageStart(id, model, usage):
                self._usage = usage
                self._head = head(id, model, self._context)
                return self._delta({"role": "assistant", "content": ""})
            case PartStart(part):
                return self._start(part)
            case PartDelta(text):
                return self._more(text)
            case PartEnd():
                return self._end(event)
            case UsageReport(usage):
                self._usage = usage
                return b""
            case Ping():
                return KEEP_ALIVE
            case MessageEnd(stop, sequence):
                end = ending(ChatResponse((), stop, sequence), self._context)
                return self._chunk({"delta": {}, **end}) + self._last_usage() + DONE_FRAME
            case StreamFailed(problem):
                return encode_event(problem)
            case _:
                assert_never(event)

    def _start(self, part: AnswerPart) -> bytes:
        self._part, self._said, self._has_arguments = part, [], False
        match part:
            case ToolCall():
                return self._start_call(part)
            case Thinking(redacted=True):
                return self._signed(part)
            case Text() | Thinking() | Refusal() | Opaque():
                return b""
            case _:
                assert_never(part)

    def _start_call(self, call: ToolCall) -> bytes:
        self._calls += 1
        if is_custom(call, self._custom):
            return self._call({"id": call.id, "type": "custom", "custom": _named(call, "input")})
        if self._context.facts.old_calls:
            return self._old_call(_named(call, "arguments"))
        return self._call(
            {"id": call.id, "type": "function", "function": _named(call, "arguments")}
        )

    def _more(self, text: str) -> bytes:
        match self._part:
            case Text():
                return self._delta({"content": text})
            case Refusal():
                return self._delta({"refusal": text})
            case Thinking():
                self._said.append(text)
                return self._delta({"reasoning_content": text})
            case ToolCall() as call if is_custom(call, self._custom):
                self._said.append(text)
                return b""
            case ToolCall():
                self._has_arguments = True
                return self._arguments(text)
            case Opaque():
                return b""
            case _:
                assert_never(self._part)

    def _end(self, end: PartEnd) -> bytes:
        said = "".join(self._said)
        match self._part:
            case Thinking(redacted=False) if end.signature is not None:
                return self._signed(Thinking(said, end.signature, end.signed_by))
            case ToolCall() as call if is_custom(call, self._custom):
                return self._call({"custom": {"input": free_text(said)}})
            case ToolCall() if not self._has_arguments:
                return self._arguments("{}")
            case _:
                return b""

    def _signed(self, part: Thinking) -> bytes:
        if part.signature is None:
            return b""
        self._details += 1
        return self._delta({"reasoning_details": [detail(part, self._details - 1)]})

    def _arguments(self, text: str) -> bytes:
        if self._context.facts.old_calls:
            return self._old_call({"arguments": text})
        return self._call({"function": {"arguments": text}})

    def _call(self, told: Json) -> bytes:
        return self._delta({"tool_calls": [{"index": self._calls - 1, **told}]})

    def _old_call(self, told: Json) -> bytes:
        # that form has a place for one call
        return self._delta({"function_call": told}) if self._calls == 1 else b""

    def _delta(self, delta: Json) -> bytes:
        return self._chunk({"delta": delta, "finish_reason": None})

    def _chunk(self, choice: Json) -> bytes:
        return self._frame([{"index": 0, **choice, "logprobs": None}], None)

    def _last_usage(self) -> bytes:
        if self._usage is None or not self._context.facts.wants_usage:
            return b""
        return self._frame([], usage_fields(self._usage))

    def _frame(self, choices: list[Json], usage: Json | None) -> bytes:
        chunk = {**self._head, "object": self._object, "choices": choices}
        if self._context.facts.wants_usage:
            chunk["usage"] = usage
        return sse(json.dumps(chunk))


class CompletionEncoder(OpenAiEncoder):
    """Writes one stream of `text_completion`, which has a place for text and nothing else."""

    _object = "text_completion"

    def _chunk(self, choice: Json) -> bytes:
        delta = choice.get("delta")
        said = delta if isinstance(delta, dict) else {}
        text = said.get("content") or said.get("refusal") or ""
        if not text and choice["finish_reason"] is None:
            return b""
        ending = {name: told for name, told in choice.items() if name != "delta"}
        return self._frame([{"index": 0, "text": text, "logprobs": None, **ending}], None)


def stream_encoder(context: AnswerContext) -> OpenAiEncoder:
    """The encoder for what the client asked."""
    completes = context.facts.operation is Operation.COMPLETION
    return (CompletionEncoder if completes else OpenAiEncoder)(context)


def _named(call: ToolCall, holds: str) -> Json:
    return {"name": call.name, holds: ""}
