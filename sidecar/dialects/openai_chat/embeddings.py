"""Embeddings in both directions. A vector is a list of numbers, or little-endian 32-bit floats in
base64, which openai-python asks for unless told otherwise."""

import base64
import struct
from collections.abc import Sequence

from sidecar.dialects.openai_chat.response import usage
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import EmbeddingRequest, Loss, Severity
from sidecar.neutral.response import EmbeddingResponse
from sidecar.wire.contract import AnswerContext, Embeddings, Encoded, Target
from sidecar.wire.fields import Fields, refused
from sidecar.wire.json import Json
from sidecar.wire.loose import text_in

_LARGEST = 3.4028234663852886e38  # of a 32-bit float
_TOKENS = "A backend of another dialect takes texts, not tokens; send `input` as text."


def decode_request(body: Json) -> EmbeddingRequest:
    """The request of a client. Raises RequestRefused that names the field."""
    fields = Fields(body)
    losses: list[Loss] = []
    told = fields.raw("input")
    inputs: tuple[str, ...] = ()
    if isinstance(told, list) and told and not isinstance(told[0], str):
        losses.append(Loss("input", Severity.FATAL, _TOKENS))
    else:
        inputs = fields.texts("input")
    form = fields.text("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise refused(
            f"`encoding_format` is {form!r}; float or base64 was expected.", "encoding_format"
        )
    model, dimensions = fields.text("model"), fields.whole("dimensions")
    losses += [
        Loss(name, Severity.COSMETIC if name == "user" else Severity.SEMANTIC)
        for name in fields.unread()
    ]
    return EmbeddingRequest(
        inputs=inputs,
        model=model,
        dimensions=dimensions,
        in_base64=form == "base64",
        single=isinstance(told, str),
        unheard=tuple(losses),
    )


def encode_request(request: EmbeddingRequest, target: Target) -> Encoded:
    """The request for a backend; numbers are asked for, which every vendor answers."""
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    is_one = request.single and len(request.inputs) == 1
    body["input"] = request.inputs[0] if is_one else list(request.inputs)
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return Encoded(body)


def decode_response(body: Json) -> EmbeddingResponse:
    """The vectors of a backend in the order of the inputs. Raises AttemptFailed."""
    data = body.get("data")
    entries = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    if all(type(one.get("index")) is int for one in entries):
        entries.sort(key=lambda one: one["index"])
    return EmbeddingResponse(
        vectors=tuple(_vector(one.get("embedding")) for one in entries),
        model=text_in(body, "model"),
        usage=usage(body),
    )


def encode_response(
    answer: EmbeddingResponse, request: EmbeddingRequest, context: AnswerContext
) -> Json:
    """The list of vectors as a client asked for it."""
    tokens = context.estimate if answer.usage is None else answer.usage.input_tokens
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": place,
                "embedding": in_base64(vector) if request.in_base64 else list(vector),
            }
            for place, vector in enumerate(answer.vectors)
        ],
        "model": answer.model or context.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def in_base64(vector: Sequence[float]) -> str:
    """The vector as little-endian 32-bit floats in base64."""
    fitting = (max(-_LARGEST, min(_LARGEST, value)) for value in vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *fitting)).decode()


def _vector(told: object) -> Sequence[float]:
    if isinstance(told, list) and all(type(value) in (int, float) for value in told):
        return told
    if isinstance(told, str):
        try:
            raw = base64.b64decode(told, validate=True)
            return struct.unpack(f"<{len(raw) // 4}f", raw)
        except (ValueError, struct.error):
            pass
    raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "answered a vector that is none"))


EMBEDDINGS = Embeddings(decode_request, encode_request, decode_response, encode_response)
