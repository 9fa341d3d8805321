"""Taking up a broken stream of items: numbers and ids go on as the client has them."""

from collections.abc import Iterator, Sequence

from sidecar.dialects.openai_responses.coming import piece_of
from sidecar.dialects.openai_responses.decoder import ResponsesDecoder
from sidecar.dialects.openai_responses.encoder import ResponsesEncoder
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Resumed
from sidecar.wire.framing import frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in
from sidecar.wire.resume import resumed


def resume(frames: Sequence[bytes], ctx: AnswerContext) -> Resumed | None:
    """What a client has of a stream.

    None where the open item is not the last of its output, or one of its texts has ended: an item
    of events has one text, and ends with it.
    """
    encoder = ResponsesEncoder(ctx)
    found = resumed(frames, ResponsesDecoder(ctx), encoder)
    response: Json = {}
    begun: dict[int, str] = {}  # ids of the items that are not done, by their place
    done: dict[int, Json] = {}
    parted: set[int] = set()  # places of items of which a text has ended, or not the first began
    last = -1
    for event in _events(frames):
        number, place = event.get("sequence_number"), event.get("output_index")
        last = number if isinstance(number, int) else last + 1
        response = object_in(event, "response") or response
        kind, item = text_in(event, "type"), object_in(event, "item")
        if not isinstance(place, int):
            continue
        if kind == "response.output_item.added":
            begun[place] = text_in(item, "id")
        elif kind == "response.output_item.done":
            begun.pop(place, None)
            done[place] = item
        elif (piece := piece_of(event)) is not None and (piece.is_whole or piece.index > 0):
            parted.add(place)
    items = [done[place] for place in sorted(done)]
    is_known = encoder.stand_at(response, last + 1, items, begun)
    return found if is_known and parted.isdisjoint(begun) else None


def _events(frames: Sequence[bytes]) -> Iterator[Json]:
    for frame in frames:
        event = json.loads_object(frame_data(frame) or b"")
        if event is not None:
            yield event
