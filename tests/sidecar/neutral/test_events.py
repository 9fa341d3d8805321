"""The order of a stream: what may follow what."""

import pytest

from sidecar.neutral.events import (
    Event,
    IllegalOrder,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    State,
    StreamFailed,
    UsageReport,
    follow,
)
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Text
from sidecar.neutral.response import StopReason
from sidecar.neutral.usage import Usage

START, OPEN, MORE, CLOSE = MessageStart(), PartStart(Text("")), PartDelta("a"), PartEnd()
PING, USAGE, END = Ping(), UsageReport(Usage(1, 1)), MessageEnd(StopReason.END)
FAILED = StreamFailed(Problem(ProblemKind.TRUNCATED, "cut"))


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.IDLE),
        ([START, PING, USAGE], State.BETWEEN_PARTS),
        ([START, OPEN, MORE, PING, USAGE, MORE], State.IN_PART),
        ([START, OPEN, CLOSE, OPEN, MORE, CLOSE, USAGE, END], State.DONE),
        ([START, END], State.DONE),
        ([FAILED], State.DONE),
        ([START, FAILED], State.DONE),
        ([START, OPEN, FAILED], State.DONE),
    ],
)
def test_legal(events: list[Event], state: State) -> None:
    assert follow(events) is state


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([PING], "Ping idle"),
        ([OPEN], "PartStart idle"),
        ([START, START], "MessageStart between parts"),
        ([START, MORE], "PartDelta between parts"),
        ([START, CLOSE], "PartEnd between parts"),
        ([START, OPEN, OPEN], "PartStart in a part"),
        ([START, OPEN, END], "MessageEnd in a part"),
        ([START, END, END], "MessageEnd done"),
        ([START, END, USAGE], "UsageReport done"),
        ([FAILED, FAILED], "StreamFailed done"),
    ],
)
def test_illegal(events: list[Event], told: str) -> None:
    with pytest.raises(IllegalOrder, match=told):
        follow(events)
