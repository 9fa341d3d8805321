"""The only writer to the client: OPEN → CONTENT → ENDED.

While it is OPEN nothing was sent and any status may still be chosen. From CONTENT on a failure can
only be told in-band, by the dialect's own event.
"""

from collections.abc import Callable, Mapping
from enum import Enum

from aiohttp import web

from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import Dialect

SERVER = "llm-sidecar"
WORTH_COMPRESSING = 256  # bytes

_STREAM_HEADERS = {
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class State(Enum):
    """What the client has seen."""

    OPEN = "open"
    CONTENT = "content"
    ENDED = "ended"


class Answer:
    """One answer to one request."""

    def __init__(
        self, http: web.BaseRequest, dialect: Dialect, request_id: str, on_head: Callable[[], None]
    ) -> None:
        self._http = http
        self._on_head = on_head
        self.dialect = dialect
        self._response: web.StreamResponse | None = None
        self.state = State.OPEN
        self.common = {"x-request-id": request_id, "server": SERVER, "x-sidecar-attempts": "0"}
        self.closing = False  # the connection is not to be used again
        self._fail: Callable[[Problem], bytes] | None = None  # of a stream that has begun

    @property
    def committed(self) -> bool:
        """Whether content has reached the client."""
        return self.state is not State.OPEN

    @property
    def has_content(self) -> bool:
        """Whether a stream's content, not only an error, has reached the client."""
        return self.committed and self._fail is not None

    @property
    def status(self) -> int | None:
        """The status that the client was sent."""
        return self._response.status if self._response is not None else None

    @property
    def response(self) -> web.StreamResponse:
        """What aiohttp wants returned once the answer has ended."""
        assert self._response is not None, "a request ended without an answer"
        return self._response

    async def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        response = web.Response(status=status, body=body, headers={**headers, **self.common})
        if len(body) > WORTH_COMPRESSING and _takes_gzip(self._http.headers):
            response.enable_compression(web.ContentCoding.gzip)
            response.headers.add("Vary", "Accept-Encoding")
        await self._prepare(response)
        await self.finish()

    async def json(self, value: object) -> None:
        """Send a whole answer of our own."""
        await self.whole(200, {"Content-Type": "application/json"}, json.dumps(value))

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the head of a body that will flow, as its headers describe it."""
        await self._prepare(web.StreamResponse(status=status, headers={**headers, **self.common}))

    async def begin_events(
        self, headers: Mapping[str, str], fail: Callable[[Problem], bytes]
    ) -> None:
        """Send the head of a stream; `fail` words the event that ends it where it breaks."""
        self._fail = fail
        kind = {"content-type": self.dialect.framing.content_type}
        await self.begin(200, {**headers, **_STREAM_HEADERS, **kind})

    async def _prepare(self, response: web.StreamResponse) -> None:
        self._response = response
        self.state = State.CONTENT
        if self.closing:
            response.force_close()
        self._on_head()
        try:
            await response.prepare(self._http)
        except ConnectionError:
            raise _gone() from None

    async def write(self, data: bytes) -> None:
        """Send more; waits while the client reads slowly. Raises AttemptFailed when it left."""
        try:
            await self.response.write(data)
        except ConnectionError:
            raise _gone() from None

    async def finish(self) -> None:
        """End an answer that is complete."""
        self.state = State.ENDED
        try:
            await self.response.write_eof()
        except ConnectionError:
            raise _gone() from None

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


def _gone() -> AttemptFailed:
    return AttemptFailed(Problem(ProblemKind.CLIENT_GONE, "the client left"))


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    for item in headers.get("Accept-Encoding", "").split(","):
        coding, _, quality = item.strip().lower().partition(";")
        if coding == "gzip":
            return quality.replace(" ", "").rstrip("0.") != "q="
    return False
