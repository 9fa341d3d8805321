"""Anthropic's messages and what goes with them: counting tokens, models."""

from sidecar.dialects.anthropic_messages import (
    errors,
    models,
    request,
    response,
    resume,
    stream,
    thinking,
)
from sidecar.dialects.anthropic_messages.decode import decode_request
from sidecar.dialects.anthropic_messages.decoder import AnthropicDecoder
from sidecar.dialects.anthropic_messages.encode import encode_request
from sidecar.dialects.anthropic_messages.encoder import AnthropicEncoder
from sidecar.dialects.anthropic_messages.tap import AnthropicTap
from sidecar.wire.contract import Dialect, Operation, Probe
from sidecar.wire.framing import SSE

DIALECT = Dialect(
    name=thinking.NAME,
    marker="anthropic-version",
    territory=("/v1/messages",),
    endpoints={
        "/v1/messages": Operation.CHAT,
        "/v1/messages/count_tokens": Operation.COUNT,
    },
    listings={"/v1/models": models.encode_models},
    model_path="/v1/models/",
    managing=(),
    stored=(),
    exposed=frozenset(
        {"/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/"},
    ),
    backend_paths={
        Operation.CHAT: "/v1/messages",
        Operation.COUNT: "/v1/messages/count_tokens",
        Operation.MODELS: "/v1/models",
    },
    probe=Probe("GET", "/v1/models", models.decode_models),
    base_prefix="",
    known_suffixes=("/v1/messages/count_tokens", "/v1/messages", "/v1/models", "/v1"),
    framing=SSE,
    # the version of today's bodies: the one of 2026-10-21 refuses temperature, top_p and top_k,
    # which older models and other vendors' copies of the API still take
    backend_headers={"anthropic-version": "2023-06-01"},
    bound_field="max_tokens",
    error_within="error",
    own_headers=("anthropic-",),
    key_header="x-api-key",
    longest_tool_name=128,  # "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"
    takes_image_urls=True,
    counted_fields=frozenset(
        {
            "model",
            "messages",
            "system",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
        }
    ),
    facts=request.facts,
    patch=request.patch,
    judge=response.judge,
    usage=response.usage,
    tap=AnthropicTap,
    unfold=stream.unfold,
    fold=stream.fold,
    decode_request=decode_request,
    encode_request=encode_request,
    decode_response=response.decode_response,
    encode_response=response.encode_response,
    stream_decoder=AnthropicDecoder,
    stream_encoder=AnthropicEncoder,
    resume=resume.resume,
    embeddings=None,
    decode_count=response.decode_count,
    encode_count=response.encode_count,
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    decode_models=models.decode_models,
    learn_model=models.learn_model,
    encode_model=models.encode_model,
)
