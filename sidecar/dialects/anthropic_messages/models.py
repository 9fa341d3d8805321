"""The list of models and its entries."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.wire import rfc3339
from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, text_in

# the vendor's word first, then those of servers that speak its dialect beside another
_CONTEXT = ("max_input_tokens", "context_length", "context_window", "max_model_len")
_CAPABILITIES = {"image_input": "vision", "thinking": "thinking"}


def encode_model(entry: ModelEntry) -> Json:
    """One model, as `GET /v1/models/{id}` answers."""
    told: dict[str, object] = {
        "type": "model",
        "id": entry.id,
        "display_name": entry.id,
        "created_at": rfc3339.written(entry.created),
    }
    if entry.context is not None:
        told["max_input_tokens"] = entry.context
    if entry.max_output is not None:
        told["max_tokens"] = entry.max_output
    return told


def encode_models(entries: Sequence[ModelEntry]) -> Json:
    """The list, as `GET /v1/models` answers: one page."""
    return {
        "data": [encode_model(entry) for entry in entries],
        "has_more": False,
        "first_id": entries[0].id if entries else None,
        "last_id": entries[-1].id if entries else None,
    }


def decode_models(page: object) -> Sequence[ModelEntry]:
    """What a backend lists. Raises ValueError where it is no list of models."""
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list):
        raise ValueError("answered no list of models")
    return [
        learn_model(ModelEntry(told["id"]), told)
        for told in data
        if isinstance(told, dict) and isinstance(told.get("id"), str)
    ]


def learn_model(entry: ModelEntry, told: Json) -> ModelEntry:
    """The entry with what a backend tells of the model."""
    counts = (count_in(told, name) for name in _CONTEXT)
    return replace(
        entry,
        created=_created(told) or entry.created,
        context=next(filter(None, counts), entry.context),
        max_output=count_in(told, "max_tokens") or entry.max_output,
        capabilities=_capabilities(told) or entry.capabilities,
    )


def _created(told: Json) -> int | None:
    if moment := text_in(told, "created_at"):
        return rfc3339.read(moment)
    return count_in(told, "created")


def _capabilities(told: Json) -> frozenset[str] | None:
    found = told.get("capabilities")
    if not isinstance(found, Mapping):
        return None
    supported = {
        name
        for key, name in _CAPABILITIES.items()
        if isinstance(one := found.get(key), Mapping) and one.get("supported") is True
    }
    return frozenset({"completion", "tools", *supported})
