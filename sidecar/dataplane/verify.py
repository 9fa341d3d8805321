"""Whether an answer holds what its backend was only asked, not made, to give.

Schemas are the client's and answers the model's: both may be built to make checking endless. So
sizes are limited, every step is counted, regular expressions are left out and nothing is fetched.
What cannot be checked within that, or by a schema that is wrong itself (an unknown type, a `$ref`
to nowhere), passes unchecked: asking the model again would not help.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Text, ToolCall
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.wire import json
from sidecar.wire.contract import Expectation
from sidecar.wire.json import Json

if TYPE_CHECKING:  # importing it takes 10 MB and 100 ms: it is imported where it is needed
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

SCHEMA_SIZE = 64 * 1024  # bytes of JSON
ANSWER_SIZE = 256 * 1024  # characters; some 64,000 tokens
STEPS = 50_000  # of some 4 microseconds each
RULE_SIZE = 4096  # bytes of a broken rule that is itself checked: 25 milliseconds
PLACE_LENGTH = 200  # characters of a schema's place in a problem

_ENDS = {StopReason.END, StopReason.STOP_SEQUENCE, StopReason.TOOL_CALLS}
_FENCE = "```"


def without_fences(answer: ChatResponse) -> ChatResponse:
    """The answer without the Markdown fence around its JSON, and the prose around the fence."""
    text = _text(answer)
    start, end = text.find(_FENCE), text.rfind(_FENCE)
    if start == end or _is_json(text):
        return answer
    inner = text[start + len(_FENCE) : end].strip()
    if inner[:4].lower() == "json":
        inner = inner[4:].strip()
    if not _is_json(inner):
        return answer
    first = next(place for place, part in enumerate(answer.parts) if isinstance(part, Text))
    parts = (
        Text(inner) if place == first else part
        for place, part in enumerate(answer.parts)
        if place == first or not isinstance(part, Text)
    )
    return replace(answer, parts=tuple(parts))


def unmet(answer: ChatResponse, expects: Expectation) -> Problem | None:
    """What the answer lacks, in a sentence that repeats nothing of it; None where it is well.

    An answer that was cut off or refused is the client's to judge, as it would be from a backend
    that is made to. So is JSON that the model had no reason to write, for it called a tool.
    """
    if answer.stop not in _ENDS:
        return None
    called = {part.name for part in answer.parts if isinstance(part, ToolCall)}
    if expects.calls and not called:
        return _problem("did not call a tool, as it was asked to")
    if expects.calls and expects.tool is not None and expects.tool not in called:
        return _problem("did not call the tool that it was asked to call")
    if not expects.is_json or called:
        return None
    text = _text(answer)
    try:
        value = json.loads(text)
    except json.InvalidJson:
        return _problem("did not answer with JSON, as it was asked to")
    if expects.schema is None:
        return None if isinstance(value, dict) else _problem("did not answer with a JSON object")
    if len(text) > ANSWER_SIZE:
        return None
    place = _broken_rule(value, len(text), expects.schema)
    return None if place is None else _problem(f"did not keep to the JSON schema, at {place}")


def _problem(message: str) -> Problem:
    return Problem(ProblemKind.UNMET, message)


def _text(answer: ChatResponse) -> str:
    return "".join(part.text for part in answer.parts if isinstance(part, Text))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.InvalidJson:
        return False
    return True


# --- schemas --------------------------------------------------------------------------------------


def _broken_rule(value: object, size: int, schema: Json) -> str | None:
    """The place in the schema of a rule that the value breaks, as names with slashes.

    None where it breaks none, or where it cannot be told. `size` is that of the value's text.
    """
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    raw = json.dumps(schema)
    if len(raw) > SCHEMA_SIZE:
        return None
    try:
        draft = validator_for(schema, default=Draft202012Validator)
        steps = _Steps(len(raw), size)
        rules = {name: steps.counted(name, rule) for name, rule in draft.VALIDATORS.items()}
        counted = extend(draft, rules)  # type: ignore[no-untyped-call]  # in the stubs
        validator = counted(_of_one_draft(raw), registry=Registry())
        error = next(validator.iter_errors(value), None)
        if error is None:
            return None
        rule = {str(error.validator): error.validator_value}
        if len(json.dumps(rule)) <= RULE_SIZE:
            draft.check_schema(rule)
    except SchemaError:
        return None
    except Exception:  # noqa: BLE001 - a stranger's schema can break its reader in any way
        return None
    return "/".join(map(str, error.absolute_schema_path))[:PLACE_LENGTH]


def _of_one_draft(raw: bytes) -> object:
    """The schema without the marks by which its parts would be read by other, uncounted rules."""
    schema = json.loads(raw)
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("$schema"), str):
                del value["$schema"]
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return schema


class _TooMuch(Exception):
    """The check has taken all its steps."""


Errors = Iterator["ValidationError"]
Rule = Callable[["Validator", object, object, Mapping[str, object]], Errors | None]


class _Steps:
    """Counts what a check costs, by the sizes of the schema and of the answer."""

    def __init__(self, schema_size: int, answer_size: int) -> None:
        self._left = STEPS
        self._schema_size, self._answer_size = schema_size, answer_size

    def counted(self, name: str, rule: Rule) -> Rule:
        """The rule of that name; it raises _TooMuch when there are no steps left."""

        def run(
            validator: "Validator", value: object, instance: object, schema: Mapping[str, object]
        ) -> Errors:
            if _runs_patterns(name, schema):
                return
            self._take(self._cost(name, value, instance))
            for error in rule(validator, value, instance, schema) or ():
                self._take(len(error.message) // 256)  # most of an error's cost is its message
                yield error

        return run

    def _cost(self, name: str, value: object, instance: object) -> int:
        cost = 1 + _length(value) // 8 + _length(instance) // 8
        match name:
            case "uniqueItems":  # every item is compared with every other
                return cost + _length(instance) * self._answer_size // 1024
            case "enum" | "const" if isinstance(instance, list | dict):
                return cost + self._schema_size // 64
            case "$ref" | "$dynamicRef" | "$recursiveRef":
                is_path = str(value)[:2] in ("#", "#/")  # else all of the schema is searched for it
                return cost + (2 + len(str(value)) // 16 if is_path else self._schema_size // 16)
            case _:
                return cost

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _TooMuch


def _runs_patterns(name: str, schema: Mapping[str, object]) -> bool:
    """Whether a rule runs regular expressions of the client, which may take forever."""
    match name:
        case "pattern" | "patternProperties" | "unevaluatedProperties":
            return True
        case "additionalProperties":  # of what no pattern matches
            return "patternProperties" in schema
        case _:
            return False


def _length(value: object) -> int:
    return len(value) if isinstance(value, list | dict) else 0
