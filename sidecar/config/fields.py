"""The kinds of values that stand in a configuration: how each is checked, written and described.

The patterns go into the JSON Schema; the sentences of a ValueError say what was expected.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from sidecar.config import units
from sidecar.policy.outcome import DESTINATIONS, MOVABLE
from sidecar.policy.routing import OTHER


class OneOf:
    """A word out of a list that is data elsewhere."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.literal_schema(list(self.words))


def _truth(value: object) -> object:
    """What a variable of the environment was replaced by is text."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def _deadline(value: object) -> float | None:
    return None if value in (None, "none") else units.limit(value)


def _or_none(read: Callable[[object], object]) -> BeforeValidator:
    """The same kind of value, or `none` for no limit."""
    return BeforeValidator(lambda value: None if value in (None, "none") else read(value))


def _written_or_none(write: Callable[[Any], str | int]) -> PlainSerializer:
    return PlainSerializer(
        lambda value: "none" if value is None else write(value),
        return_type=str | int,
        when_used="json",
    )


def _more_than_nothing(read: Callable[[object], float]) -> Callable[[object], float]:
    def checked(value: object) -> float:
        if (times := read(value)) <= 0:
            raise ValueError("more than nothing, or none where there is no limit")
        return times

    return checked


def _team(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", value):
        raise ValueError("a team such as acme, or its domain such as acme.cloudflareaccess.com")
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@*]+/?", value):
        raise ValueError("the whole origin of a page, such as https://app.example.org")
    return value


def _quirk_path(value: str) -> str:
    if value.count("{path}") != 1 or not value.startswith(("/", "{path}")):
        raise ValueError("a path that holds {path} once, such as /v1{path}")
    return value


def _one_line(value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise ValueError("one line of printable ASCII")
    return value


def _route_name(value: str) -> str:
    if value.casefold() == OTHER:
        raise ValueError(f"another name: {OTHER!r} stands in metrics for what no route has")
    return value


_WRITTEN_DURATION = PlainSerializer(units.write_duration, return_type=str, when_used="json")
_DURATION_SCHEMA = WithJsonSchema(
    {
        "anyOf": [{"type": "number", "minimum": 0}, {"pattern": units.DURATION_PATTERN}],
        "examples": ["200ms", "10s", "5m"],
    }
)
Duration = Annotated[float, BeforeValidator(units.duration), _WRITTEN_DURATION, _DURATION_SCHEMA]
Timeout = Annotated[float, BeforeValidator(units.limit), _WRITTEN_DURATION, _DURATION_SCHEMA]
Deadline = Annotated[
    float | None,
    BeforeValidator(_deadline),
    PlainSerializer(
        lambda seconds: "none" if seconds is None else units.write_duration(seconds),
        return_type=str,
        when_used="json",
    ),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"pattern": units.DURATION_PATTERN}]}),
]
Size = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(units.size),
    PlainSerializer(units.write_size, return_type=str | int, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"pattern": units.SIZE_PATTERN}],
            "examples": ["64KB", "10MB"],
        }
    ),
]
Rate = Annotated[
    float,
    BeforeValidator(units.rate),
    PlainSerializer(units.write_rate, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0}, {"pattern": units.RATE_PATTERN}],
            "examples": ["10/s", "120/min"],
        }
    ),
]
RateLimit = Annotated[
    float | None,
    _or_none(_more_than_nothing(units.rate)),
    _written_or_none(units.write_rate),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"pattern": units.RATE_PATTERN}]}),
]
ByteRateLimit = Annotated[
    float | None,
    _or_none(_more_than_nothing(units.byte_rate)),
    _written_or_none(units.write_byte_rate),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"pattern": units.BYTE_RATE_PATTERN}]}),
]
Truth = Annotated[bool, Field(strict=True), BeforeValidator(_truth)]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(_whole)]
QueueSize = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
Retries = Annotated[int, Field(ge=0, le=10), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
CountLimit = Annotated[
    int | None,
    Field(ge=1),
    _or_none(_whole),
    _written_or_none(int),
    WithJsonSchema({"anyOf": [{"const": "none"}, {"type": "integer", "minimum": 1}]}),
]
Share = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
RouteName = Annotated[Name, AfterValidator(_route_name)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, AfterValidator(_one_line)]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:\[\]-]+$", to_lower=True)]
Origin = Annotated[str, AfterValidator(_origin)]
Team = Annotated[str, StringConstraints(to_lower=True), AfterValidator(_team)]
Kind = Annotated[str, OneOf(*(kind.value for kind in MOVABLE))]
Destination = Annotated[str, OneOf(*(word.value for word in DESTINATIONS))]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Deployment = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]
QuirkPath = Annotated[str, AfterValidator(_quirk_path)]
