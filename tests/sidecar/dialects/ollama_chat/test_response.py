"""Whole answers: which are good, what they cost, and both ways through the neutral form."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.ollama_chat.response import (
    decode_response,
    encode_response,
    judge,
    usage,
)
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation
from tests.sidecar.dialects.ollama_chat.context import answering

CHAT, COMPLETION = Operation.CHAT, Operation.COMPLETION
EMBED, SHOW = Operation.EMBED, Operation.SHOW
K = ProblemKind


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {"message": {"role": "assistant", "content": "x"}, "done": True}),
        (CHAT, {"message": {}, "done": True, "done_reason": "load"}),
        (CHAT, {"message": {"content": "x"}, "error": ""}),
        (COMPLETION, {"response": "", "done": True}),
        (EMBED, {"embeddings": [[0.1]]}),
        (EMBED, {"embeddings": []}),
        (EMBED, {"embedding": [0.1]}),
        (SHOW, {}),
    ],
)
def test_good_answers(operation: Operation, body: object) -> None:
    assert judge(operation, body) is None


@pytest.mark.parametrize(
    ("operation", "body", "kind", "words"),
    [
        (CHAT, [], K.PROTOCOL, "not an object"),
        (SHOW, None, K.PROTOCOL, "not an object"),
        (CHAT, {}, K.PROTOCOL, "without `message`"),
        (CHAT, {"message": "x"}, K.PROTOCOL, "without `message`"),
        (CHAT, {"response": "x", "done": True}, K.PROTOCOL, "without `message`"),
        (COMPLETION, {"message": {}, "done": True}, K.PROTOCOL, "without `response`"),
        (EMBED, {"embeddings": None}, K.PROTOCOL, "without `embeddings`"),
        (CHAT, {"message": {"content": "half"}, "done": False}, K.TRUNCATED, "beginning"),
        (CHAT, {"error": "the runner died"}, K.BACKEND_ERROR, "the runner died"),
        (SHOW, {"error": "model 'x' not found"}, K.UNKNOWN_MODEL, "not found"),
    ],
)
def test_bad_answers(operation: Operation, body: object, kind: ProblemKind, words: str) -> None:
    problem = judge(operation, body)
    assert problem is not None
    assert problem.kind is kind
    assert words in problem.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"prompt_eval_count": 26, "eval_count": 298}, Usage(26, 298)),
        ({"prompt_eval_count": 26}, Usage(26, 0)),
        ({"eval_count": 298}, Usage(0, 298)),
        ({}, None),
        ({"prompt_eval_count": "26", "eval_count": -1}, None),
    ],
)
def test_usage(body: Any, told: Usage | None) -> None:
    assert usage(body) == told


@pytest.mark.parametrize(
    ("load", "seconds"), [(3_013_701_500, 3.0137015), (0, 0.0), (-5, 0.0), ("long", 0.0)]
)
def test_how_long_the_model_took_to_load(load: object, seconds: float) -> None:
    told = usage({"prompt_eval_count": 1, "eval_count": 2, "load_duration": load})
    assert told is not None
    assert told.load == seconds


# --- decoding -------------------------------------------------------------------------------------


def decoded(message: Any, **more: Any) -> ChatResponse:
    return decode_response({"model": "m", "message": message, "done": True, **more}, answering())


def test_an_answer_with_everything() -> None:
    calls = [
        {"id": "call_x", "function": {"index": 0, "name": "f", "arguments": {"b": 1, "a": 2}}},
        {"function": {"name": "g", "arguments": {}}},
    ]
    message = {"role": "assistant", "thinking": "Hm", "content": "Wait", "tool_calls": calls}
    assert decoded(message, done_reason="stop", prompt_eval_count=3, eval_count=4) == ChatResponse(
        parts=(
            Thinking("Hm"),
            Text("Wait"),
            ToolCall("call_x", "f", '{"b":1,"a":2}'),
            ToolCall("call_new1", "g", "{}"),
        ),
        stop=StopReason.TOOL_CALLS,
        usage=Usage(3, 4),
        model="m",
    )


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("stop", StopReason.END),
        ("length", StopReason.MAX_TOKENS),
        ("load", StopReason.LOADED),
        ("unload", StopReason.LOADED),
        ("", StopReason.END),
        ("bored", StopReason.END),
        (None, StopReason.END),
        (["stop"], StopReason.END),
    ],
)
def test_why_it_stopped(reason: object, stop: StopReason) -> None:
    assert decoded({"content": "x"}, done_reason=reason).stop is stop


def test_a_prompt_that_was_all_in_the_cache_is_estimated() -> None:
    assert decoded({"content": "x"}, eval_count=4).usage == Usage(7, 4, is_estimated=True)
    assert decoded({"content": "x"}).usage is None


@pytest.mark.parametrize(
    ("calls", "read"),
    [
        (None, []),
        ({}, []),
        ([None, {}, {"function": {}}, {"function": {"name": ""}}], []),
        ([{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}], [("a", '{"x":1}')]),
        ([{"id": "a", "function": {"name": "f", "arguments": None}}], [("a", "{}")]),
        ([{"id": 3, "function": {"name": "f"}}], [("call_new1", "{}")]),
        ([{"id": "a", "function": {"name": "f"}}] * 2, [("a", "{}")]),
        (
            [
                {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "a", "function": {"name": "f", "arguments": {"x": 2}}},
            ],
            [("a", '{"x":1}'), ("call_new1", '{"x":2}')],
        ),
    ],
    ids=[
        "none",
        "no list",
        "no calls",
        "arguments as text",
        "no arguments",
        "no id",
        "told twice",
        "one id for two calls",
    ],
)
def test_tool_calls(calls: object, read: list[tuple[str, str]]) -> None:
    answer = decoded({"content": "", "tool_calls": calls})
    told = [(part.id, part.arguments) for part in answer.parts if isinstance(part, ToolCall)]
    assert told == read


def test_only_so_many_calls_are_remembered() -> None:
    calls = [{"id": f"call_{n}", "function": {"name": "f", "arguments": {}}} for n in range(200)]
    answer = decoded({"content": "", "tool_calls": [*calls, calls[0], calls[-1]]})
    ids = [part.id for part in answer.parts if isinstance(part, ToolCall)]
    assert ids == [f"call_{n}" for n in range(200)] + ["call_0"]


# --- encoding -------------------------------------------------------------------------------------

PARTS: tuple[AnswerPart, ...] = (
    Thinking("Hm", "sig", "anthropic"),
    Thinking("", "sig", "anthropic", redacted=True),
    Text("Wa"),
    Text("it"),
    Opaque("anthropic", "x", {}),
    ToolCall("toolu_1", "f", '{"b":1}'),
    ToolCall("toolu_2", "g", ""),
)
ANSWER = ChatResponse(PARTS, StopReason.TOOL_CALLS, usage=Usage(3, 4, 2), id="msg_1", model="m")
CALLS = [
    {"id": "toolu_1", "function": {"index": 0, "name": "f", "arguments": {"b": 1}}},
    {"id": "toolu_2", "function": {"index": 1, "name": "g", "arguments": {}}},
]
METRICS = {
    "total_duration": 500_000_000,
    "load_duration": 0,
    "prompt_eval_count": 3,
    "prompt_eval_duration": 1,
    "eval_count": 4,
    "eval_duration": 500_000_000,
}


def test_a_chat() -> None:
    assert encode_response(ANSWER, answering()) == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20Z",
        "message": {
            "role": "assistant",
            "content": "Wait",
            "thinking": "Hm",
            "tool_calls": CALLS,
        },
        "done": True,
        "done_reason": "stop",
        **METRICS,
    }


def test_a_completion() -> None:
    answer = replace(ANSWER, parts=(Thinking("Hm"), Refusal("No.")), stop=StopReason.REFUSAL)
    assert encode_response(answer, answering(COMPLETION)) == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20Z",
        "response": "No.",
        "thinking": "Hm",
        "done": True,
        "done_reason": "stop",
        **METRICS,
    }


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (StopReason.END, "stop"),
        (StopReason.STOP_SEQUENCE, "stop"),
        (StopReason.MAX_TOKENS, "length"),
        (StopReason.TOOL_CALLS, "stop"),
        (StopReason.REFUSAL, "stop"),
        (StopReason.PAUSE, "stop"),
    ],
)
def test_why_it_ended(stop: StopReason, reason: str) -> None:
    told = encode_response(ChatResponse((), stop), answering())
    assert (told["done"], told["done_reason"]) == (True, reason)
    assert "eval_count" not in told
    assert told["model"] == "qwen3"  # what was asked of a backend that names none


def test_a_model_that_was_only_loaded() -> None:
    assert encode_response(ChatResponse((), StopReason.LOADED, model="m"), answering()) == {
        "model": "m",
        "created_at": "2023-11-14T22:13:20Z",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "load",
    }


def test_what_is_encoded_is_decoded_again() -> None:
    parts = (Thinking("Hm"), Text("Wait"), ToolCall("a", "f", '{"b":1}'))
    answer = ChatResponse(parts, StopReason.TOOL_CALLS, usage=Usage(3, 4), model="m")
    told = encode_response(answer, answering())
    assert judge(CHAT, told) is None
    assert decode_response(told, answering()) == answer
