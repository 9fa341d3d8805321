"""Ollama's own API: chat, generate, embeddings, and what its clients ask of models."""

from sidecar.dialects.ollama_chat import (
    decode,
    embeddings,
    encode,
    errors,
    events,
    models,
    request,
    response,
    resume,
    stream,
)
from sidecar.wire.contract import Dialect, Embeddings, Operation, Probe
from sidecar.wire.framing import LINES
from sidecar.wire.json import Json


def _no_count(body: Json) -> int | None:
    """Ollama has no endpoint that counts tokens."""
    return None


def _count(tokens: int) -> Json:
    """In the words that an answer has for it."""
    return {"prompt_eval_count": tokens}


DIALECT = Dialect(
    name="ollama",
    marker=None,
    territory=("/api/",),
    endpoints={
        "/api/chat": Operation.CHAT,
        "/api/generate": Operation.COMPLETION,
        "/api/embed": Operation.EMBED,
        "/api/embeddings": Operation.EMBED,
        "/api/show": Operation.SHOW,
    },
    listings={
        "/": models.encode_greeting,
        "/api/tags": models.encode_models,
        "/api/ps": models.encode_running,
        "/api/version": models.encode_version,
    },
    model_path=None,
    managing=(
        "/api/pull",
        "/api/push",
        "/api/create",
        "/api/copy",
        "/api/delete",
        "/api/blobs",
    ),
    stored=(),
    exposed=frozenset(
        {
            "/api/chat",
            "/api/generate",
            "/api/embed",
            "/api/tags",
            "/api/show",
            "/api/version",
        }
    ),
    backend_paths={
        Operation.CHAT: "/api/chat",
        Operation.COMPLETION: "/api/generate",
        Operation.EMBED: "/api/embed",
        Operation.MODELS: "/api/tags",
        Operation.SHOW: "/api/show",
    },
    probe=Probe("GET", "/api/version", models.check_version),
    base_prefix="",
    # "/v1": the other API of the same server, whose address people have at hand
    known_suffixes=(
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/api/tags",
        "/api/show",
        "/api/ps",
        "/api/version",
        "/api",
        "/v1",
    ),
    framing=LINES,
    backend_headers={},
    bound_field="num_predict",
    error_within=None,
    own_headers=(),
    key_header="authorization",
    longest_tool_name=64,
    takes_image_urls=False,
    counted_fields=frozenset(),
    facts=request.facts,
    patch=request.patch,
    judge=response.judge,
    usage=response.usage,
    tap=stream.OllamaTap,
    unfold=stream.unfold,
    fold=stream.fold,
    decode_request=decode.decode_request,
    encode_request=encode.encode_request,
    decode_response=response.decode_response,
    encode_response=response.encode_response,
    stream_decoder=events.OllamaDecoder,
    stream_encoder=events.OllamaEncoder,
    resume=resume.resume,
    embeddings=Embeddings(
        decode_request=embeddings.decode_request,
        encode_request=embeddings.encode_request,
        decode_response=embeddings.decode_response,
        encode_response=embeddings.encode_response,
    ),
    decode_count=_no_count,
    encode_count=_count,
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    decode_models=models.decode_models,
    learn_model=models.learn_model,
    encode_model=models.encode_model,
)
