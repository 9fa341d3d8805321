"""The decoder: whatever the chunks look like, the events say the same and come in legal order."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_chat.decoder import WAITING_LIMIT, OpenAiDecoder
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartStart,
    Ping,
    State,
    StreamFailed,
    follow,
)
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.fold import folded
from sidecar.wire.framing import sse
from tests.sidecar.dialects.openai_chat.crossing import chunk, context, says

S = StopReason
DONE = b"data: [DONE]\n\n"
STOP = says({}, "stop")
CALLED = says({}, "tool_calls")
ARGUMENTS = '{"city":"Paris"}'


def heard(*frames: bytes) -> list[Event]:
    decoder = OpenAiDecoder(context())
    events = [event for frame in frames for event in decoder.read(frame)]
    return [*events, *decoder.close()]


def answer(*frames: bytes) -> ChatResponse:
    events = heard(*frames)
    assert follow(events) is State.DONE
    return folded(events)


def call(text: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": text}
    return more | {"function": {key: told for key, told in function.items() if told is not None}}


def calls(*items: dict[str, Any]) -> bytes:
    return says({"tool_calls": list(items)})


def test_a_stream_as_openai_sends_it() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    frames = [says({"role": "assistant", "content": ""}), says({"content": "He"})]
    frames += [says({"content": "llo"}), STOP, chunk(usage=usage), DONE]
    assert answer(*frames) == ChatResponse(
        (Text("Hello"),), S.END, None, Usage(3, 2), "chatcmpl-1", "m-1"
    )
    assert [type(event).__name__ for event in heard(*frames)] == [
        *("MessageStart", "PartStart", "PartDelta", "PartDelta", "PartEnd"),
        *("UsageReport", "MessageEnd"),
    ]


# --- parts ----------------------------------------------------------------------------------------

PARIS = ToolCall("a", "weather", ARGUMENTS)
NOW = ToolCall("b", "now", "{}")


@pytest.mark.parametrize(
    ("frames", "parts"),
    [
        pytest.param([says({"content": None})], (), id="nothing"),
        pytest.param([chunk({"message": {"content": "x"}})], (Text("x"),), id="message"),
        pytest.param([sse(b'{"id":"1"}'), says({"content": "x"})], (Text("x"),), id="no choices"),
        pytest.param([chunk({"text": "x"})], (Text("x"),), id="text"),
        pytest.param([says({"refusal": "No."})], (Refusal("No."),), id="refusal"),
        pytest.param(
            [says({"content": "<think>a</think>b"})], (Text("<think>a</think>b"),), id="inline tags"
        ),
        pytest.param(
            [
                says({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}]}),
                says({"content": [{"type": "text", "text": "x"}]}),
            ],
            (Thinking("hm"), Text("x")),
            id="content in parts (Mistral)",
        ),
        pytest.param(
            [chunk({"index": 1, "delta": {"content": "second"}}), says({"content": "x"})],
            (Text("x"),),
            id="a further choice is left out",
        ),
        pytest.param(
            [says({"reasoning_content": "h"}), says({"reasoning": "m"}), says({"content": "x"})],
            (Thinking("hm"), Text("x")),
            id="reasoning under both names",
        ),
        pytest.param(
            [
                says({"reasoning": "hm", "reasoning_details": [{"text": "hm", "index": 0}]}),
                says({"reasoning_details": [{"text": "", "signature": "sig", "index": 0}]}),
            ],
            (Thinking("hm", "sig", "openai"),),
            id="reasoning told twice, signed at its end (OpenRouter)",
        ),
        pytest.param(
            [
                says({"reasoning_content": "hm"}),
                says({"reasoning_details": [{"text": "hm", "signature": "llm-sidecar.toy.sig"}]}),
            ],
            (Thinking("hm", "sig", "toy"),),
            id="reasoning as another sidecar tells it",
        ),
        pytest.param(
            [
                says({"thinking_blocks": [{"type": "thinking", "thinking": "h"}]}),
                says({"thinking_blocks": [{"thinking": "m", "signature": "sig"}]}),
                says({"thinking_blocks": [{"type": "redacted_thinking", "data": "blob"}]}),
            ],
            (Thinking("hm", "sig", "openai"), Thinking("", "blob", "openai", redacted=True)),
            id="thinking blocks (LiteLLM)",
        ),
        pytest.param(
            [
                says({"content": "a"}),
                calls(call("{}", "now", index=0, id="b")),
                says({"content": "c"}),
            ],
            (Text("a"), NOW, Text("c")),
            id="text around a call",
        ),
    ],
)
def test_parts(frames: list[bytes], parts: Sequence[AnswerPart]) -> None:
    assert answer(*frames, STOP, DONE).parts == tuple(parts)


@pytest.mark.parametrize(
    ("items", "parts"),
    [
        pytest.param([call(ARGUMENTS, "weather", index=0, id="a")], (PARIS,), id="whole"),
        pytest.param(
            [
                call("", "weather", index=0, id="a"),
                call('{"city":', index=0),
                call('"Paris"}', index=0),
            ],
            (PARIS,),
            id="in pieces",
        ),
        pytest.param(
            [call(ARGUMENTS[:end], "weather", index=0, id="a") for end in (0, 4, 9, 16, 16)],
            (PARIS,),
            id="cumulative",
        ),
        pytest.param(
            [call(ARGUMENTS, id="a"), call(name="weather")], (PARIS,), id="name behind arguments"
        ),
        pytest.param(
            [call("", "weather", index=0), call(ARGUMENTS, index=0, id="a")],
            (PARIS,),
            id="id behind the name",
        ),
        pytest.param(
            [call(ARGUMENTS, "weather", index=0), call("{}", "now", index=1)],
            (ToolCall("call_new1", "weather", ARGUMENTS), ToolCall("call_new2", "now", "{}")),
            id="no ids",
        ),
        pytest.param(
            [call(ARGUMENTS, "weather", id="a"), call("{}", "now", id="b")],
            (PARIS, NOW),
            id="two without an index",
        ),
        pytest.param(
            [call(ARGUMENTS, "weather", index=0, id="a"), call("{}", "now", index=0, id="b")],
            (PARIS, NOW),
            id="two with index 0",
        ),
        pytest.param(
            [
                call("", "weather", index=0, id="a"),
                call("", "now", index=1, id="b"),
                call('{"city":', index=0),
                call("{", index=1),
                call('"Paris"}', index=0),
                call("}", index=1),
            ],
            (PARIS, NOW),
            id="interleaved",
        ),
        pytest.param(
            [call(index=3, id="b", name="now")], (ToolCall("b", "now", ""),), id="no arguments"
        ),
    ],
)
def test_tool_calls(items: list[Any], parts: Sequence[ToolCall]) -> None:
    apart, together = answer(*map(calls, items), CALLED), answer(calls(*items), CALLED)
    assert apart.parts == together.parts == tuple(parts)
    assert apart.stop is S.TOOL_CALLS


def test_a_call_follows_at_once_where_the_one_before_is_complete() -> None:
    decoder = OpenAiDecoder(context())
    decoder.read(calls(call(ARGUMENTS, "weather", index=0, id="a")))
    assert PartStart(ToolCall("b", "now", "")) in decoder.read(calls(call("", "now", id="b")))


def test_the_older_form_of_calls() -> None:
    frames = [says({"function_call": {"name": "now", "arguments": "{"}})]
    frames += [says({"function_call": {"arguments": "}"}}), says({}, "function_call")]
    told = answer(*frames)
    assert (told.parts, told.stop) == ((ToolCall("call_new1", "now", "{}"),), S.TOOL_CALLS)


@pytest.mark.parametrize("empty", [None, []])
def test_no_tool_calls_are_none(empty: object) -> None:
    told = answer(says({"content": "x", "tool_calls": empty}), STOP)
    assert (told.parts, told.stop) == ((Text("x"),), S.END)


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "stop", "sequence"),
    [
        (says({}, "stop"), S.END, None),
        (says({}, "stop", stop_reason="###"), S.STOP_SEQUENCE, "###"),
        (says({}, "stop", stop_reason=128009), S.END, None),
        (says({}, "length"), S.MAX_TOKENS, None),
        (says({}, "content_filter"), S.REFUSAL, None),
        (says({}, "tool_calls"), S.END, None),  # without one
        (says({}, "of its own making"), S.END, None),
        (chunk({"delta": {}, "finish_reason": 1}), S.END, None),
    ],
)
def test_why_it_ended(last: bytes, stop: StopReason, sequence: str | None) -> None:
    assert heard(says({"content": "x"}), last)[-1] == MessageEnd(stop, sequence)


def test_a_call_counts_though_the_backend_says_stop() -> None:
    called = calls(call("{}", "now", index=0, id="b"))
    assert answer(called, STOP).stop is S.TOOL_CALLS
    assert answer(called, says({}, "length")).stop is S.MAX_TOKENS
    assert answer(says({"refusal": "No."}), STOP).stop is S.REFUSAL


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
X = says({"content": "x"})


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([X, STOP, chunk(usage=USAGE), DONE], id="behind the finish"),
        pytest.param([X, STOP, sse(json.dumps({"usage": USAGE}))], id="without choices"),
        pytest.param([X, chunk({"delta": {}, "finish_reason": "stop"}, usage=USAGE)], id="with it"),
        pytest.param([X, STOP, chunk({"delta": {}}, usage=USAGE)], id="with an empty delta"),
        pytest.param(
            [
                chunk({"delta": {"content": "x"}}, usage={**USAGE, "completion_tokens": 1}),
                chunk({"delta": {}, "finish_reason": "stop"}, usage=USAGE),
            ],
            id="with every chunk",
        ),
        pytest.param([X, says({}, "stop", usage=USAGE)], id="in the choice (Moonshot)"),
        pytest.param(
            [X, chunk({"delta": {}, "finish_reason": "stop"}, x_groq={"usage": USAGE})], id="Groq"
        ),
        pytest.param([X, STOP, chunk(usage=USAGE), chunk(usage={})], id="then nothing"),
    ],
)
def test_usage_in_any_place(frames: list[bytes]) -> None:
    assert answer(*frames).usage == Usage(3, 2)


def test_usage_that_never_comes() -> None:
    assert answer(X, STOP, DONE).usage is None


def test_the_end_waits_for_usage_and_no_longer() -> None:
    decoder = OpenAiDecoder(context())
    decoder.read(X)
    assert not any(isinstance(event, MessageEnd) for event in decoder.read(STOP))
    assert decoder.finished
    assert isinstance(decoder.read(chunk(usage=USAGE))[-1], MessageEnd)
    assert decoder.read(X) == decoder.close() == []


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([], ProblemKind.TRUNCATED),
        ([X], ProblemKind.TRUNCATED),
        ([X, DONE], ProblemKind.TRUNCATED),
        ([X, says({}, "error"), STOP], ProblemKind.BACKEND_ERROR),
        ([X, says({}, "insufficient_system_resource")], ProblemKind.BACKEND_ERROR),
        ([X, sse(b'{"error":{"message":"slow down","code":429}}')], ProblemKind.RATE_LIMITED),
        ([X, b'event: error\ndata: {"message":"boom"}\n\n'], ProblemKind.PROTOCOL),
        ([calls(call("{}", index=0, id="a")), CALLED], ProblemKind.PROTOCOL),
    ],
)
def test_failures(frames: list[bytes], kind: ProblemKind) -> None:
    events = heard(*frames)
    assert follow(events) is State.DONE
    assert isinstance(failed := events[-1], StreamFailed)
    assert failed.problem.kind is kind


def test_what_waits_has_a_limit() -> None:
    decoder = OpenAiDecoder(context())
    decoder.read(calls(call('{"', "weather", index=0, id="a")))
    piece = "x" * (WAITING_LIMIT // 4)
    events = [event for _ in range(5) for event in decoder.read(says({"content": piece}))]
    assert isinstance(events[-1], StreamFailed)


def test_junk_is_skipped_and_counted_and_comments_are_signs_of_life() -> None:
    decoder = OpenAiDecoder(context())
    assert decoder.read(b": ping\n\n") == decoder.read(sse(b"{")) == decoder.read(sse(b"[]")) == []
    assert decoder.malformed == 2
    assert decoder.read(X) == [
        MessageStart("chatcmpl-1", "m-1"), PartStart(Text("")), PartDelta("x"),
    ]  # fmt: skip
    assert decoder.read(b": ping\n\n") == [Ping()]


WORDS = st.sampled_from(
    [
        *("choices", "delta", "message", "index", "finish_reason", "text", "usage", "error"),
        *("tool_calls", "id", "function", "name", "content", "arguments", "reasoning_content"),
        *("reasoning_details", "signature", "thinking_blocks", "type", "function_call", "refusal"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", '{"a":', "}", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)
DELTAS = st.dictionaries(WORDS, JSON, max_size=3)
CHOICES = st.fixed_dictionaries(
    {}, optional={"delta": DELTAS | JSON, "index": JSON, "finish_reason": JSON, "message": DELTAS}
)
CHUNKS = st.fixed_dictionaries({"choices": st.lists(CHOICES, max_size=2)})


@given(st.lists(st.binary(max_size=40) | JSON | CHUNKS, max_size=8))
def test_any_input_gives_a_legal_stream(told: list[object]) -> None:
    frames = [one if isinstance(one, bytes) else sse(json.dumps(one)) for one in told]
    assert follow(heard(*frames)) is State.DONE
