"""What a fake backend can do wrong, as data: a behaviour turns a request into steps on a socket.

A behaviour is a plain function of the request seen; the functions here that take settings return
one. It speaks the dialect that the request's path asks for: `voices`. Nothing here touches a
socket: `backend.py` plays the steps.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fakes import answers, voices
from tests.fakes.answers import UsageInStream
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech
from tests.fakes.voices.voice import Voice


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
class Heard:
    """Wait until the client has heard something of the answer: `Backend.heard`."""


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


Step = Send | Pause | Until | Heard | Endless | Silence | Close | Reset
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


def flow(
    frames: Sequence[bytes], *tail: Step, headers: Headers = (), content_type: str = SSE
) -> Steps:
    """A stream: the head, each frame a chunk and a write of its own, then what `tail` says."""
    return (stream_head(headers, content_type), *[Send(chunked(each)) for each in frames], *tail)


# --- well ------------------------------------------------------------------------------------


def _speech(
    seen: Seen, said: Sequence[str] | None = None, usage: UsageInStream = "on_request"
) -> Speech:
    text = answers.words(seen.backend) if said is None else said
    return voices.of(seen).speech(seen, text, usage)


def _body(seen: Seen, said: Sequence[str] | None = None) -> bytes:
    """A whole answer."""
    text = answers.words(seen.backend) if said is None else said
    return answers.dump(voices.of(seen).whole(seen, text))


def _stream(seen: Seen, frames: Sequence[bytes], *tail: Step, headers: Headers = ()) -> Steps:
    return flow(frames, *tail, headers=headers, content_type=voices.of(seen).stream_type)


def well(
    said: Sequence[str] | None = None,
    *,
    usage: UsageInStream = "on_request",
    headers: Headers = (),
) -> Behaviour:
    """A right answer, streamed when that was asked for; it calls the first tool that is there."""

    def play(seen: Seen) -> Steps:
        if seen.streamed:
            frames = _speech(seen, said, usage).frames
            return _stream(seen, frames, Send(END), headers=headers)
        return whole(200, _body(seen, said), headers=headers)

    return play


def listing(*names: str) -> Behaviour:
    return lambda seen: whole(200, answers.dump(answers.models(names)))


def gated(event: asyncio.Event, after: int = 20) -> Behaviour:
    """A right stream that waits for `event` after so many tokens; a whole answer waits before."""

    def play(seen: Seen) -> Steps:
        if not seen.streamed:
            return (Until(event), *well()(seen))
        speech = _speech(seen)
        before = speech.until(after)
        rest = [Send(chunked(each)) for each in speech.frames[len(before) :]]
        return (*_stream(seen, before), Until(event), *rest, Send(END))

    return play


# --- refusals and wrong bodies ---------------------------------------------------------------


def status(
    code: int,
    message: str = "the fake refuses",
    error_code: str | None = None,
    kind: str = "server_error",
    headers: Headers = (),
) -> Behaviour:
    """An error in the dialect's own shape; `error_code` and `kind` where it has such words."""

    def play(seen: Seen) -> Steps:
        body = voices.of(seen).error(code, message, error_code, kind)
        return whole(code, answers.dump(body), headers=headers)

    return play


def rate_limited(retry_after: str | None = None) -> Behaviour:
    headers = [] if retry_after is None else [("retry-after", retry_after)]
    return status(429, "slow down", "rate_limit_exceeded", "rate_limit_error", headers)


def refused(reason: str) -> Behaviour:
    """What the vendor says to that; see `Voice.refusals`."""

    def play(seen: Seen) -> Steps:
        code, body = voices.of(seen).refusals[reason]
        return whole(code, answers.dump(body))

    return play


CONTEXT_TOO_LONG = refused("too long")
REFUSED_BY_POLICY = refused("policy")
UNKNOWN_MODEL = refused("unknown model")
PREFILL_REFUSED = refused("prefill")


def error_object(seen: Seen) -> Steps:
    """200, and an error object as the body."""
    body = voices.of(seen).error(500, "overloaded inside a 200", None, "server_error")
    return whole(200, answers.dump(body))


def html(seen: Seen) -> Steps:
    return whole(200, b"<html><body>Please log in</body></html>", "text/html; charset=utf-8")


def empty_body(seen: Seen) -> Steps:
    kind = voices.of(seen).stream_type if seen.streamed else "application/json"
    return whole(200, b"", kind)


def not_json(seen: Seen) -> Steps:
    return whole(200, _body(seen)[:40])


# --- a stream that goes wrong ----------------------------------------------------------------


def opened(*tail: Step, greet: bool = False) -> Behaviour:
    """The head of a stream at once, a greeting if asked for, and then `tail`."""
    return lambda seen: _stream(seen, _speech(seen).greeting if greet else [], *tail)


def pinging(seconds: float, count: int) -> Behaviour:
    """A stream of nothing but what keeps a connection alive, so often and so long apart."""

    def play(seen: Seen) -> Steps:
        ping = Send(chunked(voices.of(seen).ping))
        return _stream(seen, [], *(Pause(seconds), ping) * count)

    return play


def cut(*tail: Step, after: int = 40, half: bool = False) -> Behaviour:
    """A stream of sixty tokens that ends in `tail` after so many; with half a frame of the next."""

    def play(seen: Seen) -> Steps:
        speech = _speech(seen)
        kept = speech.until(after)
        if half:
            kept.append(speech.tokens[after][:30])
        return _stream(seen, kept, *tail)

    return play


def cut_by(*frames: Callable[[Voice], bytes], after: int = 40) -> Behaviour:
    """A stream that is heard up to so many tokens, goes on with these frames, and ends well."""

    def play(seen: Seen) -> Steps:
        more = [Send(chunked(frame(voices.of(seen)))) for frame in frames]
        return _stream(seen, _speech(seen).until(after), Heard(), *more, Send(END))

    return play


def failure(kind: str = "error") -> Callable[[Voice], bytes]:
    """The error event of that kind; see `Voice.failures`."""
    return lambda voice: voice.failures[kind]


def marker(voice: Voice) -> bytes:
    """The end marker alone."""
    return voice.marker


def cut_whole(*tail: Step) -> Behaviour:
    """Half of a whole answer under the content-length of all of it, and then `tail`."""

    def play(seen: Seen) -> Steps:
        body = _body(seen)
        told = [("content-type", "application/json"), ("content-length", str(len(body)))]
        return (Send(head(200, told) + body[: len(body) // 2]), *tail)

    return play


def with_frame(junk: bytes | Callable[[Voice], bytes], at: int = 20) -> Behaviour:
    """A right stream with one more frame in it, before token number `at`."""

    def play(seen: Seen) -> Steps:
        speech = _speech(seen)
        before = speech.until(at)
        odd = junk if isinstance(junk, bytes) else junk(voices.of(seen))
        return _stream(seen, [*before, odd, *speech.frames[len(before) :]], Send(END))

    return play


def no_done(*tail: Step) -> Behaviour:
    """Every frame but the end marker, where the dialect has one, and then `tail`."""
    return lambda seen: _stream(seen, _speech(seen).unmarked, *tail)


def frames_only(*frames: bytes | Callable[[Voice], bytes], greet: bool = False) -> Behaviour:
    """A stream of just these frames, ended in good order; behind a greeting if asked for."""

    def play(seen: Seen) -> Steps:
        voice = voices.of(seen)
        sent = [each if isinstance(each, bytes) else each(voice) for each in frames]
        return _stream(seen, [*(_speech(seen).greeting if greet else ()), *sent], Send(END))

    return play


def json_to_a_stream(seen: Seen) -> Steps:
    return whole(200, _body(seen))


def stream_to_a_whole(seen: Seen) -> Steps:
    return _stream(seen, _speech(seen, usage="always").frames, Send(END))


# --- unusual, but right ----------------------------------------------------------------------


def in_pieces(size: int, said: Sequence[str] | None = None) -> Behaviour:
    """A right answer written `size` bytes at a time."""

    def play(seen: Seen) -> Steps:
        data = b"".join(step.data for step in well(said)(seen) if isinstance(step, Send))
        return (Send(data, piece=size),)

    return play


def crlf(seen: Seen) -> Steps:
    """Frames whose lines end in CRLF."""
    frames = _speech(seen).frames
    return _stream(seen, [each.replace(b"\n", b"\r\n") for each in frames], Send(END))


def zipped(seen: Seen) -> Steps:
    """A right answer in gzip, whatever was asked for; a stream is flushed after every frame."""
    gz = [("content-encoding", "gzip")]
    if not seen.streamed:
        return whole(200, gzip.compress(_body(seen)), headers=gz)
    squeeze = zlib.compressobj(wbits=31)
    frames = _speech(seen).frames
    parts = [squeeze.compress(each) + squeeze.flush(zlib.Z_SYNC_FLUSH) for each in frames]
    return _stream(seen, [*parts, squeeze.flush()], Send(END), headers=gz)


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
        return _stream(seen, [voices.of(seen).unending], Endless(chunked(b"a" * 65536)))
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
