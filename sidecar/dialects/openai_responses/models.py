"""Models, as `GET /models` of OpenAI and of those who speak like it tells them."""

from collections.abc import Sequence

from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json

# what vendors call the same thing: OpenRouter, vLLM, Groq, Mistral, llama.cpp
_CONTEXT = ("context_length", "max_model_len", "context_window", "max_context_length")
_MAX_OUTPUT = ("max_output_tokens", "max_completion_tokens")


def decode_models(body: object) -> Sequence[ModelEntry]:
    """The models that a backend lists. Raises ValueError."""
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        raise ValueError("a list of models under `data` was expected")
    return [
        _entry(one) for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)
    ]


def _entry(model: Json) -> ModelEntry:
    owner, created = model.get("owned_by"), model.get("created")
    meta = model.get("meta")
    trained = _number(meta, ("n_ctx_train",)) if isinstance(meta, dict) else None
    return ModelEntry(
        id=str(model["id"]),
        owned_by=owner if isinstance(owner, str) else "",
        created=created if isinstance(created, int) else 0,
        context=_number(model, _CONTEXT) or trained,
        max_output=_number(model, _MAX_OUTPUT),
    )


def _number(told: Json, names: Sequence[str]) -> int | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, int) and value > 0:
            return value
    return None


def learn_model(entry: ModelEntry, told: Json) -> ModelEntry:
    """Nothing: the list says all that these backends say of a model."""
    return entry


def encode_model(entry: ModelEntry) -> Json:
    """One model, as `GET /v1/models/{id}` answers."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
    }
