"""Checks of JSON as strict vendors make them: a shape raises Refused at the first thing amiss.

A shape takes a value and the path at which it stands (`messages.0.content`). Records know all their
members: one that is not listed is refused, at every level.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

Json = Mapping[str, object]
Shape = Callable[[object, str], object]  # what it gives is of no matter


class Refused(Exception):
    """A request that the vendor answers with an error."""

    def __init__(self, at: str, message: str, status: int = 400) -> None:
        super().__init__(f"{at}: {message}" if at else message)
        self.at = at
        self.message = message
        self.status = status


def anything(value: object, at: str) -> None:
    """Whatever it is."""


def text(value: object, at: str) -> None:
    if not isinstance(value, str):
        raise Refused(at, "Input should be a valid string")


def filled(value: object, at: str) -> None:
    """A string that says something."""
    text(value, at)
    if not str(value).strip():
        raise Refused(at, "text must be non-empty and hold more than whitespace")


def truth(value: object, at: str) -> None:
    if not isinstance(value, bool):
        raise Refused(at, "Input should be a valid boolean")


def mapping(value: object, at: str) -> None:
    """Any object."""
    if not isinstance(value, dict):
        raise Refused(at, "Input should be a valid object")


def whole(low: int = -(2**63), high: int = 2**63) -> Shape:
    """A whole number; JSON's 3.0 is none."""

    def check(value: object, at: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(at, "Input should be a valid integer")
        if not low <= value <= high:
            raise Refused(at, f"Input should be between {low} and {high}")

    return check


def number(low: float = -1e300, high: float = 1e300) -> Shape:
    def check(value: object, at: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Refused(at, "Input should be a valid number")
        if not low <= value <= high:
            raise Refused(at, f"Input should be between {low} and {high}")

    return check


def one_of(*allowed: object) -> Shape:
    def check(value: object, at: str) -> None:
        if not any(value == each and type(value) is type(each) for each in allowed):
            raise Refused(at, f"Input should be one of {list(allowed)}, not {value!r}")

    return check


def matching(pattern: str) -> Shape:
    """A string that the whole of the pattern matches."""

    def check(value: object, at: str) -> None:
        text(value, at)
        if re.fullmatch(pattern, str(value)) is None:
            raise Refused(at, f"String should match pattern '{pattern}'")

    return check


def nullable(shape: Shape) -> Shape:
    def check(value: object, at: str) -> None:
        if value is not None:
            shape(value, at)

    return check


def listed(item: Shape, least: int = 0, most: int = 100_000) -> Shape:
    def check(value: object, at: str) -> None:
        if not isinstance(value, list):
            raise Refused(at, "Input should be a valid list")
        if not least <= len(value) <= most:
            raise Refused(at, f"List should have between {least} and {most} items")
        for place, each in enumerate(value):
            item(each, f"{at}.{place}")

    return check


def either(words: Shape, other: Shape) -> Shape:
    """One shape for a string, another one for the rest."""
    return lambda value, at: (words if isinstance(value, str) else other)(value, at)


def record(needed: Mapping[str, Shape], allowed: Mapping[str, Shape] | None = None) -> Shape:
    """An object with all of the needed members, some of the allowed ones, and no others."""
    shapes = {**(allowed or {}), **needed}

    def check(value: object, at: str) -> None:
        mapping(value, at)
        assert isinstance(value, dict)
        for name in needed:
            if name not in value:
                raise Refused(_below(at, name), "Field required")
        for name, member in value.items():
            if name not in shapes:
                raise Refused(_below(at, name), "Extra inputs are not permitted")
            shapes[name](member, _below(at, name))

    return check


def tagged(kinds: Mapping[str, Shape], tag: str = "type") -> Shape:
    """An object whose member `tag` says which of the shapes it must have."""

    def check(value: object, at: str) -> None:
        mapping(value, at)
        assert isinstance(value, dict)
        shape = kinds.get(str(value.get(tag)))
        if shape is None:
            raise Refused(
                _below(at, tag), f"Input should be one of {list(kinds)}, not {value.get(tag)!r}"
            )
        shape(value, at)

    return check


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


# --- reading what has been checked ------------------------------------------------------------


def items(value: object) -> Sequence[Json]:
    """The objects of a list that has been checked; none where it is left out."""
    return value if isinstance(value, list) else []


def part(value: object) -> Json:
    """An object that has been checked; an empty one where it is left out."""
    return value if isinstance(value, dict) else {}
