"""Models, as `GET /models` of OpenAI and of those who speak like it tells them."""

from collections.abc import Sequence

from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, text_in

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
    contexts = [count_in(model, name) for name in _CONTEXT]
    contexts.append(count_in(model.get("meta"), "n_ctx_train"))
    return ModelEntry(
        id=text_in(model, "id"),
        owned_by=text_in(model, "owned_by"),
        created=count_in(model, "created"),
        context=next(filter(None, contexts), None),
        max_output=next(filter(None, (count_in(model, name) for name in _MAX_OUTPUT)), None),
    )


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
