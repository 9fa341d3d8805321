"""Taking up a broken stream of chat completions."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.dialects.openai_chat.decoder import OpenAiDecoder
from sidecar.dialects.openai_chat.encoder import stream_encoder
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Resumed
from sidecar.wire.framing import frame_data
from sidecar.wire.resume import resumed


def resume(frames: Sequence[bytes], ctx: AnswerContext) -> Resumed | None:
    """What a client has of a stream; all its chunks tell the same time of creation."""
    created = next(filter(None, map(_created, frames)), ctx.created)
    ctx = replace(ctx, created=created)
    return resumed(frames, OpenAiDecoder(ctx), stream_encoder(ctx))


def _created(frame: bytes) -> int | None:
    chunk = json.loads_object(frame_data(frame) or b"")
    told = chunk.get("created") if chunk is not None else None
    return told if isinstance(told, int) else None
