"""Reads an answer until it is known to be good; nothing reaches the client before.

A whole answer is read whole. A stream is held back to its first telling frame, because many
backends greet at once and fail later. What a backend sends decides, not what it calls it: JSON to
`stream: true` becomes a stream, a stream to a request for JSON becomes JSON.
"""

import math
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind, RawError
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading, Tap
from sidecar.wire.framing import FrameTooLarge, SseFramer

ANSWER_LIMIT = 64 * 1024 * 1024  # bytes of a whole answer
ERROR_LIMIT = 1024 * 1024  # bytes of an error answer
GREETING_LIMIT = 256 * 1024  # bytes of greetings that are held back

_CUT = Problem(ProblemKind.TRUNCATED, "ended its stream before the answer was complete")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

TELLING = frozenset((Reading.CONTENT, Reading.FINISH))


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
    stream: "EventStream | None" = None


class EventStream:
    """The frames of a streamed answer, each read by the tap."""

    def __init__(self, chunks: AsyncIterator[bytes], tap: Tap, *, keep_usage: bool) -> None:
        self._batches = self._flow(chunks)
        self._framer = SseFramer()
        self._keep_usage = keep_usage
        self.tap = tap
        self.skipped = 0  # frames that were not JSON
        self.is_done = False  # the stream's own end marker has come
        self.tells = False  # something telling has come
        self._failure: Problem | None = None  # raised once the frames before it are passed on

    def __aiter__(self) -> AsyncIterator[list[bytes]]:
        """Frames to pass on, as they come; a second loop goes on where the first one stopped.

        Raises AttemptFailed where the stream breaks.
        """
        return self._batches

    async def _flow(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
        try:
            async for chunk in chunks:
                yield self._read(self._framer.feed(chunk))
                self.check_failure()
                if self.is_done:
                    return
        except FrameTooLarge as error:
            raise AttemptFailed(Problem(ProblemKind.PROTOCOL, f"sent {error}")) from None
        if rest := self._framer.rest().strip():
            # a last event without its blank line counts if it is whole
            yield self._read([rest + b"\n\n"])
            self.check_failure()

    def _read(self, frames: list[bytes]) -> list[bytes]:
        """The frames to pass on, up to one that tells of a failure."""
        passed = []
        for frame in frames:
            match self.tap.read(frame):
                case Reading.FAILURE:
                    self._failure = self.tap.problem
                    break
                case Reading.MALFORMED:
                    self.skipped += 1
                case Reading.USAGE if not self._keep_usage:
                    pass
                case Reading.DONE:
                    if not self.tap.finished:  # never a clean end of an answer that is not whole
                        self._failure = _CUT
                        break
                    self.is_done = True
                    passed.append(frame)
                case reading:
                    self.tells = self.tells or reading in TELLING
                    passed.append(frame)
        return passed

    def check_failure(self) -> None:
        """Raises AttemptFailed where a frame told of a failure; those before it are still good."""
        if self._failure is not None:
            raise AttemptFailed(self._failure)

    def check_end(self) -> None:
        """Raises AttemptFailed where the stream ended before its answer did."""
        if not self.tap.finished:
            raise AttemptFailed(_CUT)


async def open_answer(
    reply: RawReply, inbound: Inbound, now_wall: float, whole_begins: Callable[[], None]
) -> Opened:
    """The answer's good beginning. Raises AttemptFailed.

    `now_wall` is seconds since the epoch; `whole_begins` is called when the answer turns out to be
    a whole one, to which no first-token limit applies.
    """
    if not 200 <= reply.status < 300:
        raise AttemptFailed(await _error(reply, inbound, now_wall))
    chunks = reply.chunks()
    first = await _first_bytes(chunks)
    rest = _chain(first, chunks)
    if _looks_like_events(first, reply.headers.get("content-type", "")):
        return await (_stream if inbound.facts.stream else _folded)(reply, rest, inbound)
    whole_begins()
    body = await read_bounded(rest, ANSWER_LIMIT)
    opened = _whole(reply, body, inbound)
    if not inbound.facts.stream:
        return opened
    frames = inbound.dialect.unfold(json.loads(body), inbound.facts)
    return replace(opened, body=None, frames=list(frames))


async def _first_bytes(chunks: AsyncIterator[bytes]) -> bytes:
    """Enough to tell what comes: up to the first byte that is no white space."""
    first = b""
    async for chunk in chunks:
        first += chunk
        if first.strip() or len(first) > GREETING_LIMIT:
            break
    return first


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _looks_like_events(first: bytes, kind: str) -> bool:
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"{", b"[", b"<")):
        return False
    return "event-stream" in kind or start.startswith((b"data:", b"event:", b":", b"id:"))


async def read_bounded(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """A whole body. Raises AttemptFailed past the limit."""
    body = bytearray()
    async for chunk in chunks:
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


async def _stream(reply: RawReply, chunks: AsyncIterator[bytes], inbound: Inbound) -> Opened:
    """Hold the frames back until one tells something."""
    stream = EventStream(
        chunks, inbound.dialect.tap(inbound.facts), keep_usage=inbound.facts.wants_usage
    )
    held: list[bytes] = []
    async for frames in stream:
        held += frames
        stream.check_failure()  # nothing is sent yet, so that another backend may still answer
        if stream.tells:
            return Opened(reply.status, frames=held, stream=stream)
        if sum(map(len, held)) > GREETING_LIMIT:
            raise AttemptFailed(
                Problem(ProblemKind.PROTOCOL, f"sent {GREETING_LIMIT} bytes before any content")
            )
    raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "ended its stream before any content"))


async def _folded(reply: RawReply, chunks: AsyncIterator[bytes], inbound: Inbound) -> Opened:
    """Collect a stream that nobody asked for into the whole answer."""
    stream = EventStream(chunks, inbound.dialect.tap(inbound.facts), keep_usage=True)
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
        body = await read_bounded(reply.chunks(), ERROR_LIMIT)
    except AttemptFailed:
        body = b""  # the status and its headers say enough
    problem = inbound.dialect.decode_error(reply.status, body)
    try:
        is_json = isinstance(json.loads(body), dict)
    except json.InvalidJson:
        is_json = False
    raw = RawError(reply.status, dict(reply.headers), body) if is_json else None
    wait = retry_after(reply.headers, now_wall)
    return replace(problem, retry_after=wait, raw=raw, headers=dict(reply.headers))


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
