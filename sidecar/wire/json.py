"""The one door for JSON: orjson, with the standard module for what orjson refuses but JSON allows.

Escaped lone surrogates are legal JSON that real clients send; orjson refuses them, the standard
module does not. `NaN` and `Infinity` are not JSON and are refused by both roads here.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

Json = Mapping[str, object]


class InvalidJson(ValueError):
    """The text is not JSON; the message says where."""


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


def loads(text: bytes | str) -> Any:
    """Parse one JSON text, or raise InvalidJson with the position of the fault."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in error.msg:
            raise InvalidJson(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    try:
        # decoded here, for the standard module would guess UTF-16 and take bytes that splice cannot
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidJson(str(error)) from None


def dumps(value: object) -> bytes:
    """Write compact JSON; what orjson cannot write (a lone surrogate) goes the slower road."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
