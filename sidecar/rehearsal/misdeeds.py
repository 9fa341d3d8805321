"""What a backend can do wrong, in its own dialect: each a behaviour of a stand-in."""

import gzip
from collections.abc import Sequence

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.rehearsal.standin import Behaviour
from sidecar.rehearsal.steps import (
    LAST,
    End,
    Endless,
    Headers,
    Pause,
    Send,
    Step,
    Steps,
    chunk,
    flow,
    head,
    whole,
)  # fmt: skip
from sidecar.rehearsal.voice import Asked, Voice
from sidecar.wire.framing import SSE

HALFWAY = 40  # words of sixty
HUGE = ["x" * 2 * 1024 * 1024]
_MADE = Problem(ProblemKind.BACKEND_ERROR, "the stand-in gave up")


def well(voice: Voice, asked: Asked) -> Steps:
    """A right answer."""
    return saying(None)(voice, asked)


def saying(
    told: Sequence[str] | None, piece: int | None = None, headers: Headers = ()
) -> Behaviour:
    """A right answer of these words, in pieces of so many bytes."""

    def play(voice: Voice, asked: Asked) -> Steps:
        said = voice.says(asked) if told is None else told
        if voice.facts(asked).stream:
            steps = flow(_kind(voice), voice.frames(asked, said), Send(LAST), headers=headers)
        else:
            steps = whole(200, voice.whole(asked, said), headers=headers)
        if piece is None:
            return steps
        return [Send(b"".join(one.data for one in steps if isinstance(one, Send)), piece)]

    return play


# --- instead of an answer -------------------------------------------------------------------------


def refusing(
    kind: ProblemKind, message: str, status: int | None = None, retry_after: int | None = None
) -> Behaviour:
    """An error of the dialect."""
    headers = [] if retry_after is None else [("retry-after", str(retry_after))]

    def play(voice: Voice, asked: Asked) -> Steps:
        code, body = voice.refusal(Problem(kind, message, status=status))
        return whole(status or code, body, headers=headers)

    return play


class Outage:
    """503 for so many seconds from the beginning on, then well."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def outage(self, at: float) -> bool:
        """Whether it lasts at that moment."""
        return at < self.seconds

    def __call__(self, voice: Voice, asked: Asked) -> Steps:
        behaviour = DOWN if self.outage(asked.at) else well
        return behaviour(voice, asked)


DOWN = refusing(ProblemKind.OVERLOADED, "the stand-in is being mended", 503)
BROKEN = refusing(ProblemKind.BACKEND_ERROR, "the stand-in fell over", 500)
TOO_LONG = refusing(
    ProblemKind.CONTEXT_LENGTH, "the prompt exceeds the maximum context length", 400
)
REFUSED = refusing(ProblemKind.CONTENT_REFUSED, "the prompt was refused by the content policy", 400)
UNKNOWN = refusing(ProblemKind.UNKNOWN_MODEL, "the model does not exist", 404)
UNAUTHORIZED = refusing(ProblemKind.CLIENT_AUTH, "the key is not valid", 401)


def limited(retry_after: int | None = None) -> Behaviour:
    """429."""
    return refusing(ProblemKind.RATE_LIMITED, "slow down", 429, retry_after)


def only(*steps: Step) -> Behaviour:
    """The same steps, whatever is asked."""
    return lambda voice, asked: steps


SILENT, RESET = only(End.SILENCE), only(End.RESET)
HTML = only(*whole(200, b"<html><body>Please log in</body></html>", "text/html; charset=utf-8"))


def error_object(voice: Voice, asked: Asked) -> Steps:
    """200 with an error as its body."""
    return whole(200, voice.refusal(_MADE)[1])


def empty(voice: Voice, asked: Asked) -> Steps:
    """200 with nothing in it."""
    kind = _kind(voice) if voice.facts(asked).stream else "application/json"
    return whole(200, b"", kind)


def dies_when_reused(voice: Voice, asked: Asked) -> Steps:
    """Well on a fresh connection; resets one that it has used before."""
    return [End.RESET] if asked.before else well(voice, asked)


def refuses_prefill(voice: Voice, asked: Asked) -> Steps:
    """Well, unless it is to go on from a part of an answer."""
    if voice.prefill(asked) is None:
        return well(voice, asked)
    told = "an assistant prefill is not supported"
    return refusing(ProblemKind.BAD_REQUEST, told, 400)(voice, asked)


# --- a stream that goes wrong ---------------------------------------------------------------------


def begun(*tail: Step, words: int = HALFWAY) -> Behaviour:
    """A stream that has said so much, and then `tail`."""

    def play(voice: Voice, asked: Asked) -> Steps:
        return flow(_kind(voice), voice.begun(asked, voice.says(asked)[:words]), *tail)

    return play


def late(seconds: float) -> Behaviour:
    """The head of a stream at once, its first token after so many seconds."""

    def play(voice: Voice, asked: Asked) -> Steps:
        first, *rest = well(voice, asked)
        return [first, Pause(seconds), *rest]

    return play


def slowly(voice: Voice, asked: Asked) -> Steps:
    """A right stream, a tenth of a second from frame to frame."""
    return [step for one in well(voice, asked) for step in (one, Pause(0.1))]


def half_a_body(end: Step) -> Behaviour:
    """Half of a whole answer, and then its connection's end."""

    def play(voice: Voice, asked: Asked) -> Steps:
        body = voice.whole(asked, voice.says(asked))
        told = [("content-type", "application/json"), ("content-length", str(len(body)))]
        return [Send(head(200, told) + body[: len(body) // 2]), end]

    return play


def failing(words: int) -> Behaviour:
    """An error event behind so many words."""

    def play(voice: Voice, asked: Asked) -> Steps:
        frames = voice.broken(asked, voice.says(asked)[:words], _MADE)
        return flow(_kind(voice), frames, Send(LAST))

    return play


def with_junk(voice: Voice, asked: Asked) -> Steps:
    """A right stream with an event in the middle that is not JSON."""
    frames = voice.frames(asked, voice.says(asked))
    junk = b"data: {not json\n\n" if voice.dialect.framing is SSE else b"{not json\n"
    return flow(_kind(voice), [*frames[:HALFWAY], junk, *frames[HALFWAY:]], Send(LAST))


def without_mark(end: Step) -> Behaviour:
    """A right stream without its last event, and then the connection's end."""
    return lambda voice, asked: flow(_kind(voice), voice.frames(asked, voice.says(asked))[:-1], end)


# --- unusual, but right ---------------------------------------------------------------------------


def json_to_a_stream(voice: Voice, asked: Asked) -> Steps:
    """Whole JSON, whatever was asked for."""
    return whole(200, voice.whole(asked, voice.says(asked)))


def stream_to_a_whole(voice: Voice, asked: Asked) -> Steps:
    """A stream, whatever was asked for."""
    return flow(_kind(voice), voice.frames(asked, voice.says(asked)), Send(LAST))


def crlf(voice: Voice, asked: Asked) -> Steps:
    """A stream whose lines end in CRLF."""
    frames = voice.frames(asked, voice.says(asked))
    return flow(_kind(voice), [one.replace(b"\n", b"\r\n") for one in frames], Send(LAST))


def zipped(voice: Voice, asked: Asked) -> Steps:
    """A right answer in gzip, whatever was asked for."""
    zip_header = [("content-encoding", "gzip")]
    if not voice.facts(asked).stream:
        body = gzip.compress(voice.whole(asked, voice.says(asked)))
        return whole(200, body, headers=zip_header)
    body = gzip.compress(b"".join(voice.frames(asked, voice.says(asked))))
    parts = [body[start : start + 100] for start in range(0, len(body), 100)]
    return flow(_kind(voice), parts, Send(LAST), headers=zip_header)


# --- hostile --------------------------------------------------------------------------------------

BIG_HEADER = saying(None, headers=[("x-big", "a" * 65536)])
ENDLESS_HEADER = only(Send(b"HTTP/1.1 200 OK\r\nx-endless: "), Endless(b"a"))
ENDLESS_BODY = only(
    Send(head(200, [("content-type", "application/json"), ("transfer-encoding", "chunked")])),
    Send(chunk(b'{"id": "')),
    Endless(chunk(b"a" * 65536)),
)


def _kind(voice: Voice) -> str:
    return voice.dialect.framing.content_type
