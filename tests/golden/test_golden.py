"""Documented traffic means what stands beside it, and keeps the laws of generated traffic."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.neutral.events import Event, MessageEnd, State, StreamFailed, follow
from sidecar.neutral.request import (
    ChatRequest,
    Document,
    Image,
    Inline,
    Refusal,
    Severity,
    Text,
    ToolResult,
)
from sidecar.wire import json
from sidecar.wire.contract import Operation, Reading, RequestPatch
from sidecar.wire.fold import folded
from tests.golden.cases import ROOT, Case, cases, expectations, written
from tests.laws import views
from tests.laws.spoken import SPOKEN, as_sent, context, frames_of, heard, target, told
from tests.laws.survival import lost

CASES = list(cases())


def having(file: str) -> pytest.MarkDecorator:
    """One run for every case with that file."""
    found = [case for case in CASES if case.raw(file) is not None]
    return pytest.mark.parametrize("case", found, ids=lambda case: case.name)


def test_every_folder_is_of_a_dialect() -> None:
    folders = {folder.name for folder in ROOT.glob("*/") if not folder.name.startswith("_")}
    assert folders <= {dialect.name for dialect in SPOKEN}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_means_what_stands_beside_it(case: Case) -> None:
    expected = expectations(case)
    assert expected, "a case needs traffic"
    for name, value in expected.items():
        beside = case.raw(name)
        assert beside is not None, f"{name} is missing: run `make golden` and review what it writes"
        assert beside.decode() == written(value)


# --- streams --------------------------------------------------------------------------------------


@having("stream.raw")
def test_a_stream_is_heard_in_legal_order(case: Case) -> None:
    assert follow(case.events()) is State.DONE


@having("stream.raw")
@given(data=st.data())
def test_cutting_changes_nothing(case: Case, data: st.DataObject) -> None:
    text = case.raw("stream.raw") or b""
    places = data.draw(st.sets(st.integers(1, len(text) - 1), max_size=12))
    assert in_pieces(case, text, places) == case.frames()


@having("stream.raw")
def test_one_byte_at_a_time(case: Case) -> None:
    text = case.raw("stream.raw") or b""
    assert in_pieces(case, text, set(range(1, len(text)))) == case.frames()


def in_pieces(case: Case, text: bytes, places: set[int]) -> list[bytes]:
    framer = case.dialect.framing.framer()
    ends = sorted({0, *places, len(text)})
    frames = [frame for cut in pairwise(ends) for frame in framer.feed(text[slice(*cut)])]
    rest = framer.rest()
    return [*frames, rest] if rest else frames


@having("stream.raw")
def test_a_stream_that_stops_early_has_failed(case: Case) -> None:
    """Up to its terminal marker; what stands behind that may be missing."""
    frames = case.frames()
    decoder = case.dialect.stream_decoder(context(case.request()))
    for count in range(len(frames) + 1):
        again = heard(case.dialect, frames[:count], case.request())
        assert follow(again) is State.DONE
        assert isinstance(again[-1], MessageEnd if decoder.finished else StreamFailed)
        for frame in frames[count : count + 1]:
            decoder.read(frame)


@having("stream.raw")
def test_tap_and_decoder_agree(case: Case) -> None:
    tap = case.dialect.tap(context().facts)
    passed = [tap.read(frame) for frame in case.frames()]
    end = case.events()[-1]
    has_failed = any(reading is Reading.FAILURE for reading, _ in passed)
    assert (tap.finished and not has_failed) is isinstance(end, MessageEnd)
    # what the client gets in their place is heard as the same
    relayed = b"".join(bytes for _, bytes in passed)
    again = heard(case.dialect, frames_of(case.dialect, relayed), case.request())
    assert type(again[-1]) is type(end)
    if isinstance(end, MessageEnd):
        was, now = (views.answer(folded(one), "") for one in (case.events(), again))
        assert (now["said"], now["stop"]) == (was["said"], was["stop"])


@having("stream.raw")
@pytest.mark.parametrize("client", SPOKEN, ids=lambda client: client.name)
def test_a_stream_is_told_to_any_client(case: Case, client: object) -> None:
    dialect = next(one for one in SPOKEN if one is client)
    events = case.events()
    again = heard(dialect, frames_of(dialect, told(dialect, events, case.request())))
    assert follow(again) is State.DONE
    if isinstance(events[-1], StreamFailed):
        assert isinstance(again[-1], StreamFailed)
    else:
        assert words(again) == words(events)


def words(events: list[Event]) -> str:
    """What a user reads."""
    parts = folded(events).parts
    return "".join(part.text for part in parts if isinstance(part, Text | Refusal))


# --- requests -------------------------------------------------------------------------------------


def known(request: ChatRequest) -> bool:
    """Whether it may cross at all."""
    return not any(loss.severity is Severity.FATAL for loss in request.unheard)


@having("request.json")
@pytest.mark.parametrize("backend", SPOKEN, ids=lambda backend: backend.name)
def test_a_request_asks_the_same_of_every_backend(case: Case, backend: object) -> None:
    dialect = next(one for one in SPOKEN if one is backend)
    request = case.request()
    assert request is not None
    encoded = dialect.encode_request(request, target(dialect))
    if any(loss.severity is Severity.FATAL for loss in (*request.unheard, *encoded.losses)):
        return  # it is not sent
    again = dialect.decode_request(Operation.CHAT, as_sent(encoded.body))
    wished, still = views.wishes(request), views.wishes(again)
    unlike = {name for name in wished if wished[name] != still[name]} - {"messages"}
    bound = {"max_tokens"} if request.max_tokens is None else set()
    assert unlike <= lost(encoded) | bound
    body = json.dumps(encoded.body).decode()
    for part in contents(request):
        match part:
            case Text(text):
                assert json.dumps(text.strip()).decode()[1:-1] in body.replace("\\\\", "\\")
            case Image(Inline(_, data)) | Document(Inline(_, data)):
                assert data in body
            case _:
                pass


def contents(request: ChatRequest) -> list[object]:
    """What the model has to see."""
    found: list[object] = []
    for part in (part for turn in request.messages for part in turn.parts):
        found += part.content if isinstance(part, ToolResult) else [part]
    return found


@having("request.json")
def test_a_request_that_was_read_is_written_as_it_was(case: Case) -> None:
    request = case.request()
    assert request is not None
    if case.operation is not Operation.CHAT or not known(request):
        return
    encoded = case.dialect.encode_request(request, target(case.dialect))
    again = case.dialect.decode_request(Operation.CHAT, as_sent(encoded.body))
    once_more = case.dialect.encode_request(again, target(case.dialect))
    assert as_sent(once_more.body) == as_sent(encoded.body)


@having("request.json")
def test_a_relayed_request_is_not_touched(case: Case) -> None:
    raw = case.raw("request.json") or b""
    assert case.dialect.patch(raw, RequestPatch()) is raw
