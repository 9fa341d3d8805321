"""What of a second answer is new to a client, and which one is another answer."""

from collections.abc import Sequence

import pytest

from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    UsageReport,
)
from sidecar.neutral.request import Opaque, Text, Thinking, ToolCall
from sidecar.neutral.response import StopReason
from sidecar.neutral.usage import Usage
from sidecar.policy.replay import Continuation, Replay, Told, open_text, told

BEGIN, END = MessageStart("id", "m"), MessageEnd(StopReason.END)
TEXT, THINKS, CLOSE = PartStart(Text("")), PartStart(Thinking("")), PartEnd()
CALL, SAME_CALL = PartStart(ToolCall("a", "now", "")), PartStart(ToolCall("b", "now", ""))
OTHER_CALL = PartStart(ToolCall("a", "later", ""))
SEARCH = PartStart(Opaque("anthropic", "search", {"id": 1}))
OTHER_SEARCH = PartStart(Opaque("anthropic", "search", {"id": 2}))
USAGE = UsageReport(Usage(1, 2))


def says(*words: str) -> list[Event]:
    return [PartDelta(word) for word in words]


HAS = [BEGIN, TEXT, *says("Hel", "lo")]

CASES = [
    # the client has; the second answer; what of it is new (None: it is another one)
    pytest.param(HAS, [BEGIN, TEXT, *says("Hello"), CLOSE, END], [CLOSE, END], id="same"),
    pytest.param(
        HAS, [TEXT, *says("H", "ello w", "orld"), CLOSE], [*says(" w", "orld"), CLOSE], id="more"
    ),
    pytest.param(HAS, [TEXT, *says("Help")], None, id="another letter"),
    pytest.param(HAS, [TEXT, *says("Hell"), CLOSE], None, id="shorter"),
    pytest.param(HAS, [TEXT, *says("Hell"), END], None, id="shorter, without an end"),
    pytest.param(HAS, [THINKS, *says("Hello")], None, id="another kind"),
    pytest.param(HAS, [SAME_CALL], None, id="a call"),
    pytest.param(HAS, [BEGIN, END], None, id="nothing"),
    pytest.param(HAS, [Ping(), USAGE, TEXT], [USAGE], id="usage"),
    pytest.param(
        [BEGIN, THINKS, *says("so"), PartEnd("sig"), TEXT],
        [THINKS, *says("so"), PartEnd("other"), TEXT, *says("Yes"), CLOSE, END],
        [*says("Yes"), CLOSE, END],
        id="thinking that is whole",
    ),
    pytest.param(
        [BEGIN, THINKS, *says("so"), CLOSE, TEXT], [THINKS, *says("so on")], None, id="longer"
    ),
    pytest.param(
        [BEGIN, CALL, *says('{"a"')],
        [SAME_CALL, *says('{"a": 1}'), CLOSE, SAME_CALL, *says("{}"), CLOSE],
        [*says(": 1}"), CLOSE, SAME_CALL, *says("{}"), CLOSE],
        id="a call goes on under its first id",
    ),
    pytest.param([BEGIN, CALL], [OTHER_CALL], None, id="another tool"),
    pytest.param([BEGIN, SEARCH, CLOSE], [SEARCH, CLOSE, TEXT], [TEXT], id="a part that is whole"),
    pytest.param([BEGIN, SEARCH, CLOSE], [OTHER_SEARCH], None, id="another such part"),
    pytest.param([BEGIN], [BEGIN, TEXT, *says("Hi")], [TEXT, *says("Hi")], id="nothing yet"),
]


@pytest.mark.parametrize(("has", "again", "news"), CASES)
def test_replay(has: Sequence[Event], again: Sequence[Event], news: Sequence[Event] | None) -> None:
    replay = Replay(told(has))
    found = [new for event in again for new in replay.read(event)]
    assert replay.diverged is (news is None)
    assert found == [*(news or ())]


def test_an_answer_that_differs_is_dropped_for_good() -> None:
    replay = Replay(told(HAS))
    events = [TEXT, *says("No."), CLOSE, TEXT, *says("Hello, and more"), CLOSE, USAGE, END]
    assert [new for event in events for new in replay.read(event)] == []


@pytest.mark.parametrize(
    ("has", "text"),
    [
        (HAS, "Hello"),
        ([BEGIN, TEXT], ""),
        ([*HAS, CLOSE], None),
        ([*HAS, CLOSE, CALL], None),
        ([BEGIN, THINKS, *says("so")], None),
        ([BEGIN], None),
    ],
)
def test_what_could_be_continued(has: Sequence[Event], text: str | None) -> None:
    assert open_text(told(has)) == text


OPENING = "Once upon a time there was"


@pytest.mark.parametrize(
    ("again", "news"),
    [
        ([TEXT, *says(" a", " king."), CLOSE, END], [*says(" a", " king."), CLOSE, END]),
        ([TEXT, *says("Once", " upon", " a", " time", " there was a king.")], None),
        ([TEXT, *says(OPENING + " a king.")], None),
        ([TEXT, *says(" Once upon a time it rained.")], None),
        ([TEXT, *says("Once", " more"), CLOSE], [*says("Once more"), CLOSE]),
        ([TEXT, *says("On"), CLOSE, END], [*says("On"), CLOSE, END]),
        ([THINKS, *says("so")], None),
    ],
    ids=["goes on", "begins anew", "at once", "with a blank", "looks like it", "ends", "thinks"],
)
def test_a_continuation_is_no_new_beginning(
    again: Sequence[Event], news: Sequence[Event] | None
) -> None:
    replay = Continuation([Told(Text(""), "")], opening=OPENING)
    found = [new for event in again for new in replay.read(event)]
    assert replay.diverged is (news is None)
    assert found == [*(news or ())]
