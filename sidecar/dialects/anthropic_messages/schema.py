"""JSON schemas for the vendor, which compiles them into a grammar and takes only a part of them.

Source: "JSON Schema limitations" in the documentation of structured outputs. Every object must
close itself, bounds are refused, and so is what no grammar can say: maps, recursion, free objects.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.wire.json import Json

DEEPEST = 32  # levels of a schema; a deeper one is only asked for in words
_KEPT = frozenset(("type", "title", "description", "enum", "const", "default", "$ref", "required"))
_NOTES = frozenset(
    ("$schema", "$id", "$comment", "examples", "deprecated", "readOnly", "writeOnly")
)
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_DEFINITIONS = ("$defs", "definitions")
_LOCAL = re.compile(r"#/(\$defs|definitions)/[^/]+")


@dataclass(frozen=True, slots=True)
class Tightened:
    """A schema as the vendor takes it."""

    schema: Json
    is_whole: bool  # nothing was taken out, so that what it allows needs no second look


class _Inexpressible(Exception):
    """No grammar says what the schema does."""


@dataclass(slots=True)
class _Work:
    taken_out: bool = False
    refers: dict[str, set[str]] = field(default_factory=dict)  # definition → what it refers to
    inside: str = ""  # the definition that is being read


def tightened(schema: Json) -> Tightened | None:
    """The schema in the vendor's words; None where it has none for it."""
    work = _Work()
    try:
        told = _closed(schema, work, 0)
    except _Inexpressible:
        return None
    if _is_recursive(work.refers):
        return None
    return Tightened(told, not work.taken_out)


def _closed(schema: object, work: _Work, depth: int) -> dict[str, object]:
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        raise _Inexpressible
    told: dict[str, object] = {}
    for name, value in schema.items():
        if name in _DEFINITIONS and isinstance(value, Mapping):
            told[name] = {key: _definition(name, key, value[key], work, depth) for key in value}
        elif name in _KEPT:
            told[name] = value
        elif name not in _NOTES:
            _add(told, name, value, work, depth)
    if isinstance(target := told.get("$ref"), str):
        if not _LOCAL.fullmatch(target):
            raise _Inexpressible
        work.refers.setdefault(work.inside, set()).add(target)
    elif not told.keys() & {"type", "enum", "const", "anyOf", "allOf"}:
        raise _Inexpressible  # anything at all
    if "object" in _types(told):
        _close(told)
    return told


def _definition(place: str, name: str, schema: object, work: _Work, depth: int) -> object:
    outside, work.inside = work.inside, f"#/{place}/{name}"
    told = _closed(schema, work, depth + 1)
    work.inside = outside
    return told


def _add(told: dict[str, object], name: str, value: object, work: _Work, depth: int) -> None:
    """A keyword that holds schemas, or is taken with some of its values."""
    match name, value:
        case "properties", dict():
            told[name] = {key: _closed(one, work, depth + 1) for key, one in value.items()}
        case "items", dict():
            told[name] = _closed(value, work, depth + 1)
        case "anyOf" | "allOf", list():
            told[name] = [_closed(one, work, depth + 1) for one in value]
        case "oneOf", list() if "anyOf" not in told:
            told["anyOf"] = [_closed(one, work, depth + 1) for one in value]
            work.taken_out = True
        case "additionalProperties", False:
            told[name] = False
        case "additionalProperties" | "patternProperties", _:
            raise _Inexpressible
        case "format", str() if value in _FORMATS:
            told[name] = value
        case "minItems", 0 | 1:
            told[name] = value
        case _:
            work.taken_out = True


def _types(schema: Json) -> tuple[object, ...]:
    told = schema.get("type")
    return tuple(told) if isinstance(told, list) else (told,)


def _close(told: dict[str, object]) -> None:
    if "properties" not in told and "additionalProperties" not in told:
        raise _Inexpressible  # an object of any members
    told.setdefault("properties", {})
    told["additionalProperties"] = False


def _is_recursive(refers: Mapping[str, set[str]]) -> bool:
    """Whether following references from a definition can lead back to it."""
    for start in refers:
        seen: set[str] = set()
        left = set(refers[start])
        while left:
            at = left.pop()
            if at == start:
                return True
            if at not in seen:
                seen.add(at)
                left |= refers.get(at, set())
    return False
