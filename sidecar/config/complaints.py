"""Checks data against the schema and puts its complaints into the words of faults.

What is at fault is left out and the rest is checked on, so that faults of all kinds can be told
at once.
"""

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from sidecar.config import schema
from sidecar.config.faults import Fault, KeyPath, did_you_mean, listed, shown
from sidecar.config.guest import Guest
from sidecar.config.unbuilt import unbuilt
from sidecar.policy.routing import nearest

_KEY = "[key]"  # how pydantic marks a complaint about a key of a mapping

_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """The configuration without what was at fault, the faults, and the places left out."""

    configuration: schema.Configuration
    faults: list[Fault]
    left_out: list[KeyPath]

    def explains(self, fault: Fault) -> bool:
        """Whether a later fault only follows from something that was left out."""
        return any(
            fault.path == place[:-1] or fault.path[: len(place)] == place for place in self.left_out
        )


def check(
    data: Mapping[str, object], known: Collection[Fault] = (), guest: Guest | None = None
) -> Checked:
    """Check data that came out of a file, in which some faults are known already."""
    rest: dict[str, Any] = deepcopy(dict(data))
    # where a key is at fault the values stay, and one that is missing beside it may be that key
    unread = [
        (*fault.path, "") if fault.at_key else _leave_out(rest, fault.path) for fault in known
    ]
    faults = unbuilt(rest)
    places = [(fault, _leave_out(rest, fault.path)) for fault in faults]
    left_out = [*unread, *(place for fault, place in places if not fault.at_key)]
    result = schema.check(rest, guest)
    if isinstance(result, list):
        faults += [
            _fault(complaint, guest)
            for complaint in result
            if not _follows(complaint) and not _is_known(complaint, unread)
        ]
    while isinstance(result, list):  # every round takes something away
        for complaint in result:
            if _follows(complaint):
                continue
            place = _leave_out(rest, _place(complaint))
            if complaint["type"] == "extra_forbidden":
                left_out += _meant(place, guest)
            else:
                left_out.append(place)
        result = schema.check(rest, guest)
    return Checked(result, faults, left_out)


def _leave_out(data: Any, path: KeyPath) -> KeyPath:
    """Delete what stands at a place, or all of the list that it is an item of."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    try:
        for part in path[:-1]:
            data = data[part]
        del data[path[-1]]
    except (KeyError, IndexError, TypeError):
        pass  # it went with another complaint
    return path


def _place(complaint: Mapping[str, Any]) -> KeyPath:
    """The place at fault: of a missing key, the mapping that lacks it."""
    location: KeyPath = complaint["loc"]
    if complaint["type"] == "missing" or location[-1:] == (_KEY,):
        return location[:-1]
    return location


def _meant(place: KeyPath, guest: Guest | None) -> list[KeyPath]:
    """The place that a mistyped key was meant for."""
    close = nearest(str(place[-1]), schema.keys_at(place[:-1], guest), most=1)
    return [(*place[:-1], name) for name in close]


def _follows(complaint: Mapping[str, Any]) -> bool:
    """Whether it only follows from another: a list whose items were refused is not empty."""
    return complaint["type"] == "too_short" and bool(complaint["input"])


def _is_known(complaint: Mapping[str, Any], unread: Collection[KeyPath]) -> bool:
    """Whether it is about a value that could not be read, or about a choice without it."""
    location, chooses = complaint["loc"], complaint["type"] == "value_error"
    return any(location == place or (chooses and location == place[:-1]) for place in unread)


def _fault(complaint: Mapping[str, Any], guest: Guest | None) -> Fault:
    location: KeyPath = complaint["loc"]
    at_key, path = location[-1:] == (_KEY,), _place(complaint)
    value, kind = complaint["input"], complaint["type"]
    if kind == "extra_forbidden":
        known = schema.keys_at(path[:-1], guest)
        key = str(path[-1])
        expected = f"one of {listed(known)}"
        return Fault(
            path, f"the unknown key {shown(key)}", expected, did_you_mean(key, known), at_key=True
        )
    if kind == "missing":
        return Fault(path, f"no {location[-1]}", f"the key {location[-1]}", at_key=True)
    hint = ""
    if kind == "literal_error" and isinstance(value, str):
        words = re.findall(r"'([^']+)'", str(complaint["ctx"]["expected"]))
        hint = did_you_mean(value, words)
    elif kind == "string_type" and isinstance(value, bool | int | float):
        hint = "put it in quotes"
    elif kind == "bool_type" and value in ("yes", "on", "no", "off"):
        hint = f"write {'true' if value in ('yes', 'on') else 'false'}"
    found = f"the key {shown(value)}" if at_key else shown(value, path)
    return Fault(path, found, _expected(complaint), hint, at_key=at_key)


def _expected(complaint: Mapping[str, Any]) -> str:
    kind, context = complaint["type"], complaint.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            words = str(context["expected"]).replace("'", "")
            return words if " or " not in words else f"one of {words}"
        case "string_pattern_mismatch":
            return f"text that matches {context['pattern']}"
        case "too_short":
            return "at least one"
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case _:
            return _EXPECTED.get(kind) or str(complaint["msg"]).removeprefix("Input should be ")
