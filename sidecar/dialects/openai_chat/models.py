"""The list of models and its entries."""

from collections.abc import Sequence

from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json


def encode_model(entry: ModelEntry) -> Json:
    """One model, as `GET /v1/models/{id}` answers."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
    }


def encode_models(entries: Sequence[ModelEntry]) -> Json:
    """The list, as `GET /v1/models` answers."""
    return {"object": "list", "data": [encode_model(entry) for entry in entries]}
