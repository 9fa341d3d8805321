"""Embeddings: /api/embed, and the older /api/embeddings, {"prompt"} → {"embedding"}.

Vectors are lists of numbers on this side, never base64.
"""

from collections.abc import Sequence

from sidecar.dialects.ollama_chat.response import usage
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import EmbeddingRequest, Loss, Severity
from sidecar.neutral.response import EmbeddingResponse
from sidecar.wire.contract import AnswerContext, Encoded, Target
from sidecar.wire.fields import Fields
from sidecar.wire.json import Json
from sidecar.wire.loose import text_in

_NOTHING = (
    "There is no text to embed. Ollama takes that for a wish to load the model, which other "
    "backends do not know; send a text."
)


def decode_request(body: Json) -> EmbeddingRequest:
    """What a client wants embedded, in either shape. Raises RequestRefused."""
    fields = Fields(body)
    is_legacy = fields.has("prompt") and not fields.has("input")
    name = "prompt" if is_legacy else "input"
    value = fields.raw(name)
    inputs = () if value == "" else fields.texts(name)
    losses = [] if inputs else [Loss(name, Severity.FATAL, _NOTHING)]
    cosmetic = ("truncate", "options", "keep_alive")
    losses += [Loss(one, Severity.COSMETIC) for one in cosmetic if fields.raw(one)]
    model, dimensions = fields.text("model"), fields.whole("dimensions")
    losses += [Loss(one, Severity.SEMANTIC) for one in fields.unread()]
    return EmbeddingRequest(
        inputs=inputs,
        model=model or None,
        dimensions=dimensions or None,
        single=isinstance(value, str),
        legacy=is_legacy,
        unheard=tuple(losses),
    )


def encode_request(request: EmbeddingRequest, target: Target) -> Encoded:
    """The body for /api/embed. A text that is too long is an error, not cut off silently."""
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    is_one = request.single and len(request.inputs) == 1
    body["input"] = request.inputs[0] if is_one else list(request.inputs)
    body["truncate"] = False
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return Encoded(body)


def decode_response(body: Json) -> EmbeddingResponse:
    """The vectors of an answer, in the order of the inputs. Raises AttemptFailed."""
    told = body.get("embeddings", [body.get("embedding")])
    vectors = [_vector(one) for one in told] if isinstance(told, list) else []
    return EmbeddingResponse(tuple(vectors), text_in(body, "model"), usage(body))


def _vector(value: object) -> Sequence[float]:
    if isinstance(value, list) and all(type(one) in (float, int) for one in value):
        return value
    raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "answered vectors that are no numbers"))


def encode_response(
    response: EmbeddingResponse, request: EmbeddingRequest, ctx: AnswerContext
) -> Json:
    """The vectors as the client asked for them; times are in nanoseconds."""
    vectors = [list(vector) for vector in response.vectors]
    if request.legacy:
        return {"embedding": vectors[0] if vectors else []}
    told: dict[str, object] = {
        "model": response.model or ctx.model,
        "embeddings": vectors,
        "total_duration": max(1, round(ctx.elapsed() * 1e9)),
        "load_duration": 0,
    }
    if response.usage is not None:
        told["prompt_eval_count"] = response.usage.input_tokens
    return told
