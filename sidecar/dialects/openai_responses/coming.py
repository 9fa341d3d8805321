"""Items of a response as they come in, piece by piece."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from sidecar.dialects.openai_responses.items import (
    NAME,
    thinking_of,
)
from sidecar.dialects.openai_responses.response import call_of, said_of
from sidecar.neutral.events import Event, PartDelta, PartEnd, PartStart
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.wire import json
from sidecar.wire.arguments import of_free_text
from sidecar.wire.json import Json
from sidecar.wire.loose import objects_in, text_in

_BEFORE_INPUT, _BEHIND_INPUT = '{"input":"', '"}'  # arguments around a custom tool's free text
_CALLS = ("function_call", "custom_tool_call")


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event says of a text: more of it, or the whole where `is_whole`."""

    told_by: str  # the name of the event, without its beginning and its end
    index: int  # of the part within the item
    text: str
    is_whole: bool


# the events that tell a text: the item in which they stand, the name of the whole text
TEXTS = {
    "output_text": ("message", "text"),
    "refusal": ("message", "refusal"),
    "reasoning_summary_text": ("reasoning", "text"),
    "reasoning_text": ("reasoning", "text"),
    "function_call_arguments": ("function_call", "arguments"),
    "custom_tool_call_input": ("custom_tool_call", "input"),
}


def piece_of(event: Json) -> Piece | None:
    """What an event says of a text; None where it says something else."""
    name, _, step = text_in(event, "type").removeprefix("response.").rpartition(".")
    if name not in TEXTS or step not in ("delta", "done"):
        return None
    told = event.get("summary_index" if name == "reasoning_summary_text" else "content_index")
    is_whole = step == "done"
    text = text_in(event, TEXTS[name][1] if is_whole else "delta")
    return Piece(name, told if isinstance(told, int) else 0, text, is_whole)


@dataclass(slots=True)
class ComingPart:
    """A part of the answer; what has come of it waits in `pending` until it may be told."""

    part: AnswerPart | None = None  # as it starts; None until that is known
    pending: list[str] = field(default_factory=list)
    has_text: bool = False
    is_started: bool = False
    end: PartEnd | None = None

    def add(self, text: str) -> None:
        """More of the text."""
        if text:
            self.pending.append(text)
            self.has_text = True

    def take(self) -> Iterator[Event]:
        """The events that can be told now."""
        if self.part is not None and not self.is_started and self._can_start(self.part):
            self.is_started = True
            yield PartStart(self.part)
        if not self.is_started:
            return
        yield from map(PartDelta, self.pending)
        self.pending.clear()
        if self.end is not None:
            yield self.end

    def _can_start(self, part: AnswerPart) -> bool:
        match part:
            case ToolCall():
                return True
            case Text() | Refusal():
                return bool(self.pending)  # an empty one says nothing
            case Thinking() | Opaque():  # before its end it may turn out to be redacted
                return bool(self.pending) or self.end is not None


class ComingItem:
    """An item of the output. Texts of a message are parts of their own, other items are one."""

    __slots__ = ("_begun", "_by_place", "_new_id", "_paragraph", "_parts", "is_done", "kind")

    def __init__(self, item: Json, new_id: Callable[[], str]) -> None:
        self.kind = text_in(item, "type")
        self.is_done = False
        self._new_id = new_id
        self._parts: list[ComingPart] = []  # those that are not told to their end
        self._begun = 0  # texts of a message
        self._by_place: dict[tuple[str, int], ComingPart] = {}  # of a message
        self._paragraph: tuple[str, int] | None = None  # of reasoning: which was told last
        if self.kind != "message":
            self._parts.append(ComingPart())
        if self.kind in _CALLS and text_in(item, "name"):
            self._parts[0].part = self._call(item)

    def take(self) -> Iterator[Event]:
        """The events that can be told now; parts are told one after the other."""
        while self._parts:
            yield from self._parts[0].take()
            if self._parts[0].end is None:
                return
            del self._parts[0]

    def read(self, piece: Piece) -> None:
        """Take more of a text."""
        match self.kind:
            case "message":
                self._say(piece)
            case "reasoning":
                self._reason(piece)
            case _ if piece.is_whole and self._parts[0].has_text:
                pass
            case "custom_tool_call":
                self._parts[0].add("" if self._parts[0].has_text else _BEFORE_INPUT)
                self._parts[0].add(json.dumps(piece.text).decode()[1:-1])
            case _:
                self._parts[0].add(piece.text)

    def finish(self, item: Json) -> None:
        """The item is done; `item` is all of it, or empty where nobody says."""
        match self.kind:
            case "message":
                self._finish_message(item)
            case "reasoning":
                self._finish_reasoning(self._parts[0], item)
            case "function_call" | "custom_tool_call":
                self._finish_call(self._parts[0], item)
            case kind if item:
                self._parts[0].part = Opaque(NAME, kind, item)
            case _:
                pass
        for part in self._parts:
            part.end = part.end or PartEnd()
        self.is_done = True

    # --- messages ---------------------------------------------------------------------------------

    def _say(self, piece: Piece) -> None:
        place = (piece.told_by, piece.index)
        part = self._by_place.get(place)
        if piece.is_whole and part is not None:
            part.end = PartEnd()
            return
        if not piece.text:
            return
        if part is None or part.end is not None:  # some servers give every text the same place
            part = self._begin(Refusal("") if piece.told_by == "refusal" else Text(""))
            self._by_place[place] = part
        part.add(piece.text)
        part.end = PartEnd() if piece.is_whole else None

    def _begin(self, empty: Text | Refusal) -> ComingPart:
        part = ComingPart(empty)
        self._parts.append(part)
        self._begun += 1
        return part

    def _finish_message(self, item: Json) -> None:
        """Add the texts of which no piece has come."""
        told = map(said_of, objects_in(item, "content"))
        said = [text for text in told if text is not None]
        for text in said[self._begun :]:
            self._begin(replace(text, text="")).add(text.text)

    # --- reasoning --------------------------------------------------------------------------------

    def _reason(self, piece: Piece) -> None:
        """Take a summary of reasoning, or the reasoning itself: whichever is told first."""
        part, paragraph = self._parts[0], (piece.told_by, piece.index)
        if self._paragraph is not None:
            is_new = paragraph != self._paragraph
            if piece.told_by != self._paragraph[0] or (piece.is_whole and not is_new):
                return
            if is_new and piece.text:
                part.add("\n\n")
        if piece.text:
            part.part, self._paragraph = Thinking(""), paragraph
            part.add(piece.text)

    def _finish_reasoning(self, part: ComingPart, item: Json) -> None:
        thinking = thinking_of(item)
        if thinking is None:
            return
        if thinking.redacted and not part.has_text:
            part.part = thinking
            return
        part.part = Thinking("")
        if not part.has_text:
            part.add(thinking.text)
        part.end = PartEnd(thinking.signature, thinking.signed_by)

    # --- calls of tools ---------------------------------------------------------------------------

    def _call(self, item: Json) -> ToolCall:
        return replace(call_of(item, self._new_id), arguments="")

    def _finish_call(self, part: ComingPart, item: Json) -> None:
        if part.part is None and text_in(item, "name"):
            part.part = self._call(item)
        if self.kind == "function_call":
            part.add("" if part.has_text else text_in(item, "arguments"))
        elif part.has_text:
            part.add(_BEHIND_INPUT)
        else:
            part.add(of_free_text(text_in(item, "input")))
