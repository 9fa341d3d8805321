"""What a stand-in does on its connection, as data, and the HTTP that it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Send:
    """Write bytes; in pieces of so many, each a write of its own, where that is given."""

    data: bytes
    piece: int | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Endless:
    """Write the same bytes until the other side goes away, or has been sent `most` of them."""

    data: bytes
    most: int = 256 * 1024 * 1024


class End(Enum):
    """How a connection ends that does not live on."""

    SILENCE = "silence"  # until the other side goes away
    CLOSE = "close"
    RESET = "reset"


Step = Send | Pause | Endless | End
Steps = Sequence[Step]
Headers = Sequence[tuple[str, str]]

LAST = b"0\r\n\r\n"  # the end of a chunked body


def head(status: int, headers: Headers) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} As-Rehearsed", *(f"{name}: {told}" for name, told in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def whole(
    status: int, body: bytes, kind: str = "application/json", headers: Headers = ()
) -> list[Step]:
    """A complete answer."""
    told = [("content-type", kind), ("content-length", str(len(body))), *headers]
    return [Send(head(status, told) + body)]


def flow(kind: str, frames: Sequence[bytes], *tail: Step, headers: Headers = ()) -> list[Step]:
    """A chunked answer: the head, each frame a write of its own, then `tail`."""
    told = [("content-type", kind), ("transfer-encoding", "chunked"), *headers]
    return [Send(head(200, told)), *(Send(chunk(frame)) for frame in frames), *tail]
