"""Lines into events in legal order, and events into lines."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.ollama_chat.events import OllamaDecoder, OllamaEncoder
from sidecar.dialects.ollama_chat.response import decode_response, encode_response
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
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation
from sidecar.wire.fold import folded, unfolded
from tests.sidecar.dialects.ollama_chat.context import answering


def line(content: str = "", done: bool = False, **more: Any) -> bytes:
    extra = more.pop("extra", {})
    message = {"role": "assistant", "content": content, **more}
    return json.dumps({"model": "m", "message": message, "done": done, **extra}) + b"\n"


def call(id: str | None, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "function": {"name": name, "arguments": arguments}}


END = line(done=True, extra={"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4})


def events(lines: Iterable[bytes]) -> list[Event]:
    decoder = OllamaDecoder(answering())
    found = [event for one in lines for event in decoder.read(one)] + decoder.close()
    assert follow(found) is State.DONE
    return found


def test_thinking_text_and_tools() -> None:
    stream = [
        line(thinking="H"),
        line(thinking="m"),
        line("Wa"),
        line("it"),
        line(tool_calls=[call("a", "f", x=1), call(None, "g")]),
        END,
    ]
    assert events(stream) == [
        MessageStart(model="m"),
        PartStart(Thinking("")),
        PartDelta("H"),
        PartDelta("m"),
        PartEnd(),
        PartStart(Text("")),
        PartDelta("Wa"),
        PartDelta("it"),
        PartEnd(),
        PartStart(ToolCall("a", "f", "")),
        PartDelta('{"x":1}'),
        PartEnd(),
        PartStart(ToolCall("call_new1", "g", "")),
        PartDelta("{}"),
        PartEnd(),
        UsageReport(Usage(3, 4)),
        MessageEnd(StopReason.TOOL_CALLS),
    ]


def test_calls_in_the_last_line_are_told_once() -> None:
    calls = [call("a", "f")]
    found = events([line(tool_calls=calls), line(done=True, tool_calls=calls)])
    assert [event for event in found if isinstance(event, PartStart)] == [
        PartStart(ToolCall("a", "f", ""))
    ]
    assert found[-1] == MessageEnd(StopReason.TOOL_CALLS)


def test_arguments_that_are_no_text_yet() -> None:
    bare = {"id": "a", "function": {"name": "f", "arguments": ""}}
    assert events([line(done=True, tool_calls=[bare])])[1:3] == [
        PartStart(ToolCall("a", "f", "")),
        PartEnd(),
    ]


def test_lines_that_say_nothing_show_that_the_backend_is_alive() -> None:
    assert events([line(), line("x"), line(), END])[:5] == [
        MessageStart(model="m"),
        Ping(),
        PartStart(Text("")),
        PartDelta("x"),
        Ping(),
    ]


def test_one_line_may_say_it_all() -> None:
    assert events([line("Hi", done=True, extra={"done_reason": "length"})]) == [
        MessageStart(model="m"),
        PartStart(Text("")),
        PartDelta("Hi"),
        PartEnd(),
        MessageEnd(StopReason.MAX_TOKENS),
    ]


@pytest.mark.parametrize("cut", [[], [line("Hi")], [line(tool_calls=[call("a", "f")])]])
def test_a_stream_without_its_end_was_cut(cut: list[bytes]) -> None:
    failed = events(cut)[-1]
    assert isinstance(failed, StreamFailed)
    assert failed.problem.kind is ProblemKind.TRUNCATED


def test_an_error_ends_the_stream() -> None:
    found = events([line("Hi"), b'{"error":"out of memory"}\n', line("more"), END])
    assert isinstance(found[-1], StreamFailed)
    assert found[-1].problem.kind is ProblemKind.BACKEND_ERROR
    assert len(found) == 4


def test_junk_is_counted_and_skipped() -> None:
    decoder = OllamaDecoder(answering())
    for junk in (b"junk\n", b"[]\n", b'{"message"\n', b"\n", b'{"message":3}\n'):
        decoder.read(junk)
    assert (decoder.malformed, decoder.finished) == (3, False)
    assert isinstance(decoder.read(END)[-1], MessageEnd)
    assert (decoder.malformed, decoder.finished) == (3, True)
    assert decoder.read(line("behind the end")) + decoder.close() == []


NAMES = (
    "message", "content", "thinking", "tool_calls", "function", "name", "arguments", "id", "done",
    "done_reason", "eval_count", "error", "model",
)  # fmt: skip
WORDS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "x", "f", "load"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(lines=st.lists(WORDS.map(json.dumps) | st.binary(max_size=20), max_size=8))
def test_whatever_comes_the_order_is_legal(lines: list[bytes]) -> None:
    events(lines)


# --- encoding -------------------------------------------------------------------------------------


def told(happened: Iterable[Event], operation: Operation = Operation.CHAT) -> list[Any]:
    encoder = OllamaEncoder(answering(operation))
    text = b"".join(encoder.encode(event) for event in happened)
    assert text.endswith(b"\n") or not text
    lines = [json.loads(one) for one in text.splitlines()]
    for one in lines:
        if "error" not in one:
            assert one.pop("created_at") == "2023-11-14T22:13:20Z"
    return lines


def message(content: str = "", **more: Any) -> Any:
    said = {"role": "assistant", "content": content, **more}
    return {"model": "m", "message": said, "done": False}


PARTS: list[Event] = [
    MessageStart("msg_1", "m", Usage(3, 0)),
    PartStart(Thinking("")),
    PartDelta("Hm"),
    PartEnd("sig", "anthropic"),
    PartStart(Opaque("anthropic", "x", {})),
    PartEnd(),
    PartStart(Text("")),
    PartDelta("Wait"),
    PartEnd(),
]
LAST: list[Event] = [UsageReport(Usage(3, 4)), MessageEnd(StopReason.END)]
METRICS = {
    "total_duration": 1_000_000_000,
    "load_duration": 0,
    "prompt_eval_count": 3,
    "prompt_eval_duration": 500_000_000,
    "eval_count": 4,
    "eval_duration": 500_000_000,
}


def test_lines_of_a_chat() -> None:
    assert told([*PARTS, *LAST]) == [
        message(thinking="Hm"),
        message("Wait"),
        message() | {"done": True, "done_reason": "stop"} | METRICS,
    ]


def test_lines_of_a_completion() -> None:
    assert told([*PARTS, *LAST], Operation.COMPLETION) == [
        {"model": "m", "response": "", "thinking": "Hm", "done": False},
        {"model": "m", "response": "Wait", "done": False},
        {"model": "m", "response": "", "done": True, "done_reason": "stop"} | METRICS,
    ]


def test_a_tool_call_is_told_once_it_is_whole() -> None:
    stream: list[Event] = [
        MessageStart(),
        PartStart(ToolCall("toolu_1", "f", "")),
        PartDelta('{"x"'),
        PartDelta(":1}"),
        PartEnd(),
        PartStart(ToolCall("toolu_2", "g", "")),
        PartEnd(),
        MessageEnd(StopReason.TOOL_CALLS),
    ]
    calls = [
        {"id": "toolu_1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
        {"id": "toolu_2", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    found = told(stream)
    assert [one["message"].get("tool_calls") for one in found] == [calls[:1], calls[1:], None]
    assert {one["model"] for one in found} == {"qwen3"}
    assert found[-1]["done_reason"] == "stop"


def test_a_refusal_is_text_and_a_ping_is_a_line_that_says_nothing() -> None:
    stream: list[Event] = [
        MessageStart(model="m"),
        Ping(),
        PartStart(Refusal("")),
        PartDelta("No."),
        Ping(),
    ]
    assert told(stream) == [message(), message("No."), message()]


def test_a_failure_is_one_line_and_the_last() -> None:
    problem = Problem(ProblemKind.TRUNCATED, "It broke off.")
    assert told([*PARTS, StreamFailed(problem)])[-1] == {
        "error": "It broke off.",
        "code": "truncated",
    }
    assert told([StreamFailed(problem)]) == [{"error": "It broke off.", "code": "truncated"}]


def test_a_stream_and_the_whole_answer_say_the_same() -> None:
    parts = (Thinking("Hm"), Text("Wait"), ToolCall("a", "f", '{"x":1}'))
    answer = ChatResponse(parts, StopReason.TOOL_CALLS, usage=Usage(3, 4), model="m")
    encoder = OllamaEncoder(answering())
    lines = b"".join(map(encoder.encode, unfolded(answer))).splitlines(keepends=True)
    assert folded(events(lines)) == answer
    assert decode_response(encode_response(answer, answering()), answering()) == answer
