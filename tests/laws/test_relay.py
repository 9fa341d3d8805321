"""Laws of the relay: between equal dialects bytes pass, and the tap knows how the stream stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.neutral.events import Event, StreamFailed
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import ChatRequest
from sidecar.neutral.response import ChatResponse
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
from tests.laws.spoken import EVERY, SPOKEN, asked, context, frames_of, heard, told
from tests.laws.strategies import requests, streams

LIMITS = RequestLimits(body=1 << 20, messages=100, content=1 << 20, header=1 << 14)
NOTHING = [Reading.GREETING, Reading.COMMENT, Reading.USAGE]


# --- the record -----------------------------------------------------------------------------------


@EVERY
def test_the_paths_of_a_dialect_are_in_order(dialect: Dialect) -> None:
    assert Operation.CHAT in dialect.endpoints.values()
    assert all(path.startswith("/") for path in dialect.endpoints)
    assert all(path.startswith("/") and path[-1] != "/" for path in dialect.backend_paths.values())
    served = set(dialect.endpoints.values()) - {Operation.COUNT, Operation.SHOW}
    assert served <= set(dialect.backend_paths)
    assert set(dialect.backend_paths.values()) <= set(dialect.known_suffixes)


def test_no_path_is_claimed_by_two_dialects() -> None:
    paths = [path for dialect in SPOKEN for path in dialect.endpoints]
    assert len(paths) == len(set(paths))
    listings = [(path, dialect.marker) for dialect in SPOKEN for path in dialect.listings]
    assert len(listings) == len(set(listings))


# --- bytes pass -----------------------------------------------------------------------------------


@EVERY
@given(stream=streams())
def test_the_very_bytes_pass(dialect: Dialect, stream: tuple[ChatResponse, list[Event]]) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    tap = dialect.tap(context().facts)
    passed = [tap.read(frame) for frame in frames]
    assert [bytes for _, bytes in passed] == frames
    assert tap.end() == b""
    readings = [reading for reading, _ in passed]
    assert not {Reading.FAILURE, Reading.MALFORMED} & set(readings)
    assert tap.finished and tap.problem is None


@EVERY
@given(stream=streams())
def test_the_tap_tells_what_the_decoder_hears(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    tap = dialect.tap(context().facts)
    readings = [tap.read(frame)[0] for frame in frames]
    whole = dialect.decode_response(dialect.fold(frames), context())
    assert tap.usage == whole.usage is not None
    assert tap.model == whole.model == "m-1"
    first = next(at for at, reading in enumerate(readings) if reading not in NOTHING)
    assert readings[first] is Reading.CONTENT
    # nothing was kept back that says something
    assert whole.parts


@EVERY
@given(stream=streams(), data=st.data())
def test_the_tap_ends_a_stream_honestly_wherever_it_stands(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]], data: st.DataObject
) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    tap = dialect.tap(context().facts)
    ends = [dialect.tap(context().facts) for _ in frames]
    whole = next(
        at
        for at, end in enumerate(ends)
        if [end.read(frame) for frame in frames[: at + 1]] and end.finished
    )
    before = frames[: data.draw(st.integers(0, whole))]
    for frame in before:
        tap.read(frame)
    failure = tap.fail(Problem(ProblemKind.TIMEOUT, "Nothing came."))
    event = heard(dialect, [*before, *frames_of(dialect, failure)])[-1]
    assert isinstance(event, StreamFailed)
    assert "Nothing came." in event.problem.message


@EVERY
@given(stream=streams())
def test_an_end_that_is_missing_is_brought(
    dialect: Dialect, stream: tuple[ChatResponse, list[Event]]
) -> None:
    """A stream that is whole by its terminal marker may lack what some clients wait for."""
    frames = frames_of(dialect, told(dialect, stream[1]))
    all_read, tap = dialect.tap(context().facts), dialect.tap(context().facts)
    needed = [frame for frame in frames if all_read.read(frame)[0] is not Reading.DONE]
    passed = b"".join(tap.read(frame)[1] for frame in needed)
    assert tap.finished
    assert frames_of(dialect, passed + tap.end()) == frames


@EVERY
@given(frames=st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(b"data: ".__add__)))
def test_junk_is_never_passed_and_never_whole(dialect: Dialect, frames: list[bytes]) -> None:
    tap = dialect.tap(context().facts)
    passed = [tap.read(frame) for frame in frames]
    assert all(bytes == b"" for reading, bytes in passed if reading is Reading.MALFORMED)
    assert not tap.finished


# --- errors ---------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("kind", ProblemKind)
def test_an_error_is_never_taken_for_an_answer(dialect: Dialect, kind: ProblemKind) -> None:
    problem = Problem(kind, "Something went wrong.", extension={"request_id": "r1"})
    status, body = dialect.encode_error(problem)
    assert 400 <= status <= 599
    assert b'"request_id":"r1"' in body
    assert "Something went wrong." in dialect.decode_error(status, body).message
    for operation in set(dialect.endpoints.values()):
        assert dialect.judge(operation, json.loads(body)) is not None


@EVERY
@pytest.mark.parametrize("kind", ProblemKind)
def test_a_stream_that_we_fail_reads_as_failed(dialect: Dialect, kind: ProblemKind) -> None:
    failure = dialect.tap(context().facts).fail(Problem(kind, "Something went wrong."))
    frames = frames_of(dialect, failure)
    assert b"".join(frames) == failure
    tap = dialect.tap(context().facts)
    assert Reading.FAILURE in [tap.read(frame)[0] for frame in frames]
    assert not tap.finished
    assert tap.problem is not None and "Something went wrong." in tap.problem.message
    (event,) = heard(dialect, frames)[-1:]
    assert isinstance(event, StreamFailed) and "Something went wrong." in event.problem.message


@EVERY
@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (kind, kind)
        for kind in (
            ProblemKind.BAD_REQUEST,
            ProblemKind.UNKNOWN_MODEL,
            ProblemKind.CONTEXT_LENGTH,
            ProblemKind.CONTENT_REFUSED,
            ProblemKind.RATE_LIMITED,
            ProblemKind.OVERLOADED,
        )
    ]
    # a client's key that was refused is, one sidecar further out, a key that was refused there
    + [(ProblemKind.CLIENT_AUTH, ProblemKind.BACKEND_AUTH)],
)
def test_the_meaning_of_an_error_survives_a_second_sidecar(
    dialect: Dialect, kind: ProblemKind, again: ProblemKind
) -> None:
    assert dialect.decode_error(*dialect.encode_error(Problem(kind, "No."))).kind is again


@EVERY
@given(status=st.integers(400, 599), body=st.binary(max_size=80))
def test_an_error_always_means_something(dialect: Dialect, status: int, body: bytes) -> None:
    problem = dialect.decode_error(status, body)
    assert problem.status == status
    assert problem.message.startswith(f"answered {status}")


# --- requests -------------------------------------------------------------------------------------


@EVERY
@given(request=requests(), model=st.text(max_size=20))
def test_a_patch_changes_the_model_and_nothing_else(
    dialect: Dialect, request: ChatRequest, model: str
) -> None:
    body: dict[str, Any] = dict(asked(dialect, request))
    raw = json.dumps(body)
    assert dialect.patch(raw, RequestPatch()) is raw
    assert json.loads(dialect.patch(raw, RequestPatch(model=model))) == body | {"model": model}


@EVERY
@given(request=requests())
def test_a_request_is_known_by_its_facts(dialect: Dialect, request: ChatRequest) -> None:
    body = {**asked(dialect, request), "stream": True, "model": "m"}
    facts = dialect.facts(Operation.CHAT, body, LIMITS)
    assert (facts.operation, facts.model, facts.stream) == (Operation.CHAT, "m", True)
    read = dialect.decode_request(Operation.CHAT, body)
    assert (read.model, read.stream) == ("m", True)


@EVERY
@given(request=requests(), features=st.sets(st.sampled_from(Feature)))
def test_without_a_feature_a_request_still_asks_the_same(
    dialect: Dialect, request: ChatRequest, features: set[Feature]
) -> None:
    raw = json.dumps(asked(dialect, request))
    patched = dialect.patch(raw, RequestPatch(without=frozenset(features)))
    left = dialect.decode_request(Operation.CHAT, json.loads(patched))
    assert left.messages == dialect.decode_request(Operation.CHAT, json.loads(raw)).messages


# --- models ---------------------------------------------------------------------------------------


@EVERY
def test_the_list_of_models_holds_each_model(dialect: Dialect) -> None:
    told = [ModelEntry("chat", "llm-sidecar", 1_700_000_000), ModelEntry("other", "me", 1)]
    lists = [dialect.listings[path](told) for path in dialect.listings if "model" in path]
    lists += [dialect.listings[path](told) for path in dialect.listings if path.endswith("tags")]
    assert lists or not dialect.listings
    for listed in lists:
        found = dialect.decode_models(json.loads(json.dumps(listed)))
        # a dialect may write the tag that every name has, and that means nothing
        assert [entry.id.removesuffix(":latest") for entry in found] == ["chat", "other"]


@EVERY
@pytest.mark.parametrize("body", [None, [], {}, {"data": 3}, {"models": "x"}, "no", 7])
def test_what_is_no_list_of_models_is_told_so(dialect: Dialect, body: object) -> None:
    with pytest.raises(ValueError):
        dialect.decode_models(body)
