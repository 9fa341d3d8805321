"""JSON schemas in the strict sense of OpenAI, which refuses to be strict about any other.

Source: "Supported schemas" in OpenAI's guide to structured outputs. Its SDKs write such schemas;
those of other vendors leave fields open to choice.
"""

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from sidecar.wire.json import Json

_DEEPEST = 10  # levels of schemas within schemas
_DEFINITIONS = ("$defs", "definitions")
_KEPT = frozenset(
    (
        "type", "title", "description", "enum", "const", "properties", "required",
        "additionalProperties", "items", "anyOf", "pattern", "format", "multipleOf", "minimum",
        "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "$schema",
        *_DEFINITIONS,
    )
)  # fmt: skip
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")


def is_strict(schema: object) -> bool:
    """Whether an answer can be held to a schema strictly: its root is an object, each object is
    closed and requires all it names, and nothing is said that OpenAI does not know."""
    return _is_object(schema) and schema.get("type") == "object" and _fits(schema, 0)


def _is_object(schema: object) -> TypeGuard[Json]:
    return isinstance(schema, Mapping)


def _fits(schema: object, depth: int) -> bool:
    if not _is_object(schema) or depth > _DEEPEST:
        return False
    if "$ref" in schema:
        return len(schema) == 1  # nothing may stand beside it
    kinds = schema.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return (
        schema.keys() <= _KEPT
        and ("type" in schema or (depth > 0 and "anyOf" in schema))
        and schema.get("format", "date") in _FORMATS
        and ("object" not in names or _is_closed(schema))
        and ("array" not in names or "items" in schema)
        and all(_fits(inner, depth + 1) for inner in _within(schema))
    )


def _is_closed(schema: Json) -> bool:
    """Whether an object holds what it names, all of it and nothing else."""
    named, required = schema.get("properties", {}), schema.get("required", [])
    return (
        schema.get("additionalProperties") is False
        and isinstance(named, Mapping)
        and isinstance(required, list)
        and all(isinstance(name, str) for name in required)
        and named.keys() == set(required)
    )


def _within(schema: Json) -> Iterable[object]:
    """The schemas directly below one; None for what is no schema."""
    for name in ("properties", *_DEFINITIONS):
        held = schema.get(name, {})
        yield from held.values() if isinstance(held, Mapping) else [None]
    if "items" in schema:
        yield schema["items"]
    choices = schema.get("anyOf", [])
    yield from choices if isinstance(choices, list) else [None]
