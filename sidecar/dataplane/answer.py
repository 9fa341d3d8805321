"""The only writer to the client: OPEN → (HEAD →) CONTENT → ENDED.

While it is OPEN nothing was sent and any status may still be chosen. HEAD is entered early by a
client that must not wait in silence: then it gets keep-alives, and any backend may still answer.
From HEAD on a failure can only be told in-band, by the dialect's own event.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum

from aiohttp import web

from sidecar.dataplane.telling import Manner
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import Dialect
from sidecar.wire.framing import SSE, sse

SERVER = "llm-sidecar"
WORTH_COMPRESSING = 256  # bytes
KEPT_LIMIT = 1024 * 1024  # bytes of a stream that are kept, so that it can be taken up again

_OPENLY = Manner()


class State(Enum):
    """What the client has seen."""

    OPEN = "open"
    HEAD = "head"
    CONTENT = "content"
    ENDED = "ended"


class Answer:
    """One answer to one request."""

    def __init__(
        self,
        http: web.BaseRequest,
        dialect: Dialect,
        request_id: str,
        on_content: Callable[[], None],
        manner: Manner = _OPENLY,
    ) -> None:
        self._http = http
        self._on_content = on_content
        self._manner = manner
        self.dialect = dialect
        self._response: web.StreamResponse | None = None
        self.state = State.OPEN
        self.common = {"x-request-id": request_id, "server": SERVER, "x-sidecar-attempts": "0"}
        self.closing = False  # the connection is not to be used again
        self._sends_events = False  # of a dialect that has lines
        self._fail: Callable[[Problem], bytes] | None = None  # of a stream that has begun
        self._kept: bytearray | None = None
        self._writing = 0  # writes that wait for the client
        self.written = 0  # pieces that were sent
        self.sent_at = 0.0  # when the latest was, or the head, by the clock of the loop
        self.has_content = False  # of a stream, not only an error
        self.delivered = False  # to its end; who leaves now has all of it

    @property
    def committed(self) -> bool:
        """Whether content has reached the client, or an error in its place."""
        return self.state in (State.CONTENT, State.ENDED)

    @property
    def is_open(self) -> bool:
        """Whether nothing at all was sent."""
        return self.state is State.OPEN

    @property
    def status(self) -> int | None:
        """The status that the client was sent."""
        return self._response.status if self._response is not None else None

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp wants returned once the answer has ended."""
        assert self._response is not None, "a request ended without an answer"
        return self._response

    def keep(self) -> None:
        """From now on keep what is sent of a stream, up to KEPT_LIMIT."""
        self._kept = bytearray()

    @property
    def kept(self) -> bytes | None:
        """All that was sent of a stream; None where it was not kept or is too long."""
        return None if self._kept is None else bytes(self._kept)

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer; behind an early head all of it but the body is too late."""
        if self.state is State.HEAD:
            self._content_begins()
            await self._send(body)
            await self.finish()
            return
        told = self._manner.headers({**headers, **self.common})
        response = web.Response(status=status, body=body, headers=told)
        if len(body) > WORTH_COMPRESSING and _takes_gzip(self._http.headers):
            response.enable_compression(web.ContentCoding.gzip)
            response.headers.add("Vary", "Accept-Encoding")
        self._content_begins()
        await self._prepare(response)
        await self.finish()

    async def json(self, value: object) -> None:
        """Send a whole answer of our own."""
        await self.whole(200, {"Content-Type": "application/json"}, json.dumps(value))

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of a body that will flow, as its headers describe it."""
        self._content_begins()
        told = self._manner.headers({**headers, **self.common})
        await self._prepare(web.StreamResponse(status=status, headers=told))

    async def begin_early(self, fail: Callable[[Problem], bytes], *, as_json: bool = False) -> None:
        """Send the head before any backend has an answer: of a stream, or of a whole answer.

        `fail` words what stands in the place of the rest where none comes.
        """
        self._fail = fail
        self.state = State.HEAD
        kind = "application/json" if as_json else self._begin_stream()
        await self._prepare(self._flowing({}, kind))

    async def begin_events(
        self, headers: Mapping[str, str], fail: Callable[[Problem], bytes]
    ) -> None:
        """Begin the content of a stream, or go on with it; its head is sent unless it was.

        `fail` words the event that ends it where it breaks.
        """
        self._fail = fail
        if self.state is State.CONTENT:
            return
        has_head = self.state is State.HEAD
        self.has_content = True
        self._content_begins()
        if not has_head:
            await self._prepare(self._flowing(headers, self._begin_stream()))

    def _begin_stream(self) -> str:
        """How it is framed from now on, as a type of media; a whole answer never is."""
        self._sends_events = self._manner.as_events
        return SSE.content_type if self._sends_events else self.dialect.framing.content_type

    def _flowing(self, headers: Mapping[str, str], kind: str) -> web.StreamResponse:
        flow = {"cache-control": self._manner.flow, "x-accel-buffering": "no"}
        told = {**headers, **flow, "content-type": kind, **self.common}
        return web.StreamResponse(status=200, headers=self._manner.headers(told))

    def _content_begins(self) -> None:
        self.state = State.CONTENT
        self._on_content()

    async def _prepare(self, response: web.StreamResponse) -> None:
        self._response = response
        self.sent_at = asyncio.get_running_loop().time()
        if self.closing:
            response.force_close()
        try:
            await response.prepare(self._http)
        except ConnectionError:
            raise _gone() from None

    async def write(self, data: bytes) -> None:
        """Send more; waits while the client reads slowly. Raises AttemptFailed when it left."""
        if self._kept is not None:
            self._kept += data
            if len(self._kept) > KEPT_LIMIT:
                self._kept = None
        await self._send(data)

    async def stay_alive(self, sign: bytes) -> None:
        """Send a sign of life between two pieces of a stream, unless the client reads slowly."""
        if self.state in (State.HEAD, State.CONTENT) and not self._writing:
            await self._send(sign)

    async def _send(self, data: bytes) -> None:
        self.written += 1
        self.sent_at = asyncio.get_running_loop().time()
        self._writing += 1
        try:
            await self.response.write(_as_events(data) if self._sends_events else data)
        except ConnectionError:
            raise _gone() from None
        finally:
            self._writing -= 1

    async def finish(self) -> None:
        """End an answer that is complete."""
        self.state = State.ENDED
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise _gone() from None
        self.delivered = True

    async def fail(self, problem: Problem) -> None:
        """End an answer that broke: the dialect's own event and no mark of a clean end.

        A body that has no such event is cut off instead, so that the client sees it is not whole.
        """
        if self.state is State.ENDED:
            return
        if self._fail is None:
            self.state = State.ENDED
            if self._http.transport is not None:
                self._http.transport.abort()
            return
        await self.write(self._fail(problem))
        await self.finish()


def _as_events(lines: bytes) -> bytes:
    """Lines of JSON as server-sent events."""
    return b"".join(sse(line) for line in lines.split(b"\n") if line)


def _gone() -> AttemptFailed:
    return AttemptFailed(Problem(ProblemKind.CLIENT_GONE, "the client left"))


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    for item in headers.get("Accept-Encoding", "").split(","):
        coding, _, quality = item.strip().lower().partition(";")
        if coding == "gzip":
            return quality.replace(" ", "").rstrip("0.") != "q="
    return False
