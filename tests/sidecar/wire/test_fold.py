"""Events add up to the answer they were made of, and end well only where they say so."""

import pytest
from hypothesis import given

from sidecar.neutral.events import (
    Event,
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
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.fold import folded, unfolded
from tests.laws.strategies import answers, streams

ANSWER = ChatResponse(
    (
        Thinking("hm", "EqQ=", "anthropic"),
        Thinking("", "x", "anthropic", redacted=True),
        Text("Grüezi"),
        Refusal("no"),
        ToolCall("call_1", "weather", '{"city":"Zürich"}'),
        ToolCall("call_2", "now", ""),
        Opaque("anthropic", "server_tool_use", {"id": "s1"}),
    ),
    StopReason.TOOL_CALLS,
    usage=Usage(3, 4),
    id="msg_1",
    model="m",
)


def test_every_part_survives() -> None:
    assert folded(unfolded(ANSWER)) == ANSWER
    assert follow(unfolded(ANSWER)) is State.DONE


@given(answers())
def test_an_unfolded_answer_folds_back(answer: ChatResponse) -> None:
    events = list(unfolded(answer))
    assert follow(events) is State.DONE
    assert folded(events) == answer


@given(streams())
def test_however_a_stream_is_told_it_adds_up_to_its_answer(
    stream: tuple[ChatResponse, list[Event]],
) -> None:
    answer, events = stream
    assert folded(events) == answer


def test_the_last_usage_counts() -> None:
    events: list[Event] = [
        MessageStart(usage=Usage(1, 0)),
        UsageReport(Usage(1, 2)),
        Ping(),
        UsageReport(Usage(1, 3)),
        MessageEnd(StopReason.END),
    ]
    assert folded(events).usage == Usage(1, 3)
    assert folded([events[0], events[-1]]).usage == Usage(1, 0)


@pytest.mark.parametrize("whole", [True, False], ids=["told at the start", "told at the end"])
def test_a_signature_is_taken_from_where_it_is_told(whole: bool) -> None:
    part = Thinking("", "EqQ=", "anthropic") if whole else Thinking("")
    end = PartEnd() if whole else PartEnd("EqQ=", "anthropic")
    last = MessageEnd(StopReason.END)
    events: list[Event] = [MessageStart(), PartStart(part), PartDelta("hm"), end, last]
    assert folded(events).parts == (Thinking("hm", "EqQ=", "anthropic"),)


def test_a_failure_is_raised() -> None:
    problem = Problem(ProblemKind.OVERLOADED, "too busy")
    with pytest.raises(AttemptFailed) as failure:
        folded([MessageStart(), PartStart(Text("")), StreamFailed(problem)])
    assert failure.value.problem is problem


def test_events_without_an_end_are_a_failure() -> None:
    events = list(unfolded(ANSWER))[:-1]
    with pytest.raises(AttemptFailed) as failure:
        folded(events)
    assert failure.value.problem.kind is ProblemKind.TRUNCATED
