"""Taking up a broken stream of chat completions."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.dialects.openai_chat.decoder import OpenAiDecoder
from sidecar.dialects.openai_chat.encoder import stream_encoder
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Resumed
from sidecar.wire.framing import frame_data
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, objects_in
from sidecar.wire.resume import resumed


def resume(frames: Sequence[bytes], ctx: AnswerContext) -> Resumed | None:
    """What a client has of a stream; all its chunks tell the same time of creation.

    None where the events would lack some of it: calls may come all at once, and events do not. The
    same for a call in the words that `tool_calls` has replaced, in which no encoder goes on.
    """
    chunks = [json.loads_object(frame_data(frame) or b"") or {} for frame in frames]
    created = next((told for chunk in chunks if (told := _created(chunk))), ctx.created)
    ctx, decoder = replace(ctx, created=created), OpenAiDecoder(ctx)
    found = resumed(frames, decoder, stream_encoder(ctx))
    is_old = any(object_in(delta, "function_call") for chunk in chunks for delta in _deltas(chunk))
    return None if is_old or decoder.holds_back else found


def _created(chunk: Json) -> int | None:
    told = chunk.get("created")
    return told if isinstance(told, int) else None


def _deltas(chunk: Json) -> list[Json]:
    return [object_in(choice, "delta") for choice in objects_in(chunk, "choices")]
