"""Streams of /api/chat into events, and events into the lines of /api/chat or /api/generate.

Calls of tools come whole in one line, in both directions.
"""

from sidecar.dialects.ollama_chat.errors import disguised, fail_stream
from sidecar.dialects.ollama_chat.response import (
    Calls,
    encode_call,
    ending,
    line,
    stop_of,
    usage_or_estimate,
)
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
from sidecar.neutral.problem import CUT_OFF
from sidecar.neutral.request import Text, Thinking, ToolCall
from sidecar.neutral.response import StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in


class OllamaDecoder:
    """Lines → events. The line that is done has the usage too, so nothing waits for it."""

    __slots__ = ("_calls", "_ctx", "_has_begun", "_has_ended", "_open", "finished", "malformed")

    def __init__(self, ctx: AnswerContext) -> None:
        self.malformed = 0
        self.finished = False
        self._ctx = ctx
        self._calls = Calls(ctx)
        self._has_begun = self._has_ended = False
        self._open: type[Text | Thinking] | None = None  # the part that the texts belong to

    def read(self, frame: bytes) -> list[Event]:
        """The events that a line completes; never raises."""
        data = frame.strip()
        if self._has_ended or not data:
            return []
        chunk = json.loads_object(data)
        if chunk is None:
            self.malformed += 1
            return []
        if problem := disguised(chunk):
            self._has_ended = True
            return [StreamFailed(problem)]
        events = self._begin(chunk)
        said = self._say(object_in(chunk, "message"))
        if chunk.get("done") is True:
            return events + said + self._end(chunk)
        return events + (said or [Ping()])

    def _begin(self, chunk: Json) -> list[Event]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [MessageStart(model=text_in(chunk, "model"))]

    def _say(self, message: Json) -> list[Event]:
        events = self._text(Thinking, text_in(message, "thinking"))
        events += self._text(Text, text_in(message, "content"))
        for call in self._calls.read(message):
            events += self._close_part()
            events.append(PartStart(ToolCall(call.id, call.name, "")))
            if call.arguments:
                events.append(PartDelta(call.arguments))
            events.append(PartEnd())
        return events

    def _text(self, kind: type[Text | Thinking], text: str) -> list[Event]:
        if not text:
            return []
        if self._open is kind:
            return [PartDelta(text)]
        events = self._close_part()
        self._open = kind
        return [*events, PartStart(kind("")), PartDelta(text)]

    def _close_part(self) -> list[Event]:
        if self._open is None:
            return []
        self._open = None
        return [PartEnd()]

    def _end(self, chunk: Json) -> list[Event]:
        self.finished = self._has_ended = True
        events = self._close_part()
        if usage := usage_or_estimate(chunk, self._ctx):
            events.append(UsageReport(usage))
        return [*events, MessageEnd(stop_of(chunk, calls_tools=self._calls.made))]

    def close(self) -> list[Event]:
        """A stream that has not said that it is done was cut."""
        if self._has_ended:
            return []
        self._has_ended = True
        return [StreamFailed(CUT_OFF)]


class OllamaEncoder:
    """Events → lines. Ollama has no id of an answer, no signature of thinking and no refusal."""

    __slots__ = (
        "_arguments",
        "_call",
        "_calls",
        "_ctx",
        "_is_thinking",
        "_model",
        "_usage",
        "_waited",
    )

    def __init__(self, ctx: AnswerContext) -> None:
        self._ctx = ctx
        self._model = ctx.model
        self._usage: Usage | None = None
        self._waited: float | None = None  # seconds before the first word
        self._is_thinking = False
        self._call: ToolCall | None = None
        self._arguments: list[str] = []
        self._calls = 0

    def encode(self, event: Event) -> bytes:
        """The line for an event, if it says anything."""
        match event:
            case MessageStart(model=model, usage=usage):
                self._model, self._usage = model or self._model, usage
                return b""
            case PartStart(part):
                self._call = part if isinstance(part, ToolCall) else None
                self._is_thinking = isinstance(part, Thinking)
                return b""
            case PartDelta(text):
                return self._delta(text)
            case PartEnd():
                return self._call_told()
            case UsageReport(usage):
                self._usage = usage
                return b""
            case Ping():
                return self._line()  # a line has no comments, and a blank one breaks clients
            case MessageEnd(stop):
                return self._done(stop)
            case StreamFailed(problem):
                return fail_stream(problem)

    def _delta(self, text: str) -> bytes:
        if self._waited is None:
            self._waited = self._ctx.elapsed()
        if self._call is not None:
            self._arguments.append(text)
            return b""
        return self._line(thinking=text) if self._is_thinking else self._line(content=text)

    def _call_told(self) -> bytes:
        call, self._call = self._call, None
        if call is None:
            return b""
        arguments, self._arguments = "".join(self._arguments), []
        place, self._calls = self._calls, self._calls + 1
        whole = ToolCall(call.id, call.name, call.arguments + arguments)
        told = line(self._model, self._ctx, calls=[encode_call(whole, place)])
        return json.dumps(told) + b"\n"

    def _line(self, content: str = "", thinking: str = "") -> bytes:
        told = line(self._model, self._ctx, content=content, thinking=thinking)
        return json.dumps(told) + b"\n"

    def _done(self, stop: StopReason) -> bytes:
        told = line(self._model, self._ctx)
        end = ending(stop, self._usage, self._ctx, self._waited or 0.0)
        return json.dumps({**told, **end}) + b"\n"
