"""What is asked and answered, in nobody's dialect, and what a client must do to take part.

A scenario speaks these words only. A client puts them into its vendor's own types, and reads the
vendor's own types back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

Json = Mapping[str, object]
MAX_TOKENS = 4096


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    schema: Json


@dataclass(frozen=True)
class Called:
    """A tool call as the client's types show it."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True)
class Tokens:
    """Token counts as the client's own convention gives them, parts included in their wholes.

    None stands for what the client's types have no place for.
    """

    input: int
    output: int
    cached: int | None = None
    written: int | None = None
    reasoned: int | None = None


class Stop(Enum):
    END = "end"
    STOP_SEQUENCE = "stop sequence"
    TOOLS = "tools"
    LENGTH = "out of tokens"
    OTHER = "other"


@dataclass(frozen=True)
class Answer:
    """An answer. `kept` is the turn as the client keeps it in its history."""

    model: str
    text: str
    stop: Stop
    calls: Sequence[Called] = ()
    thinking: str = ""
    matched: str | None = None
    tokens: Tokens | None = None
    kept: Sequence[object] = ()


@dataclass(frozen=True)
class Earlier:
    """A turn before: what was asked, what was answered, what the tools said (by id of the call).

    A result is a text, or the bytes of a PNG.
    """

    ask: Ask
    answer: Answer
    results: Mapping[str, str | bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """One request. Without `text` the results of the tools are the last that is said.

    `heard` is set when the first text of a streamed answer has come.
    """

    model: str
    stream: bool
    text: str = ""
    system: str | None = None
    tools: Sequence[Tool] = ()
    image: bytes | None = None  # a PNG
    image_url: str | None = None
    document: bytes | None = None  # a PDF
    thinks: bool = False
    schema: Json | None = None
    as_json: bool = False  # any object
    stops: Sequence[str] = ()
    before: Earlier | None = None
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompt(self) -> str | None:
        """The system prompt of the conversation: that of its first turn."""
        return self.system if self.before is None else self.before.ask.prompt

    @property
    def turns(self) -> Sequence[Ask | Earlier]:
        """The conversation in order, without the system prompt: what was asked, and its answer."""
        if self.before is None:
            return [self]
        return [*self.before.ask.turns, self.before, self]


class Why(Enum):
    """How a request failed, by the type of the exception that the client raised."""

    RATE_LIMITED = "rate limited"
    REFUSED = "bad request"
    SERVER = "server error"
    STATUS = "another status"
    IN_STREAM = "error in the stream"
    CONNECTION = "broken connection"  # the client was told nothing
    UNFINISHED = "the stream ended without an end"  # the same, of a client that does not look
    UNASKED = "the client cannot ask for it"


class Failed(Exception):
    """The client raised. `heard` is the text that had come before."""

    def __init__(self, why: Why, cause: Exception, heard: str) -> None:
        super().__init__(f"{why.value}: {cause!r}, heard {heard!r}")
        self.why = why
        self.cause = cause
        self.heard = heard


Reasons = Sequence[tuple[type[Exception], Why]]  # the first that fits


def failure(error: Exception, reasons: Reasons, heard: Sequence[str]) -> Failed:
    """What an exception of a client means; one that no reason fits is raised as it is."""
    for kind, why in reasons:
        if isinstance(error, kind):
            return Failed(why, error, "".join(heard))
    raise error


class Losses:
    """Remembers what `x-sidecar-losses` named, over all answers since it was last asked."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    async def note(self, response: Any) -> None:
        """A response hook of httpx, or of what the SDKs use in its place."""
        told = response.headers.get("x-sidecar-losses", "")
        self._named |= {name.strip() for name in told.split(",") if name.strip()}

    def take(self) -> frozenset[str]:
        named, self._named = frozenset(self._named), set()
        return named


class Client(Protocol):
    """One official client. Each method raises Failed."""

    dialect: str
    losses: Losses

    async def ask(self, ask: Ask) -> Answer: ...

    async def leave(self, ask: Ask) -> None:
        """Open a stream, wait for its first text, and close it."""
        ...

    async def close(self) -> None: ...
