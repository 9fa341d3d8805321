"""Speaks HTTP on a listener, and answers what is not HTTP in a dialect's shape.

Clients that are slow, or too many, cost nobody else anything: a head must come within a time, an
answer must be read within a time, and past the limit of connections the idle ones make room.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong

from sidecar.dataplane.answer import SERVER
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind

MOST_HEADERS = 1000  # fields; `limits.header` bounds what they add up to
LINGER = 2.0  # seconds in which the rest of a refused body is read away
HEAD_WITHIN = 10.0  # seconds for a head, from its first byte; for that byte, from the opening
KEEP_ALIVE = 3600.0  # seconds for which a connection may wait for its next request
UNREAD = 300.0  # seconds in which a client must take some of what it is sent
TICK = 1.0  # seconds between two looks at heads that have not come

NO_ATTEMPTS = {"x-sidecar-attempts": "0"}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpListener(web.Server):
    """Hands requests to a handler, which is cancelled when its client leaves.

    It keeps at most `most` connections open. `common` are headers of what it answers by itself.
    """

    def __init__(
        self,
        handle: Handler,
        header_limit: Callable[[], int],
        new_id: Callable[[], str],
        most: int,
        common: Mapping[str, str] = NO_ATTEMPTS,
    ) -> None:
        super().__init__(handle, handler_cancellation=True)
        self._header_limit = header_limit
        self._new_id = new_id
        self._common = common
        self.most = most
        # connection → when its head must have come; since all may take as long, in that order
        self._unfinished: dict[_Protocol, float] = {}

    def __call__(self) -> web.RequestHandler:
        """The protocol of one new connection, under the limits of this moment."""
        limit = self._header_limit()
        return _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE,
            access_log=None,
            max_line_size=limit,
            max_field_size=limit,
            max_headers=MOST_HEADERS,
            lingering_time=LINGER,
            new_id=self._new_id,
            common=self._common,
            unfinished=self._unfinished,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection; past the limit the oldest idle one goes, else the new one."""
        super().connection_made(handler, transport)
        if len(self._connections) <= self.most:
            return
        for other in self._connections:
            if isinstance(other, _Protocol) and other is not handler and other.is_idle:
                other.force_close()
                return
        assert isinstance(handler, _Protocol)
        handler.turn_away(_TOO_MANY)

    async def watch(self) -> None:
        """Close the connections whose heads do not come, for ever."""
        while True:
            await asyncio.sleep(TICK)
            self.sweep()

    def sweep(self) -> None:
        """Close the connections whose heads should have come by now."""
        now = asyncio.get_running_loop().time()
        while self._unfinished:
            connection, until = next(iter(self._unfinished.items()))
            if until > now:
                return
            connection.head_is_late()


class _Protocol(web.RequestHandler):
    __slots__ = ("_common", "_has_begun", "_new_id", "_open_body", "_unfinished")

    def __init__(
        self,
        manager: web.Server,
        *,
        new_id: Callable[[], str],
        common: Mapping[str, str],
        unfinished: dict["_Protocol", float],
        **settings: Any,
    ) -> None:
        super().__init__(manager, **settings)
        self._new_id = new_id
        self._common = common
        self._unfinished = unfinished
        self._has_begun = False  # some of a head has come
        self._open_body: StreamReader | None = None  # of the last request, where it is not all here

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request of which nothing has come."""
        return self._waits and not self._has_begun

    @property
    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        self._unfinished[self] = self._loop.time() + HEAD_WITHIN
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._unfinished.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and note whether a head is under way.

        Of a head that begins in the same piece as the end of another request nothing is known
        until more of it comes; until then it is an idle connection.
        """
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._has_begun = False
            self._unfinished.pop(self, None)
            self._follow_body()
        elif (
            not self._has_begun
            and (self._waits or not self._request_count)
            and data.strip(b"\r\n")  # empty lines may stand before a request
        ):
            self._has_begun = True
            self._unfinished.pop(self, None)
            self._unfinished[self] = self._loop.time() + HEAD_WITHIN

    def _follow_body(self) -> None:
        """Tell who reads a body that its framing broke: the parser forgets it, and goes on.

        It does that with an error in the place of a next request, which cannot begin before the
        body of the one before has ended.
        """
        before = self._messages[-2][1] if len(self._messages) > 1 else self._open_body
        if before is not None and not before.is_eof() and before.exception() is None:
            # not at once: a reader that the end of a chunk has just woken would not look for it
            broken = web.RequestPayloadError("its framing is broken")
            self._loop.call_soon(before.set_exception, broken)
        body = self._messages[-1][1]
        self._open_body = None if body.is_eof() else body

    def head_is_late(self) -> None:
        """Close it, with a word to a client that has sent some of a head."""
        self._unfinished.pop(self, None)
        if self._has_begun:
            self.turn_away(_HEAD_TOO_SLOW)
        else:
            self.force_close()

    def turn_away(self, problem: Problem) -> None:
        """Say why, as far as it can be said without a request, and close."""
        if self.transport is not None:
            status, headers, body = self._told(problem)
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            lines += [f"content-length: {len(body)}", "connection: close", "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
        self.force_close()

    async def start(self) -> None:
        """Serve; what is left unread at the end is not kept for ever."""
        transport = self.transport
        try:
            await super().start()
        finally:
            if transport is not None and transport.get_write_buffer_size():
                self._loop.call_later(UNREAD, self._abort_unread, transport, _untaken(transport))

    def _abort_unread(self, transport: asyncio.Transport, before: int) -> None:
        """Drop what is left of a closed connection, unless some of it was taken meanwhile."""
        left = _untaken(transport)
        if left < before and transport.get_write_buffer_size():
            self._loop.call_later(UNREAD, self._abort_unread, transport, left)
        else:
            transport.abort()

    async def _drain_helper(self) -> None:
        """Wait while the client reads slowly, until it reads nothing at all."""
        while self._paused and (transport := self.transport) is not None:
            left = _untaken(transport)
            try:
                async with asyncio.timeout(UNREAD):
                    await super()._drain_helper()
                return
            except TimeoutError:
                self._drain_waiter = None  # it is cancelled; aiohttp would wait for it again
                if _untaken(transport) < left:
                    continue
                transport.abort()
                raise ConnectionResetError("the client does not read") from None
        await super()._drain_helper()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that cannot be read is its client's fault, and was answered as one."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a head that could not be read."""
        if isinstance(exc, LineTooLong):
            problem = headers_too_large(self.max_field_size)
        elif message is not None and message.startswith("Too many headers"):
            problem = _TOO_MANY_HEADERS
        else:
            problem = _NO_HTTP
        status, headers, body = self._told(problem)
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response

    def _told(self, problem: Problem) -> tuple[int, dict[str, str], bytes]:
        status, body = DIALECTS[0].encode_error(problem)
        headers = {
            **self._common,
            "x-request-id": self._new_id(),
            "server": SERVER,
            "content-type": "application/json",
        }
        if problem.retry_after is not None:
            headers["retry-after"] = f"{problem.retry_after:.0f}"
        return status, headers, body


def _untaken(transport: asyncio.Transport) -> int:
    """Bytes that the client has not taken yet: ours, and those in the kernel where it tells."""
    left = transport.get_write_buffer_size()
    with suppress(ImportError, OSError, ValueError):
        import fcntl
        import termios

        file = transport.get_extra_info("socket").fileno()
        left += int.from_bytes(fcntl.ioctl(file, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return left


_NO_HTTP = Problem(
    ProblemKind.BAD_REQUEST,
    "This is not a valid HTTP/1.1 request. Check what sends it.",
    code="invalid_http",
)
_TOO_MANY_HEADERS = Problem(
    ProblemKind.TOO_LARGE,
    f"The request has more than {MOST_HEADERS} header fields. Send fewer.",
    status=431,
    code="headers_too_large",
)
_HEAD_TOO_SLOW = Problem(
    ProblemKind.BAD_REQUEST,
    f"The request's head was not complete after {HEAD_WITHIN:g} s. Send it in one piece.",
    status=408,
    code="request_timeout",
)
_TOO_MANY = Problem(
    ProblemKind.OVERLOADED,
    "The sidecar has as many connections as it can hold, and all of them are in use. Come back "
    "later, use fewer connections, or raise the limit of open files.",
    status=503,
    code="too_many_connections",
    retry_after=1.0,
)


def headers_too_large(limit: int) -> Problem:
    """The problem of a head past `limits.header`."""
    return Problem(
        ProblemKind.TOO_LARGE,
        f"The request's header, or its address, is larger than {limit} bytes. Send fewer or "
        "shorter header fields, or raise `limits.header`.",
        status=431,
        code="headers_too_large",
    )
