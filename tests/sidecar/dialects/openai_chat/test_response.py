"""Whole answers: which are good, what they cost, what they say, and how clients read them."""

from collections.abc import Sequence
from typing import Any

import pytest

from sidecar.dialects.openai_chat.encode_response import encode_response
from sidecar.dialects.openai_chat.response import (
    decode_count,
    decode_response,
    encode_count,
    judge,
    later,
    usage,
)
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import (
    ChatRequest,
    Opaque,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
)
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation
from tests.sidecar.dialects.openai_chat.crossing import context

CHAT, COMPLETION, EMBED = Operation.CHAT, Operation.COMPLETION, Operation.EMBED
K = ProblemKind


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {"choices": [{"message": {"content": "x"}}]}),
        (CHAT, {"choices": [{"message": {}}], "error": None}),
        (CHAT, {"choices": [{"message": {}}], "error": {}}),
        (COMPLETION, {"choices": [{"text": ""}]}),
        (EMBED, {"data": [{"embedding": "AAAA"}]}),
    ],
)
def test_good_answers(operation: Operation, body: object) -> None:
    assert judge(operation, body) is None


@pytest.mark.parametrize(
    ("operation", "body", "kind", "words"),
    [
        (CHAT, [], K.PROTOCOL, "not an object"),
        (CHAT, None, K.PROTOCOL, "not an object"),
        (CHAT, {}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": []}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": {}}, K.PROTOCOL, "without `choices`"),
        (CHAT, {"choices": [None]}, K.PROTOCOL, "not objects"),
        (CHAT, {"choices": [{}]}, K.PROTOCOL, "says nothing"),
        (
            CHAT,
            {"choices": [{"message": {"content": "half"}, "finish_reason": "error"}]},
            K.PROTOCOL,
            "inside a choice",
        ),
        (
            CHAT,
            {"choices": [{"message": {}, "finish_reason": "insufficient_system_resource"}]},
            K.PROTOCOL,
            "inside a choice",
        ),
        (
            CHAT,
            {"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]},
            K.PROTOCOL,
            "without naming it",
        ),
        (EMBED, {"choices": [{}]}, K.PROTOCOL, "without `data`"),
        (CHAT, {"error": {"message": "boom"}}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": "boom"}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": True}, K.PROTOCOL, "error inside: True"),
        (CHAT, {"object": "error", "message": "boom"}, K.PROTOCOL, "error inside: boom"),
        (CHAT, {"error": {"message": "slow down", "code": 429}}, K.RATE_LIMITED, "slow down"),
        (CHAT, {"error": {"message": "no", "code": 400}}, K.BAD_REQUEST, "no"),
        (CHAT, {"error": {"message": "sick", "code": 502}}, K.PROTOCOL, "sick"),
        (CHAT, {"error": {"message": "sick", "code": 7}}, K.PROTOCOL, "sick"),
        (CHAT, {"error": {"message": "x", "code": "content_filter"}}, K.CONTENT_REFUSED, "x"),
        (
            CHAT,
            {"choices": [{}], "error": {"message": "the context length is exceeded"}},
            K.CONTEXT_LENGTH,
            "context length",
        ),
    ],
)
def test_bad_answers(operation: Operation, body: object, kind: K, words: str) -> None:
    problem = judge(operation, body)
    assert problem is not None
    assert problem.kind is kind
    assert words in problem.message


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ([], None),
        ({}, Usage(0, 0)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, Usage(3, 2)),
        ({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 20,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 16},
            },
            Usage(10, 20, 4, 16),
        ),
        (
            {"prompt_tokens": "3", "completion_tokens": -2, "prompt_tokens_details": []},
            Usage(0, 0),
        ),
    ],
)
def test_usage(told: object, expected: Usage | None) -> None:
    assert usage({"usage": told}) == expected


def test_an_answer_without_usage() -> None:
    assert usage({}) is None


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"x_groq": {"usage": {"prompt_tokens": 1}}}, Usage(1, 0)),
        ({"choices": [{"usage": {"prompt_tokens": 1}}]}, Usage(1, 0)),
        ({"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}}, Usage(9, 0, 4)),
        ({"usage": {"prompt_tokens": 9, "cached_tokens": 4}}, Usage(9, 0, 4)),
        (
            {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 4}}},
            Usage(9, 0, cache_write_input_tokens=4),
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 2,
                    "total_tokens": 14,
                    "completion_tokens_details": {"reasoning_tokens": 3},
                }
            },
            Usage(9, 5, reasoning_output_tokens=3),
        ),
    ],
)
def test_usage_as_vendors_tell_it(body: Any, told: Usage) -> None:
    assert usage(body) == told


def test_a_later_report_replaces_what_it_says() -> None:
    assert later(Usage(3, 1, 2), Usage(0, 5)) == Usage(3, 5, 2)
    assert later(None, Usage(1, 1)) == later(Usage(1, 1), None) == Usage(1, 1)


# --- what they say --------------------------------------------------------------------------------

S = StopReason
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def body(message: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    return {"id": "chatcmpl-1", "model": "m-1", "choices": [choice]}


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": "Hello"}, [Text("Hello")]),
        ({"content": ""}, []),
        ({"content": None, "refusal": "No."}, [Refusal("No.")]),
        (
            {"content": "x", "reasoning_content": "hm", "tool_calls": [CALL]},
            [Thinking("hm"), Text("x"), ToolCall("a", "f", '{"x":1}')],
        ),
        ({"content": "x", "reasoning": "hm"}, [Thinking("hm"), Text("x")]),
        (
            {
                "content": "x",
                "reasoning": "hm",
                "reasoning_details": [{"text": "hm", "signature": "sig"}],
            },
            [Thinking("hm", "sig", "openai"), Text("x")],
        ),
        (
            {
                "content": "x",
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "blob"},
                ],
            },
            [
                Thinking("hm", "sig", "openai"),
                Thinking("", "blob", "openai", redacted=True),
                Text("x"),
            ],
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "x"},
                ]
            },
            [Thinking("hm"), Text("x")],
        ),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
            [ToolCall("call_new1", "f", '{"x":1}')],
        ),
        (
            {"tool_calls": [{"id": "a", "custom": {"name": "p", "input": "*"}}]},
            [ToolCall("a", "p", '{"input":"*"}', custom=True)],
        ),
        ({"function_call": {"name": "f"}}, [ToolCall("call_new1", "f", "")]),
    ],
)
def test_parts(message: Any, parts: Sequence[AnswerPart]) -> None:
    told = body(message)
    assert judge(CHAT, told) is None
    answer = decode_response(told, context())
    assert answer.parts == tuple(parts)
    assert (answer.id, answer.model) == ("chatcmpl-1", "m-1")


@pytest.mark.parametrize(
    ("told", "stop", "sequence"),
    [
        (body({}), S.END, None),
        (body({}, None), S.END, None),
        (body({}, "STOP"), S.END, None),
        (body({}, "eos"), S.END, None),
        (body({}, "length"), S.MAX_TOKENS, None),
        (body({}, "content_filter"), S.REFUSAL, None),
        (body({}, stop_reason="###"), S.STOP_SEQUENCE, "###"),
        (body({}, stop_reason=7), S.END, None),
        (body({"tool_calls": [CALL]}), S.TOOL_CALLS, None),
        (body({"refusal": "No."}), S.REFUSAL, None),
        (body({"tool_calls": []}, "tool_calls"), S.END, None),
    ],
)
def test_why_it_ended(told: Any, stop: StopReason, sequence: str | None) -> None:
    answer = decode_response(told, context())
    assert (answer.stop, answer.stop_sequence) == (stop, sequence)


def test_only_the_first_choice_counts() -> None:
    choices = [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]
    assert decode_response({"choices": choices}, context()).parts == (Text("a"),)


# --- how clients read them ------------------------------------------------------------------------

USAGE = Usage(10, 5, 4, 2)


def encoded(*parts: AnswerPart, stop: StopReason = S.END, **more: Any) -> Any:
    return encode_response(ChatResponse(parts, stop, usage=USAGE), context(**more))


def test_a_whole_answer() -> None:
    assert encoded(Text("Hello")) == {
        "id": "chatcmpl-new1",
        "created": 1_700_000_000,
        "model": "asked-for",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }


CALLED = ToolCall("a", "f", "")
FUNCTION = {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ([Text("a"), Text("b")], {"content": "ab"}),
        ([], {"content": ""}),
        ([Refusal("No.")], {"content": None, "refusal": "No."}),
        ([Thinking("hm"), Text("x")], {"content": "x", "reasoning_content": "hm"}),
        (
            [Thinking("hm", "sig", "toy")],
            {
                "reasoning_content": "hm",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "hm",
                        "signature": "llm-sidecar.toy.sig",
                        "index": 0,
                    }
                ],
            },
        ),
        (
            [CALLED],
            {
                "content": None,
                "tool_calls": [{"id": "a", "type": "function", "function": FUNCTION}],
            },
        ),
        ([Opaque("toy", "server_tool_use", {}), Text("x")], {"content": "x"}),
    ],
)
def test_messages(parts: list[AnswerPart], fields: Any) -> None:
    message = encoded(*parts)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "", "refusal": None, **fields}


def test_the_call_of_a_custom_tool_has_free_text() -> None:
    request = ChatRequest((), tools=(Tool("p", custom=True),))
    call = ToolCall("a", "p", '{"input":"*** x"}')
    (told,) = encoded(call, request=request)["choices"][0]["message"]["tool_calls"]
    assert told == {"id": "a", "type": "custom", "custom": {"name": "p", "input": "*** x"}}


def test_the_older_form_of_calls() -> None:
    choice = encoded(CALLED, stop=S.TOOL_CALLS, old_calls=True)["choices"][0]
    assert choice["message"]["function_call"] == FUNCTION
    assert choice["finish_reason"] == "function_call"


def test_a_completion() -> None:
    told = encoded(Thinking("hm"), Text("Once"), stop=S.MAX_TOKENS, operation=COMPLETION)
    assert (told["id"], told["object"]) == ("cmpl-new1", "text_completion")
    assert told["choices"] == [
        {"index": 0, "text": "Once", "logprobs": None, "finish_reason": "length"}
    ]


def test_counts() -> None:
    assert encode_count(5) == {"input_tokens": 5}
    assert decode_count({"input_tokens": 5}) == 5
    assert decode_count({"input_tokens": "5"}) is None
    assert judge(Operation.COUNT, {"input_tokens": 5}) is None
    assert judge(Operation.COUNT, {}) is not None
