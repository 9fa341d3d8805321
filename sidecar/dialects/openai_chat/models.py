"""The list of models and its entries, in both directions."""

from collections.abc import Iterator, Sequence

from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json

# Where vendors tell how many tokens a model reads and writes together, and how many it writes.
_CONTEXT = (
    "context_length",  # OpenRouter, Together, Fireworks, xAI
    "max_model_len",  # vLLM, SGLang
    "context_window",  # Groq
    "max_context_length",  # Mistral, LM Studio
    "loaded_context_length",
    "n_ctx",
    "n_ctx_train",  # llama.cpp
    "max_input_tokens",  # LiteLLM
    "inputTokenLimit",
)
_MAX_OUTPUT = (
    "max_output_tokens",
    "max_output_length",
    "max_completion_tokens",
    "outputTokenLimit",
)
_NESTED = ("meta", "top_provider", "model_info", "limits")

# words of vendors for what a model can do → Ollama's words
_WORDS = {
    "chat": "completion",
    "completion": "completion",
    "completion_chat": "completion",
    "completions": "completion",
    "language": "completion",
    "llm": "completion",
    "text": "completion",
    "text-generation": "completion",
    "vlm": "vision",
    "vision": "vision",
    "image": "vision",
    "image_input": "vision",
    "multimodal": "vision",
    "tools": "tools",
    "tool_use": "tools",
    "tool-use": "tools",
    "tool_calls": "tools",
    "function_calling": "tools",
    "function-calling": "tools",
    "reasoning": "thinking",
    "thinking": "thinking",
    "embedding": "embedding",
    "embeddings": "embedding",
    "completion_fim": "insert",
    "fim": "insert",
    "insert": "insert",
}
_LISTS = ("capabilities", "supported_parameters", "supported_features", "features")
_FLAGS = {
    "supports_chat": "completion",
    "supports_image_input": "vision",
    "supports_vision": "vision",
    "supports_tools": "tools",
    "supports_function_calling": "tools",
    "supports_reasoning": "thinking",
}


def encode_model(entry: ModelEntry) -> Json:
    """One model, as `GET /v1/models/{id}` answers.

    OpenAI tells nothing of a model's size, but clients of its dialect read it where OpenRouter
    (`context_length`) or vLLM (`max_model_len`) tells it, so it stands in both where it is known.
    """
    told: dict[str, object] = {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
    }
    if entry.context is not None:
        told |= {"context_length": entry.context, "max_model_len": entry.context}
    return told


def encode_models(entries: Sequence[ModelEntry]) -> Json:
    """The list, as `GET /v1/models` answers."""
    return {"object": "list", "data": [encode_model(entry) for entry in entries]}


def decode_models(body: object) -> Sequence[ModelEntry]:
    """What a backend lists; some vendors leave out the envelope. Raises ValueError."""
    listing = body
    if isinstance(body, dict):
        listing = body.get("data", body.get("models"))
    if not isinstance(listing, list) or body == []:  # nothing without an envelope tells nothing
        raise ValueError("its list of models is not a list")
    return [_entry(one) for one in listing if isinstance(one, dict) and _name(one)]


def learn_model(entry: ModelEntry, _told: Json) -> ModelEntry:
    """Nothing more is asked of a single model in this dialect."""
    return entry


def _entry(told: Json) -> ModelEntry:
    holders = [told, *(one for name in _NESTED if isinstance(one := told.get(name), dict))]
    return ModelEntry(
        id=_name(told),
        owned_by=_text(told, "owned_by", "organization", "publisher"),
        created=_count([told], ("created",)) or 0,
        context=_count(holders, _CONTEXT),
        max_output=_count(holders, _MAX_OUTPUT),
        capabilities=frozenset(_capabilities(told)) or None,
        family=_text(told, "arch"),
        quantization=_text(told, "quantization"),
        size=_count(holders, ("size",)) or 0,
    )


def _name(told: Json) -> str:
    return _text(told, "id", "name", "model")


def _text(told: Json, *names: str) -> str:
    for name in names:
        if isinstance(text := told.get(name), str) and text:
            return text
    return ""


def _count(holders: Sequence[Json], names: Sequence[str]) -> int | None:
    for name in names:
        for holder in holders:
            if type(count := holder.get(name)) is int and count > 0:
                return count
    return None


def _capabilities(told: Json) -> Iterator[str]:
    """What a model can do; where it says nothing of answering texts, it is taken to."""
    found = {_WORDS[word] for word in _words(told) if word in _WORDS}
    found |= {word for name, word in _FLAGS.items() if told.get(name) is True}
    yield from found
    if found and "embedding" not in found:
        yield "completion"


def _words(told: Json) -> Iterator[str]:
    for name in _LISTS:
        words = told.get(name)
        if isinstance(words, dict):  # Mistral: {"vision": true}
            yield from (word for word, can in words.items() if can is True)
        elif isinstance(words, list):
            yield from (word for word in words if isinstance(word, str))
    architecture = told.get("architecture")
    inputs = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    for held in (inputs, told.get("input_modalities")):
        if isinstance(held, list):
            yield from (word for word in held if word in ("image", "text"))
    yield _text(told, "type")
