"""Schemas as the vendor takes them."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.schema import DEEPEST, Tightened, tightened

TEXT = {"type": "string"}


def closed(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def opened(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (closed(a=TEXT), closed(a=TEXT)),
        (opened(a=TEXT), closed(a=TEXT)),
        (opened(a=opened(b=TEXT)), closed(a=closed(b=TEXT))),
        ({**opened(), "type": ["object", "null"]}, {**closed(), "type": ["object", "null"]}),
        ({"type": "object", "additionalProperties": False}, closed()),
        ({"type": "array", "items": opened(), "minItems": 1},
         {"type": "array", "items": closed(), "minItems": 1}),
        ({"anyOf": [opened(), TEXT]}, {"anyOf": [closed(), TEXT]}),
        (
            {**opened(a={"$ref": "#/$defs/x"}), "$defs": {"x": opened()}},
            {**closed(a={"$ref": "#/$defs/x"}), "$defs": {"x": closed()}},
        ),
        ({"enum": [1, "a"], "description": "d"}, {"enum": [1, "a"], "description": "d"}),
        ({"type": "string", "format": "date", "$id": "c"}, {"type": "string", "format": "date"}),
    ],
)  # fmt: skip
def test_what_stays_whole(schema: dict[str, object], expected: dict[str, object]) -> None:
    assert tightened(schema) == Tightened(expected, is_whole=True)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 1, "multipleOf": 2}, {"type": "integer"}),
        ({"type": "string", "pattern": "^a", "maxLength": 3}, {"type": "string"}),
        ({"type": "string", "format": "phone"}, {"type": "string"}),
        ({"type": "array", "items": TEXT, "minItems": 2}, {"type": "array", "items": TEXT}),
        ({"oneOf": [TEXT, opened()]}, {"anyOf": [TEXT, closed()]}),
        ({**opened(a=TEXT), "if": {}, "not": {}}, closed(a=TEXT)),
    ],
)
def test_what_is_taken_out_is_told(schema: dict[str, object], expected: dict[str, object]) -> None:
    assert tightened(schema) == Tightened(expected, is_whole=False)


def nested(levels: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({}, id="anything"),
        pytest.param({"description": "d"}, id="anything, described"),
        pytest.param({"type": "object"}, id="any object"),
        pytest.param({"type": "object", "additionalProperties": TEXT}, id="a map"),
        pytest.param({**opened(), "patternProperties": {}}, id="names by pattern"),
        pytest.param(opened(a=True), id="a schema that is no object"),
        pytest.param({"$ref": "https://example.com/x"}, id="elsewhere"),
        pytest.param({"$ref": "#"}, id="itself"),
        pytest.param(
            {"$ref": "#/$defs/x", "$defs": {"x": opened(next={"$ref": "#/$defs/x"})}},
            id="recursion",
        ),
        pytest.param(
            {
                "$ref": "#/definitions/a",
                "definitions": {
                    "a": {"$ref": "#/definitions/b"},
                    "b": {"$ref": "#/definitions/a"},
                },
            },
            id="recursion, the long way",
        ),
        pytest.param(nested(DEEPEST + 1), id="too deep"),
        pytest.param(nested(100_000), id="much too deep"),
    ],
)
def test_what_no_grammar_says(schema: dict[str, object]) -> None:
    assert tightened(schema) is None
