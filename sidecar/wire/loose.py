"""Loose reads of what a backend has sent: what is not as expected counts as left out.

Clients are told what is wrong with their requests (`wire.fields`); backends are taken as they are.
"""

from sidecar.wire.json import Json


def text_in(told: object, name: str) -> str:
    """A member that is a text; empty where there is none."""
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, str) else ""


def count_in(told: object, name: str) -> int:
    """A member that is a whole number above 0; else 0."""
    value = told.get(name) if isinstance(told, dict) else None
    return value if type(value) is int and value > 0 else 0


def object_in(told: object, name: str) -> Json:
    """A member that is an object; an empty one where there is none."""
    value = told.get(name) if isinstance(told, dict) else None
    return value if isinstance(value, dict) else {}


def objects_in(told: object, name: str) -> list[Json]:
    """The objects in a member that is a list."""
    value = told.get(name) if isinstance(told, dict) else None
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
