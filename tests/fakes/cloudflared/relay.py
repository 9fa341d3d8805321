"""One request: from the edge to the origin, and its answer back, piece by piece."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading

from tests.fakes.cloudflared import wire
from tests.fakes.cloudflared.origin import Broken, Connection, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tests.fakes.cloudflared.origin import Headers
    from tests.fakes.cloudflared.tunnel import Tunnel

HELD = 4096  # bytes of an answer of known length that is no stream
STREAMS = ("text/event-stream", "application/grpc", "application/x-ndjson")
HOP = ("connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection", "te")
UNREACHABLE = (
    "Unable to reach the origin service. The service may be down or it may not be responding to "
    "traffic from cloudflared: "
)
LINGER = 5.0  # seconds for the edge to close
GONE = "Incoming request ended abruptly: context canceled"


def relay(tunnel: Tunnel, address: tuple[str, int], index: int, number: int) -> None:
    """Carry one request that the edge has announced on connection `index`."""
    try:
        edge = socket.create_connection(address, 15)
    except OSError:
        return
    edge.settimeout(None)
    edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with edge, contextlib.suppress(OSError):
        edge.sendall(wire.line("data", request=number))
        reader = wire.Reader(edge)
        head = reader.read_line()
        if head is None:
            return
        tunnel.began()
        exchange = _Exchange(tunnel, edge, reader, head, index)
        try:
            exchange.run()
        finally:
            tunnel.ended()
            # to close over a body that nobody has read would reset what was answered early
            edge.shutdown(socket.SHUT_WR)
            exchange.read_away()


class _Exchange:
    """A request and its answer; a thread of its own brings the body, and learns who left."""

    def __init__(
        self,
        tunnel: Tunnel,
        edge: socket.socket,
        reader: wire.Reader,
        head: dict[str, Any],
        index: int,
    ) -> None:
        self._tunnel, self._edge, self._reader, self._head = tunnel, edge, reader, head
        self._index = index
        self._method: str = head["method"]
        self._gunzips = False  # the origin is told that gzip is fine, which the client did not say
        self._sent = not head["body"]  # the whole body went to the origin
        self._gone = False  # the client has left
        self._lock = threading.Lock()
        self._origin: Connection | None = None  # as long as it is ours
        self._pumping: threading.Thread | None = None
        self._rule, self._service = tunnel.service(head["host"], head["path"])

    def read_away(self) -> None:
        """Until the edge has closed, as it does once it has the answer."""
        if self._pumping is not None:
            self._pumping.join(LINGER)

    def run(self) -> None:
        self._log_request()
        if self._service.startswith("http_status:"):
            self._send_head(int(self._service.partition(":")[2]), [], "origin")
            self._edge.sendall(wire.END)
            return
        try:
            origin, status, headers = self._ask()
        except (OSError, Broken) as error:
            self._release(keep=False)
            self._fail(GONE if self._gone else UNREACHABLE + _reason(error, self._service))
            return
        whole = False
        try:
            self._bring(origin, status, headers)
            whole = True
        except (OSError, Broken, ValueError) as error:
            self._fail(GONE if self._gone else str(error), begun=True)
        finally:
            self._release(keep=whole and origin.keep and self._sent)

    def _log_request(self) -> None:
        head, journal = self._head, self._tunnel.journal
        if journal.is_debug or self._tunnel.behaviour.get("echo_paths"):
            say = journal.debug if journal.is_debug else journal.info
            more = {"headers": dict(head["headers"]), "host": head["host"], "path": head["path"]}
            url = f"https://{head['host']}{head['path']}"
            say(f"{self._method} {url} HTTP/1.1", **self._fields(), **more)

    def _fields(self) -> dict[str, Any]:
        return {
            "connIndex": self._index,
            "event": 1,
            "ingressRule": self._rule,
            "originService": self._service,
        }

    # --- towards the origin -------------------------------------------------------------------

    def _ask(self) -> tuple[Connection, int, Headers]:
        """Send the head, start the body, wait for the head of the answer."""
        while True:
            origin = self._tunnel.pool.get(self._service)
            with self._lock:
                self._origin = origin
            try:
                origin.socket.sendall(self._request_head())
                if self._pumping is None:
                    self._pumping = threading.Thread(target=self._pump, daemon=True)
                    self._pumping.start()
                return origin, *origin.read_head()
            except (OSError, Broken):
                # a kept connection may have ended just now; a request without body goes once more
                if not origin.reused or self._head["body"] or self._gone:
                    raise
                self._release(keep=False)

    def _request_head(self) -> bytes:
        host, headers = self._head["host"], list(self._head["headers"])
        override = self._tunnel.host_header
        if override and not self._service.startswith("unix:"):
            headers.append(("X-Forwarded-Host", host))
            host = override
        told = [
            ("Host", host),
            *((name, value) for name, value in headers if name.lower() not in HOP),
        ]
        told.append(("Cf-Warp-Tag-Id", self._tunnel.connector))
        if self._head["body"] and named(headers, "content-length") is None:
            told.append(("Transfer-Encoding", "chunked"))
        asks_plain = named(headers, "accept-encoding") is None and named(headers, "range") is None
        if asks_plain and self._method != "HEAD":
            self._gunzips = True
            told.append(("Accept-Encoding", "gzip"))
        told.append(("Connection", "keep-alive"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in told)
        return f"{self._method} {self._head['path']} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")

    def _pump(self) -> None:
        """Bring the body to the origin; then wait for the end, which before its time cancels."""
        chunked = named(self._head["headers"], "content-length") is None
        broken = False
        while (piece := self._reader.read_frame()) is not None:
            out = piece
            if chunked and self._head["body"]:
                out = b"%x\r\n%b\r\n" % (len(piece), piece)
            with self._lock:
                origin = self._origin
            if origin is not None and out and not broken:
                try:
                    origin.socket.sendall(out)
                except OSError:
                    broken = True  # it answers early, or is gone
            if not piece:
                self._sent = not broken
        with self._lock:
            if self._origin is not None:
                self._gone = True
                with contextlib.suppress(OSError):
                    self._origin.socket.shutdown(socket.SHUT_RDWR)

    def _release(self, *, keep: bool) -> None:
        """Give the origin's connection back, or close it."""
        with self._lock:
            origin, self._origin = self._origin, None
            if origin is None:
                return
            if keep and not self._gone:
                self._tunnel.pool.put(origin)
            else:
                with contextlib.suppress(OSError):
                    origin.socket.shutdown(socket.SHUT_RDWR)
                origin.socket.close()

    # --- towards the edge ---------------------------------------------------------------------

    def _bring(self, origin: Connection, status: int, headers: Headers) -> None:
        pieces: Iterator[bytes] = origin.body(self._method, status, headers)
        if self._gunzips and (named(headers, "content-encoding") or "").lower() == "gzip":
            headers = [
                each
                for each in headers
                if each[0].lower() not in ("content-encoding", "content-length")
            ]
            pieces = _gunzipped(pieces)
        self._tunnel.answered(status)
        kind = (named(headers, "content-type") or "").lower()
        flushes = named(headers, "content-length") is None or kind.startswith(STREAMS)
        held = self._head_line(status, headers, "origin")
        for piece in itertools.chain((b"",), pieces):
            held += wire.frame(piece) if piece else b""
            if flushes or len(held) >= HELD:
                self._edge.sendall(held)
                held = b""
        self._edge.sendall(held + wire.END)

    def _head_line(self, status: int, headers: Headers, source: str) -> bytes:
        told = [each for each in headers if each[0].lower() not in HOP]
        return wire.line("head", status=status, headers=told, source=source)

    def _send_head(self, status: int, headers: Headers, source: str) -> None:
        self._edge.sendall(self._head_line(status, headers, source))

    def _fail(self, why: str, *, begun: bool = False) -> None:
        """Two lines in the log; a 502 without body where nothing was sent yet, else a cut."""
        self._tunnel.failed()
        self._tunnel.journal.error("", error=why, **self._fields())
        told = {"connIndex": self._index, "error": f"Failed to proxy HTTP: {why}"}
        self._tunnel.journal.error("failed to serve incoming request", **told)
        if not begun:
            with contextlib.suppress(OSError):
                self._send_head(502, [], "cloudflared")
                self._edge.sendall(wire.END)


def _gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import zlib  # seldom needed

    unpack = zlib.decompressobj(31)
    try:
        for piece in pieces:
            if plain := unpack.decompress(piece):
                yield plain
        if rest := unpack.flush():
            yield rest
    except zlib.error as error:
        raise Broken(f"gzip: {error}") from None


def _reason(error: Exception, service: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        where = service.partition("://")[2] or service
        return f"dial tcp {where}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error)
