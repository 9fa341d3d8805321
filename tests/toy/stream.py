"""Streams of the toy: lines of a key, a colon and a JSON value.

hello: {"id", "model"}   (text|think|refuse: words ... | use: {"id", "use"} with: words ...)
next: seal or null       spent: [in, out]       ping: null        bye: {"ended", "until"}
sorry: {"sorry", "kind"} in place of all that would follow
"""

from collections.abc import Mapping, Sequence

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
from sidecar.neutral.problem import CUT_OFF, Problem
from sidecar.neutral.request import ChatRequest, Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Operation, Reading, RequestFacts, Resumed
from sidecar.wire.fold import folded, unfolded
from sidecar.wire.framing import Framing, LineFramer
from sidecar.wire.json import Json
from sidecar.wire.resume import resumed
from tests.toy.answer import decode_response, encode_response, spent, stop
from tests.toy.errors import disguised, told
from tests.toy.pieces import seal, unsealed

_OPENS: Mapping[str, type[Text | Thinking | Refusal]] = {
    "text": Text,
    "think": Thinking,
    "refuse": Refusal,
}
_READINGS = {
    "text": Reading.CONTENT,
    "think": Reading.CONTENT,
    "refuse": Reading.CONTENT,
    "use": Reading.CONTENT,
    "with": Reading.CONTENT,
    "spent": Reading.USAGE,
    "bye": Reading.FINISH,
}


def _is_stream(first: bytes, kind: str, asked: bool) -> bool:
    return first.lstrip().startswith((b"hello:", b"sorry:", b"ping:"))


FRAMING = Framing("application/x-toy", LineFramer, _is_stream)


def line(key: str, value: object) -> bytes:
    """One line of a stream."""
    return f"{key}: ".encode() + json.dumps(value) + b"\n"


def parsed(frame: bytes) -> tuple[str, object] | None:
    """Key and value of a line; None where it is none."""
    key, colon, value = frame.partition(b":")
    try:
        return (key.strip().decode(), json.loads(value)) if colon else None
    except ValueError:
        return None


def _failure(value: object) -> Problem:
    fields = value if isinstance(value, dict) else {}
    return disguised({"sorry": "", **fields}) or CUT_OFF


class ToyTap:
    """Reads the lines of one stream and passes them on."""

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self.finished = False

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a line says; junk is left out."""
        match parsed(frame):
            case None:
                return Reading.MALFORMED, b""
            case "hello", {"model": str(model)}:
                self.model = model
            case "spent", value:
                self.usage = spent(value) or self.usage
            case "sorry", value:
                self.problem = _failure(value)
                return Reading.FAILURE, frame
            case "bye", _:
                self.finished = True
            case _:
                pass
        key = frame.partition(b":")[0].strip().decode("utf-8", "replace")
        return _READINGS.get(key, Reading.GREETING), frame

    def end(self) -> bytes:
        """Nothing: the end of a stream is its last line."""
        return b""

    def fail(self, problem: Problem) -> bytes:
        """The line that ends a stream honestly."""
        return line("sorry", told(problem))


class ToyDecoder:
    """Lines of a backend → events."""

    def __init__(self, context: AnswerContext) -> None:
        self.malformed = 0
        self.finished = False
        self._model = context.model
        self._is_begun = False
        self._is_over = False
        self._is_calling = False
        self._open: AnswerPart | None = None

    def read(self, frame: bytes) -> list[Event]:
        """The events of a line; never raises."""
        if self._is_over:
            return []
        found = parsed(frame)
        if found is None:
            self.malformed += 1
            return []
        events = self._events(*found)
        if events and not self._is_begun and not isinstance(events[0], StreamFailed):
            self._is_begun = True
            if not isinstance(events[0], MessageStart):
                events.insert(0, MessageStart("", self._model))
        return events

    def _events(self, key: str, value: object) -> list[Event]:
        match key, value:
            case "hello", {"id": str(id), "model": str(model)} if not self._is_begun:
                return [MessageStart(id, model)]
            case "text" | "think" | "refuse", str(text):
                is_sealed = isinstance(self._open, Thinking) and self._open.redacted
                is_new = is_sealed or not isinstance(self._open, _OPENS[key])
                opened = self._begin(_OPENS[key]("")) if is_new else []
                return [*opened, *([PartDelta(text)] if text else [])]
            case "use", {"id": str(id), "use": str(name)}:
                self._is_calling = True
                return self._begin(ToolCall(id, name, ""))
            case "with", str(text) if text and isinstance(self._open, ToolCall):
                return [PartDelta(text)]
            case "sealed", str(proof):
                return self._begin(unsealed("", proof))
            case "next", _:
                return self._end(value)
            case "spent", _:
                usage = spent(value)
                return [UsageReport(usage)] if usage else []
            case "ping", _:
                return [Ping()]
            case "sorry", _:
                self._is_over = True
                return [StreamFailed(_failure(value))]
            case "bye", _:
                return self._finish(value)
            case _:
                return []

    def _begin(self, part: AnswerPart) -> list[Event]:
        events = [*self._end(None), PartStart(part)]
        self._open = part
        return events

    def _end(self, proof: object) -> list[Event]:
        part, self._open = self._open, None
        if part is None:
            return []
        if isinstance(part, Thinking) and isinstance(proof, str) and not part.redacted:
            sealed = unsealed("", proof)
            return [PartEnd(sealed.signature, sealed.signed_by)]
        return [PartEnd()]

    def _finish(self, value: object) -> list[Event]:
        self.finished = self._is_over = True
        fields = value if isinstance(value, dict) else {}
        until = fields.get("until")
        reason = stop(fields.get("ended"), is_calling=self._is_calling)
        end = MessageEnd(reason, until if isinstance(until, str) else None)
        return [*self._end(None), end]

    def close(self) -> list[Event]:
        """The failure of a stream that broke off."""
        if self._is_over:
            return []
        self._is_over = True
        return [StreamFailed(CUT_OFF)]


class ToyEncoder:
    """Events → lines for a client."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._key = ""

    def encode(self, event: Event) -> bytes:
        """The line of an event."""
        match event:
            case MessageStart(id, model):
                told_id = id or f"toy-{self._context.new_id()}"
                return line("hello", {"id": told_id, "model": model or self._context.model})
            case PartStart(part):
                return self._begin(part)
            case PartDelta(text):
                return line(self._key, text)
            case PartEnd(signature, signed_by):
                return self._end(signature, signed_by)
            case UsageReport(usage):
                return line("spent", [usage.input_tokens, usage.output_tokens])
            case Ping():
                return line("ping", None)
            case MessageEnd(reason, sequence):
                return line("bye", {"ended": reason.value, "until": sequence})
            case StreamFailed(problem):
                return line("sorry", told(problem))

    def _begin(self, part: AnswerPart) -> bytes:
        match part:
            case Thinking(redacted=True):
                self._key = "sealed"
                return line("sealed", seal(part))
            case Text() | Thinking() | Refusal():
                self._key = next(key for key, kind in _OPENS.items() if isinstance(part, kind))
                return line(self._key, "")
            case ToolCall(id, name):
                self._key = "with"
                return line("use", {"id": id, "use": name})
            case Opaque():
                self._key = ""
                return b""

    def _end(self, signature: str | None, signed_by: str | None) -> bytes:
        if not self._key:
            return b""
        proof = seal(Thinking("", signature, signed_by)) if self._key == "think" else None
        return line("next", proof)


def _nowhere(facts: RequestFacts) -> AnswerContext:
    """Between two forms of one answer nothing is made up."""
    return AnswerContext(facts, ChatRequest(()), 0, elapsed=lambda: 0.0, new_id=lambda: "")


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The lines that say what a whole answer says."""
    context = _nowhere(facts)
    encoder = ToyEncoder(context)
    events = unfolded(decode_response(answer, context))
    return [written for event in events if (written := encoder.encode(event))]


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that the lines of a finished stream add up to."""
    context = _nowhere(RequestFacts(Operation.CHAT))
    decoder = ToyDecoder(context)
    answer: ChatResponse = folded(event for frame in frames for event in decoder.read(frame))
    return encode_response(answer, context)


def resume(frames: Sequence[bytes], context: AnswerContext) -> Resumed | None:
    """What a client has of a stream."""
    return resumed(frames, ToyDecoder(context), ToyEncoder(context))
