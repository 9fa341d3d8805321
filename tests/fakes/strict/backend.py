"""A backend that takes nothing its vendor would not take, and answers as the vendor does.

It is the fake of `tests/fakes/backend.py` with one behaviour: check, then answer. Every exchange is
kept in `requests`. What stands behind the colon of the model's name picks what goes wrong:

    error-429, error-500, error-overloaded   an error in the vendor's shape, and nothing else
    breaks                                   the vendor's own error in the middle of a stream
    cut                                      the connection ends in the middle of the answer
    silent                                   half a stream, nothing of a whole answer; it waits

A stream that breaks or is cut does so when `go_on` is set: when half of it has been heard.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.model import Asked, Said
from tests.fakes.strict.shapes import Json, Refused

KEY = "key-of-the-backend"


@dataclass(frozen=True)
class Vendor:
    """One vendor's rules and words. `read` and `authorised` raise Refused."""

    name: str
    family: str  # what its models are called: their names tell clients what they can
    prefix: str  # what a base URL ends in
    path: str  # of chat, behind the prefix
    stream_type: str  # the content type of streams
    streams_unasked: bool
    overloaded: int  # the status that says so
    authorised: Callable[[Seen], None]
    read: Callable[[Json], Asked]
    whole: Callable[[Said, Json], Json]
    frames: Callable[[Said, Json], Sequence[bytes]]
    error: Callable[[int, str], Json]
    failure: Callable[[int], bytes]  # the error in a stream, behind so many frames
    lookups: Mapping[str, Callable[[Seen], Json]]  # what else it knows, by path


class StrictBackend(Backend):
    """`async with StrictBackend(VENDOR) as fake`: see the module."""

    def __init__(self, vendor: Vendor) -> None:
        super().__init__(vendor.name, rest=self._answer, dialect=vendor.name)
        self.vendor = vendor
        self.who = vendor.name  # who speaks in its answers
        self.go_on = asyncio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.vendor.prefix}"

    def _behaviour(self, seen: Seen) -> b.Behaviour:
        known = self.vendor.lookups.get(seen.path)
        if known is None and seen.method == "POST":
            return super()._behaviour(seen)
        self.others.append(seen)
        if known is None:
            return lambda _: self._error(404, f"no such path: {seen.target}")
        return lambda _: b.whole(200, answers.dump(known(seen)))

    def _answer(self, seen: Seen) -> b.Steps:
        try:
            body = _body(seen)
            if seen.path != self.vendor.prefix + self.vendor.path:
                raise Refused("", f"no such path: {seen.target}", 404)
            self.vendor.authorised(seen)
            asked = self.vendor.read(body)
        except Refused as refused:
            return self._error(refused.status, str(refused))
        said = self._said(asked)
        fault = model.scenario(asked.model)
        if fault.startswith("error-"):
            return self._fail(fault.removeprefix("error-"))
        if body.get("stream", self.vendor.streams_unasked) is True:
            return self._stream(self.vendor.frames(said, body), fault)
        return _whole(self.vendor.whole(said, body), fault)

    def _said(self, asked: Asked) -> Said:
        return model.answer(self.who, asked)

    def _fail(self, what: str) -> b.Steps:
        status = self.vendor.overloaded if what == "overloaded" else int(what)
        return self._error(status, f"The {self.name} fake fails as it was told: {what}")

    def _error(self, status: int, message: str) -> b.Steps:
        # 0: so that the sidecar does not let a backend rest that the next test needs
        more = [("retry-after", "0")] if status == 429 else []
        return b.whole(status, answers.dump(self.vendor.error(status, message)), headers=more)

    def _stream(self, frames: Sequence[bytes], fault: str) -> b.Steps:
        head = b.stream_head(content_type=self.vendor.stream_type)
        half = frames[: len(frames) // 2]
        tail: b.Steps
        match fault:
            case "breaks":
                told = b.Send(b.chunked(self.vendor.failure(len(half))))
                tail = (b.Until(self.go_on), told, b.Send(b.END))
            case "cut":
                tail = (b.Until(self.go_on), b.Close())
            case "silent":
                tail = (b.Silence(),)
            case _:
                half, tail = frames, (b.Send(b.END),)
        return (head, *[b.Send(b.chunked(each)) for each in half], *tail)


def _body(seen: Seen) -> Json:
    if not (seen.header("content-type") or "").startswith("application/json"):
        raise Refused("", "Content-Type must be application/json", 415)
    try:
        body = json.loads(seen.body)
    except ValueError:
        raise Refused("", "We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise Refused("", "the body must be an object")
    return body


def _whole(body: Json, fault: str) -> b.Steps:
    raw = answers.dump(body)
    match fault:
        case "cut":
            told = [("content-type", "application/json"), ("content-length", str(len(raw)))]
            return (b.Send(b.head(200, told) + raw[: len(raw) // 2]), b.Close())
        case "silent":
            return (b.Silence(),)
        case _:
            return b.whole(200, raw)


def bearer(seen: Seen) -> None:
    """The key as OpenAI's dialects take it. Raises Refused."""
    if seen.header("authorization") != f"Bearer {KEY}":
        raise Refused("", "Incorrect API key provided.", 401)


def event(value: Json) -> bytes:
    """A server-sent event that bears its type as its name."""
    return b"event: " + str(value["type"]).encode() + b"\n" + answers.frame(value)
