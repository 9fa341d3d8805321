"""Writing the events of a stream: numbered, and each under its own name."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sidecar.wire import json
from sidecar.wire.framing import sse
from sidecar.wire.json import Json


@dataclass(frozen=True, slots=True)
class Slot:
    """A text that grows within an item, and the events that tell of it.

    `events` is how their names begin, `whole` what the last of them calls the text. A text that is
    one of several parts has an `index`, and events of the `part` around its own.
    """

    events: str
    whole: str
    index: str | None = None
    part: str | None = None
    extra: Json = field(default_factory=dict)  # what clients look for in every event


TEXT = Slot(
    "response.output_text", "text", "content_index", "response.content_part", {"logprobs": []}
)
REFUSAL = Slot("response.refusal", "refusal", "content_index", "response.content_part")
SUMMARY = Slot(
    "response.reasoning_summary_text", "text", "summary_index", "response.reasoning_summary_part"
)
REASONING = Slot("response.reasoning_text", "text", "content_index", "response.content_part")
ARGUMENTS = Slot("response.function_call_arguments", "arguments")
INPUT = Slot("response.custom_tool_call_input", "input")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: in an item of the output, and there in one of its parts."""

    item_id: str
    output_index: int
    part_index: int = 0


class FrameWriter:
    """Writes the frames of one stream."""

    __slots__ = ("_next",)

    def __init__(self, number: int = 0) -> None:
        self._next = number

    def event(self, kind: str, told: Json) -> bytes:
        """One event."""
        event = {"type": kind, "sequence_number": self._next, **told}
        self._next += 1
        return sse(json.dumps(event), kind)

    def response(self, step: str, response: Json) -> bytes:
        """An event of the whole response: created, in_progress, completed, …"""
        return self.event(f"response.{step}", {"response": response})

    def item(self, step: str, output_index: int, item: Json) -> bytes:
        """An item is added, or done."""
        told = {"output_index": output_index, "item": item}
        return self.event(f"response.output_item.{step}", told)

    def begin(self, slot: Slot, place: Place, empty: Json) -> bytes:
        """A text begins, as an empty part where it is one of several."""
        if slot.part is None:
            return b""
        return self.event(f"{slot.part}.added", {**_at(slot, place), "part": empty})

    def more(self, slot: Slot, place: Place, delta: str) -> bytes:
        """A text grows."""
        return self.event(
            f"{slot.events}.delta", {**_at(slot, place), "delta": delta, **slot.extra}
        )

    def finish(self, slot: Slot, place: Place, text: str, part: Json) -> Iterator[bytes]:
        """A text is complete, and with it the part that it fills."""
        told = {**_at(slot, place), slot.whole: text, **slot.extra}
        yield self.event(f"{slot.events}.done", told)
        if slot.part is not None:
            yield self.event(f"{slot.part}.done", {**_at(slot, place), "part": part})


def _at(slot: Slot, place: Place) -> dict[str, object]:
    told: dict[str, object] = {"item_id": place.item_id, "output_index": place.output_index}
    if slot.index is not None:
        told[slot.index] = place.part_index
    return told
