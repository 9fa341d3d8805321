"""Laws that every dialect keeps, whatever its format. One run per entry of the registry."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects import DIALECTS, by_name
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import (
    Dialect,
    ModelEntry,
    Operation,
    Reading,
    RequestFacts,
    RequestPatch,
    Tap,
)
from sidecar.wire.framing import SseFramer
from tests.laws.samples import SAMPLES, Sample

EVERY = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
CASES = pytest.mark.parametrize(
    ("dialect", "sample"),
    [
        pytest.param(dialect, sample, id=f"{dialect.name}: {sample.name}")
        for dialect in DIALECTS
        for sample in SAMPLES[dialect.name]
    ],
)


def listen(dialect: Dialect, frames: list[bytes]) -> tuple[list[Reading], Tap]:
    tap = dialect.tap(RequestFacts(Operation.CHAT))
    return [tap.read(frame) for frame in frames], tap


def frames_of(dialect: Dialect, sample: Sample) -> list[bytes]:
    """The sample as a stream with usage."""
    facts = RequestFacts(sample.operation, stream=True, wants_usage=True)
    return list(dialect.unfold(sample.answer, facts))


def test_every_dialect_has_samples() -> None:
    assert set(SAMPLES) == {dialect.name for dialect in DIALECTS}


@EVERY
def test_a_dialect_is_found_and_its_paths_are_in_order(dialect: Dialect) -> None:
    assert by_name(dialect.name) is dialect
    assert all(path.startswith("/") for path in dialect.endpoints)
    assert all(path.startswith("/") and path[-1] != "/" for path in dialect.backend_paths.values())
    assert set(dialect.endpoints.values()) <= set(dialect.backend_paths)
    assert set(dialect.backend_paths.values()) <= set(dialect.known_suffixes)


# --- cutting changes nothing ----------------------------------------------------------------------


@CASES
@given(data=st.data())
def test_cutting_changes_nothing(dialect: Dialect, sample: Sample, data: st.DataObject) -> None:
    frames = frames_of(dialect, sample)
    text = b"".join(frames)
    places = data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12))
    framer = SseFramer()
    found = [
        frame
        for start, end in pairwise(sorted({0, *places, len(text)}))
        for frame in framer.feed(text[start:end])
    ]
    assert found == frames
    assert listen(dialect, found)[0] == listen(dialect, frames)[0]


# --- a cut stream is a failed stream --------------------------------------------------------------


@CASES
def test_a_stream_is_whole_from_its_terminal_marker_on(dialect: Dialect, sample: Sample) -> None:
    frames = frames_of(dialect, sample)
    readings, tap = listen(dialect, frames)
    assert tap.finished
    assert frames[-1] == dialect.stream_done
    marker = max(at for at, reading in enumerate(readings) if reading is Reading.FINISH)
    for end in range(len(frames)):
        assert listen(dialect, frames[:end])[1].finished is (end > marker)


@CASES
def test_a_clean_end_put_behind_a_cut_stream_proves_nothing(
    dialect: Dialect, sample: Sample
) -> None:
    frames = frames_of(dialect, sample)
    readings, _ = listen(dialect, frames)
    marker = max(at for at, reading in enumerate(readings) if reading is Reading.FINISH)
    assert not listen(dialect, [*frames[:marker], dialect.stream_done])[1].finished


# --- folding agrees -------------------------------------------------------------------------------


@CASES
def test_folding_a_stream_gives_the_whole_answer(dialect: Dialect, sample: Sample) -> None:
    assert dialect.fold(frames_of(dialect, sample)) == sample.answer


@CASES
def test_stream_and_whole_answer_tell_the_same(dialect: Dialect, sample: Sample) -> None:
    _, tap = listen(dialect, frames_of(dialect, sample))
    assert dialect.judge(sample.operation, sample.answer) is None
    assert tap.usage == dialect.usage(sample.answer) is not None
    assert tap.model == sample.answer["model"]


# --- errors ---------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("kind", ProblemKind)
def test_an_error_is_never_taken_for_an_answer(dialect: Dialect, kind: ProblemKind) -> None:
    problem = Problem(kind, "Something went wrong.")
    status, body = dialect.encode_error(problem, {"request_id": "r1"})
    assert 400 <= status <= 599
    assert "Something went wrong." in dialect.decode_error(status, body).message
    for operation in set(dialect.endpoints.values()):
        assert dialect.judge(operation, json.loads(body)) is not None


@EVERY
@pytest.mark.parametrize("kind", ProblemKind)
def test_a_stream_that_we_fail_reads_as_failed(dialect: Dialect, kind: ProblemKind) -> None:
    frame = dialect.fail_stream(Problem(kind, "Something went wrong."))
    assert SseFramer().feed(frame) == [frame]
    (reading,), tap = listen(dialect, [frame])
    assert reading is Reading.FAILURE and tap.problem is not None
    assert not tap.finished
    assert "Something went wrong." in tap.problem.message


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
def test_meaning_survives_a_second_sidecar(
    dialect: Dialect, kind: ProblemKind, again: ProblemKind
) -> None:
    assert dialect.decode_error(*dialect.encode_error(Problem(kind, "No."), None)).kind is again


# --- whatever a backend sends ---------------------------------------------------------------------


@EVERY
@given(frames=st.lists(st.binary(max_size=80) | st.binary(max_size=80).map(b"data: ".__add__)))
def test_the_tap_never_raises(dialect: Dialect, frames: list[bytes]) -> None:
    readings, tap = listen(dialect, frames)
    assert all(isinstance(reading, Reading) for reading in readings)
    assert not tap.finished


@EVERY
@given(status=st.integers(400, 599), body=st.binary(max_size=80))
def test_an_error_always_means_something(dialect: Dialect, status: int, body: bytes) -> None:
    assert dialect.decode_error(status, body).message


# --- requests -------------------------------------------------------------------------------------


@EVERY
@given(model=st.text(max_size=20), asked=st.text(max_size=20), extra=st.integers())
def test_a_patched_request_asks_for_the_other_model(
    dialect: Dialect, model: str, asked: str, extra: int
) -> None:
    body: dict[str, Any] = {"model": asked, "messages": [], "extra": extra}
    raw = json.dumps(body)
    assert dialect.patch(raw, RequestPatch()) is raw
    assert json.loads(dialect.patch(raw, RequestPatch(model=model))) == body | {"model": model}


@EVERY
def test_the_list_of_models_holds_each_model(dialect: Dialect) -> None:
    one = ModelEntry("chat", "llm-sidecar", 1_700_000_000)
    assert json.dumps(dialect.encode_model(one)) in json.dumps(dialect.encode_models([one]))


@EVERY
def test_chat_is_an_operation_of_every_dialect(dialect: Dialect) -> None:
    assert Operation.CHAT in dialect.endpoints.values()
