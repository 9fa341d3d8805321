"""The stand-in's side towards the origin: HTTP/1.1 by hand, and a pool of kept connections."""

from __future__ import annotations

import select
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Headers = list[tuple[str, str]]

PIECE = 64 * 1024
HEAD_LIMIT = 1024 * 1024
KEPT = 100
NO_BODY = (204, 304)


class Broken(Exception):
    """The origin closed or spoke what is not HTTP."""


def named(headers: Headers, name: str) -> str | None:
    """The first value of a header, by its name in lower case."""
    return next((value for each, value in headers if each.lower() == name), None)


class Connection:
    """One connection with the origin; one exchange at a time."""

    def __init__(self, service: str) -> None:
        """Connects; raises OSError."""
        self.service = service
        self.reused = False
        self.keep = True  # may serve another exchange
        self._buffer = b""
        if service.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(service.removeprefix("unix:"))
            return
        host, _, port = service.partition("://")[2].partition("/")[0].rpartition(":")
        if not port.isdigit() or not host:
            host, port = service.partition("://")[2].partition("/")[0], "80"
        self.socket = socket.create_connection((host.strip("[]"), int(port)), 30)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _more(self) -> bool:
        data = self.socket.recv(PIECE)
        self._buffer += data
        return bool(data)

    def read_head(self) -> tuple[int, Headers]:
        """Raises Broken, or OSError."""
        while True:
            while b"\r\n\r\n" not in self._buffer:
                if len(self._buffer) > HEAD_LIMIT or not self._more():
                    raise Broken("EOF" if not self._buffer else "unexpected EOF")
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            words = lines[0].split(" ", 2)
            if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
                raise Broken(f'malformed HTTP response "{lines[0][:40]}"')
            status = int(words[1])
            headers = []
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers.append((name.strip(), value.strip()))
            if status >= 200:
                closes = (named(headers, "connection") or "").lower() == "close"
                self.keep = not closes and words[0] == "HTTP/1.1"
                return status, headers

    def body(self, method: str, status: int, headers: Headers) -> Iterator[bytes]:
        """The pieces as they come; raises Broken where the origin closes too early, or OSError."""
        if method == "HEAD" or status in NO_BODY:
            return
        if "chunked" in (named(headers, "transfer-encoding") or "").lower():
            yield from self._chunks()
            return
        length = named(headers, "content-length")
        if length is None:
            self.keep = False
            if self._buffer:
                yield self._take(len(self._buffer))
            while self._more():
                yield self._take(len(self._buffer))
            return
        left = int(length)
        while left:
            if not self._buffer and not self._more():
                raise Broken("unexpected EOF")
            piece = self._take(left)
            left -= len(piece)
            yield piece

    def _take(self, most: int) -> bytes:
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more():
                raise Broken("unexpected EOF")
        text, _, self._buffer = self._buffer.partition(b"\r\n")
        return text

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._line().partition(b";")[0], 16)
            if not size:
                while self._line():
                    pass
                return
            left = size
            while left:
                if not self._buffer and not self._more():
                    raise Broken("unexpected EOF")
                piece = self._take(left)
                left -= len(piece)
                yield piece
            self._line()


class Pool:
    """Connections that wait for their next exchange."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[Connection]] = {}

    def get(self, service: str) -> Connection:
        """A kept connection that nobody closed, else a new one; raises OSError."""
        with self._lock:
            idle = self._idle.get(service, [])
            while idle:
                kept = idle.pop()
                watch = select.poll()
                watch.register(kept.socket, select.POLLIN)
                if not watch.poll(0):
                    kept.reused = True
                    return kept
                kept.socket.close()
        return Connection(service)

    def put(self, connection: Connection) -> None:
        with self._lock:
            idle = self._idle.setdefault(connection.service, [])
            if len(idle) < KEPT:
                idle.append(connection)
                return
        connection.socket.close()
