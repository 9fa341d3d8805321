"""Taking up a broken stream of blocks."""

from collections.abc import Sequence

from sidecar.dialects.anthropic_messages.decoder import AnthropicDecoder
from sidecar.dialects.anthropic_messages.encoder import AnthropicEncoder
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Resumed
from sidecar.wire.framing import frame_data
from sidecar.wire.resume import resumed


def resume(frames: Sequence[bytes], ctx: AnswerContext) -> Resumed | None:
    """What a client has of a stream; a backend may have numbered and begun its blocks otherwise.

    None where its last block is one that the events do not tell, so that nobody could end it.
    """
    encoder, decoder = AnthropicEncoder(ctx), AnthropicDecoder(ctx)
    found = resumed(frames, decoder, encoder)
    if decoder.holds_back:
        return None
    begun = [place for place in map(_begun, frames) if place is not None]
    encoder.stand_at(begun[-1] if begun else -1)
    return found


def _begun(frame: bytes) -> int | None:
    """The place of the block that a frame begins."""
    event = json.loads_object(frame_data(frame) or b"")
    if event is None or event.get("type") != "content_block_start":
        return None
    place = event.get("index")
    return place if isinstance(place, int) else None
