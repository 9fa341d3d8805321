"""OpenAI's Responses API, as far as it goes without stored state."""

from sidecar.dialects.openai_responses import (
    decode,
    decoder,
    encode,
    encoder,
    errors,
    models,
    request,
    response,
    resume,
    tap,
    unfold,
)
from sidecar.dialects.openai_responses.items import NAME
from sidecar.wire.contract import Dialect, Operation, Probe
from sidecar.wire.framing import SSE

DIALECT = Dialect(
    name=NAME,
    marker=None,
    territory=("/v1/responses",),
    endpoints={
        "/v1/responses": Operation.CHAT,
        "/v1/responses/input_tokens": Operation.COUNT,
    },
    listings={},  # GET /v1/models is OpenAI chat's
    model_path=None,
    managing=(),
    stored=("/v1/responses/", "/v1/conversations"),
    exposed=frozenset({"/v1/responses", "/v1/responses/input_tokens"}),
    backend_paths={
        Operation.CHAT: "/responses",
        Operation.MODELS: "/models",
        Operation.COUNT: "/responses/input_tokens",
    },
    probe=Probe("GET", "/models", models.decode_models),
    base_prefix="/v1",
    known_suffixes=("/responses", "/responses/input_tokens", "/models"),
    framing=SSE,
    backend_headers={},
    bound_field="max_output_tokens",
    error_within="error",
    own_headers=("openai-",),
    key_header="authorization",
    longest_tool_name=64,
    takes_image_urls=True,
    counted_fields=frozenset(
        {
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "text",
            "truncation",
        }
    ),
    facts=request.facts,
    patch=request.patch,
    judge=response.judge,
    usage=response.usage,
    tap=tap.ResponsesTap,
    unfold=unfold.unfold,
    fold=unfold.fold,
    decode_request=decode.decode_request,
    encode_request=encode.encode_request,
    decode_response=response.decode_response,
    encode_response=response.encode_response,
    stream_decoder=decoder.ResponsesDecoder,
    stream_encoder=encoder.ResponsesEncoder,
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
