"""The decoder of streams: orderly ones, sloppy ones, broken ones."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.events import (
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    StreamFailed,
    follow,
)
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.fold import folded
from sidecar.wire.framing import sse
from tests.sidecar.dialects.openai_responses.crossing import FACTS, context, decoded, frame

CREATED = frame("response.created", response={"id": "resp_1", "model": "gpt", "output": []})
COMPLETED = frame(
    "response.completed",
    response={"id": "resp_1", "usage": {"input_tokens": 3, "output_tokens": 2}},
)


def event(name: str, place: int = 0, /, **told: object) -> bytes:
    return frame(f"response.{name}", output_index=place, **told)


def added(place: int = 0, /, **item: object) -> bytes:
    return event("output_item.added", place, item=item)


def done(place: int = 0, /, **item: object) -> bytes:
    return event("output_item.done", place, item=item)


def call(name: str, call_id: str, arguments: str = "") -> dict[str, object]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


MESSAGE = {"type": "message", "role": "assistant"}
TEXT_DELTA = event("output_text.delta", content_index=0, delta="Gr")
SAID = {**MESSAGE, "content": [{"type": "output_text", "text": "Grüezi"}]}
SEARCH = {"type": "web_search_call", "id": "ws_1"}
REASONING = {"type": "reasoning", "id": "rs_1"}

STREAMS: Sequence[tuple[str, list[bytes], tuple[AnswerPart, ...]]] = (
    (
        "text in pieces",
        [added(**MESSAGE, content=[]), TEXT_DELTA, event("output_text.delta", delta="üezi"),
         event("output_text.done", text="Grüezi"), done(**SAID)],
        (Text("Grüezi"),),
    ),
    ("text whole at its end", [event("output_text.done", text="Gr")], (Text("Gr"),)),
    ("text whole in its item", [added(**MESSAGE), done(**SAID)], (Text("Grüezi"),)),
    ("an item that was never added", [done(**SAID)], (Text("Grüezi"),)),
    ("text in no item", [TEXT_DELTA], (Text("Gr"),)),
    ("an empty text", [added(**MESSAGE), event("output_text.done", text=""), done(**MESSAGE)], ()),
    (
        "two texts that claim the same place",
        [added(**MESSAGE), TEXT_DELTA, event("output_text.done", text="Gr"), TEXT_DELTA],
        (Text("Gr"), Text("Gr")),
    ),
    (
        "a refusal in pieces",
        [added(**MESSAGE), event("refusal.delta", delta="N"), event("refusal.delta", delta="o."),
         event("refusal.done", refusal="No.")],
        (Refusal("No."),),
    ),
    (
        "annotations and events of later versions",
        [added(**MESSAGE), event("output_text.annotation.added", annotation={}), TEXT_DELTA,
         event("output_text.shimmer", delta="?"), frame("response.new", delta="?")],
        (Text("Gr"),),
    ),
    (
        "arguments in pieces",
        [added(**call("f", "call_1")), event("function_call_arguments.delta", delta='{"a"'),
         event("function_call_arguments.delta", delta=":1}"),
         event("function_call_arguments.done", arguments='{"a":1}'),
         done(**call("f", "call_1", '{"a":1}'))],
        (ToolCall("call_1", "f", '{"a":1}'),),
    ),
    (
        "arguments whole at their end",
        [added(**call("f", "call_1")), event("function_call_arguments.done", arguments="{}")],
        (ToolCall("call_1", "f", "{}"),),
    ),
    ("arguments whole in the item", [done(**call("f", "c", "{}"))], (ToolCall("c", "f", "{}"),)),
    ("a call without an id", [done(**call("f", "", "{}"))], (ToolCall("call_1", "f", "{}"),)),
    (
        "a name that comes late",
        [added(type="function_call"), event("function_call_arguments.delta", delta="{}"),
         done(**call("f", "call_1", "{}"))],
        (ToolCall("call_1", "f", "{}"),),
    ),
    (
        "interleaved calls",
        [added(0, **call("f", "call_1")), added(1, **call("g", "call_2")),
         event("function_call_arguments.delta", 1, delta='{"b"'),
         event("function_call_arguments.delta", 0, delta='{"a"'),
         event("function_call_arguments.delta", 1, delta=":2}"),
         event("function_call_arguments.delta", 0, delta=":1}"),
         done(1, **call("g", "call_2", '{"b":2}')), done(0, **call("f", "call_1", '{"a":1}'))],
        (ToolCall("call_1", "f", '{"a":1}'), ToolCall("call_2", "g", '{"b":2}')),
    ),
    (
        "items that claim the same place",
        [added(0, **call("f", "call_1")), event("function_call_arguments.delta", 0, delta="{}"),
         added(0, **call("g", "call_2")), event("function_call_arguments.delta", 0, delta="[]")],
        (ToolCall("call_1", "f", "{}"), ToolCall("call_2", "g", "[]")),
    ),
    (
        "a custom tool",
        [added(type="custom_tool_call", call_id="call_1", name="patch", input=""),
         event("custom_tool_call_input.delta", delta='say "'),
         event("custom_tool_call_input.delta", delta='ü"\n'),
         event("custom_tool_call_input.done", input='say "ü"\n')],
        (ToolCall("call_1", "patch", '{"input":"say \\"ü\\"\\n"}', custom=True),),
    ),
    (
        "a custom tool at once",
        [done(type="custom_tool_call", call_id="call_1", name="patch", input="a")],
        (ToolCall("call_1", "patch", '{"input":"a"}', custom=True),),
    ),
    (
        "a summary in two parts, signed",
        [added(**REASONING, summary=[]),
         event("reasoning_summary_text.delta", summary_index=0, delta="One."),
         event("reasoning_summary_text.done", summary_index=0, text="One."),
         event("reasoning_summary_text.done", summary_index=1, text="Two."),
         done(**REASONING, summary=[{"type": "summary_text", "text": "One."}],
              encrypted_content="gAAA")],
        (Thinking("One.\n\nTwo.", "gAAA", "openai-responses"),),
    ),
    (
        "reasoning that is told, not summed up",
        [event("reasoning_text.delta", delta="Hm"),
         event("reasoning_summary_text.delta", summary_index=0, delta="It thinks."),
         done(**REASONING, content=[{"type": "reasoning_text", "text": "Hm"}])],
        (Thinking("Hm"),),
    ),
    (
        "reasoning that is only encrypted",
        [added(**REASONING, summary=[]), done(**REASONING, summary=[], encrypted_content="gAAA")],
        (Thinking("", "gAAA", "openai-responses", redacted=True),),
    ),
    ("reasoning that is not told at all", [done(**REASONING, summary=[])], ()),
    (
        "a server's own tool",
        [added(**SEARCH), event("web_search_call.searching"), done(**SEARCH), TEXT_DELTA],
        (Opaque("openai-responses", "web_search_call", SEARCH), Text("Gr")),
    ),
    ("a server's own tool that never ends", [added(**SEARCH), TEXT_DELTA], (Text("Gr"),)),
    (
        "a late echo",
        [done(**SAID), event("output_text.done", text="Grüezi")],
        (Text("Grüezi"),),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "parts"), [(frames, parts) for _, frames, parts in STREAMS],
    ids=[name for name, _, _ in STREAMS],
)  # fmt: skip
def test_parts_come_out_of_a_stream(frames: list[bytes], parts: tuple[AnswerPart, ...]) -> None:
    answer = folded(decoded([CREATED, *frames, COMPLETED, b"data: [DONE]\n\n"]))
    assert answer.parts == parts
    assert (answer.id, answer.model, answer.usage) == ("resp_1", "gpt", Usage(3, 2))


def test_pieces_are_told_as_they_come() -> None:
    decoder = DIALECT.stream_decoder(context())
    assert decoder.read(CREATED) == [MessageStart("resp_1", "gpt")]
    assert decoder.read(added(**MESSAGE)) == []
    assert decoder.read(TEXT_DELTA) == [PartStart(Text("")), PartDelta("Gr")]
    assert decoder.read(event("output_text.done", text="Gr")) == [PartEnd()]
    assert decoder.read(added(1, **call("f", "call_1"))) == []  # the message is not done
    assert decoder.read(done(**SAID)) == [PartStart(ToolCall("call_1", "f", ""))]


def test_a_stream_without_greeting_begins_by_itself() -> None:
    assert decoded([TEXT_DELTA, COMPLETED])[0] == MessageStart()


def test_an_answer_that_comes_only_with_the_end_is_told_then() -> None:
    ended = frame("response.completed", response={"id": "resp_1", "output": [SAID]})
    assert folded(decoded([CREATED, ended])).parts == (Text("Grüezi"),)


def test_what_the_items_leave_open_the_end_completes() -> None:
    output = [SAID, call("f", "call_1", "{}")]
    ended = frame("response.completed", response={"output": output})
    answer = folded(decoded([added(0, **MESSAGE), added(1, **call("f", "call_1")), ended]))
    assert answer.parts == (Text("Grüezi"), ToolCall("call_1", "f", "{}"))


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "stop"),
    [
        ([TEXT_DELTA, COMPLETED], StopReason.END),
        ([done(**call("f", "call_1")), COMPLETED], StopReason.TOOL_CALLS),
        ([event("refusal.delta", delta="No."), COMPLETED], StopReason.REFUSAL),
        (
            [TEXT_DELTA, frame("response.incomplete",
             response={"incomplete_details": {"reason": "max_output_tokens"}})],
            StopReason.MAX_TOKENS,
        ),
        (
            [done(**call("f", "call_1", "{")), frame("response.incomplete", response={})],
            StopReason.MAX_TOKENS,
        ),
        (
            [frame("response.completed", response={"status": "incomplete",
             "incomplete_details": {"reason": "content_filter"}})],
            StopReason.REFUSAL,
        ),
    ],
)  # fmt: skip
def test_why_it_stopped(frames: list[bytes], stop: StopReason) -> None:
    assert folded(decoded(frames)).stop is stop


FAILURES = [
    (frame("response.failed", response={"error": {"code": "server_error", "message": "Oh"}}),
     ProblemKind.BACKEND_ERROR),
    (frame("response.failed", response={"error": {"code": "rate_limit_exceeded", "message": "Oh"}}),
     ProblemKind.RATE_LIMITED),
    (frame("response.failed", response={"error": {"code": "context_length_exceeded",
     "message": "Oh"}}), ProblemKind.CONTEXT_LENGTH),
    (frame("response.failed", response={"error": {"code": "invalid_image_url", "message": "Oh"}}),
     ProblemKind.BAD_REQUEST),
    (frame("response.failed", response=None), ProblemKind.BACKEND_ERROR),
    (frame("response.completed", response={"status": "failed", "error": {"message": "Oh"}}),
     ProblemKind.BACKEND_ERROR),
    (frame("error", code="server_is_overloaded", message="Oh", param=None), ProblemKind.OVERLOADED),
    (frame("error", error={"code": "insufficient_quota", "message": "Oh"}),
     ProblemKind.RATE_LIMITED),
    (sse(b'{"error":{"message":"Oh","code":"context_length_exceeded"}}'),
     ProblemKind.CONTEXT_LENGTH),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "kind"), FAILURES)
def test_a_failure_inside_a_stream_ends_it(failure: bytes, kind: ProblemKind) -> None:
    events = decoded([CREATED, TEXT_DELTA, failure, COMPLETED])
    assert isinstance(events[-1], StreamFailed)
    assert events[-1].problem.kind is kind
    assert not any(isinstance(one, MessageEnd) for one in events)


@pytest.mark.parametrize("frames", [[], [CREATED], [CREATED, TEXT_DELTA], [b"data: [DONE]\n\n"]])
def test_a_cut_stream_is_a_failed_one(frames: list[bytes]) -> None:
    last = decoded(frames)[-1]
    assert isinstance(last, StreamFailed) and last.problem.kind is ProblemKind.TRUNCATED


def test_junk_is_counted_and_skipped() -> None:
    decoder = DIALECT.stream_decoder(context())
    for junk in (b"data: {\n\n", b"data: 7\n\n", b": hello\n\n", b"data:\n\n", b"data: {}\n\n"):
        assert decoder.read(junk) in ([], [MessageStart()])
    assert decoder.malformed == 2
    assert decoder.read(COMPLETED)[-1] == MessageEnd(StopReason.END)
    assert decoder.finished and decoder.close() == []


def test_items_that_never_end_are_not_hoarded() -> None:
    """Only so much may wait behind the first item."""
    decoder = DIALECT.stream_decoder(context())
    decoder.read(added(0, **MESSAGE))
    piece = event("function_call_arguments.delta", 1, delta="x" * 4_000_000)
    events = [one for _ in range(8) for one in decoder.read(piece)]
    assert isinstance(events[-1], StreamFailed)
    assert events[-1].problem.kind is ProblemKind.PROTOCOL


# --- anything at all ------------------------------------------------------------------------------

_NAMES = [
    "created", "completed", "incomplete", "failed", "output_item.added", "output_item.done",
    "output_text.delta", "output_text.done", "refusal.delta", "reasoning_summary_text.delta",
    "reasoning_text.done", "function_call_arguments.delta", "custom_tool_call_input.done",
]  # fmt: skip
_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "text", "content", "summary", "name", "output", "status"]), inner
    ),
    max_leaves=8,
)  # fmt: skip
_ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "x"])},
    optional=dict.fromkeys(("content", "summary", "name", "call_id", "arguments"), _JUNK),
)
_EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from([f"response.{name}" for name in _NAMES]) | _JUNK},
    optional={
        "item": _ITEMS | _JUNK,
        "response": _JUNK,
        **dict.fromkeys(("output_index", "content_index", "delta", "text", "error"), _JUNK),
    },
)


@given(st.lists(_EVENTS, max_size=12))
def test_whatever_comes_the_order_is_legal(events: list[dict[str, object]]) -> None:
    told = decoded([sse(json.dumps(one)) for one in events])
    assert isinstance(told[-1], StreamFailed | MessageEnd)
    follow(told)


@given(st.lists(_EVENTS, max_size=12))
def test_whatever_is_relayed_the_tap_reads_it(events: list[dict[str, object]]) -> None:
    tap = DIALECT.tap(FACTS)
    frames = [sse(json.dumps(one)) for one in events]
    assert [tap.read(one)[1] for one in frames] == frames
    DIALECT.fold(frames)
