"""JSON schemas as the vendors take them: of a tool's arguments, and of structured output."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.strict.shapes import Json, Refused, mapping, part


def of_object(value: object, at: str) -> None:
    """The schema of a tool's arguments: it must describe an object."""
    mapping(value, at)
    if part(value).get("type") != "object":
        raise Refused(f"{at}.type", "Input should be 'object'")
    mapping(part(value).get("properties", {}), f"{at}.properties")


def closed(value: object, at: str) -> None:
    """A schema of structured output: its objects take no members that it does not name."""
    mapping(value, at)
    if "type" not in part(value) and not {"anyOf", "$ref", "enum", "const"} & set(part(value)):
        raise Refused(at, "schema must have a 'type' key")
    if part(value).get("type") == "object" and part(value).get("additionalProperties") is not False:
        raise Refused(
            at, "For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for name, each in _within(part(value)):
        closed(each, f"{at}.{name}")


def all_required(value: object, at: str) -> None:
    """A closed schema that leaves nothing to choice, as OpenAI's strict mode wants it."""
    closed(value, at)
    names = set(part(part(value).get("properties")))
    required = part(value).get("required", [])
    if names != set(required if isinstance(required, list) else []):
        raise Refused(
            at, "'required' is required to be supplied and to be an array including every key"
        )
    for name, each in _within(part(value)):
        if part(each).get("type") == "object":
            all_required(each, f"{at}.{name}")


def _within(schema: Json) -> Sequence[tuple[str, object]]:
    """The schemas below one."""
    properties = list(part(schema.get("properties")).items())
    return [*properties, ("items", schema["items"])] if "items" in schema else properties
