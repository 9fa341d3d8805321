"""HTTP body → `Inbound`: read within limits, parsed once, kept exactly as received."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, RequestFacts, RequestLimits
from sidecar.wire.json import Json

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
            async for chunk in _bounded(self._http, self._limit):
                yield chunk
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
    raw = b"".join([chunk async for chunk in _bounded(http, limits.body)])
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


async def _bounded(http: web.BaseRequest, limit: int) -> AsyncIterator[bytes]:
    """The body's chunks, refused as soon as they pass the limit."""
    if http.headers.get("Expect", "").lower() == "100-continue":
        await http.writer.write(CONTINUE)
        http.writer.output_size = 0  # nothing of the answer is sent yet
    size = 0
    try:
        async for chunk in http.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            yield chunk
    except web.RequestPayloadError as error:
        raise RequestRefused(
            Problem(
                ProblemKind.BAD_REQUEST,
                f"The request body could not be read: {error}. Check its length and encoding.",
                code="invalid_body",
            )
        ) from None


def _too_large(limit: int) -> RequestRefused:
    return RequestRefused(
        Problem(
            ProblemKind.TOO_LARGE,
            f"The request body is larger than {limit} bytes. Shorten the history, send smaller "
            "attachments, or raise `limits.body`.",
            code="request_too_large",
        )
    )
