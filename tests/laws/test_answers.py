"""Answers say the same in every dialect, whole or streamed, apart from what is declared."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.neutral.events import (
    Event,
    MessageStart,
    PartDelta,
    PartStart,
    State,
    StreamFailed,
    follow,
)
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Text, Thinking
from sidecar.neutral.response import ChatResponse
from sidecar.wire.contract import Dialect, Operation, Reading
from sidecar.wire.fold import folded
from tests.laws import views
from tests.laws.memory import held
from tests.laws.spoken import EVERY, PAIRS, as_sent, context, frames_of, heard, told
from tests.laws.strategies import answers, streams


def crossed(dialect: Dialect, answer: ChatResponse) -> ChatResponse:
    """A whole answer as it reads once it was written in the dialect."""
    body = as_sent(dialect.encode_response(answer, context()))
    assert dialect.judge(Operation.CHAT, body) is None
    return dialect.decode_response(body, context())


def streamed(dialect: Dialect, events: list[Event]) -> list[Event]:
    """A stream as it reads once it was written in the dialect."""
    again = heard(dialect, frames_of(dialect, told(dialect, events)))
    assert follow(again) is State.DONE
    return again


# --- meaning survives -----------------------------------------------------------------------------


@EVERY
@given(answer=answers())
def test_a_whole_answer_survives(dialect: Dialect, answer: ChatResponse) -> None:
    assert views.answer(crossed(dialect, answer), dialect.name) == views.answer(
        answer, dialect.name
    )


@EVERY
@given(stream=streams())
def test_a_stream_survives(dialect: Dialect, stream: tuple[ChatResponse, list[Event]]) -> None:
    answer, events = stream
    again = folded(streamed(dialect, events))
    assert views.answer(again, dialect.name) == views.answer(answer, dialect.name)


@PAIRS
@settings(max_examples=40)
@given(stream=streams())
def test_a_stream_survives_from_a_backend_to_a_client(
    client: Dialect, backend: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    from_backend = streamed(backend, stream[1])
    at_client = folded(streamed(client, from_backend))
    assert views.answer(at_client, client.name) == views.answer(folded(from_backend), client.name)


@PAIRS
@settings(max_examples=40)
@given(answer=answers())
def test_a_whole_answer_survives_from_a_backend_to_a_client(
    client: Dialect, backend: Dialect, answer: ChatResponse
) -> None:
    from_backend = crossed(backend, answer)
    at_client = crossed(client, from_backend)
    assert views.answer(at_client, client.name) == views.answer(from_backend, client.name)


# --- folding agrees -------------------------------------------------------------------------------


@EVERY
@given(stream=streams())
def test_the_stream_and_the_whole_answer_say_the_same(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    answer, events = stream
    from_stream = folded(streamed(dialect, events))
    whole = crossed(dialect, answer)
    assert views.answer(from_stream, dialect.name) == views.answer(whole, dialect.name)


@EVERY
@given(answer=answers())
def test_a_whole_answer_survives_being_streamed(dialect: Dialect, answer: ChatResponse) -> None:
    body = as_sent(dialect.encode_response(answer, context()))
    frames = list(dialect.unfold(body, context().facts))
    assert frames_of(dialect, b"".join(frames)) == frames
    tap = dialect.tap(context().facts)
    readings = [tap.read(frame)[0] for frame in frames]
    assert tap.finished and not {Reading.FAILURE, Reading.MALFORMED} & set(readings)
    assert tap.usage == dialect.usage(body)
    whole = dialect.decode_response(as_sent(dialect.fold(frames)), context())
    first = dialect.decode_response(body, context())
    assert views.answer(whole, dialect.name) == views.answer(first, dialect.name)


# --- cutting changes nothing ----------------------------------------------------------------------


@EVERY
@given(stream=streams(), data=st.data())
def test_cutting_changes_nothing(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]], data: st.DataObject
) -> None:
    text = told(dialect, stream[1])
    places = data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12))
    assert in_pieces(dialect, text, places) == heard(dialect, frames_of(dialect, text))


@EVERY
@given(stream=streams())
def test_one_byte_at_a_time(dialect: Dialect, stream: tuple[ChatResponse, list[Event]]) -> None:
    text = told(dialect, stream[1])
    places = set(range(1, len(text)))
    assert in_pieces(dialect, text, places) == heard(dialect, frames_of(dialect, text))


def in_pieces(dialect: Dialect, text: bytes, places: set[int]) -> list[Event]:
    """The events of a stream that comes in pieces."""
    framer = dialect.framing.framer()
    ends = sorted({0, *places, len(text)})
    frames = [frame for start, end in pairwise(ends) for frame in framer.feed(text[start:end])]
    assert framer.rest() == b""
    return heard(dialect, frames)


# --- a cut stream is a failed stream --------------------------------------------------------------


@EVERY
@given(stream=streams(), data=st.data())
def test_a_stream_that_stops_early_has_failed(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]], data: st.DataObject
) -> None:
    answer, events = stream
    text = told(dialect, events)
    cut = data.draw(st.integers(0, len(text) - 1))
    again = heard(dialect, frames_of(dialect, text[:cut]))
    assert follow(again) is State.DONE
    match again[-1]:
        case StreamFailed(problem):
            assert problem.kind is ProblemKind.TRUNCATED
        case _:  # only what stands behind the terminal marker was cut off
            whole = views.answer(folded(again), dialect.name)
            assert whole["said"] == views.answer(answer, dialect.name)["said"]


@EVERY
@given(stream=streams())
def test_there_is_one_frame_that_makes_a_stream_whole(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    ends = [
        isinstance(heard(dialect, frames[:count])[-1], StreamFailed)
        for count in range(len(frames) + 1)
    ]
    assert ends == sorted(ends, reverse=True) and ends[0] and not ends[-1]
    decoder = dialect.stream_decoder(context())
    tap = dialect.tap(context().facts)
    for frame, failed in zip(frames, ends[1:], strict=True):
        decoder.read(frame)
        tap.read(frame)
        assert (decoder.finished, tap.finished) == (not failed, not failed)


# --- failures are told ----------------------------------------------------------------------------


@EVERY
@given(stream=streams(), data=st.data())
def test_a_failure_at_any_moment_is_told(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]], data: st.DataObject
) -> None:
    events = stream[1][: data.draw(st.integers(0, len(stream[1]) - 1))]
    problem = Problem(ProblemKind.OVERLOADED, "Too much to do.")
    text = told(dialect, [*events, StreamFailed(problem)])
    again = heard(dialect, frames_of(dialect, text))
    assert follow(again) is State.DONE
    assert isinstance(failed := again[-1], StreamFailed)
    assert "Too much to do." in failed.problem.message


@EVERY
@given(stream=streams())
def test_nothing_follows_the_end(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    text = told(dialect, stream[1])
    frames = frames_of(dialect, text)
    again = heard(dialect, frames + frames)
    assert follow(again) is State.DONE
    decoder = dialect.stream_decoder(context())
    for frame in frames:
        decoder.read(frame)
    decoder.close()
    assert decoder.close() == []
    assert decoder.read(frames[0]) == []


@EVERY
@pytest.mark.parametrize("frames", [[], [b"\n"], [b"junk\n\n"], [b"data: {\n\n", b"{\n"]])
def test_a_stream_that_says_nothing_has_failed(dialect: Dialect, frames: list[bytes]) -> None:
    (event,) = heard(dialect, frames)
    assert isinstance(event, StreamFailed)


# --- memory ---------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("part", [Text(""), Thinking("")], ids=["words", "thinking"])
def test_what_a_decoder_holds_does_not_grow_with_what_it_has_told(
    dialect: Dialect, part: Text | Thinking
) -> None:
    events: list[Event] = [MessageStart("x", "m"), PartStart(part)]
    events += [PartDelta("forty characters of a very long answer. ")] * 3000
    frames = frames_of(dialect, told(dialect, events))
    decoder = dialect.stream_decoder(context())
    heard = [event for frame in frames for event in decoder.read(frame)]
    assert len(heard) >= 3000
    assert held(decoder) < 10_000
