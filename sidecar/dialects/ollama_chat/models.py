"""What clients are told of models, and what backends tell."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.wire import rfc3339
from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json
from sidecar.wire.loose import count_in, object_in, text_in

RUNNING = "Ollama is running"  # what `GET /` answers, by which clients know the server
# Clients refuse servers that are older than what they need: VS Code before 0.6.4, others before
# 0.14. What is said here is the release whose API this dialect was written from.
VERSION = "0.33.0"

_CAPABILITIES = ("completion", "tools", "insert", "vision", "embedding", "thinking")
_ASSUMED = frozenset({"completion", "tools"})  # of a model of which nothing is known
_WINDOW = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


# --- to clients -----------------------------------------------------------------------------------


def encode_models(entries: Sequence[ModelEntry]) -> Json:
    """The page of `GET /api/tags`."""
    return {"models": [_tag(entry) for entry in entries]}


def encode_running(entries: Sequence[ModelEntry]) -> Json:
    """The page of `GET /api/ps`, which lists what is in memory: nothing.

    A model's backend may be anywhere, and clients offer to unload what stands here.
    """
    return {"models": []}


def encode_version(entries: Sequence[ModelEntry]) -> Json:
    """The page of `GET /api/version`."""
    return {"version": VERSION}


def check_version(told: object) -> None:
    """Raises ValueError where a backend's answer to `GET /api/version` names no version."""
    if not isinstance(told, Mapping) or not isinstance(told.get("version"), str):
        raise ValueError("answered no version")


def encode_greeting(entries: Sequence[ModelEntry]) -> str:
    """The page of `GET /`."""
    return RUNNING


def _tag(entry: ModelEntry) -> Json:
    # clients ask for a name without a tag as NAME:latest, and look that up in this list
    name = entry.id if ":" in entry.id else f"{entry.id}:latest"
    return {
        "name": name,
        "model": name,
        "modified_at": rfc3339.written(entry.created),
        "size": entry.size,
        # Ollama's own command line shows the first 12 letters and breaks where there are fewer
        "digest": entry.digest or hashlib.sha256(entry.id.encode("utf-8", "replace")).hexdigest(),
        "details": _details(entry),
        "capabilities": _capabilities(entry),
    }


def _details(entry: ModelEntry) -> Json:
    details: dict[str, object] = {
        "parent_model": "",
        "format": "",
        "family": entry.family,
        "families": [entry.family] if entry.family else [],
        "parameter_size": entry.parameters,
        "quantization_level": entry.quantization,
    }
    return details if entry.context is None else {**details, "context_length": entry.context}


def _capabilities(entry: ModelEntry) -> list[str]:
    known = _ASSUMED if entry.capabilities is None else entry.capabilities
    return [one for one in _CAPABILITIES if one in known]


def encode_model(entry: ModelEntry) -> Json:
    """What `POST /api/show` answers of one model.

    Clients look for the window under the name of the model's architecture, and others among the
    parameters that the model is run with.
    """
    family = entry.family or "unknown"
    info: dict[str, object] = {"general.architecture": family, "general.basename": entry.id}
    parameters = ""
    if entry.context is not None:
        info[f"{family}.context_length"] = entry.context
        parameters = f"num_ctx                        {entry.context}"
    return {
        "modelfile": "",
        "parameters": parameters,
        "template": "",
        "details": _details(entry),
        "model_info": info,
        "capabilities": _capabilities(entry),
        "modified_at": rfc3339.written(entry.created),
    }


# --- from backends --------------------------------------------------------------------------------


def decode_models(body: object) -> Sequence[ModelEntry]:
    """The models that `GET /api/tags` of a backend lists. Raises ValueError."""
    told = body.get("models") if isinstance(body, dict) else None
    if not isinstance(told, list):
        raise ValueError("its list of models is not a list")
    entries = [_entry(one) for one in told if isinstance(one, dict)]
    return [entry for entry in entries if entry.id]


def _entry(told: Json) -> ModelEntry:
    entry = ModelEntry(
        id=text_in(told, "model") or text_in(told, "name"),
        created=rfc3339.read(text_in(told, "modified_at")) or 0,
        size=count_in(told, "size"),
        digest=text_in(told, "digest"),
    )
    return _described(entry, told)


def learn_model(entry: ModelEntry, body: Json) -> ModelEntry:
    """What `POST /api/show` of a backend adds.

    A window that the model is set to counts for more than the one it was trained with.
    """
    entry = _described(entry, body)
    info = object_in(body, "model_info")
    family = text_in(info, "general.architecture")
    set_to = _WINDOW.search(text_in(body, "parameters"))
    context = int(set_to[1]) if set_to else count_in(info, f"{family}.context_length")
    return replace(entry, context=context or entry.context, family=entry.family or family)


def _described(entry: ModelEntry, told: Json) -> ModelEntry:
    details = object_in(told, "details")
    able = told.get("capabilities")
    if isinstance(able, list):
        known = frozenset(one for one in able if isinstance(one, str))
        entry = replace(entry, capabilities=known)
    return replace(
        entry,
        context=count_in(details, "context_length") or entry.context,
        family=text_in(details, "family") or entry.family,
        parameters=text_in(details, "parameter_size") or entry.parameters,
        quantization=text_in(details, "quantization_level") or entry.quantization,
    )
