"""What stand-in and stand-in edge say to each other: lines of JSON, and frames for bodies.

A tunnel connection begins with a line of kind "hello"; the edge answers "control", the other side
"register", and the edge "registered" or "refused". Later lines of the edge are "request", "config"
and "unregistered"; the only later one of the other side is "unregister".
Each request gets a connection of its own, which the stand-in opens with a line of kind "data": the
edge sends a head and the frames of the body, and gets the same back. An empty frame ends a body;
a connection that ends before has cut it.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

LENGTH = struct.Struct("!I")
END = LENGTH.pack(0)
PIECE = 64 * 1024


def line(kind: str, **told: Any) -> bytes:
    return json.dumps({"kind": kind, **told}).encode() + b"\n"


def frame(data: bytes) -> bytes:
    """One piece of a body, which is not empty."""
    return LENGTH.pack(len(data)) + data


class Reader:
    """Reads lines and frames from a blocking socket; None is the end of the connection."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = bytearray()

    def fill(self) -> bool:
        """Wait for more; False at the end."""
        try:
            more = self._source.recv(PIECE)
        except OSError:
            more = b""
        self._buffer += more
        return bool(more)

    def whole_line(self) -> dict[str, Any] | None:
        """A line that has come already."""
        end = self._buffer.find(b"\n")
        if end < 0:
            return None
        text = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        told: dict[str, Any] = json.loads(text)
        return told

    def read_line(self) -> dict[str, Any] | None:
        while (told := self.whole_line()) is None:
            if not self.fill():
                return None
        return told

    def read_frame(self) -> bytes | None:
        while len(self._buffer) < LENGTH.size:
            if not self.fill():
                return None
        (length,) = LENGTH.unpack(self._buffer[: LENGTH.size])
        while len(self._buffer) < LENGTH.size + length:
            if not self.fill():
                return None
        data = bytes(self._buffer[LENGTH.size : LENGTH.size + length])
        del self._buffer[: LENGTH.size + length]
        return data
