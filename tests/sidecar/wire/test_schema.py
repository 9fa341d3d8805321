"""Which schemas OpenAI can be strict about."""

from typing import Any

import pytest

from sidecar.wire.schema import is_strict

TEXT = {"type": "string"}


def closed(**properties: object) -> dict[str, Any]:
    """An object that requires all it names."""
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }


def deep(levels: int) -> dict[str, Any]:
    return closed(inner=deep(levels - 1)) if levels else closed(text=TEXT)


@pytest.mark.parametrize(
    "schema",
    [
        closed(city=TEXT, days={"type": "integer", "minimum": 1}),
        closed(),
        {"type": "object", "additionalProperties": False},
        closed(city={"type": ["string", "null"], "description": "where"}),
        closed(city={"anyOf": [TEXT, {"type": "null"}]}),
        closed(at={"type": "string", "format": "date-time"}),
        closed(kind={"type": "string", "enum": ["a", "b"]}),
        closed(all={"type": "array", "items": closed(city=TEXT)}),
        {**closed(place={"$ref": "#/$defs/Place"}), "$defs": {"Place": closed(city=TEXT)}},
        {**closed(more={"$ref": "#"}), "$schema": "http://json-schema.org/draft-07/schema#"},
        deep(5),
    ],
)
def test_a_schema_that_leaves_nothing_to_choice(schema: object) -> None:
    assert is_strict(schema)


OPEN = {"type": "object", "properties": {"city": TEXT}, "required": ["city"]}
OPTIONAL = {**closed(city=TEXT), "required": []}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {},
        TEXT,
        {"anyOf": [closed(), closed()]},
        OPEN,
        OPTIONAL,
        {**OPEN, "additionalProperties": TEXT},
        {**closed(city=TEXT), "required": ["city", "town"]},
        {**closed(city=TEXT), "required": "city"},
        {**closed(city=TEXT), "required": [{}]},
        {**closed(city=TEXT), "properties": ["city"]},
        {**closed(), "allOf": []},
        {**closed(), "$defs": {"Place": OPEN}},
        {**closed(), "$defs": []},
        closed(place=OPEN),
        closed(place={**OPEN, "type": ["object", "null"]}),
        closed(places={"type": "array", "items": OPTIONAL}),
        closed(places={"type": "array"}),
        closed(place={"anyOf": [OPEN, {"type": "null"}]}),
        closed(place={"anyOf": TEXT}),
        closed(place={"oneOf": [TEXT]}),
        closed(place={"$ref": "#/$defs/Place", "description": "where"}),
        closed(city={"type": "string", "default": "Bern"}),
        closed(city={"type": "string", "maxLength": 9}),
        closed(city={"type": "string", "format": "uri"}),
        closed(city={"type": "string", "format": ["date"]}),
        closed(city={"description": "any"}),
        closed(city=True),
        deep(11),
    ],
)
def test_any_other_schema(schema: object) -> None:
    assert not is_strict(schema)
