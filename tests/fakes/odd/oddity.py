"""Answers that are off their dialect, as data: what a backend sends, and what a client must get.

Each is something that servers and gateways in the wild do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.fakes import behaviours as b

Json = Mapping[str, object]
Calls = Sequence[tuple[str, Json]]

JSON, SSE, LINES = "application/json", b.SSE, "application/x-ndjson"
HALVES = ("Grüezi ", "mitenand")
TEXT = "".join(HALVES)
BOOM = "the engine died"

PLACE: Json = {"city": "Zürich", "days": 3}
CITY: Json = {"city": "Bern"}
WRITTEN = json.dumps(PLACE, ensure_ascii=False)
WRITTEN_CITY = json.dumps(CITY)
ONE: Calls = (("weather", PLACE),)
TWO: Calls = (("weather", PLACE), ("clock", CITY))
BARE: Calls = (("clock", {}),)


@dataclass(frozen=True)
class Odd:
    """One oddity. `frames` are those of a stream, or one whole body; they are the answer to every
    request, whether it asks for a stream or not.

    The client gets `text` and `calls`; where `fails`, an error behind as much of the text. Who asks
    for no stream gets an error where `fails_whole`. What `stays` is right as it is between equal
    dialects, if poor.
    """

    name: str
    frames: Sequence[bytes]
    kind: str  # the content type
    text: str = ""
    calls: Calls = ()
    fails: bool = False
    fails_whole: bool = False
    stays: bool = False

    def steps(self) -> b.Steps:
        """How it is sent."""
        if len(self.frames) == 1:
            return b.whole(200, self.frames[0], self.kind)
        head = b.stream_head(content_type=self.kind)
        return (head, *[b.Send(b.chunked(each)) for each in self.frames], b.Send(b.END))


def text(name: str, kind: str, *frames: bytes, fails_whole: bool = False) -> Odd:
    """It says TEXT all the same."""
    return Odd(name, frames, kind, text=TEXT, fails_whole=fails_whole)


def calls(name: str, made: Calls, kind: str, *frames: bytes, stays: bool = False) -> Odd:
    """It calls these tools all the same."""
    return Odd(name, frames, kind, calls=made, stays=stays)


def fault(name: str, kind: str, *frames: bytes) -> Odd:
    """An error, and nothing before it."""
    return Odd(name, frames, kind, fails=True)


def broken(name: str, kind: str, *frames: bytes) -> Odd:
    """An error behind TEXT."""
    return Odd(name, frames, kind, text=TEXT, fails=True)
