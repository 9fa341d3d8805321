"""Bytes → complete frames, as they came in, and back: server-sent events, and lines of JSON.

A frame is one event with its terminating blank line, or one line with its end. Any split of the
input gives the same frames; no more than one incomplete frame is held, up to a limit.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

FRAME_LIMIT = 16 * 1024 * 1024  # bytes of one event

_END = re.compile(rb"\r\n\r\n|\n\n|\n\r\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class FrameTooLarge(ValueError):
    """One event passed FRAME_LIMIT."""


class Framer(Protocol):
    """Cuts a stream of bytes into frames."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that this chunk completes. Raises FrameTooLarge."""
        ...

    def rest(self) -> bytes:
        """A last frame that lacks only its end, completed; empty where nothing is left."""
        ...


class SseFramer:
    """Cuts a stream of events into frames."""

    __slots__ = ("_buffer", "_seen")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen = 0  # bytes of the buffer in which no frame ends

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that this chunk completes. Raises FrameTooLarge."""
        self._buffer += chunk
        buffer, frames, start = self._buffer, [], 0
        for end in _END.finditer(buffer, max(0, self._seen - 3)):
            frames.append(bytes(buffer[start : end.end()]))
            start = end.end()
        if start:
            del buffer[:start]
        self._seen = len(buffer)
        if self._seen > FRAME_LIMIT:
            raise FrameTooLarge(f"an event of more than {FRAME_LIMIT} bytes")
        return frames

    def rest(self) -> bytes:
        """What is left of an event that never ended, ended and taken out."""
        rest = bytes(self._buffer).strip()
        self._buffer.clear()
        self._seen = 0
        return rest + b"\n\n" if rest else b""


class LineFramer:
    """Cuts a stream of lines into frames; blank lines are left out."""

    __slots__ = ("_buffer", "_seen")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._seen = 0  # bytes of the buffer in which no line ends

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. Raises FrameTooLarge."""
        self._buffer += chunk
        end = self._buffer.rfind(b"\n", self._seen) + 1
        frames = []
        if end:
            lines = bytes(self._buffer[:end]).split(b"\n")
            frames = [line + b"\n" for line in lines[:-1] if line.strip()]
            del self._buffer[:end]
        self._seen = len(self._buffer)
        if self._seen > FRAME_LIMIT:
            raise FrameTooLarge(f"a line of more than {FRAME_LIMIT} bytes")
        return frames

    def rest(self) -> bytes:
        """What is left of a line that never ended, ended and taken out."""
        rest = bytes(self._buffer).strip()
        self._buffer.clear()
        self._seen = 0
        return rest + b"\n" if rest else b""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a dialect cuts its streams."""

    content_type: str
    framer: Callable[[], Framer]
    # whether an answer is a stream: its first bytes, its content type, was a stream asked for
    is_stream: Callable[[bytes, str, bool], bool]


def _is_sse(first: bytes, kind: str, asked: bool) -> bool:
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"{", b"[", b"<")):
        return False
    return "event-stream" in kind or start.startswith((b"data:", b"event:", b":", b"id:"))


def _is_lines(first: bytes, kind: str, asked: bool) -> bool:
    # one line that says all is a stream too
    return first.lstrip().startswith(b"{") and (asked or "ndjson" in kind)


SSE = Framing("text/event-stream; charset=utf-8", SseFramer, _is_sse)
LINES = Framing("application/x-ndjson", LineFramer, _is_lines)


def frame_data(frame: bytes) -> bytes | None:
    """The data of a frame, its lines joined; None where it has none (a comment, a blank)."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2 and b"\r" not in frame:
        return frame[6:-2]
    lines = []
    for line in _LINE.split(frame.removeprefix(_BOM)):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None


def comments_only(frame: bytes) -> bytes:
    """A frame that has no data, if it is only there to keep alive; else nothing.

    Clients take an event that has a name and no data for JSON, and stumble.
    """
    lines = _LINE.split(frame)
    return frame if all(not line or line.startswith(b":") for line in lines) else b""


def sse(data: bytes, event: str = "") -> bytes:
    """One frame that carries `data`, which holds no line break; of a named event, if any."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + data + b"\n\n"
