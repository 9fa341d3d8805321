"""The answer of a backend that goes on where the stream of another one broke.

`Resumption` says what the client has and how the backend was asked; `Resuming` is the passage of
its answer: only what is new to the client is told, in the client's dialect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sidecar.dataplane.crossing import ChatCrossing, CrossingTap
from sidecar.dataplane.passage import Whole
from sidecar.neutral.events import Event, StreamFailed, UsageReport
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import ChatRequest, Text
from sidecar.policy.estimate import estimated_usage
from sidecar.policy.replay import RESTART, Continuation, Replay, Told, open_text, told
from sidecar.policy.routing import Way
from sidecar.wire.contract import (
    AnswerContext,
    Dialect,
    Expectation,
    Reading,
    Resumed,
    StreamEncoder,
    Tap,
)

_DIVERGED = Problem(
    ProblemKind.DIVERGED, "gave another answer than the one that the client has begun to read"
)


def can_continue(resumed: Resumed, request: ChatRequest) -> bool:
    """Whether a backend may be handed what the client has as a partial turn.

    Never JSON that must be verified: only the end of it would be seen. Nor a text so short that
    nobody could tell a beginning anew from going on.
    """
    prefix = open_text(told(resumed.events))
    return prefix is not None and len(prefix.strip()) >= RESTART and request.output is None


@dataclass(frozen=True, slots=True)
class Resumption:
    """A broken stream that is to go on. It serves one attempt: its encoder is used up by it."""

    way: Way
    resumed: Resumed

    @property
    def prefix(self) -> str | None:
        """The text that a backend may continue; None where there is more than text."""
        return open_text(told(self.resumed.events))

    @property
    def opening(self) -> str:
        """The prefix as it is sent: without the space at its end, which some vendors refuse."""
        return (self.prefix or "").rstrip()


class _News:
    """Encodes what of an answer the client does not have yet."""

    def __init__(self, resumption: Resumption) -> None:
        self._encoder = resumption.resumed.encoder
        self._has_more = 0  # characters that another backend wrote
        self.replay = Replay(told(resumption.resumed.events))
        if resumption.way is Way.CONTINUE:
            prefix, opening = resumption.prefix or "", resumption.opening
            self._has_more = len(prefix)
            has = [Told(Text(""), prefix[len(opening) :])]
            self.replay = Continuation(has, opening=opening)

    def encode(self, event: Event) -> bytes:
        """Frames for what is new in an event."""
        if isinstance(event, StreamFailed):
            return self._encoder.encode(event)
        return b"".join(self._encoder.encode(self._counted(one)) for one in self.replay.read(event))

    def _counted(self, event: Event) -> Event:
        """The usage of the whole answer, where one backend has written only its end."""
        if not isinstance(event, UsageReport) or not self._has_more:
            return event
        more = estimated_usage(0, self._has_more).output_tokens
        written = event.usage.output_tokens + more
        return UsageReport(replace(event.usage, output_tokens=written, is_estimated=True))


class _ResumingTap(CrossingTap):
    """A crossing that fails once its answer is not the one that the client has."""

    def __init__(
        self,
        backend: Dialect,
        news: _News,
        ctx: AnswerContext,
        must_hold: Expectation | None,
        original: Mapping[str, str],
    ) -> None:
        super().__init__(backend, news, ctx, must_hold, original)
        self._replay = news.replay

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what of it is new."""
        reading, news = super().read(frame)
        if self._replay.diverged:
            self.problem = _DIVERGED
            return Reading.FAILURE, b""
        return reading, news

    def end(self) -> bytes:
        """What the decoder has held back."""
        news = super().end()
        if self._replay.diverged:
            self.problem = _DIVERGED
        return news


class Resuming(ChatCrossing):
    """The passage of an answer that takes up a broken stream; the dialects may be the same."""

    def __init__(
        self,
        backend: Dialect,
        client: Dialect,
        ctx: AnswerContext,
        expects: Expectation | None,
        original: Mapping[str, str],
        *,
        resumption: Resumption,
    ) -> None:
        super().__init__(backend, client, ctx, expects, original)
        self._news = _News(resumption)

    def tap(self) -> Tap:
        """Tells what is new."""
        ctx, must_hold = self._ctx, self._must_hold
        return _ResumingTap(self.dialect, self._news, ctx, must_hold, self._original)

    def _encoder(self) -> StreamEncoder:
        return self._news

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """What is new in a whole answer. Raises AttemptFailed where it is another one."""
        frames = super().unfold(whole)
        if self._news.replay.diverged:
            raise AttemptFailed(_DIVERGED)
        return frames
