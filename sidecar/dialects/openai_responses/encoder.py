"""Events → the stream that a client gets. Every part is an item of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sidecar.dialects.openai_responses.envelope import closed, opened
from sidecar.dialects.openai_responses.errors import failed
from sidecar.dialects.openai_responses.frames import (
    ARGUMENTS,
    INPUT,
    REFUSAL,
    SUMMARY,
    TEXT,
    FrameWriter,
    Place,
    Slot,
)
from sidecar.dialects.openai_responses.items import (
    NAME,
    call_item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)
from sidecar.dialects.openai_responses.namespaces import origins
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
from sidecar.neutral.problem import Problem
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.neutral.usage import Usage
from sidecar.wire.arguments import custom_tools, free_text, is_custom
from sidecar.wire.contract import AnswerContext
from sidecar.wire.json import Json

KEEPALIVE = b": keepalive\n\n"


@dataclass(slots=True)
class _Open:
    """The item that is being written; without a slot where it came whole."""

    part: AnswerPart
    item: Json  # as it was added
    slot: Slot | None
    place: Place
    texts: list[str] = field(default_factory=list)


class ResponsesEncoder:
    """Writes the stream of one answer."""

    __slots__ = (
        "_ctx", "_custom", "_grouped", "_open", "_output", "_response", "_usage", "_writer",
    )  # fmt: skip

    def __init__(self, ctx: AnswerContext) -> None:
        self._ctx = ctx
        self._custom = custom_tools(ctx.request.tools)
        self._grouped = origins(ctx.request.tools)
        self._writer = FrameWriter()
        self._response: Json | None = None
        self._output: list[Json] = []
        self._open: _Open | None = None
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The frames for an event."""
        match event:
            case MessageStart(id, model, usage):
                self._usage = usage
                return self._begin(id, model)
            case PartStart(part):
                return self._start(part)
            case PartDelta(text):
                return self._add(text)
            case PartEnd():
                return self._end(event)
            case UsageReport(usage):
                self._usage = usage
                return b""
            case Ping():
                return KEEPALIVE
            case MessageEnd():
                return self._close(event)
            case StreamFailed(problem):
                return self._fail(problem)

    def stand_at(
        self, response: Json, number: int, done: Sequence[Json], begun: Mapping[int, str]
    ) -> bool:
        """The client has the response and its finished items as they are told here.

        `number` is that of the next event, `begun` the ids of the items that are not done, by their
        place. False where what stands open here is not what the client has open.
        """
        self._response, self._output, self._writer = response, [*done], FrameWriter(number)
        if self._open is None or self._open.slot is None:
            return not begun
        if list(begun) != [len(done)]:
            return False
        self._open.place = Place(begun[len(done)], len(done))
        self._open.item = {**self._open.item, "id": self._open.place.item_id}
        return True

    def _begin(self, id: str, model: str) -> bytes:
        self._response = opened(self._ctx, id, model)
        created = self._writer.response("created", self._response)
        return created + self._writer.response("in_progress", self._response)

    def _close(self, end: MessageEnd) -> bytes:
        assert self._response is not None  # the order of events is legal
        response = closed(self._response, self._output, end.stop, self._usage, self._ctx)
        return self._writer.response(str(response["status"]), response)

    def _fail(self, problem: Problem) -> bytes:
        # clients look for the id of the response that has failed in the one that was created
        begun = b"" if self._response is not None else self._begin("", "")
        response = {**(self._response or {}), "output": self._output}
        return begun + self._writer.response("failed", failed(response, problem))

    # --- items ------------------------------------------------------------------------------------

    def _start(self, part: AnswerPart) -> bytes:
        found = self._item_for(part)
        if found is None:
            return b""
        item, slot = found
        place = Place(str(item.get("id", "")), len(self._output))
        self._open = _Open(part, item, slot, place)
        added = self._writer.item("added", place.output_index, item)
        if slot is None:
            return added
        return added + self._writer.begin(slot, place, _part_of(part, ""))

    def _item_for(self, part: AnswerPart) -> tuple[Json, Slot | None] | None:
        """The item that a part begins, and what grows in it."""
        new_id = self._ctx.new_id
        match part:
            case Text():
                return message_item(f"msg_{new_id()}", "in_progress"), TEXT
            case Refusal():
                return message_item(f"msg_{new_id()}", "in_progress"), REFUSAL
            case Thinking(redacted=True):
                return reasoning_item(part, f"rs_{new_id()}"), None
            case Thinking():
                return {"id": f"rs_{new_id()}", "type": "reasoning", "summary": []}, SUMMARY
            case ToolCall() if is_custom(part, self._custom):
                head = {"id": f"ctc_{new_id()}", "status": "in_progress"}
                call = call_item(part, is_custom=True, origin=self._grouped.get(part.name))
                return {**head, **call, "input": ""}, INPUT
            case ToolCall():
                head = {"id": f"fc_{new_id()}", "status": "in_progress"}
                call = call_item(part, is_custom=False, origin=self._grouped.get(part.name))
                return {**head, **call, "arguments": ""}, ARGUMENTS
            case Opaque():
                return (part.raw, None) if part.dialect == NAME else None

    def _add(self, text: str) -> bytes:
        open = self._open
        assert open is not None and open.slot is not None  # what comes whole has no deltas
        open.texts.append(text)
        if open.slot is INPUT:
            return b""  # the text within the arguments is known when they are whole
        return self._writer.more(open.slot, open.place, text)

    def _end(self, end: PartEnd) -> bytes:
        open, self._open = self._open, None
        if open is None:
            return b""
        text = "".join(open.texts)
        told = b""
        item = _finished(open, text, end)
        if open.slot in (INPUT, ARGUMENTS):
            text = str(item[open.slot.whole])
            if text and (open.slot is INPUT or not open.texts):
                told = self._writer.more(open.slot, open.place, text)
        if open.slot is not None:
            part = _part_of(open.part, text)
            told += b"".join(self._writer.finish(open.slot, open.place, text, part))
        self._output.append(item)
        return told + self._writer.item("done", open.place.output_index, item)


def _part_of(part: AnswerPart, text: str) -> Json:
    """What a text is a part of an item as, where it is one."""
    match part:
        case Refusal():
            return refusal_part(text)
        case Thinking():
            return {"type": "summary_text", "text": text}
        case _:
            return text_part(text)


def _finished(open: _Open, text: str, end: PartEnd) -> Json:
    """The item as it stands when it is done."""
    id, part = open.place.item_id, open.part
    match part:
        case Text() | Refusal():
            return message_item(id, "completed", _part_of(part, text))
        case Thinking(redacted=False):
            return reasoning_item(Thinking(text, end.signature, end.signed_by), id)
        case ToolCall() if open.slot is INPUT:
            return {**open.item, "status": "completed", "input": free_text(text)}
        case ToolCall():
            return {**open.item, "status": "completed", "arguments": text or "{}"}
        case _:
            return open.item
