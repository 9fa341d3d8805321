"""Reads an answer until it is known to be good; nothing reaches the client before.

A whole answer is read whole. A stream is held back to its first telling frame, because many
backends greet at once and fail later. What a backend sends decides, not what it calls it: JSON to
`stream: true` becomes a stream, a stream to a request for JSON becomes JSON.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from sidecar.dataplane.event_stream import EventStream
from sidecar.dataplane.passage import Passage, Whole
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import Tap
from sidecar.wire.error_words import clipped

ANSWER_LIMIT = 64 * 1024 * 1024  # bytes of a whole answer
ERROR_LIMIT = 1024 * 1024  # bytes of an error answer
GREETING_LIMIT = 256 * 1024  # bytes of greetings that are held back

_BASE_URL = "base_url"  # the setting that may be wrong where a page or a redirect comes
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(slots=True)
class Opened:
    """An answer that is known to be good.

    Either `whole` is all of it, for a client that wants no stream, or `frames` are the first ones
    to send, `stream` gives the rest, if any, and `tap` knows how the client's stream stands.
    """

    status: int
    whole: Whole | None = None
    frames: Sequence[bytes] = ()
    stream: EventStream | None = None
    tap: Tap | None = None


async def check_status(reply: RawReply, passage: Passage, now_wall: float) -> None:
    """Raises AttemptFailed for anything but a 2xx; `now_wall` is seconds since the epoch."""
    if not 200 <= reply.status < 300:
        raise AttemptFailed(await _error(reply, passage, now_wall))


async def open_answer(
    reply: RawReply, passage: Passage, *, wants_stream: bool, whole_begins: Callable[[], None]
) -> Opened:
    """The good beginning of an answer whose status is good. Raises AttemptFailed.

    `whole_begins` is called when the answer turns out to be a whole one, to which no first-token
    limit applies.
    """
    first = await _first_bytes(reply)
    kind = reply.headers.get("content-type", "")
    is_stream = passage.dialect.framing.is_stream(first, kind, passage.asks_stream)
    if is_stream and passage.asks_stream:
        return await _stream(reply, first, passage)
    if is_stream:
        whole = await _folded(reply, first, passage)
    else:
        whole_begins()
        whole = _whole(reply, await read_bounded(reply, ANSWER_LIMIT, first), passage)
    if not wants_stream:
        return Opened(reply.status, whole)
    return Opened(reply.status, whole, frames=passage.unfold(whole), tap=passage.tap())


async def _first_bytes(reply: RawReply) -> bytes:
    """Enough to tell what comes: up to the first byte that is no white space."""
    first = b""
    while chunk := await reply.read():
        first += chunk
        if first.strip() or len(first) > GREETING_LIMIT:
            break
    return first


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


def _whole(reply: RawReply, body: bytes, passage: Passage) -> Whole:
    kind = reply.headers.get("content-type", "no content type")
    if not body.strip():
        raise AttemptFailed(Problem(ProblemKind.PROTOCOL, f"answered {reply.status} and nothing"))
    try:
        parsed = json.loads(body)
    except json.InvalidJson:
        start = clipped(" ".join(body[:400].decode("utf-8", "replace").split()), 80)
        told = f"answered {kind} instead of JSON: {start!r}"
        setting = _BASE_URL if _is_page(kind) else None
        problem = Problem(ProblemKind.PROTOCOL, told, quotes=True, setting=setting)
        raise AttemptFailed(problem) from None
    return passage.whole(parsed, body)


async def _stream(reply: RawReply, first: bytes, passage: Passage) -> Opened:
    """Hold the frames back until one tells something."""
    stream = EventStream(reply, first, passage.dialect.framing.framer(), passage.tap())
    held: list[bytes] = []
    size = 0
    async for frames in stream:
        held += frames
        size += sum(map(len, frames))
        stream.check_failure()  # nothing is sent yet, so that another backend may still answer
        if stream.tells:
            return Opened(reply.status, frames=held, stream=stream, tap=stream.tap)
        if size > GREETING_LIMIT:
            raise AttemptFailed(
                Problem(ProblemKind.PROTOCOL, f"sent {GREETING_LIMIT} bytes before any content")
            )
    raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "ended its stream before any content"))


async def _folded(reply: RawReply, first: bytes, passage: Passage) -> Whole:
    """Collect a stream into the whole answer."""
    stream = EventStream(reply, first, passage.dialect.framing.framer(), passage.listener())
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
    return passage.fold(frames, stream.tap)


async def _error(reply: RawReply, passage: Passage, now_wall: float) -> Problem:
    if reply.status < 400:
        told = f"answered {reply.status}, a redirect"
        return Problem(ProblemKind.PROTOCOL, told, setting=_BASE_URL)
    try:
        body = await read_bounded(reply, ERROR_LIMIT)
    except AttemptFailed:
        body = b""  # the status and its headers say enough
    problem = passage.dialect.decode_error(reply.status, body)
    try:
        is_json = isinstance(json.loads(body), dict)
    except json.InvalidJson:
        is_json = False
    # behind a broken backend a proxy answers with a page of its own
    is_elsewhere = reply.status < 500 and _is_page(reply.headers.get("content-type", ""))
    return replace(
        problem,
        setting=_BASE_URL if is_elsewhere else None,
        retry_after=retry_after(reply.headers, now_wall),
        raw=body if is_json and passage.is_relay else None,
        headers=dict(reply.headers),
    )


def _is_page(content_type: str) -> bool:
    return "html" in content_type.lower()


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
