"""OpenAI's chat completions and what goes with it: completions, embeddings, models."""

from sidecar.dialects.openai_chat import errors, models, request, response, stream
from sidecar.wire.contract import Dialect, Operation

DIALECT = Dialect(
    name="openai",
    endpoints={
        "/v1/chat/completions": Operation.CHAT,
        "/v1/completions": Operation.COMPLETION,
        "/v1/embeddings": Operation.EMBED,
    },
    backend_paths={
        Operation.CHAT: "/chat/completions",
        Operation.COMPLETION: "/completions",
        Operation.EMBED: "/embeddings",
        Operation.MODELS: "/models",
    },
    known_suffixes=("/chat/completions", "/completions", "/embeddings", "/models"),
    facts=request.facts,
    patch=request.patch,
    judge=response.judge,
    usage=response.usage,
    tap=stream.OpenAiTap,
    stream_done=stream.DONE_FRAME,
    unfold=stream.unfold,
    fold=stream.fold,
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    fail_stream=errors.fail_stream,
    encode_models=models.encode_models,
    encode_model=models.encode_model,
)
