"""Answers that cross from one dialect to another, through the neutral form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sidecar.dataplane import verify
from sidecar.dataplane.passage import Whole
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartStart,
    StreamFailed,
    UsageReport,
)
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import JsonOutput, Opaque, Thinking, ToolCall
from sidecar.neutral.response import ChatResponse
from sidecar.neutral.usage import Usage
from sidecar.policy.estimate import characters, estimated_usage
from sidecar.wire import json
from sidecar.wire.contract import (
    AnswerContext,
    Dialect,
    Expectation,
    Operation,
    Reading,
    RequestFacts,
    StreamEncoder,
    Tap,
)
from sidecar.wire.fold import folded, unfolded

_NO_COUNT = Problem(ProblemKind.PROTOCOL, "answered no number of tokens")


class CrossingTap:
    """Decodes a backend's frames and encodes them for the client.

    `original` gives tools the names back that the client knows; see `wire.names`. An answer that
    turns out not to hold what it must has failed, and does not end well.
    """

    def __init__(
        self,
        backend: Dialect,
        encoder: StreamEncoder,
        ctx: AnswerContext,
        must_hold: Expectation | None,
        original: Mapping[str, str],
    ) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self._decoder = backend.stream_decoder(ctx)
        self._encoder = encoder
        self._original = original
        self._estimate = ctx.estimate
        self._written = 0  # characters of the answer
        self._must_hold = must_hold
        self._events: list[Event] = []  # of an answer that must hold something

    @property
    def finished(self) -> bool:
        """The backend's terminal marker was seen."""
        return self._decoder.finished

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a backend's frame says, and the client's frames for it."""
        malformed, was_finished = self._decoder.malformed, self._decoder.finished
        events = self._decoder.read(frame)
        told = b"".join(map(self._encode, events))
        if self.problem is not None and not told:
            return Reading.FAILURE, b""
        if self._decoder.malformed > malformed:
            return Reading.MALFORMED, told
        if events and isinstance(events[-1], MessageEnd):
            return Reading.DONE, told
        if self._decoder.finished and not was_finished:
            return Reading.FINISH, told
        return (Reading.CONTENT if any(map(_tells, events)) else Reading.GREETING), told

    def end(self) -> bytes:
        """What the decoder has held back."""
        return b"".join(map(self._encode, self._decoder.close()))

    def fail(self, problem: Problem) -> bytes:
        """The client's own failure event."""
        return self._encoder.encode(StreamFailed(problem))

    def _encode(self, event: Event) -> bytes:
        before = b""
        if self._must_hold is not None:
            self._events.append(event)
            if isinstance(event, MessageEnd):
                self.problem = verify.unmet(folded(self._events), self._must_hold)
                if self.problem is not None:
                    return b""
        match event:
            case MessageStart(model=model, usage=usage):
                self.model, self.usage = model or None, usage
            case UsageReport(usage):
                self.usage = usage
            case PartStart(ToolCall() as call):
                self._written += len(call.name)
                event = PartStart(_renamed(call, self._original))
            case PartDelta(text):
                self._written += len(text)
            case StreamFailed(problem):
                self.problem = problem  # the data plane tells the client, in its own words
                return b""
            case MessageEnd() if self.usage is None:
                self.usage = estimated_usage(self._estimate, self._written)
                before = self._encoder.encode(UsageReport(self.usage))
            case _:
                pass
        return before + self._encoder.encode(event)


def _tells(event: Event) -> bool:
    match event:
        case PartDelta():
            return True
        case PartStart(ToolCall() | Opaque() | Thinking(redacted=True)):
            return True
        case _:
            return False


def _renamed(call: ToolCall, original: Mapping[str, str]) -> ToolCall:
    return replace(call, name=original.get(call.name, call.name))


class ChatCrossing:
    """The answer to a chat request in another dialect than the client's."""

    is_relay = False

    def __init__(
        self,
        backend: Dialect,
        client: Dialect,
        ctx: AnswerContext,
        expects: Expectation | None,
        original: Mapping[str, str],
    ) -> None:
        self.dialect = backend
        self._client = client
        self._ctx = ctx
        # what the backend is made to give is looked at too: not every backend can be made to
        self._must_hold = expects or _output(ctx.request.output)
        self._original = original
        # what the backend was only asked for is told once it is known to be there
        self.asks_stream = ctx.facts.stream and expects is None
        self._answer: ChatResponse | None = None

    def tap(self) -> Tap:
        """Translates the stream as it comes."""
        ctx, must_hold = self._ctx, self._must_hold
        return CrossingTap(self.dialect, self._encoder(), ctx, must_hold, self._original)

    def _encoder(self) -> StreamEncoder:
        """Writes the client's stream."""
        return self._client.stream_encoder(self._ctx)

    def listener(self) -> Tap:
        """Reads the backend's stream in its own dialect."""
        return self.dialect.tap(RequestFacts(Operation.CHAT, wants_usage=True))

    def whole(self, parsed: object, body: bytes) -> Whole:
        """The client's form of a whole answer. Raises AttemptFailed."""
        if problem := self.dialect.judge(Operation.CHAT, parsed):
            raise AttemptFailed(problem)
        assert isinstance(parsed, dict)  # `judge` has seen it
        return self._told(self.dialect.decode_response(parsed, self._ctx))

    def fold(self, frames: Sequence[bytes], tap: Tap) -> Whole:
        """The client's form of a stream that has ended. Raises AttemptFailed."""
        return self._told(folded(self._events(frames)))

    def _events(self, frames: Sequence[bytes]) -> Iterable[Event]:
        decoder = self.dialect.stream_decoder(self._ctx)
        for frame in frames:
            yield from decoder.read(frame)
        yield from decoder.close()

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """The client's stream of a whole answer."""
        assert self._answer is not None  # `whole` is made of it
        encoder = self._encoder()
        return [encoder.encode(event) for event in unfolded(self._answer)]

    def _told(self, answer: ChatResponse) -> Whole:
        if self._must_hold is not None:
            answer = verify.without_fences(answer)
            if problem := verify.unmet(answer, self._must_hold):
                raise AttemptFailed(problem)
        parts = tuple(
            _renamed(part, self._original) if isinstance(part, ToolCall) else part
            for part in answer.parts
        )
        usage = answer.usage
        if usage is None:
            usage = estimated_usage(self._ctx.estimate, characters(answer.parts))
        self._answer = replace(answer, parts=parts, usage=usage)
        body = json.dumps(self._client.encode_response(self._answer, self._ctx))
        return Whole(body, usage, answer.model or None)


def _output(wanted: JsonOutput | None) -> Expectation | None:
    """What an answer in JSON must hold; a schema that is not strict is no promise."""
    if wanted is None:
        return None
    return Expectation(is_json=True, schema=None if wanted.strict is False else wanted.schema)


class CountCrossing:
    """The tokens of a request, counted by a backend of another dialect than the client's."""

    is_relay = False
    asks_stream = False

    def __init__(self, backend: Dialect, client: Dialect) -> None:
        self.dialect = backend
        self._client = client

    def tap(self) -> Tap:
        """Nobody streams a number; a backend that does is read to its end and refused."""
        return self.listener()

    def listener(self) -> Tap:
        """See `tap`."""
        return self.dialect.tap(RequestFacts(Operation.COUNT))

    def whole(self, parsed: object, body: bytes) -> Whole:
        """The number in the client's form. Raises AttemptFailed."""
        if problem := self.dialect.judge(Operation.COUNT, parsed):
            raise AttemptFailed(problem)
        assert isinstance(parsed, dict)  # `judge` has seen it
        count = self.dialect.decode_count(parsed)
        if count is None:
            raise AttemptFailed(_NO_COUNT)
        return Whole(json.dumps(self._client.encode_count(count)))

    def fold(self, frames: Sequence[bytes], tap: Tap) -> Whole:
        """Raises AttemptFailed: a number is no stream."""
        raise AttemptFailed(_NO_COUNT)

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """Nobody asks for a stream of a number."""
        return (whole.body,)
