"""Server-sent events: bytes → complete frames, as they came in, and back.

A frame is one event with its terminating blank line. Any split of the input gives the same frames;
no more than one incomplete frame is held, up to a limit.
"""

import re

FRAME_LIMIT = 16 * 1024 * 1024  # bytes of one event

_END = re.compile(rb"\r\n\r\n|\n\n|\n\r\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class FrameTooLarge(ValueError):
    """One event passed FRAME_LIMIT."""


class SseFramer:
    """Cuts a stream of bytes into frames."""

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
        """What is left of an event that never ended; taken out."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._seen = 0
        return rest


def frame_data(frame: bytes) -> bytes | None:
    """The data of a frame, its lines joined; None where it has none (a comment, a blank)."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2:
        return frame[6:-2]
    lines = []
    for line in _LINE.split(frame.removeprefix(_BOM)):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None


def sse(data: bytes) -> bytes:
    """One frame that carries `data`, which holds no line break."""
    return b"data: " + data + b"\n\n"
