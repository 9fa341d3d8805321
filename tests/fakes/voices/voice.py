"""What a dialect is to a fake that speaks it: right answers, errors, and frames of ill repute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.fakes.answers import UsageInStream
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech

Json = Mapping[str, object]


class Speak(Protocol):
    def __call__(self, seen: Seen, said: Sequence[str], usage: UsageInStream) -> Speech: ...


class Complain(Protocol):
    def __call__(self, status: int, message: str, code: str | None, kind: str) -> Json:
        """The body of an error; `code` and `kind` are the words of OpenAI's dialects."""
        ...


@dataclass(frozen=True)
class Voice:
    """One dialect.

    `refusals` are status and body of what the vendor refuses, by the name of the reason;
    `failures` are error events in a stream, by their kind: every voice has one called `error`.
    """

    name: str
    prefix: str  # what a base URL ends in
    path: str  # of chat, behind the prefix
    stream_type: str
    speech: Speak
    whole: Callable[[Seen, Sequence[str]], Json]
    error: Complain
    refusals: Mapping[str, tuple[int, Json]]
    failures: Mapping[str, bytes]
    marker: bytes  # an end marker where nothing has ended; empty where the dialect has none
    ping: bytes
    not_json: bytes  # a frame
    no_object: bytes  # a frame of JSON that is no object
    unending: bytes  # how a frame begins that never ends
