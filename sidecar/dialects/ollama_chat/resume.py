"""Taking up a broken stream of lines."""

from collections.abc import Sequence

from sidecar.dialects.ollama_chat.events import OllamaDecoder, OllamaEncoder
from sidecar.wire.contract import AnswerContext, Resumed
from sidecar.wire.resume import resumed


def resume(frames: Sequence[bytes], ctx: AnswerContext) -> Resumed | None:
    """What a client has of a stream."""
    return resumed(frames, OllamaDecoder(ctx), OllamaEncoder(ctx))
