"""Traffic that went wrong: documented traffic with something in it changed.

Everything follows from the random numbers that are handed in.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

_DEEP = "[" * 150 + "]" * 150
_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 7, 0.5, 1e308, -1e308, 2**53, 2**63, 2**64, -(2**63)),
    *("", " ", "\x00", "\n\n", "\ud800", "é😀", "x" * 5000, "[DONE]", "null", "{", "data: "),
    *("stop", "error", "tool_use", "tool_calls", "assistant", "user", "text", "function"),
    *([], {}, [None], [[]], [{}], {"": None}, [1] * 2000, ["a", 1, None], {"text": 3}),
    json.loads(_DEEP),
)
# pieces of text that the values above cannot give
_TEXTS = (
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\n\n",
        b"\r\n\r\n",
        b"{",
        b"}",
        b"[",
        b"]",
    ),
    *(b'"', b"\\", b"\\ud800", b",", b":", b"data: ", b"data: [DONE]\n\n", b"event: error\n"),
    *(b": ping\n\n", b"1e999", b"9" * 400, b"NaN", b"[" * 300, b'{"a":' * 1100, b"-", b"null"),
)


def mutated(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """The text with one to four things changed; `others` are what pieces may come from."""
    for _ in range(random.randint(1, 4)):
        text = random.choice(_WAYS)(random, text, others)
    return text[:100_000]


def _flipped(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    if not text:
        return b"\x00"
    changed = bytearray(text)
    for _ in range(random.randint(1, 8)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _cut(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    return text[: random.randint(0, len(text))]


def _without(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    start, end = sorted(random.randint(0, len(text)) for _ in "ab")
    return text[:start] + text[end:]


def _with_text(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    place = random.randint(0, len(text))
    return text[:place] + random.choice(_TEXTS) + text[place:]


def _spliced(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]


def _reordered(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """Frames repeated, left out, or in another order."""
    end = b"\n\n" if b"\n\n" in text else b"\n"
    frames = [frame + end for frame in text.split(end) if frame]
    if not frames:
        return text
    one = random.randrange(len(frames))
    match random.randrange(4):
        case 0:
            frames[one:one] = [frames[one]] * random.choice((1, 2, 50))
        case 1:
            del frames[one]
        case 2:
            random.shuffle(frames)
        case _:
            frames.insert(one, frames[random.randrange(len(frames))])
    return b"".join(frames)


def _with_value(random: Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """One of the JSON texts in it with a value replaced, added, renamed or left out."""
    lines = text.split(b"\n")
    whole = [(0, text, b"")] if text.lstrip().startswith((b"{", b"[")) else []
    found = whole or [
        (at, line[line.index(b"{") :], line[: line.index(b"{")])
        for at, line in enumerate(lines)
        if b"{" in line
    ]
    if not found:
        return text
    at, told, head = random.choice(found)
    try:
        value = json.loads(told)
    except (ValueError, RecursionError):
        return text
    changed = json.dumps(_changed(random, value)).encode()
    if whole:
        return changed
    return b"\n".join([*lines[:at], head + changed, *lines[at + 1 :]])


def _changed(random: Random, value: Any) -> Any:
    places = [(holder, key) for holder in _holders(value) for key in _keys(holder)]
    if not places:
        return random.choice(_VALUES)
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[random.choice(["", "type", "id", "index", "error", "x"])] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder[:] = holder * random.choice((2, 30))
        case 3:
            other, there = random.choice(places)
            holder[key] = json.loads(json.dumps(other[there])) if there in _keys(other) else None
        case _:
            holder[key] = random.choice(_VALUES)
    return value


def _holders(value: Any) -> list[Any]:
    found: list[Any] = []
    left = [value]
    while left:
        match one := left.pop():
            case dict():
                found.append(one)
                left += one.values()
            case list():
                found.append(one)
                left += one[:20]
            case _:
                pass
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(min(len(holder), 20)))


_WAYS = (
    *(_with_value, _with_value, _with_value, _with_value),
    *(_flipped, _cut, _without, _with_text, _spliced, _reordered, _reordered),
)
