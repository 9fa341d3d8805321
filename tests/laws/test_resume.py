"""A stream that broke anywhere goes on with the same answer, and with no other one."""

from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.neutral.events import Event, PartDelta, State, UsageReport, follow
from sidecar.neutral.response import ChatResponse
from sidecar.policy.replay import Replay
from sidecar.policy.replay import told as parts_of
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Resumed
from sidecar.wire.fold import folded
from sidecar.wire.framing import frame_data
from tests.laws import views
from tests.laws.spoken import EVERY, context, frames_of, heard, told
from tests.laws.strategies import streams

Stream = tuple[ChatResponse, list[Event]]


def taken_up(dialect: Dialect, frames: list[bytes], kept: int) -> Resumed:
    """The stream as it stands behind so many of its frames."""
    resumed = dialect.resume(frames[:kept], context())
    assume(resumed is not None)
    assert resumed is not None
    return resumed


def broken(dialect: Dialect, frames: list[bytes]) -> st.SearchStrategy[int]:
    """So many frames as leave the answer incomplete."""
    decoder = dialect.stream_decoder(context())
    for count, frame in enumerate(frames):
        decoder.read(frame)
        if decoder.finished:
            assume(count > 0)
            return st.integers(1, count)
    raise AssertionError("the stream never ends")


def news_of(resumed: Resumed, again: list[Event]) -> tuple[bytes, bool]:
    """What the client still gets of another answer, and whether it was another one."""
    replay = Replay(parts_of(resumed.events))
    news = [new for event in again for new in replay.read(event)]
    return b"".join(map(resumed.encoder.encode, news)), replay.diverged


@EVERY
@given(stream=streams(), data=st.data())
def test_the_same_answer_goes_on_where_the_first_one_broke(
    dialect: Dialect, stream: Stream, data: st.DataObject
) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    again = heard(dialect, frames)
    kept = data.draw(broken(dialect, frames))
    resumed = taken_up(dialect, frames, kept)
    assert follow(resumed.events) is not State.DONE

    news, diverged = news_of(resumed, again)

    assert not diverged
    all_frames = frames_of(dialect, b"".join(frames[:kept]) + news)
    whole = heard(dialect, all_frames)
    assert follow(whole) is State.DONE
    assert views.answer(folded(whole), dialect.name) == views.answer(folded(again), dialect.name)
    check_numbers(dialect, all_frames)


def check_numbers(dialect: Dialect, frames: list[bytes]) -> None:
    """Whatever counts in the stream counts on without a gap."""
    if dialect.name not in ("openai-responses", "anthropic"):
        return
    events = [json.loads_object(frame_data(frame) or b"") or {} for frame in frames]
    if dialect.name == "openai-responses":
        numbers = [one["sequence_number"] for one in events if "sequence_number" in one]
        assert all(second == first + 1 for first, second in pairwise(numbers))  # type: ignore[operator]
    begun = [
        one.get("index", one.get("output_index"))
        for one in events
        if one.get("type") in ("content_block_start", "response.output_item.added")
    ]
    assert begun == list(range(len(begun)))


@EVERY
@given(stream=streams(), data=st.data())
def test_another_answer_is_never_spliced_in(
    dialect: Dialect, stream: Stream, data: st.DataObject
) -> None:
    frames = frames_of(dialect, told(dialect, stream[1]))
    resumed = taken_up(dialect, frames, data.draw(broken(dialect, frames)))
    has = [place for place, one in enumerate(resumed.events) if isinstance(one, PartDelta)]
    assume(has)
    place = data.draw(st.sampled_from(has))
    other = list(resumed.events)
    said = other[place]
    assert isinstance(said, PartDelta)
    other[place] = PartDelta(said.text[:-1] + ("?" if said.text[-1] != "?" else "!"))
    replay = Replay(parts_of(resumed.events))
    news = [new for event in other for new in replay.read(event)]
    assert replay.diverged
    assert not [one for one in news if not isinstance(one, UsageReport)]
    assert not replay.read(PartDelta("and more"))
