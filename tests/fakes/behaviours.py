"""What a fake backend can do wrong, as data: a behaviour turns a request into steps on a socket.

A behaviour is a plain function of the request seen; the functions here that take settings return
one. Nothing here touches a socket: `backend.py` plays the steps.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fakes import answers
from tests.fakes.answers import UsageInStream
from tests.fakes.seen import Seen


@dataclass(frozen=True)
class Send:
    """Write bytes; in pieces of `piece` bytes when it is given, each a write of its own."""

    data: bytes
    piece: int | None = None


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class Until:
    """Wait for an event of the test."""

    event: asyncio.Event


@dataclass(frozen=True)
class Endless:
    """Write the same bytes until the client goes away."""

    data: bytes


@dataclass(frozen=True)
class Silence:
    """Say nothing more, and keep the connection until the client goes away."""


@dataclass(frozen=True)
class Close:
    """End the connection in good order (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Break the connection (RST)."""


Step = Send | Pause | Until | Endless | Silence | Close | Reset
Steps = tuple[Step, ...]
Behaviour = Callable[[Seen], Steps]
Headers = Sequence[tuple[str, str]]
END = b"0\r\n\r\n"  # the last chunk of a chunked body
SSE = "text/event-stream; charset=utf-8"


# --- HTTP, by hand ---------------------------------------------------------------------------


def head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} Because", *[f"{name}: {value}" for name, value in headers]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(
    status: int, body: bytes, content_type: str = "application/json", headers: Headers = ()
) -> Steps:
    told = [("content-type", content_type), ("content-length", str(len(body))), *headers]
    return (Send(head(status, told) + body),)


def chunked(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def stream_head(headers: Headers = (), content_type: str = SSE) -> Step:
    told = [("content-type", content_type), ("transfer-encoding", "chunked"), *headers]
    return Send(head(200, told))


def flow(frames: Sequence[bytes], *tail: Step, headers: Headers = ()) -> Steps:
    """A stream: the head, each frame a chunk and a write of its own, then what `tail` says."""
    return (stream_head(headers), *[Send(chunked(each)) for each in frames], *tail)


# --- well ------------------------------------------------------------------------------------


def _frames(seen: Seen, said: Sequence[str], usage: UsageInStream = "on_request") -> list[bytes]:
    if seen.path.endswith("/chat/completions"):
        return answers.chat_frames(seen, said, usage)
    return answers.completion_frames(seen, said)


def _json(seen: Seen, said: Sequence[str]) -> dict[str, object]:
    if seen.path.endswith("/chat/completions"):
        return answers.chat(seen, said)
    if seen.path.endswith("/completions"):
        return answers.completion(seen, said)
    if seen.path.endswith("/embeddings"):
        return answers.embeddings(seen)
    return {"relayed": seen.target, "bytes": len(seen.body), "by": seen.backend}


def well(
    said: Sequence[str] | None = None,
    *,
    usage: UsageInStream = "on_request",
    headers: Headers = (),
) -> Behaviour:
    """A right answer, streamed when that was asked for; it calls the first tool that is there."""

    def play(seen: Seen) -> Steps:
        text = answers.words(seen.backend) if said is None else said
        if seen.streamed:
            return flow(_frames(seen, text, usage), Send(END), headers=headers)
        return whole(200, answers.dump(_json(seen, text)), headers=headers)

    return play


def listing(*names: str) -> Behaviour:
    return lambda seen: whole(200, answers.dump(answers.models(names)))


def gated(event: asyncio.Event, after: int = 20) -> Behaviour:
    """A right stream that waits for `event` after so many tokens; a whole answer waits before."""

    def play(seen: Seen) -> Steps:
        if not seen.streamed:
            return (Until(event), *well()(seen))
        frames = _frames(seen, answers.words(seen.backend))
        rest = [Send(chunked(each)) for each in frames[after + 1 :]]
        return (*flow(frames[: after + 1]), Until(event), *rest, Send(END))

    return play


# --- refusals and wrong bodies ---------------------------------------------------------------


def status(
    code: int,
    message: str = "the fake refuses",
    error_code: str | None = None,
    kind: str = "server_error",
    headers: Headers = (),
) -> Behaviour:
    """An error in the dialect's own shape."""
    body = answers.dump(answers.error(message, error_code, kind))
    return lambda seen: whole(code, body, headers=headers)


def rate_limited(retry_after: str | None = None) -> Behaviour:
    headers = [] if retry_after is None else [("retry-after", retry_after)]
    return status(429, "slow down", "rate_limit_exceeded", "rate_limit_error", headers)


CONTEXT_TOO_LONG = status(
    400, "maximum context length is 1000 tokens", "context_length_exceeded", "invalid_request_error"
)
REFUSED_BY_POLICY = status(
    400, "the prompt was filtered", "content_filter", "invalid_request_error"
)
UNKNOWN_MODEL = status(404, "no such model", "model_not_found", "invalid_request_error")
PREFILL_REFUSED = status(
    400, "an assistant prefill is not supported", None, "invalid_request_error"
)


def error_object(seen: Seen) -> Steps:
    """200, and an error object as the body."""
    return whole(200, answers.dump(answers.error("overloaded inside a 200")))


def html(seen: Seen) -> Steps:
    return whole(200, b"<html><body>Please log in</body></html>", "text/html; charset=utf-8")


def empty_body(seen: Seen) -> Steps:
    return whole(200, b"", SSE if seen.streamed else "application/json")


def not_json(seen: Seen) -> Steps:
    return whole(200, b'{"id": "chatcmpl-1", "choices": [')


# --- a stream that goes wrong ----------------------------------------------------------------


def opened(*tail: Step, greet: bool = False) -> Behaviour:
    """The head of a stream at once, a greeting if asked for, and then `tail`."""
    return lambda seen: flow([answers.greeting(seen)] if greet else [], *tail)


def cut(*tail: Step, after: int = 40, half: bool = False) -> Behaviour:
    """A stream of sixty tokens that ends in `tail` after so many; with half a frame of the next."""

    def play(seen: Seen) -> Steps:
        frames = _frames(seen, answers.words(seen.backend))
        kept = frames[: after + 1]
        if half:
            kept.append(frames[after + 1][:30])
        return flow(kept, *tail)

    return play


def cut_whole(*tail: Step) -> Behaviour:
    """Half of a whole answer under the content-length of all of it, and then `tail`."""

    def play(seen: Seen) -> Steps:
        body = answers.dump(_json(seen, answers.words(seen.backend)))
        told = [("content-type", "application/json"), ("content-length", str(len(body)))]
        return (Send(head(200, told) + body[: len(body) // 2]), *tail)

    return play


def with_frame(junk: bytes, at: int = 20) -> Behaviour:
    """A right stream with one more frame in it, before token number `at`."""

    def play(seen: Seen) -> Steps:
        frames = _frames(seen, answers.words(seen.backend))
        return flow([*frames[: at + 1], junk, *frames[at + 1 :]], Send(END))

    return play


def no_done(*tail: Step) -> Behaviour:
    """Every frame but the end marker, and then `tail`."""

    def play(seen: Seen) -> Steps:
        return flow(_frames(seen, answers.words(seen.backend))[:-1], *tail)

    return play


def frames_only(*frames: bytes) -> Behaviour:
    """A stream of just these frames, ended in good order."""
    return lambda seen: flow(frames, Send(END))


ERROR_EVENT = answers.frame(answers.error("the engine died", "engine_error"))


def json_to_a_stream(seen: Seen) -> Steps:
    return whole(200, answers.dump(_json(seen, answers.words(seen.backend))))


def stream_to_a_whole(seen: Seen) -> Steps:
    return flow(_frames(seen, answers.words(seen.backend), "always"), Send(END))


# --- unusual, but right ----------------------------------------------------------------------


def in_pieces(size: int, said: Sequence[str] | None = None) -> Behaviour:
    """A right answer written `size` bytes at a time."""

    def play(seen: Seen) -> Steps:
        data = b"".join(step.data for step in well(said)(seen) if isinstance(step, Send))
        return (Send(data, piece=size),)

    return play


def crlf(seen: Seen) -> Steps:
    """Frames whose lines end in CRLF."""
    frames = _frames(seen, answers.words(seen.backend))
    return flow([each.replace(b"\n", b"\r\n") for each in frames], Send(END))


def zipped(seen: Seen) -> Steps:
    """A right answer in gzip, whatever was asked for; a stream is flushed after every frame."""
    gz = [("content-encoding", "gzip")]
    if not seen.streamed:
        body = answers.dump(_json(seen, answers.words(seen.backend)))
        return whole(200, gzip.compress(body), headers=gz)
    squeeze = zlib.compressobj(wbits=31)
    frames = _frames(seen, answers.words(seen.backend))
    parts = [squeeze.compress(each) + squeeze.flush(zlib.Z_SYNC_FLUSH) for each in frames]
    return flow([*parts, squeeze.flush()], Send(END), headers=gz)


# --- hostile ---------------------------------------------------------------------------------


def big_header(seen: Seen) -> Steps:
    """A right answer behind one header of 64 KiB."""
    return well(headers=[("x-big", "a" * 65536)])(seen)


def endless_header(seen: Seen) -> Steps:
    return (Send(b"HTTP/1.1 200 OK\r\nx-endless: "), Endless(b"a" * 4096))


def endless_headers(seen: Seen) -> Steps:
    return (Send(b"HTTP/1.1 200 OK\r\n"), Endless(b"x-more: and more\r\n" * 200))


def endless_body(seen: Seen) -> Steps:
    """A JSON string that never ends; in a stream, an event that never ends."""
    if seen.streamed:
        return flow([b'data: {"id": "'], Endless(chunked(b"a" * 65536)))
    return (
        stream_head(content_type="application/json"),
        Send(chunked(b'{"id": "')),
        Endless(chunked(b"a" * 65536)),
    )


def silent(seen: Seen) -> Steps:
    return (Silence(),)


def reset(seen: Seen) -> Steps:
    return (Reset(),)


def hang_up(seen: Seen) -> Steps:
    return (Close(),)


def dead_when_reused(seen: Seen) -> Steps:
    """Well on a fresh connection; a second request on the same one finds it dead."""
    return (Reset(),) if seen.nth_on_connection else well()(seen)
