"""What holds whatever a backend or a client sends. A check gives a short name of what it saw.

Streams pass framing, tap and decoder, and the encoder of every dialect; answers, requests and
errors pass everything that reads them. What is not a documented refusal is a fault.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sidecar.neutral.events import Event, MessageEnd, PartStart, State, StreamFailed, follow
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import ChatRequest, Text, ToolCall
from sidecar.neutral.response import AnswerPart
from sidecar.wire import json
from sidecar.wire.contract import (
    Dialect,
    Feature,
    ModelEntry,
    Operation,
    Reading,
    RequestLimits,
    RequestPatch,
)
from sidecar.wire.fold import folded
from sidecar.wire.json import Json
from tests.laws.memory import held
from tests.laws.spoken import SPOKEN, as_sent, context, frames_of, heard, target, told

LIMITS = RequestLimits(body=1 << 20, messages=1000, content=1 << 20, header=1 << 14)
PATCHES = (
    RequestPatch(),
    RequestPatch(model="other", ask_usage=True),
    RequestPatch(without=frozenset(Feature)),
)


# --- streams --------------------------------------------------------------------------------------


def stream(dialect: Dialect, text: bytes) -> str:
    """The bytes of a stream, as they come from a backend."""
    frames = frames_of(dialect, text)
    assert in_pieces(dialect, text, 7) == frames
    events = decoded(dialect, frames)
    tapped(dialect, frames)
    is_whole = tapped(dialect, frames[: until_the_end(dialect, frames)])
    match events[-1]:
        case StreamFailed(problem):
            # a crossing may refuse what a relay passes on
            assert not is_whole or problem.kind is not ProblemKind.TRUNCATED
        case _:
            assert is_whole or has_alternatives(dialect, frames)
    if are_odd([event.part for event in events if isinstance(event, PartStart)]):
        return "odd calls"
    for client in SPOKEN:
        again = heard(client, frames_of(client, told(client, events)))
        assert follow(again) is State.DONE
        assert isinstance(again[-1], StreamFailed) is isinstance(events[-1], StreamFailed)
    return shape(events)


def are_odd(parts: Sequence[AnswerPart]) -> bool:
    """Whether there are calls without a name, or two of one id: no client could answer them."""
    calls = [part for part in parts if isinstance(part, ToolCall)]
    return len({call.id for call in calls}) < len(calls) or not all(call.name for call in calls)


def in_pieces(dialect: Dialect, text: bytes, size: int) -> list[bytes]:
    """The frames of a stream that comes in pieces of so many bytes."""
    framer = dialect.framing.framer()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    frames = [frame for piece in pieces for frame in framer.feed(piece)]
    rest = framer.rest()
    return [*frames, rest] if rest else frames


def decoded(dialect: Dialect, frames: list[bytes]) -> list[Event]:
    """The events of the frames; nothing follows the end, and what is held is bounded."""
    decoder = dialect.stream_decoder(context())
    events: list[Event] = []
    size = 0
    for frame in frames:
        size += len(frame)
        events += decoder.read(frame)
    assert held(decoder) <= 16 * size + 65_536
    assert follow(events) is not State.DONE or isinstance(events[-1], MessageEnd | StreamFailed)
    events += decoder.close()
    assert follow(events) is State.DONE
    assert decoder.finished or isinstance(events[-1], StreamFailed)
    assert decoder.close() == [] and (not frames or decoder.read(frames[0]) == [])
    if isinstance(events[-1], MessageEnd):
        folded(events)
    return events


def has_alternatives(dialect: Dialect, frames: list[bytes]) -> bool:
    """Whether the stream has begun a second answer, which a relay waits for and a crossing not."""
    choices = dialect.fold(frames).get("choices")
    return isinstance(choices, list) and len(choices) > 1


def until_the_end(dialect: Dialect, frames: list[bytes]) -> int:
    """How many frames come before a decoder has heard enough."""
    decoder = dialect.stream_decoder(context())
    for count, frame in enumerate(frames, 1):
        if any(isinstance(event, MessageEnd | StreamFailed) for event in decoder.read(frame)):
            return count
    return len(frames)


def tapped(dialect: Dialect, frames: list[bytes]) -> bool:
    """What the tap beside a relay reads, and what it puts behind it; whether all came well."""
    facts = context().facts
    tap = dialect.tap(facts)
    readings = []
    for frame in frames:
        reading, passed = tap.read(frame)
        assert passed == b"" or reading is not Reading.MALFORMED
        readings.append(reading)
        if reading is Reading.FAILURE:
            break
    assert (Reading.FAILURE in readings) is (tap.problem is not None)
    is_whole = tap.finished and tap.problem is None
    if tap.problem is not None:
        assert tap.fail(tap.problem)
    elif is_whole:
        tap.end()
        whole = as_sent(dialect.fold(frames))
        if dialect.judge(Operation.CHAT, whole) is None:
            dialect.unfold(whole, facts)
            dialect.decode_response(whole, context())
    return is_whole


def shape(events: list[Event]) -> str:
    """Which events came, neighbours of one kind as one."""
    names: list[str] = []
    for event in events:
        name = type(event).__name__
        if isinstance(event, PartStart):
            name = type(event.part).__name__
        if isinstance(event, StreamFailed):
            name += f" {event.problem.kind}"
        if isinstance(event, MessageEnd):
            name += f" {event.stop}"
        if name not in ("PartEnd", *names[-1:]):
            names.append(name)
    return " ".join(names[:9])


# --- whole answers --------------------------------------------------------------------------------


def answer(dialect: Dialect, text: bytes) -> str:
    """The body of a 200."""
    try:
        body = json.loads(text)
    except json.InvalidJson:
        return "no JSON"
    entries(dialect, body)
    for operation in dialect.backend_paths:
        if operation not in (Operation.CHAT, Operation.MODELS):
            dialect.judge(operation, body)
    problem = dialect.judge(Operation.CHAT, body)
    if isinstance(body, dict):
        dialect.usage(body)
        dialect.decode_count(body)
        embedded(dialect, body)
    if problem is not None:
        return f"{problem.kind} {problem.message[:30]}"
    assert isinstance(body, dict)
    read = dialect.decode_response(body, context())
    frames = list(dialect.unfold(body, context().facts))
    assert follow(heard(dialect, frames)) is State.DONE
    for client in SPOKEN:
        again = as_sent(client.encode_response(read, context()))
        is_good = client.judge(Operation.CHAT, again) is None
        assert is_good or not read.parts or are_odd(read.parts)
    parts = " ".join(dict.fromkeys(type(part).__name__ for part in read.parts))
    return f"{parts} {read.stop} {read.usage is not None}"


def entries(dialect: Dialect, body: object) -> None:
    """A list of models, or what is known of one."""
    try:
        for entry in dialect.decode_models(body):
            for client in SPOKEN:
                json.dumps(client.encode_model(entry))
    except ValueError:
        pass
    if isinstance(body, dict):
        dialect.learn_model(ModelEntry("m"), body)


def embedded(dialect: Dialect, body: Json) -> None:
    """An answer with embeddings."""
    if dialect.embeddings is None or dialect.judge(Operation.EMBED, body) is not None:
        return
    try:
        dialect.embeddings.decode_response(body)
    except AttemptFailed as failure:
        assert failure.problem.message


# --- requests -------------------------------------------------------------------------------------


def request(dialect: Dialect, text: bytes) -> str:
    """The body of a client's request."""
    try:
        body = json.loads(text)
    except json.InvalidJson:
        return "no JSON"
    seen = [asked(dialect, operation, text, body) for operation in dialect.endpoints.values()]
    return seen[0]


def asked(dialect: Dialect, operation: Operation, text: bytes, body: Any) -> str:
    """The body as a request for that operation."""
    try:
        dialect.facts(operation, body, LIMITS)
        for wanted in PATCHES:
            assert isinstance(json.loads(dialect.patch(text, wanted)), dict)
        if operation is Operation.EMBED and dialect.embeddings is not None:
            embedding = dialect.embeddings.decode_request(body)
            for backend in filter(lambda one: one.embeddings is not None, SPOKEN):
                assert backend.embeddings is not None
                as_sent(backend.embeddings.encode_request(embedding, target(backend)).body)
            return "embedding"
        if operation not in (Operation.CHAT, Operation.COMPLETION, Operation.COUNT):
            return operation
        read = dialect.decode_request(operation, body)
    except RequestRefused as refusal:
        assert refusal.problem.message
        return f"refused {refusal.problem.code} {_unnumbered(refusal.problem.param)}"
    return sent(read)


def sent(read: ChatRequest) -> str:
    """A request that was understood, towards every backend."""
    lost: set[str] = set()
    for backend in SPOKEN:
        encoded = backend.encode_request(read, target(backend))
        body = as_sent(encoded.body)
        assert isinstance(body, dict)
        lost |= {loss.field[:20] for loss in encoded.losses}
    parts = {type(part).__name__ for turn in read.messages for part in turn.parts}
    return " ".join(sorted(parts - {Text.__name__}) + sorted(lost)[:3])


def _unnumbered(param: str | None) -> str:
    return "".join(mark for mark in param or "" if not mark.isdigit())[:40]


# --- errors ---------------------------------------------------------------------------------------


def error(dialect: Dialect, text: bytes) -> str:
    """The body of an answer that is no 200; its status follows from its length."""
    status = (400, 401, 404, 413, 422, 429, 500, 503, 529)[len(text) % 9]
    problem = dialect.decode_error(status, text)
    for client in SPOKEN:
        code, body = client.encode_error(problem)
        assert 400 <= code <= 599 and isinstance(json.loads(body), dict)
        _failed(client, problem)
    return f"{status} {problem.kind}"


def _failed(client: Dialect, problem: Problem) -> None:
    failure = client.tap(context().facts).fail(problem)
    assert isinstance(heard(client, frames_of(client, failure))[-1], StreamFailed)


CHECKS: Mapping[str, Callable[[Dialect, bytes], str]] = {
    "stream": stream,
    "answer": answer,
    "request": request,
    "error": error,
}
