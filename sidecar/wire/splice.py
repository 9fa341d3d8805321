"""Finding and replacing members of a JSON object in its own bytes.

Re-serialising would change `1e5`, `1.10`, large integers and duplicate keys; a splice leaves every
other byte as it was. The text must already be known to be a JSON object.
"""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

from sidecar.wire import json

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]', re.DOTALL)
_SPACE = b" \t\r\n"
_NOTHING = re.compile(rb"[ \t\r\n]*}")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object and where its value stands."""

    key: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `text` in place of the bytes from `start` to `end`."""

    start: int
    end: int
    text: bytes


def members(raw: bytes, at: int = 0) -> list[Member]:
    """The members of the object that begins at or after `at`, duplicates included."""
    found: list[Member] = []
    depth, key, value_at, awaits_key = 0, "", -1, False
    for token in _TOKEN.finditer(raw, at):
        mark = raw[token.start()]
        if mark in b"{[":
            depth += 1
            awaits_key = depth == 1
        elif mark in b"}]" or (mark in b"," and depth == 1):
            if depth == 1 and value_at >= 0:
                found.append(_member(raw, key, value_at, token.start()))
                value_at = -1
            if mark not in b",":
                depth -= 1
                if depth == 0:
                    break
            awaits_key = depth == 1
        elif mark in b":" and depth == 1:
            value_at = token.end()
        elif mark in b'"' and awaits_key and depth == 1:
            key, awaits_key = json.loads(token.group()), False
    return found


def elements(raw: bytes, at: int = 0) -> list[Member]:
    """The elements of the list that begins at or after `at`; their keys are empty."""
    found: list[Member] = []
    depth, value_at = 0, -1
    for token in _TOKEN.finditer(raw, at):
        mark = raw[token.start()]
        if mark in b"[{":
            depth += 1
            value_at = token.end() if depth == 1 else value_at
        elif mark in b"]}" and depth > 1:
            depth -= 1
        elif mark in b"]}" or (mark in b"," and depth == 1):
            if raw[value_at : token.start()].strip(_SPACE):
                found.append(_member(raw, "", value_at, token.start()))
            if mark not in b",":
                break
            value_at = token.end()
    return found


def cuts(found: Sequence[Member], dropped: AbstractSet[int]) -> list[Edit]:
    """Edits that take elements out of a list, with the commas that are too many then."""
    kept = [one for place, one in enumerate(found) if place not in dropped]
    if len(kept) == len(found):
        return []
    start, end = found[0].start, found[-1].end
    if not kept:
        return [Edit(start, end, b"")]
    places = [place for place in range(len(found)) if place not in dropped]
    between = [
        Edit(found[left].end, found[right].start, b",")
        for left, right in pairwise(places)
        if right > left + 1
    ]
    return [Edit(start, kept[0].start, b""), *between, Edit(kept[-1].end, end, b"")]


def _member(raw: bytes, key: str, start: int, end: int) -> Member:
    value = raw[start:end]
    lead = len(value) - len(value.lstrip(_SPACE))
    return Member(key, start + lead, start + len(value.rstrip(_SPACE)))


def insertion(raw: bytes, text: bytes, at: int = 0) -> Edit:
    """An edit that puts a member first in the object that begins at or after `at`."""
    inside = raw.index(b"{", at) + 1
    is_empty = _NOTHING.match(raw, inside) is not None
    return Edit(inside, inside, text if is_empty else text + b",")


def setting(raw: bytes, found: Sequence[Member], key: str, text: bytes) -> list[Edit]:
    """Edits that give the members of that name another value, or put one where there is none."""
    edits = [Edit(one.start, one.end, text) for one in found if one.key == key]
    return edits or [insertion(raw, json.dumps(key) + b":" + text)]


def apply(raw: bytes, edits: Iterable[Edit]) -> bytes:
    """The text with the edits made; they must not overlap."""
    pieces: list[bytes] = []
    done = 0
    for edit in sorted(edits, key=lambda one: one.start):
        pieces += (raw[done : edit.start], edit.text)
        done = edit.end
    pieces.append(raw[done:])
    return b"".join(pieces)
