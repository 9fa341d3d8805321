"""What answers must hold, and checks that no answer and no schema can make endless."""

import socket
import subprocess
import sys
from collections.abc import Mapping

import pytest

from sidecar.dataplane.verify import ANSWER_SIZE, SCHEMA_SIZE, unmet, without_fences
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.wire import json
from sidecar.wire.contract import Expectation

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}
JSON = Expectation(is_json=True)
CALL = ToolCall("1", "find", "{}")


def answer(*parts: AnswerPart | str, stop: StopReason = StopReason.END) -> ChatResponse:
    return ChatResponse(
        tuple(Text(part) if isinstance(part, str) else part for part in parts), stop
    )


def broken(schema: Mapping[str, object], value: object) -> str | None:
    problem = unmet(answer(json.dumps(value).decode()), Expectation(is_json=True, schema=schema))
    return None if problem is None else problem.message.rpartition(" at ")[2]


# --- calls and JSON -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expects"),
    [
        (answer("anything"), Expectation()),
        (answer(CALL), Expectation(calls=True)),
        (answer("Let me see.", CALL), Expectation(calls=True, tool="find")),
        (answer(ToolCall("0", "ask", "{}"), CALL), Expectation(calls=True, tool="find")),
        (answer('{"a": 1}'), JSON),
        (answer(Thinking("hm"), '{"a":', " 1}"), JSON),
        (answer(CALL), JSON),  # the model is not done yet
        (answer('{"name": "Ada"}'), Expectation(is_json=True, schema=PERSON)),
        (answer("[1]"), Expectation(is_json=True, schema={"type": "array"})),
        (answer('{"na', stop=StopReason.MAX_TOKENS), JSON),
        (answer(Refusal("No."), stop=StopReason.REFUSAL), JSON),
        (answer("wait", stop=StopReason.PAUSE), Expectation(calls=True)),
    ],
)
def test_an_answer_that_is_well(given: ChatResponse, expects: Expectation) -> None:
    assert unmet(given, expects) is None


@pytest.mark.parametrize(
    ("given", "expects", "told"),
    [
        (answer("s3cret"), Expectation(calls=True), "did not call a tool"),
        (
            answer(ToolCall("0", "s3cret", "{}")),
            Expectation(calls=True, tool="find"),
            "did not call the tool",
        ),
        (answer("s3cret"), JSON, "did not answer with JSON,"),
        (answer(""), JSON, "did not answer with JSON,"),
        (answer('"s3cret"'), JSON, "did not answer with a JSON object"),
        (answer("[" * 100_000), JSON, "did not answer with JSON,"),
        (answer('{"a": NaN}'), JSON, "did not answer with JSON,"),
        (
            answer('{"name": "a", "s3cret": "s3cret"}'),
            Expectation(is_json=True, schema=PERSON),
            "did not keep to the JSON schema, at additionalProperties",
        ),
    ],
)
def test_what_an_answer_lacks_is_told_without_its_words(
    given: ChatResponse, expects: Expectation, told: str
) -> None:
    problem = unmet(given, expects)
    assert problem is not None
    assert problem.kind is ProblemKind.UNMET
    assert problem.message.startswith(told)
    assert "s3cret" not in problem.message
    assert not problem.quotes


# --- schemas --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "value", "place"),
    [
        (PERSON, {"name": "Ada", "age": 36}, None),
        (PERSON, {"name": 1}, "properties/name/type"),
        (PERSON, {"name": "Ada", "age": -1}, "properties/age/minimum"),
        (PERSON, {}, "required"),
        ({"items": {"enum": ["a", "b"]}}, ["a", "c"], "items/enum"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "anyOf"),
        ({"uniqueItems": True}, [1, 2, 1], "uniqueItems"),
        ({"$defs": {"x": {"$anchor": "here", "type": "null"}}, "$ref": "#here"}, 1, "type"),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "items": [{"type": "null"}],
                "additionalItems": False,
            },
            [None, 1],
            "additionalItems",
        ),
        ({"$schema": "https://example.org/mine", "type": "null"}, 1, "type"),
        ({"properties": {"$schema": {"type": "null"}}}, {"$schema": 1}, "properties/$schema/type"),
    ],
)
def test_an_answer_is_held_against_its_schema(
    schema: Mapping[str, object], value: object, place: str | None
) -> None:
    assert broken(schema, value) == place


def test_a_rule_too_large_to_be_checked_itself_is_believed() -> None:
    assert broken({"enum": ["x" * 5000]}, 1) == "enum"


def test_a_long_place_is_cut() -> None:
    name = "long" * 100
    assert broken({"properties": {name: {"type": "null"}}}, {name: 1}) == f"properties/{name}"[:200]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": 5},
        {"required": "name"},
        {"properties": 5},
        {"items": "x"},
        {"$ref": "#/nowhere"},
        {"$ref": "#nowhere"},
        {"$ref": 5},
        {"$ref": "#"},
        {"$id": "http://[", "$ref": "other"},
        {"$schema": 5, "type": "null"},
        {"multipleOf": 0},
        {"minimum": "a"},
        {"maxLength": "a", "minLength": None},
    ],
)
def test_a_schema_that_is_wrong_is_not_held_against_the_answer(
    schema: Mapping[str, object],
) -> None:
    for value in ({"a": 1}, ["a"], "a", 1):
        assert broken(schema, value) is None


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def dial(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", dial)
    assert broken({"$ref": "http://127.0.0.1:9/schema.json"}, 1) is None


EVIL = "(a+)+$"
AAA = "a" * 60 + "!"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": EVIL}, AAA),
        ({"patternProperties": {EVIL: {}}}, {AAA: 1}),
        ({"patternProperties": {EVIL: {}}, "additionalProperties": False}, {AAA: 1}),
        ({"patternProperties": {EVIL: {}}, "unevaluatedProperties": False}, {AAA: 1}),
        (
            {"allOf": [{"$schema": "http://json-schema.org/draft-07/schema#", "pattern": EVIL}]},
            AAA,
        ),
    ],
    ids=["pattern", "keys", "other keys", "unevaluated keys", "other draft"],
)
def test_no_pattern_of_a_client_is_run(schema: Mapping[str, object], value: object) -> None:
    assert broken(schema, value) is None  # it would take years


DOUBLED = {"l0": {"type": "null"}} | {
    f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n - 1}"}] * 2} for n in range(1, 60)
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$defs": DOUBLED, "$ref": "#/$defs/l59"}, None),
        ({"uniqueItems": True}, [{"a": n} for n in range(20_000)]),
        ({"contains": {"enum": ["x" * 60_000]}}, list(range(40_000))),
        ({"items": {"not": {"const": {str(n): n for n in range(4000)}}}}, [{"0": 0}] * 20_000),
    ],
    ids=["doubling", "pairs", "messages", "comparing"],
)
def test_a_check_that_grows_without_bound_is_given_up(
    schema: Mapping[str, object], value: object
) -> None:
    assert broken(schema, value) is None  # it would take from minutes to ages


def test_what_is_too_large_is_not_checked() -> None:
    long = "x" * ANSWER_SIZE
    assert broken({"type": "null"}, long[: ANSWER_SIZE // 2]) == "type"
    assert broken({"type": "null"}, long) is None
    assert broken({"type": "null", "title": "x" * SCHEMA_SIZE}, 1) is None


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, sidecar.dataplane.verify; sys.exit('jsonschema' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- fences ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```', '{"a": 1}'),
        ('```JSON\r\n{"a": 1}\r\n```\n', '{"a": 1}'),
        ('Here it is:\n\n```json\n{"a": 1}\n```\nAnything else?', '{"a": 1}'),
        ('```json\n{"a": "```"}\n```', '{"a": "```"}'),
        ("```json [1]```", "[1]"),
    ],
)
def test_json_is_taken_out_of_its_fence(told: str, text: str) -> None:
    assert without_fences(answer(told)) == answer(text)


@pytest.mark.parametrize(
    "told",
    [
        "",
        '{"a": 1}',
        '{"a": "```json\\n{}\\n```"}',  # JSON that talks of fences
        "```python\nprint()\n```",
        '```json\n{"a": \n```',
        '```json\n{"a": 1}',
        "```json\n{}\n```\n```json\n{}\n```",  # which of them?
        "```",
        "````",
    ],
)
def test_anything_else_stays_as_it_is(told: str) -> None:
    assert without_fences(answer(told)) == answer(told)


def test_text_in_pieces_becomes_one() -> None:
    given = answer(Thinking("hm"), "```json\n", '{"a": 1}', Refusal("no"), "\n```")
    assert without_fences(given) == answer(Thinking("hm"), '{"a": 1}', Refusal("no"))
