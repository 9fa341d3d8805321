"""Reads an answer until it is known to be good; nothing reaches the client before.

A whole answer is read whole. A stream is held back to its first telling frame, because many
backends greet at once and fail later. What a backend sends decides, not what it calls it: JSON to
`stream: true` becomes a stream, a stream to a request for JSON becomes JSON.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

from sidecar.dataplane.event_stream import EventStream
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json

ANSWER_LIMIT = 64 * 1024 * 1024  # bytes of a whole answer
ERROR_LIMIT = 1024 * 1024  # bytes of an error answer
GREETING_LIMIT = 256 * 1024  # bytes of greetings that are held back

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(slots=True)
class Opened:
    """An answer that is known to be good.

    Either `body` is the whole of it, or `frames` are the first ones to send and `stream` gives
    the rest.
    """

    status: int
    body: bytes | None = None
    usage: Usage | None = None
    model: str | None = None
    frames: list[bytes] = field(default_factory=list)
    stream: EventStream | None = None


async def check_status(reply: RawReply, inbound: Inbound, now_wall: float) -> None:
    """Raises AttemptFailed for anything but a 2xx; `now_wall` is seconds since the epoch."""
    if not 200 <= reply.status < 300:
        raise AttemptFailed(await _error(reply, inbound, now_wall))


async def open_answer(
    reply: RawReply, inbound: Inbound, whole_begins: Callable[[], None]
) -> Opened:
    """The good beginning of an answer whose status is good. Raises AttemptFailed.

    `whole_begins` is called when the answer turns out to be a whole one, to which no first-token
    limit applies.
    """
    first = await _first_bytes(reply)
    if _looks_like_events(first, reply.headers.get("content-type", "")):
        return await (_stream if inbound.facts.stream else _folded)(reply, first, inbound)
    whole_begins()
    body = await read_bounded(reply, ANSWER_LIMIT, first)
    opened = _whole(reply, body, inbound)
    if not inbound.facts.stream:
        return opened
    frames = inbound.dialect.unfold(json.loads(body), inbound.facts)
    return replace(opened, body=None, frames=list(frames))


async def _first_bytes(reply: RawReply) -> bytes:
    """Enough to tell what comes: up to the first byte that is no white space."""
    first = b""
    while chunk := await reply.read():
        first += chunk
        if first.strip() or len(first) > GREETING_LIMIT:
            break
    return first


def _looks_like_events(first: bytes, kind: str) -> bool:
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"{", b"[", b"<")):
        return False
    return "event-stream" in kind or start.startswith((b"data:", b"event:", b":", b"id:"))


async def read_bounded(reply: RawReply, limit: int, first: bytes = b"") -> bytes:
    """A whole body that begins with `first`. Raises AttemptFailed past the limit."""
    body = bytearray(first)
    while chunk := await reply.read():
        body += chunk
        if len(body) > limit:
            raise AttemptFailed(
                Problem(ProblemKind.PROTOCOL, f"sent an answer of more than {limit} bytes")
            )
    return bytes(body)


def _whole(reply: RawReply, body: bytes, inbound: Inbound) -> Opened:
    kind = reply.headers.get("content-type", "no content type")
    if not body.strip():
        raise AttemptFailed(Problem(ProblemKind.PROTOCOL, f"answered {reply.status} and nothing"))
    try:
        parsed = json.loads(body)
    except json.InvalidJson:
        start = " ".join(body[:80].decode("utf-8", "replace").split())
        raise AttemptFailed(
            Problem(
                ProblemKind.PROTOCOL, f"answered {kind} instead of JSON: {start!r}", quotes=True
            )
        ) from None
    if problem := inbound.dialect.judge(inbound.facts.operation, parsed):
        raise AttemptFailed(problem)
    model = parsed.get("model")
    return Opened(
        status=reply.status,
        body=body,
        usage=inbound.dialect.usage(parsed),
        model=model if isinstance(model, str) else None,
    )


async def _stream(reply: RawReply, first: bytes, inbound: Inbound) -> Opened:
    """Hold the frames back until one tells something."""
    facts = inbound.facts
    tap = inbound.dialect.tap(facts)
    stream = EventStream(reply, first, tap, keep_usage=facts.wants_usage)
    held: list[bytes] = []
    size = 0
    async for frames in stream:
        held += frames
        size += sum(map(len, frames))
        stream.check_failure()  # nothing is sent yet, so that another backend may still answer
        if stream.tells:
            return Opened(reply.status, frames=held, stream=stream)
        if size > GREETING_LIMIT:
            raise AttemptFailed(
                Problem(ProblemKind.PROTOCOL, f"sent {GREETING_LIMIT} bytes before any content")
            )
    raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "ended its stream before any content"))


async def _folded(reply: RawReply, first: bytes, inbound: Inbound) -> Opened:
    """Collect a stream that nobody asked for into the whole answer."""
    stream = EventStream(reply, first, inbound.dialect.tap(inbound.facts), keep_usage=True)
    frames: list[bytes] = []
    size = 0
    async for batch in stream:
        frames += batch
        size += sum(map(len, batch))
        if size > ANSWER_LIMIT:
            raise AttemptFailed(
                Problem(ProblemKind.PROTOCOL, f"sent an answer of more than {ANSWER_LIMIT} bytes")
            )
    stream.check_end()
    body = json.dumps(inbound.dialect.fold(frames))
    return Opened(reply.status, body=body, usage=stream.tap.usage, model=stream.tap.model)


async def _error(reply: RawReply, inbound: Inbound, now_wall: float) -> Problem:
    if reply.status < 400:
        return Problem(ProblemKind.PROTOCOL, f"answered {reply.status}, a redirect")
    try:
        body = await read_bounded(reply, ERROR_LIMIT)
    except AttemptFailed:
        body = b""  # the status and its headers say enough
    problem = inbound.dialect.decode_error(reply.status, body)
    try:
        is_json = isinstance(json.loads(body), dict)
    except json.InvalidJson:
        is_json = False
    return replace(
        problem,
        retry_after=retry_after(reply.headers, now_wall),
        raw=body if is_json else None,
        headers=dict(reply.headers),
    )


def retry_after(headers: Mapping[str, str], now_wall: float) -> float | None:
    """Seconds that an answer asks to wait; None where it does not say, or not in a valid way."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        told = headers.get(name)
        if told is None:
            continue
        try:
            # `float` takes more than HTTP does, such as 1_0
            is_number = _NUMBER.fullmatch(told.strip())
            seconds = (
                float(told) / unit
                if is_number
                else parsedate_to_datetime(told).timestamp() - now_wall
            )
        except (ValueError, OverflowError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
