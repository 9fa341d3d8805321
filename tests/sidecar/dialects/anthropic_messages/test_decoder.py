"""A backend's stream into events."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.anthropic_messages.decoder import AnthropicDecoder
from sidecar.dialects.anthropic_messages.response import decode_response
from sidecar.dialects.anthropic_messages.stream import fold, unfold
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
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.fold import folded
from sidecar.wire.framing import FRAME_LIMIT, sse
from tests.sidecar.dialects.anthropic_messages.answers import (
    FACTS,
    adds,
    closes,
    context,
    ends,
    event,
    message,
    opens,
    start,
    text,
)


def read(frames: Sequence[bytes]) -> list[Event]:
    decoder = AnthropicDecoder(context())
    events = [event for frame in frames for event in decoder.read(frame)]
    events += decoder.close()
    assert follow(events) is State.DONE
    assert decoder.read(start()) == decoder.close() == []
    return events


BEGUN = MessageStart("msg_1", "m", Usage(5, 1))
TOTAL = UsageReport(Usage(5, 9))


def whole(*parts: Event, stop: StopReason = StopReason.END) -> list[Event]:
    return [BEGUN, *parts, TOTAL, MessageEnd(stop)]


def says(words: str) -> list[Event]:
    return [PartStart(Text("")), PartDelta(words), PartEnd()]


def calls(id: str, name: str, *pieces: str) -> list[Event]:
    return [PartStart(ToolCall(id, name, "")), *map(PartDelta, pieces), PartEnd()]


def tool(index: int, id: str = "a", **more: object) -> bytes:
    return opens(index, type="tool_use", id=id, name="f", **more)


def piece(index: int, told: str) -> bytes:
    return adds(index, type="input_json_delta", partial_json=told)


THINKING = opens(0, type="thinking", thinking="", signature="")
THINKS = adds(0, type="thinking_delta", thinking="t")
SIGNS = adds(0, type="signature_delta", signature="S")
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search"}


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(text(0, "a"), says("a"), id="text"),
        pytest.param(text(0), [], id="text that stays empty"),
        pytest.param([opens(0, type="text", text="a"), closes(0)], says("a"), id="text at once"),
        pytest.param(
            [THINKING, THINKS, SIGNS, closes(0)],
            [PartStart(Thinking("")), PartDelta("t"), PartEnd("S", "anthropic")],
            id="signed thinking",
        ),
        pytest.param(
            [THINKING, SIGNS, closes(0)],
            [PartStart(Thinking("")), PartEnd("S", "anthropic")],
            id="thinking that is not shown",
        ),
        pytest.param(
            [THINKING, THINKS, closes(0)],
            [PartStart(Thinking("")), PartDelta("t"), PartEnd()],
            id="thinking without a signature",
        ),
        pytest.param(
            [opens(0, type="redacted_thinking", data="D"), closes(0)],
            [PartStart(Thinking("", "D", "anthropic", redacted=True)), PartEnd()],
            id="redacted thinking",
        ),
        pytest.param(
            [*text(0, "a"), event("ping"), *text(1, "b")],
            [*says("a"), Ping(), *says("b")],
            id="a ping",
        ),
        pytest.param(
            [opens(0, **SEARCH, input={}), piece(0, '{"q":'), piece(0, "1}"), closes(0)],
            [
                PartStart(Opaque("anthropic", "server_tool_use", {**SEARCH, "input": {"q": 1}})),
                PartEnd(),
            ],
            id="a tool of the vendor's",
        ),
        pytest.param(
            [opens(0, type="fallback", model="m2"), closes(0), *text(1, "a")],
            says("a"),
            id="another model went on",
        ),
        pytest.param(
            [opens(0, type="text", text=""), adds(0, type="text_delta", text="a"), *text(1, "b")],
            [*says("a"), *says("b")],
            id="a block that nobody ended",
        ),
        pytest.param([adds(0, type="text_delta", text="a"), closes(0)], says("a"), id="nor began"),
        pytest.param(
            [THINKING, THINKS, adds(0, type="text_delta", text="a"), closes(0)],
            [PartStart(Thinking("")), PartDelta("t"), PartEnd(), *says("a")],
            id="text in a block of thinking",
        ),
        pytest.param(
            [event("brand_new", index=0), adds(0, type="new_delta"), *text(0, "a"), start()],
            says("a"),
            id="what is not known is passed over",
        ),
        pytest.param(
            [b": comment\n\n", b"data: [DONE]\n\n", *text(0, "a")], says("a"), id="comments"
        ),
    ],
)
def test_blocks(blocks: list[bytes], expected: list[Event]) -> None:
    assert read([start(), *blocks, *ends()]) == whole(*expected)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        pytest.param(
            [tool(0, input={}), piece(0, ""), piece(0, '{"b"'), piece(0, ":1}"), closes(0)],
            calls("a", "f", '{"b"', ":1}"),
            id="in pieces",
        ),
        pytest.param([tool(0), closes(0)], calls("a", "f", "{}"), id="without arguments"),
        pytest.param(
            [
                tool(0), adds(0, type="text_delta", text="x"), piece(0, "{}"),
                adds(0, type="text_delta", text="y"), closes(0),
            ],
            [*calls("a", "f", "{}"), *says("xy")],
            id="with text among them",
        ),
        pytest.param(
            [tool(0, input={"b": 1}), closes(0)], calls("a", "f", '{"b":1}'), id="at once"
        ),
        pytest.param([tool(0, id=""), closes(0)], calls("call_n1", "f", "{}"), id="without an id"),
        pytest.param(
            [
                tool(0), tool(1, id="b"), piece(1, '{"x"'), piece(0, "{}"), piece(1, ":1}"),
                closes(1), *text(2, "c"), closes(0),
            ],
            [*calls("a", "f", "{}"), *calls("b", "f", '{"x":1}'), *says("c")],
            id="interleaved",
        ),
        pytest.param(
            [tool(0), piece(0, "{}"), tool(1, id="b"), piece(1, "[]")],
            [*calls("a", "f", "{}"), *calls("b", "f", "[]")],
            id="that nobody ended",
        ),
    ],
)  # fmt: skip
def test_calls(blocks: list[bytes], expected: list[Event]) -> None:
    found = read([start(), *blocks, *ends("tool_use")])
    assert found == whole(*expected, stop=StopReason.TOOL_CALLS)


def test_usage_is_what_was_told_last() -> None:
    usage = {"input_tokens": 1, "cache_read_input_tokens": 4, "output_tokens": 1}
    events = read([start(usage=usage), *ends(input_tokens=None, output_tokens=9)])
    assert events[0] == MessageStart("msg_1", "m", Usage(5, 1, 4))
    assert events[1] == UsageReport(Usage(5, 9, 4))


def test_how_it_ended() -> None:
    assert read([start(), *ends("stop_sequence", "END")])[-1] == MessageEnd(
        StopReason.STOP_SEQUENCE, "END"
    )


def test_why_it_refused() -> None:
    delta = {"stop_reason": "refusal", "stop_details": {"explanation": "No."}}
    events = read([start(), event("message_delta", delta=delta), event("message_stop")])
    assert events[1:4] == [PartStart(Refusal("")), PartDelta("No."), PartEnd()]
    assert events[-1] == MessageEnd(StopReason.REFUSAL)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([start(), *text(0, "a"), ends()[0]], id="no message_stop"),
        pytest.param([*text(0, "a"), *ends()], id="no message_start"),
    ],
)
def test_an_end_is_an_end(frames: list[bytes]) -> None:
    answer = folded(read(frames))
    assert (answer.parts, answer.stop) == ((Text("a"),), StopReason.END)


def test_it_is_finished_before_it_has_ended() -> None:
    decoder = AnthropicDecoder(context())
    decoder.read(start())
    assert not decoder.finished
    assert decoder.read(ends()[0]) == []
    assert decoder.finished


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        pytest.param([], ProblemKind.TRUNCATED, id="nothing"),
        pytest.param([start(), *text(0, "a")], ProblemKind.TRUNCATED, id="cut between blocks"),
        pytest.param(
            [start(), *text(0, "a"), ends()[1]], ProblemKind.TRUNCATED, id="message_stop, no reason"
        ),
        pytest.param([start(), *text(0, "a")[:2]], ProblemKind.TRUNCATED, id="cut in a block"),
        pytest.param([start(), b"data: [DONE]\n\n"], ProblemKind.TRUNCATED, id="[DONE] alone"),
        pytest.param(
            [start(), event("error", error={"type": "overloaded_error", "message": "x"})],
            ProblemKind.OVERLOADED,
            id="an error",
        ),
        pytest.param(
            [sse(b'{"type":"error","error":{"type":"rate_limit_error"}}')],
            ProblemKind.RATE_LIMITED,
            id="an error without its name",
        ),
        pytest.param([b"event: error\ndata: oh\n\n"], ProblemKind.PROTOCOL, id="words"),
        pytest.param([sse(b'{"error":"x"}')], ProblemKind.PROTOCOL, id="an error of others"),
    ],
)
def test_failures(frames: list[bytes], kind: ProblemKind) -> None:
    failed = read(frames)[-1]
    assert isinstance(failed, StreamFailed) and failed.problem.kind is kind


def test_junk_is_counted() -> None:
    decoder = AnthropicDecoder(context())
    for frame in (sse(b"{"), sse(b"[]"), sse(b"\xff")):
        assert decoder.read(frame) == []
    assert decoder.malformed == 3


def test_blocks_that_are_held_back_are_few() -> None:
    decoder = AnthropicDecoder(context())
    decoder.read(tool(0))
    events = [event for index in range(1, 2000) for event in decoder.read(tool(index))]
    assert isinstance(events[-1], StreamFailed)


def test_what_is_held_back_is_bounded() -> None:
    decoder = AnthropicDecoder(context())
    decoder.read(tool(0))
    decoder.read(tool(1, id="b"))
    frame = piece(1, "x" * (FRAME_LIMIT // 4))
    events = [event for _ in range(5) for event in decoder.read(frame)]
    (failed,) = events
    assert isinstance(failed, StreamFailed) and failed.problem.kind is ProblemKind.PROTOCOL


ANSWERS = [
    message({"type": "text", "text": "a"}),
    message(
        {"type": "thinking", "thinking": "t", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"b": [1, None]}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {}},
        {**SEARCH, "input": {"q": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        stop="tool_use",
    ),
    message(stop="refusal", stop_details={"type": "refusal", "explanation": "No."}),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_stream_says_what_a_whole_answer_says(answer: dict[str, object]) -> None:
    frames = unfold(answer, FACTS)
    assert folded(read(frames)) == decode_response(answer, context())
    assert fold(frames) == answer


KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop",
     "message_delta", "message_stop", "ping", "error"]
)  # fmt: skip
TYPES = st.sampled_from(
    ["text", "thinking", "tool_use", "redacted_thinking", "server_tool_use", "text_delta",
     "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"]
)  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=3,
)
INNER = ODD | st.fixed_dictionaries(
    {"type": TYPES | ODD},
    optional={
        name: st.text(max_size=3) | ODD
        for name in (
            "text", "thinking", "signature", "data", "id", "name", "input", "partial_json",
            "stop_reason", "stop_details", "usage", "model",
        )
    },
)  # fmt: skip
EVENTS = st.fixed_dictionaries(
    {"type": KINDS},
    optional={
        "index": st.integers(0, 2) | ODD,
        "content_block": INNER,
        "delta": INNER,
        "message": INNER,
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), ODD) | ODD,
    },
)


@given(st.lists(EVENTS.map(lambda told: sse(json.dumps(told))) | st.binary(max_size=40)))
def test_nothing_breaks_the_order(frames: list[bytes]) -> None:
    read(frames)
