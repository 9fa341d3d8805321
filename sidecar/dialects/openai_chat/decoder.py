"""Chunks of a stream → events in legal order.

Parts never overlap there, so what comes for a part while another one is open waits: a tool call is
done when its arguments are a whole object, any other part as soon as something else begins.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from sidecar.dialects.openai_chat.calls import Bracketed, Call
from sidecar.dialects.openai_chat.errors import decode_event, disguised, is_error_event
from sidecar.dialects.openai_chat.mend import Mender, place_of
from sidecar.dialects.openai_chat.reasoning import spoken, told_blocks, told_text
from sidecar.dialects.openai_chat.response import INTERRUPTED, later, stop_of, usage
from sidecar.dialects.openai_chat.tap import DONE
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
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext
from sidecar.wire.framing import frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import text_in

WAITING_LIMIT = 16 * 1024 * 1024  # characters of parts that wait for their turn
_PART_COST = 64  # what a waiting part counts beside its characters

_TOO_MUCH = Problem(ProblemKind.PROTOCOL, "interleaved more parts than can be put in order")
_NAMELESS = Problem(ProblemKind.PROTOCOL, "called a tool without naming it")


@dataclass(slots=True, eq=False)
class _Part:
    """One part of the answer, open or waiting; a `call` may still lack its id and name."""

    part: AnswerPart
    call: Call | None = None
    held: list[str] = field(default_factory=list)
    brackets: Bracketed = field(default_factory=Bracketed)
    is_open: bool = False
    is_closed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether a next part may begin."""
        return self.call is None or self.brackets.is_complete


class OpenAiDecoder:
    """Reads the first choice of one stream; further ones were not asked for."""

    def __init__(self, context: AnswerContext) -> None:
        self.malformed = 0
        self._new_id = context.new_id
        self._mender = Mender()
        self._events: list[Event] = []
        self._parts: deque[_Part] = deque()  # the first one is open, the others wait
        self._calls: dict[int, _Part] = {}
        self._waiting = 0
        self._id = self._model = ""
        self._usage: Usage | None = None
        self._reasons = False  # reasoning came as plain text
        self._refuses = False
        self._ending: Json | None = None  # the choice that told why the answer ends
        self._has_begun = False
        self._is_over = False

    @property
    def finished(self) -> bool:
        """The reason of the end was seen."""
        return self._ending is not None

    @property
    def holds_back(self) -> bool:
        """Whether something that was read waits for its turn to be told."""
        return any(not part.is_open for part in self._parts)

    def read(self, frame: bytes) -> list[Event]:
        """The events that a frame completes; never raises."""
        if self._is_over:
            return []
        data = frame_data(frame)
        if data is None or not data.strip():
            return [Ping()] if self._has_begun else []
        if is_error_event(frame):
            return self._failed(decode_event(data))
        if data.strip() == DONE:
            return self.close()
        chunk = json.loads_object(data)
        if chunk is None:
            self.malformed += 1
            return []
        problem = disguised(chunk) or self._chunk(self._mender.mended(chunk))
        if problem is not None:
            return self._failed(problem)
        if self.finished and self._usage is not None and not chunk.get("choices"):
            return self.close()
        return self._told()

    def close(self) -> list[Event]:
        """The input has ended."""
        if self._is_over:
            return []
        if self._ending is None:
            return self._failed(CUT_OFF)
        problem = self._flush()
        if problem is not None:
            return self._failed(problem)
        self._begin()
        if self._usage is not None:
            self._events.append(UsageReport(self._usage))
        stop = stop_of(self._ending, has_calls=bool(self._calls), refuses=self._refuses)
        self._events.append(MessageEnd(*stop))
        self._is_over = True
        return self._told()

    def _told(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _failed(self, problem: Problem) -> list[Event]:
        if self._usage is not None and self._has_begun:
            self._events.append(UsageReport(self._usage))
        self._events.append(StreamFailed(problem))
        self._is_over = True
        self._parts.clear()
        return self._told()

    # --- what a chunk says ------------------------------------------------------------------------

    def _chunk(self, chunk: Json) -> Problem | None:
        self._usage = later(self._usage, usage(chunk))
        self._id = self._id or text_in(chunk, "id")
        self._model = self._model or text_in(chunk, "model")
        choices = chunk["choices"]
        for choice in choices if isinstance(choices, list) else ():
            if place_of(choice) == 0 and (problem := self._choice(choice)):
                return problem
        return _TOO_MUCH if self._waiting > WAITING_LIMIT else None

    def _choice(self, choice: Json) -> Problem | None:
        delta, reason = choice.get("delta"), choice.get("finish_reason")
        if reason in INTERRUPTED:
            return Problem(ProblemKind.BACKEND_ERROR, f"ended its stream with {reason!r}")
        if isinstance(delta, dict):
            self._think(delta)
            for part in spoken(delta):
                self._say(replace(part, text=""), part.text)
            refusal = text_in(delta, "refusal")
            self._refuses = self._refuses or bool(refusal)
            self._say(Refusal(""), refusal)
            if problem := self._call(delta):
                return problem
        else:
            self._say(Text(""), text_in(choice, "text"))
        if reason:
            self._ending = choice
            return self._flush()
        return None

    def _think(self, delta: Json) -> None:
        text = told_text(delta)
        self._reasons = self._reasons or bool(text)
        self._say(Thinking(""), text)
        for block in told_blocks(delta):
            if block.redacted:
                self._append(_Part(block))
                continue
            if not self._reasons:  # else it is the same text once more
                self._say(Thinking(""), block.text)
            if block.signature is not None:
                self._sign(block)

    def _sign(self, block: Thinking) -> None:
        """A signature comes behind the thinking that it signs."""
        last = self._parts[-1] if self._parts else None
        if last is None or not _goes_on(last, Thinking("")):
            if self._reasons:
                return  # too late: what it signs is told already
            last = self._append(_Part(Thinking("")))
        last.part = replace(block, text="")

    def _call(self, delta: Json) -> Problem | None:
        told = delta.get("tool_calls")
        if not told and isinstance(old := delta.get("function_call"), dict):
            told = [self._mender.calls(0).mended({"index": 0, "function": old})]
        for item in told if isinstance(told, list) else ():
            place = item.get("index")
            call = self._mender.calls(0).at(place) if isinstance(place, int) else None
            if call is None:
                return _TOO_MUCH
            part = self._calls.get(place)
            if part is None:
                part = self._calls[place] = self._append(_Part(ToolCall("", "", ""), call))
            self._add(part, text_in(item.get("function"), "arguments"))
        return None

    # --- putting parts in order -------------------------------------------------------------------

    def _say(self, part: Text | Thinking | Refusal, text: str) -> None:
        if not text:
            return
        last = self._parts[-1] if self._parts else None
        if last is None or not _goes_on(last, part):
            last = self._append(_Part(part))
        self._add(last, text)

    def _append(self, part: _Part) -> _Part:
        self._parts.append(part)
        self._waiting += _PART_COST
        self._advance()
        return part

    def _add(self, part: _Part, text: str) -> None:
        if part.call is not None:
            part.brackets.feed(text)
        if part.is_open and text:
            self._events.append(PartDelta(text))
        elif text and not part.is_closed:
            part.held.append(text)
            self._waiting += len(text)
        self._advance()

    def _advance(self) -> None:
        """Open and close what can be."""
        while self._parts:
            first = self._parts[0]
            if not first.is_open and _can_open(first):
                self._open(first)
            if len(self._parts) == 1 or not first.is_open or not first.is_complete:
                return
            self._close(first)

    def _open(self, part: _Part) -> None:
        self._begin()
        told, text = part.part, "".join(part.held)
        if isinstance(told, ToolCall) and part.call is not None:
            told = ToolCall(part.call.id or f"call_{self._new_id()}", part.call.name, "")
        elif isinstance(told, Thinking) and not told.redacted:
            told = Thinking("")  # its signature comes with its end
        self._events.append(PartStart(told))
        if text:
            self._events.append(PartDelta(text))
        self._waiting -= len(text)
        part.held.clear()
        part.is_open = True

    def _close(self, part: _Part) -> None:
        told, end = part.part, PartEnd()
        if isinstance(told, Thinking) and not told.redacted:
            end = PartEnd(told.signature, told.signed_by)
        self._events.append(end)
        self._waiting -= _PART_COST
        part.is_open, part.is_closed = False, True
        self._parts.popleft()

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._events.append(MessageStart(self._id, self._model, self._usage))

    def _flush(self) -> Problem | None:
        """Everything that waits, now that no more comes for it."""
        while self._parts:
            first = self._parts[0]
            if first.call is not None and not first.call.name:
                return _NAMELESS
            if not first.is_open:
                self._open(first)
            self._close(first)
        return None


def _goes_on(last: _Part, part: AnswerPart) -> bool:
    """Whether more of a part goes into the one before it."""
    if type(last.part) is not type(part):
        return False
    return not (isinstance(last.part, Thinking) and last.part.signature is not None)


def _can_open(part: _Part) -> bool:
    """Whether its start can be told: a call may still wait for its id or name."""
    return part.call is None or bool(part.call.name and (part.call.id or part.held))
