"""HTTP body → `Inbound`: read within limits, parsed once, kept exactly as received."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import HttpVersion10, HttpVersion11, web

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, RequestFacts, RequestLimits
from sidecar.wire.json import Json

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# the parser knows those of RTSP as well; TRACE would tell the client our key for the backend
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STALL = 30.0  # seconds between two pieces of a body
WHOLE = 300.0  # seconds for all of a body that is parsed


class Upload:
    """The body of an opaque request, which flows through and cannot be sent twice."""

    def __init__(self, http: web.BaseRequest, limit: int) -> None:
        self._http = http
        self._limit = limit
        # what is told is the length before content-decoding
        self.length = None if "Content-Encoding" in http.headers else http.content_length
        self.started = False
        self.refused: RequestRefused | None = None  # the client's own fault, met on the way

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._flow()

    async def _flow(self) -> AsyncIterator[bytes]:
        self.started = True
        try:
            # it may be a model of many gigabytes, so that all of it may take as long as it likes
            body = _Body(self._http, self._limit, math.inf)
            await body.begin()
            while piece := await body.read():
                yield piece
        except RequestRefused as refused:
            self.refused = refused
            raise


@dataclass(frozen=True, slots=True)
class Inbound:
    """What the client asked: `raw` exactly as received, or `upload` for what is not parsed."""

    dialect: Dialect
    facts: RequestFacts
    method: str
    path: str  # such as /v1/chat/completions
    query: str
    headers: tuple[tuple[str, str], ...]
    raw: bytes
    body: Json  # `raw`, parsed
    key: str | None
    peer: str = ""  # the client's address
    upload: Upload | None = None


async def read_json(
    http: web.BaseRequest, dialect: Dialect, operation: Operation, limits: RequestLimits
) -> tuple[bytes, Json, RequestFacts]:
    """The body as it came, parsed, and what routing needs of it. Raises RequestRefused."""
    check_length(http, limits.body)
    body_in, pieces = _Body(http, limits.body, WHOLE), []
    await body_in.begin()
    while piece := await body_in.read():
        pieces.append(piece)
    raw = b"".join(pieces)
    try:
        body = json.loads(raw)
    except json.InvalidJson as error:
        told = "The request body is empty" if not raw.strip() else f"The body is not JSON: {error}"
        raise RequestRefused(
            Problem(
                ProblemKind.BAD_REQUEST,
                f"{told}. Send a JSON object with `model` and what the endpoint takes.",
                code="invalid_json",
            )
        ) from None
    facts = dialect.facts(operation, body, limits)
    return raw, body, facts


def check_length(http: web.BaseRequest, limit: int) -> None:
    """Raises RequestRefused for a body that calls itself larger than the limit, in bytes."""
    if http.content_length is not None and http.content_length > limit:
        raise _too_large(limit)


def check_framing(http: web.BaseRequest) -> None:
    """Raises RequestRefused for what others on its way may read as another request than we do.

    The parser takes other versions and methods, any coding before `chunked`, any length of 64 bits,
    and any address.
    """
    coding = http.headers.get("Transfer-Encoding")
    if coding is not None and (coding.lower() != "chunked" or http.version < HttpVersion11):
        raise _odd(f"Its Transfer-Encoding {coding[:100]!r} is not `chunked` in HTTP/1.1")
    if http.version not in (HttpVersion11, HttpVersion10):
        raise _odd(f"It is of HTTP/{http.version.major}.{http.version.minor}")
    if (http.content_length or 0) > sys.maxsize:  # the parser takes the largest for none at all
        raise _odd(f"Its Content-Length {http.content_length} is no length")
    if http.method not in METHODS:
        raise _odd(f"It has the method {http.method}")
    target = http.raw_path
    if target.startswith("/") or (target == "*" and http.method == "OPTIONS"):
        return
    scheme, _, rest = target.partition("://")
    authority = rest.partition("/")[0]
    if scheme not in ("http", "https") or authority != http.headers.get("Host"):
        raise _odd(f"It asks for {target[:100]!r}, which is not a path of its Host")


def _odd(told: str) -> RequestRefused:
    return RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"This is not a valid HTTP/1.1 request: {told[0].lower()}{told[1:]}. Check what sends "
            "it.",
            code="invalid_http",
        )
    )


class _Body:
    """A body as it comes in, refused as soon as it passes a limit of size or time.

    Each piece has STALL seconds, and all of them `whole`; only waiting for the client counts, not
    what is done with the pieces meanwhile. It is no generator: one for each request costs more than
    all the rest of reading it.
    """

    __slots__ = ("_end", "_http", "_left", "_limit", "_now", "_whole")

    def __init__(self, http: web.BaseRequest, limit: int, whole: float) -> None:
        self._http, self._limit, self._whole = http, limit, whole
        self._left = limit
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + whole

    async def begin(self) -> None:
        """Tell a client to go on that has asked whether it should."""
        if self._http.headers.get("Expect", "").lower() == "100-continue":
            await self._http.writer.write(CONTINUE)
            self._http.writer.output_size = 0  # nothing of the answer is sent yet

    async def read(self) -> bytes:
        """What has come; nothing at the end. Raises RequestRefused."""
        try:
            piece = await self._piece()
        except web.RequestPayloadError as error:
            raise RequestRefused(
                Problem(
                    ProblemKind.BAD_REQUEST,
                    f"The request body could not be read: {error}. Check its length and encoding.",
                    code="invalid_body",
                )
            ) from None
        self._left -= len(piece)
        if self._left < 0:
            raise _too_large(self._limit)
        return piece

    async def _piece(self) -> bytes:
        content = self._http.content
        if content.is_eof():  # all has come, and there is nothing to wait for
            return await content.readany()
        try:
            async with asyncio.timeout_at(min(self._now() + STALL, self._end)):
                return await content.readany()
        except TimeoutError:
            is_over = self._now() >= self._end
            raise _too_slow(self._whole if is_over else STALL) from None


def _too_slow(seconds: float) -> RequestRefused:
    return RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"The rest of the request body did not come within {seconds:g} s. Check the client's "
            "connection, and send it again.",
            status=408,
            code="request_timeout",
        )
    )


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(
        Problem(
            ProblemKind.TOO_LARGE,
            f"The request body is larger than {limit} bytes. Shorten the history, send smaller "
            "attachments, or raise `limits.body`.",
            code="request_too_large",
        )
    )
