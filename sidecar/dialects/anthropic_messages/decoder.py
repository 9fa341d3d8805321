"""The vendor's stream → events in legal order, from whoever speaks it and however loosely.

Blocks come one after the other. A block that begins while a call's arguments are still coming is
held back until that call is complete; any other block ends where the next one begins.
"""

from dataclasses import dataclass, field

from sidecar.dialects.anthropic_messages.errors import decode_event, disguised, is_error_event
from sidecar.dialects.anthropic_messages.response import (
    add_usage,
    arguments_of,
    call_of,
    decode_block,
    refusal,
    stop_of,
    usage_of,
)
from sidecar.dialects.anthropic_messages.thinking import NAME
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
from sidecar.neutral.problem import CUT_OFF, Problem, ProblemKind
from sidecar.neutral.request import Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.wire import json
from sidecar.wire.arguments import as_object
from sidecar.wire.contract import AnswerContext
from sidecar.wire.framing import FRAME_LIMIT, frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in
from sidecar.wire.signature import unwrapped

_HOARD = Problem(ProblemKind.PROTOCOL, f"left more than {FRAME_LIMIT} characters of a call open")
_PER_BLOCK = 16_384  # what a block that is held back counts for, however small, in characters
_FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_ENDING = ("stop_reason", "stop_sequence", "stop_details")
_KINDS = {"text_delta": "text", "thinking_delta": "thinking"}  # of a block that never began


@dataclass(slots=True)
class _Block:
    """A block that has begun; `texts` are what is not told of it yet."""

    index: object
    raw: Json
    part: AnswerPart | None = None  # None: its own dialect's, or nothing; told once it is whole
    texts: list[str] = field(default_factory=list)
    signature: str = ""
    says: bool = False  # something of it is told
    has_ended: bool = False


def _takes(block: _Block, kind: str) -> bool:
    """Whether a delta of that kind belongs to such a block."""
    wanted = "thinking" if kind == "signature_delta" else _KINDS.get(kind)
    held = block.raw.get("type")
    return held == wanted if wanted else held not in _KINDS.values()


class AnthropicDecoder:
    """Reads one answer."""

    def __init__(self, ctx: AnswerContext) -> None:
        self.malformed = 0
        self.finished = False  # the reason to stop has come
        self._ctx = ctx
        self._blocks: list[_Block] = []  # the one that is told, and those held back behind it
        self._held = 0  # characters of those
        self._size = 0  # of the frame that is being read
        self._has_called = False
        self._usage: dict[str, object] = {}
        self._ending: dict[str, object] = {}
        self._has_begun = False
        self._is_over = False

    @property
    def holds_back(self) -> bool:
        """Whether a block has begun of which the events tell less than was read, or nothing yet."""
        match self._blocks:
            case []:
                return False
            case [_Block(part=ToolCall()) as block]:
                return bool(block.raw.get("input"))
            case [block]:
                return not block.says or bool(block.signature)
            case _:
                return True

    def read(self, frame: bytes) -> list[Event]:
        """The events that a frame completes; never raises."""
        data = frame_data(frame)
        if self._is_over or data is None or not data.strip() or data.strip() == b"[DONE]":
            return []
        if is_error_event(frame):
            return self._fail(decode_event(data))
        event = json.loads_object(data)
        if event is None:
            self.malformed += 1
            return []
        if problem := disguised(event):
            return self._fail(problem)
        self._size = len(data)
        return self._read(event)

    def close(self) -> list[Event]:
        """The end of the input."""
        if self._is_over:
            return []
        return self._end() if self.finished else self._fail(CUT_OFF)

    def _read(self, event: Json) -> list[Event]:
        match event.get("type"):
            case "message_start":
                return self._start(object_in(event, "message"))
            case "content_block_start":
                return self._open(event)
            case "content_block_delta":
                return self._more(event)
            case "content_block_stop":
                return self._stop(event.get("index"))
            case "message_delta":
                add_usage(self._usage, event.get("usage"))
                return self._delta(object_in(event, "delta"))
            case "message_stop":
                return self.close()
            case "ping" if self._has_begun:
                return [Ping()]
            case _:
                return []

    # --- the message ------------------------------------------------------------------------------

    def _start(self, message: Json) -> list[Event]:
        add_usage(self._usage, message.get("usage"))
        return self._begin(message)

    def _begin(self, message: Json) -> list[Event]:
        """The start of the message, unless it has begun."""
        if self._has_begun:
            return []
        self._has_begun = True
        usage = usage_of(self._usage) if self._usage else None
        model = text_in(message, "model") or self._ctx.model
        return [MessageStart(text_in(message, "id"), model, usage)]

    def _delta(self, told: Json) -> list[Event]:
        self._ending |= {name: told[name] for name in _ENDING if told.get(name) is not None}
        self.finished = self.finished or bool(self._ending.get("stop_reason"))
        return []

    def _end(self) -> list[Event]:
        events = self._begin({})
        for block in self._blocks:
            block.has_ended = True
        events += self._advance()
        if words := refusal(self._ending):
            events += [PartStart(Refusal("")), PartDelta(words), PartEnd()]
        if self._usage:
            events.append(UsageReport(usage_of(self._usage)))
        stop = stop_of(self._ending.get("stop_reason"), self._has_called)
        events.append(MessageEnd(stop, text_in(self._ending, "stop_sequence") or None))
        self._is_over = True
        return events

    def _fail(self, problem: Problem) -> list[Event]:
        self._is_over = True
        self._blocks.clear()
        return [StreamFailed(problem)]

    # --- its blocks -------------------------------------------------------------------------------

    def _open(self, event: Json) -> list[Event]:
        block = _Block(event.get("index"), object_in(event, "content_block"))
        return self._begin({}) + self._take(block)

    def _take(self, block: _Block) -> list[Event]:
        events: list[Event] = []
        if self._blocks and not isinstance(self._blocks[0].part, ToolCall):
            self._blocks[0].has_ended = True
            events += self._advance()
        self._blocks.append(block)
        if len(self._blocks) == 1:
            return events + self._tell(block)
        return events + self._hold(self._size + _PER_BLOCK)

    def _more(self, event: Json) -> list[Event]:
        delta = object_in(event, "delta")
        if not delta:
            return []
        kind = text_in(delta, "type")
        events = self._begin({})
        index = event.get("index")
        known = (one for one in self._blocks if one.index == index and _takes(one, kind))
        block = next(known, None)
        if block is None:
            if kind not in _KINDS:
                return events
            block = _Block(index, {"type": _KINDS[kind]})  # its start was never sent
            events += self._take(block)
        if kind == "signature_delta":
            signature = text_in(delta, "signature")
            block.signature += signature
            return events + self._hold(len(signature))
        text = text_in(delta, _FIELDS.get(kind, ""))
        if not text:
            return events
        block.texts.append(text)
        if block is self._blocks[0] and block.part is not None:
            return events + self._say(block)
        return events + self._hold(len(text))

    def _hold(self, size: int) -> list[Event]:
        """Count what is kept for later."""
        self._held += size
        return self._fail(_HOARD) if self._held > FRAME_LIMIT else []

    def _stop(self, index: object) -> list[Event]:
        for block in self._blocks:
            if block.index == index:
                block.has_ended = True
        return self._advance()

    def _advance(self) -> list[Event]:
        """Close what has ended and tell what was held back behind it."""
        events: list[Event] = []
        while self._blocks and self._blocks[0].has_ended:
            events += self._close(self._blocks.pop(0))
            if self._blocks:
                events += self._tell(self._blocks[0])
        if not self._blocks:
            self._held = 0
        return events

    def _tell(self, block: _Block) -> list[Event]:
        """The start of a block whose turn has come, and what is known of it."""
        raw = block.raw
        match raw.get("type"):
            case "text":
                block.part = Text("")
                block.texts.insert(0, text_in(raw, "text"))
            case "thinking":
                block.part = Thinking("")
                block.texts.insert(0, text_in(raw, "thinking"))
                block.signature = text_in(raw, "signature") + block.signature
            case "tool_use":
                block.part = call_of(raw, "", self._ctx)
                self._has_called = True
                return [PartStart(block.part), *self._say(block)]
            case _:
                return []
        return self._say(block)

    def _say(self, block: _Block) -> list[Event]:
        """What has come of the block's text; a text that stays empty is never begun."""
        text = "".join(block.texts)
        if block.part is None or not text:
            return []
        block.texts.clear()
        events: list[Event] = [PartDelta(text)]
        if not block.says and not isinstance(block.part, ToolCall):
            events.insert(0, PartStart(block.part))
        block.says = True
        return events

    def _close(self, block: _Block) -> list[Event]:
        match block.part:
            case None:
                raw = dict(block.raw)
                if text := "".join(block.texts):
                    raw["input"] = as_object(text)
                parts = decode_block(raw, self._ctx)
                return [event for part in parts for event in (PartStart(part), PartEnd())]
            case ToolCall() if not block.says:
                return [PartDelta(arguments_of(block.raw.get("input"))), PartEnd()]
            case Thinking():
                signature, signed_by = unwrapped(block.signature, NAME)
                begun: list[Event] = [] if block.says else [PartStart(block.part)]
                return [*begun, PartEnd(signature, signed_by)] if block.says or signature else []
            case _:
                return [PartEnd()] if block.says else []
