"""The encoder: the chunks that clients get, as the official SDK reads them."""

from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import pytest

from sidecar.dialects.openai_chat.encoder import stream_encoder
from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    StreamFailed,
)
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import ChatRequest, Opaque, Refusal, Text, Thinking, Tool, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import AnswerContext, Operation
from sidecar.wire.fold import unfolded
from tests.sidecar.dialects.openai_chat.crossing import chunks, context

S = StopReason
USAGE = Usage(10, 5, 4, 2, 3)
PATCH = Tool("patch", custom=True)


def told(events: Iterable[Event], ctx: AnswerContext | None = None) -> bytes:
    encoder = stream_encoder(ctx or context())
    return b"".join(encoder.encode(event) for event in events)


def stream(
    *parts: AnswerPart, stop: StopReason = S.END, ctx: AnswerContext | None = None, **more: Any
) -> bytes:
    return told(unfolded(ChatResponse(parts, stop, usage=USAGE, model="m-1", **more)), ctx)


def deltas(text: bytes) -> list[Any]:
    found = [one["choices"][0]["delta"] for one in chunks(text)[:-1] if one["choices"]]
    assert found[0] == {"role": "assistant", "content": ""} and found[-1] == {}
    return found[1:-1]


def test_every_chunk_has_the_same_head_and_usage_comes_last() -> None:
    *told, usage, done = chunks(stream(Text("Hi"), id="msg_1"))
    head = {
        "id": "chatcmpl-new1",
        "created": 1_700_000_000,
        "model": "m-1",
        "object": "chat.completion.chunk",
    }
    assert all(head.items() <= one.items() for one in (*told, usage))
    assert [one["usage"] for one in told] == [None] * len(told)
    assert told[-1]["choices"] == [
        {"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": None}
    ]
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert done == "[DONE]"


def test_usage_is_for_who_asked() -> None:
    told = chunks(stream(Text("Hi"), ctx=context(wants_usage=False)))
    assert not any("usage" in one for one in told)
    assert told[-2]["choices"][0]["finish_reason"] == "stop"


def test_an_id_of_its_own_kind_stays_and_a_model_is_always_named() -> None:
    first = chunks(told([MessageStart("chatcmpl-7")]))[0]
    assert (first["id"], first["model"]) == ("chatcmpl-7", "asked-for")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([Text("a"), Text("b")], [{"content": "a"}, {"content": "b"}]),
        ([Refusal("No.")], [{"refusal": "No."}]),
        ([Thinking("hm")], [{"reasoning_content": "hm"}]),
        (
            [Thinking("hm", "sig", "toy"), Thinking("", "blob", "openai", redacted=True)],
            [
                {"reasoning_content": "hm"},
                {
                    "reasoning_details": [
                        {
                            "type": "reasoning.text",
                            "text": "hm",
                            "signature": "llm-sidecar.toy.sig",
                            "index": 0,
                        }
                    ]
                },
                {
                    "reasoning_details": [
                        {"type": "reasoning.encrypted", "data": "blob", "index": 1}
                    ]
                },
            ],
        ),
        (
            [ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "")],
            [
                {"tool_calls": [{"index": 0, "id": "a", "type": "function"} | function]}
                if name
                else {"tool_calls": [{"index": 0} | function]}
                for name, function in [
                    ("f", {"function": {"name": "f", "arguments": ""}}),
                    ("", {"function": {"arguments": '{"x":1}'}}),
                ]
            ]
            + [
                {
                    "tool_calls": [
                        {
                            "index": 1,
                            "id": "b",
                            "type": "function",
                            "function": {"name": "g", "arguments": ""},
                        }
                    ]
                },
                {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
            ],
        ),
        ([Opaque("toy", "server_tool_use", {})], []),
    ],
)
def test_parts(parts: list[AnswerPart], expected: list[Any]) -> None:
    assert deltas(stream(*parts)) == expected


def test_a_custom_tool_gets_its_free_text_whole() -> None:
    ctx = context(request=ChatRequest((), tools=(PATCH,)))
    call = ToolCall("a", "patch", "")
    pieces = [PartDelta('{"in'), PartDelta('put":"*** x"}')]
    text = told(
        [MessageStart(), PartStart(call), *pieces, PartEnd(), MessageEnd(S.TOOL_CALLS)], ctx
    )
    assert deltas(text) == [
        {
            "tool_calls": [
                {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "custom": {"input": "*** x"}}]},
    ]


def test_the_older_form_of_calls_has_a_place_for_one() -> None:
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "g", "{}"))
    text = stream(*calls, stop=S.TOOL_CALLS, ctx=context(old_calls=True))
    assert deltas(text) == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]
    assert chunks(text)[-3]["choices"][0]["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (S.END, "stop"),
        (S.MAX_TOKENS, "length"),
        (S.TOOL_CALLS, "tool_calls"),
        (S.REFUSAL, "content_filter"),
        (S.PAUSE, "stop"),
    ],
)
def test_finish_reasons(stop: StopReason, reason: str) -> None:
    end = chunks(told([MessageStart(), MessageEnd(stop)]))[1]["choices"][0]
    assert end["finish_reason"] == reason and "stop_reason" not in end


def test_the_stop_sequence_stands_where_vllm_tells_it() -> None:
    end = chunks(told([MessageStart(), MessageEnd(S.STOP_SEQUENCE, "###")]))[1]["choices"][0]
    assert (end["finish_reason"], end["stop_reason"]) == ("stop", "###")


def test_signs_of_life_and_failures() -> None:
    failed = StreamFailed(Problem(ProblemKind.OVERLOADED, "Too much."))
    text = told([MessageStart(), Ping(), PartStart(Text("")), PartDelta("x"), failed])
    assert b": keepalive\n\n" in text and b"[DONE]" not in text
    assert chunks(text)[-1] == {
        "error": {
            "message": "Too much.", "type": "server_error", "param": None, "code": "overloaded",
        }
    }  # fmt: skip


def test_a_completion_is_text_alone() -> None:
    ctx = context(Operation.COMPLETION)
    told = chunks(stream(Thinking("hm"), Text("a"), Text("b"), ctx=ctx))
    choices = [one["choices"][0] for one in told[:-1] if one["choices"]]
    assert [choice["text"] for choice in choices] == ["a", "b", ""]
    assert choices[-1]["finish_reason"] == "stop"
    assert {one["object"] for one in told[:-1]} == {"text_completion"}
    assert told[0]["id"] == "cmpl-new1"


# --- the official SDK -----------------------------------------------------------------------------


def client(body: bytes) -> openai.OpenAI:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    transport = httpx2.MockTransport(answer)
    return openai.OpenAI(
        api_key="k", base_url="http://sidecar/v1", http_client=httpx2.Client(transport=transport)
    )


def test_the_sdk_puts_a_stream_together() -> None:
    parts: list[AnswerPart] = [
        Thinking("hm", "sig", "toy"),
        Text("Hello"),
        ToolCall("a", "f", '{"x":1}'),
        ToolCall("b", "g", ""),
    ]
    body = stream(*parts, stop=S.TOOL_CALLS)
    with client(body).chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "x"}]
    ) as events:
        whole = events.get_final_completion()
    message = whole.choices[0].message
    assert (message.role, message.content) == ("assistant", "Hello")
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "hm"
    calls = [
        (one.id, one.function.name, one.function.arguments) for one in message.tool_calls or ()
    ]
    assert calls == [("a", "f", '{"x":1}'), ("b", "g", "{}")]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage is not None
    assert whole.usage.prompt_tokens_details is not None
    assert (whole.usage.total_tokens, whole.usage.prompt_tokens_details.cached_tokens) == (15, 4)


def test_the_sdk_reads_a_stream_of_a_completion() -> None:
    body = stream(Text("Once"), Text(" upon"), ctx=context(Operation.COMPLETION))
    found = client(body).completions.create(model="m", prompt="x", stream=True)
    assert "".join(one.choices[0].text for one in found if one.choices) == "Once upon"


def test_the_sdk_raises_what_broke_a_stream() -> None:
    failed = StreamFailed(Problem(ProblemKind.TRUNCATED, "Broke off."))
    body = told([MessageStart(), PartStart(Text("")), PartDelta("x"), failed])
    found = client(body).chat.completions.create(model="m", messages=[], stream=True)
    with pytest.raises(openai.APIError, match=r"Broke off\."):
        list(found)
