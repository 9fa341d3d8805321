"""Events → the vendor's stream, in its strict order.

    message_start (content_block_start content_block_delta* content_block_stop)* message_delta
    message_stop

Blocks are numbered from 0 without a gap, one at a time. A block begins with its first words, so
that none is empty: clients send blocks back, and the vendor refuses empty ones.
"""

from sidecar.dialects.anthropic_messages.errors import fail_stream
from sidecar.dialects.anthropic_messages.response import (
    call_head,
    encode_part,
    encode_usage,
    ending,
    head,
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
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext
from sidecar.wire.framing import sse
from sidecar.wire.json import Json
from sidecar.wire.signature import wrapped

PING = sse(b'{"type":"ping"}', "ping")


def event(kind: str, **fields: object) -> bytes:
    """A frame of the vendor's: an event that bears its type as its name."""
    return sse(json.dumps({"type": kind, **fields}), kind)


class AnthropicEncoder:
    """Writes one answer."""

    def __init__(self, ctx: AnswerContext) -> None:
        self._ctx = ctx
        self._usage = Usage(ctx.estimate, 0)
        self._index = -1  # of the block that is open, or was last
        self._part: AnswerPart | None = None  # the part that is open
        self._pending: Json | None = None  # its block, if that has not begun
        self._has_refused = False

    def encode(self, event: Event) -> bytes:
        """Frames for an event; none where the dialect has nothing to say for it."""
        match event:
            case MessageStart():
                return self._start(event)
            case PartStart(part):
                return self._open(part)
            case PartDelta(text):
                return self._more(text)
            case PartEnd():
                return self._close(event)
            case UsageReport(usage):
                self._usage = usage
                return b""
            case Ping():
                return PING
            case MessageEnd():
                return self._end(event)
            case StreamFailed(problem):
                return fail_stream(problem)

    def stand_at(self, index: int) -> None:
        """The client has the start of the block in that place, and none behind it."""
        self._index = index
        self._pending = None

    def _start(self, start: MessageStart) -> bytes:
        self._usage = start.usage or self._usage
        message = {
            **head(start.id, start.model, self._ctx),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(self._usage),
        }
        return event("message_start", message=message)

    def _open(self, part: AnswerPart) -> bytes:
        self._part = part
        self._has_refused = self._has_refused or isinstance(part, Refusal)
        match part:
            case Text() | Refusal():
                self._pending = {"type": "text", "text": ""}
            case Thinking(redacted=False):
                self._pending = {"type": "thinking", "thinking": "", "signature": ""}
            case ToolCall():
                self._pending = {**call_head(part, self._ctx), "input": {}}
                return self._begin()
            case Thinking() | Opaque():
                self._pending = encode_part(part, self._ctx)
                return self._begin()
        return b""

    def _begin(self) -> bytes:
        """The start of the open part's block, unless it has begun or there is none."""
        block, self._pending = self._pending, None
        if block is None:
            return b""
        self._index += 1
        return event("content_block_start", index=self._index, content_block=block)

    def _more(self, text: str) -> bytes:
        match self._part:
            case Thinking():
                delta = {"type": "thinking_delta", "thinking": text}
            case ToolCall():
                delta = {"type": "input_json_delta", "partial_json": text}
            case _:
                delta = {"type": "text_delta", "text": text}
        return self._begin() + event("content_block_delta", index=self._index, delta=delta)

    def _close(self, end: PartEnd) -> bytes:
        part, self._part = self._part, None
        told = b""
        match part:
            case Thinking(redacted=False) if self._pending is None or end.signature is not None:
                signature = wrapped(end.signature, end.signed_by, NAME)
                delta = {"type": "signature_delta", "signature": signature}
                told = self._begin()
                told += event("content_block_delta", index=self._index, delta=delta)
            case Opaque() if part.dialect != NAME:
                return b""
            case _:
                pass
        if self._pending is not None:  # the part said nothing
            self._pending = None
            return b""
        return told + event("content_block_stop", index=self._index)

    def _end(self, end: MessageEnd) -> bytes:
        delta = ending(end.stop, end.stop_sequence, self._has_refused)
        told = event("message_delta", delta=delta, usage=encode_usage(self._usage))
        return told + event("message_stop")
