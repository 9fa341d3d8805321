"""The two crossings between whole and streamed answers. Both stay within the dialect: what is not
known here is carried over."""

from collections.abc import Iterable, Iterator, Sequence

from sidecar.dialects.openai_responses.frames import (
    ARGUMENTS,
    INPUT,
    REASONING,
    REFUSAL,
    SUMMARY,
    TEXT,
    FrameWriter,
    Place,
    Slot,
)
from sidecar.dialects.openai_responses.tap import ENDED
from sidecar.wire import json
from sidecar.wire.contract import RequestFacts
from sidecar.wire.framing import frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, objects_in, text_in

_GROWS = {"summary": [], "content": [], "arguments": "", "input": ""}  # empty when an item begins


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The frames of a stream that says what a whole answer says."""
    writer = FrameWriter()
    under_way = {**answer, "status": "in_progress", "output": [], "usage": None}
    frames = [writer.response(step, under_way) for step in ("created", "in_progress")]
    for place, item in enumerate(objects_in(answer, "output")):
        begun = {name: _GROWS[name] for name in _GROWS.keys() & item.keys()}
        frames.append(writer.item("added", place, {**item, "status": "in_progress", **begun}))
        for slot, at, part, text in _texts(item, place):
            frames += _grown(writer, slot, at, part, text)
        frames.append(writer.item("done", place, item))
    incomplete = answer.get("status") == "incomplete"
    frames.append(writer.response("incomplete" if incomplete else "completed", answer))
    return [frame for frame in frames if frame]


def _grown(writer: FrameWriter, slot: Slot, at: Place, part: Json, text: str) -> Iterable[bytes]:
    yield writer.begin(slot, at, {**part, slot.whole: ""})
    if text:
        yield writer.more(slot, at, text)
    yield from writer.finish(slot, at, text, part)


def _texts(item: Json, output_index: int) -> Iterator[tuple[Slot, Place, Json, str]]:
    """The texts of an item, each with its place and the part that it fills."""
    id = text_in(item, "id")
    match item.get("type"):
        case "message":
            for index, part in enumerate(objects_in(item, "content")):
                slot = REFUSAL if part.get("type") == "refusal" else TEXT
                yield slot, Place(id, output_index, index), part, text_in(part, slot.whole)
        case "reasoning":
            for slot, name in ((SUMMARY, "summary"), (REASONING, "content")):
                for index, part in enumerate(objects_in(item, name)):
                    yield slot, Place(id, output_index, index), part, text_in(part, "text")
        case "function_call":
            yield ARGUMENTS, Place(id, output_index), item, text_in(item, "arguments")
        case "custom_tool_call":
            yield INPUT, Place(id, output_index), item, text_in(item, "input")
        case _:
            pass


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that a finished stream told: the response of its terminal event.

    Some servers leave its output empty; then it is made of the items that were done.
    """
    response: Json = {}
    items: list[Json] = []
    for frame in frames:
        event = json.loads_object(frame_data(frame) or b"")
        if event is None:
            continue
        if event.get("type") in ENDED:
            response = object_in(event, "response")
        elif event.get("type") == "response.output_item.done":
            items += [item for item in (event.get("item"),) if isinstance(item, dict)]
    return response if response.get("output") or not items else {**response, "output": items}
