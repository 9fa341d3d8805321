"""The one door for JSON: orjson, with the standard module for what orjson refuses but JSON allows.

Escaped lone surrogates are legal JSON that real clients send; orjson refuses them, the standard
module does not. `NaN` and `Infinity` are not JSON and are refused by both roads here.

Both roads refuse what is nested deeper than DEEPEST: whatever is read can be walked by recursion,
compared and written again.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

Json = Mapping[str, object]

DEEPEST = 200  # lists and objects inside each other; orjson writes 254
NOTHING: Json = {}  # the body of a request that is not read


class InvalidJson(ValueError):
    """The text is not JSON; the message says where."""


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidJson("a number past every float")
    return value


def _whole(text: str) -> int | float:
    """A whole number as the first road reads it: one of more than 64 bits is a float."""
    value = int(text)
    return value if -(2**63) <= value < 2**64 else _finite(text)


def _brackets(text: bytes | str) -> int:
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inside += one.values()
            elif isinstance(one, list):
                inside += one
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def loads(text: bytes | str) -> Any:
    """Parse one JSON text, or raise InvalidJson with the position of the fault."""
    value = _parsed(text)
    # most texts have too few brackets to be deep
    if _brackets(text) > DEEPEST and _is_deep(value):
        raise InvalidJson(f"nested more than {DEEPEST} deep")
    return value


def loads_object(text: bytes | str) -> dict[str, object] | None:
    """The object that a text is; None where it is not JSON, or not an object."""
    try:
        value = loads(text)
    except InvalidJson:
        return None
    return value if isinstance(value, dict) else None


def _parsed(text: bytes | str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "surrogate" not in error.msg:
            raise InvalidJson(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    try:
        # decoded here, for the standard module would guess UTF-16 and take bytes that splice cannot
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(
            decoded, parse_float=_finite, parse_int=_whole, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise InvalidJson(str(error)) from None


def dumps(value: object) -> bytes:
    """Write compact JSON; what orjson cannot write (a lone surrogate) goes the slower road."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
