"""Whole answers in both directions."""

from typing import Any

import pytest
from anthropic.types import Message

from sidecar.dialects.anthropic_messages.response import (
    decode_count,
    decode_response,
    encode_count,
    encode_response,
    judge,
    usage,
)
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation
from tests.sidecar.dialects.anthropic_messages.answers import context, message

CHAT, COUNT = Operation.CHAT, Operation.COUNT


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, []),
        (CHAT, {}),
        (CHAT, {"content": "x"}),
        (CHAT, {"content": ["x"]}),
        (COUNT, {}),
        (COUNT, {"input_tokens": "4"}),
        (COUNT, {"input_tokens": True}),
    ],
)
def test_what_is_no_answer(operation: Operation, body: object) -> None:
    problem = judge(operation, body)
    assert problem is not None and problem.kind is ProblemKind.PROTOCOL


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
            ProblemKind.OVERLOADED,
        ),
        ({"error": "x"}, ProblemKind.PROTOCOL),
        ({"type": "error"}, ProblemKind.PROTOCOL),
    ],
)
def test_an_error_in_disguise(body: object, kind: ProblemKind) -> None:
    problem = judge(CHAT, body)
    assert problem is not None and problem.kind is kind


@pytest.mark.parametrize(
    ("operation", "body"),
    [(CHAT, message()), (CHAT, {"content": [{"type": "new"}]}), (COUNT, {"input_tokens": 4})],
)
def test_what_is_an_answer(operation: Operation, body: object) -> None:
    assert judge(operation, body) is None


def test_counts() -> None:
    assert decode_count(encode_count(4)) == 4
    assert decode_count({}) is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": 5, "output_tokens": 9}, Usage(5, 9)),
        (
            {
                "input_tokens": 5,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 4},
            },
            Usage(125, 9, 100, 4, 20),
        ),
        ({"input_tokens": None, "output_tokens": "x"}, Usage(0, 0)),
    ],
)
def test_usage(told: object, expected: Usage | None) -> None:
    assert usage({"usage": told}) == expected


# --- decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "a", "citations": [{}]}, [Text("a")]),
        ({"type": "text", "text": ""}, []),
        (
            {"type": "thinking", "thinking": "t", "signature": "S"},
            [Thinking("t", "S", "anthropic")],
        ),
        ({"type": "thinking", "thinking": "t"}, [Thinking("t")]),
        (
            {"type": "thinking", "thinking": "", "signature": "S"},
            [Thinking("", "S", "anthropic")],
        ),
        ({"type": "thinking", "thinking": "", "signature": ""}, []),
        (
            {"type": "redacted_thinking", "data": "D"},
            [Thinking("", "D", "anthropic", redacted=True)],
        ),
        (
            {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1, "a": "é"}},
            [ToolCall("a", "f", '{"b":1,"a":"é"}')],
        ),
        ({"type": "tool_use", "name": "f"}, [ToolCall("call_n1", "f", "{}")]),
        (
            {"type": "tool_use", "id": "a", "name": "f", "input": '{"b"'},
            [ToolCall("a", "f", '{"b"')],
        ),
        (
            {"type": "server_tool_use", "id": "a"},
            [Opaque("anthropic", "server_tool_use", {"type": "server_tool_use", "id": "a"})],
        ),
        ({"type": "fallback", "model": "m"}, []),
        ({}, []),
    ],
)
def test_a_block(block: object, expected: list[AnswerPart]) -> None:
    assert list(decode_response(message(block), context()).parts) == expected


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("reason", "blocks", "expected"),
    [
        ("end_turn", [], StopReason.END),
        ("stop_sequence", [], StopReason.STOP_SEQUENCE),
        ("max_tokens", [CALL], StopReason.MAX_TOKENS),
        ("model_context_window_exceeded", [], StopReason.MAX_TOKENS),
        ("tool_use", [CALL], StopReason.TOOL_CALLS),
        ("end_turn", [CALL], StopReason.TOOL_CALLS),
        (None, [CALL], StopReason.TOOL_CALLS),
        ("refusal", [], StopReason.REFUSAL),
        ("pause_turn", [], StopReason.PAUSE),
        ("compaction", [], StopReason.END),
        (7, [], StopReason.END),
    ],
)
def test_why_it_stopped(reason: Any, blocks: list[object], expected: StopReason) -> None:
    assert decode_response(message(*blocks, stop=reason), context()).stop is expected


def test_why_it_refused() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "No."}
    answer = decode_response(message(stop="refusal", stop_details=details), context())
    assert (answer.parts, answer.stop) == ((Refusal("No."),), StopReason.REFUSAL)


def test_an_answer_that_says_nothing_of_itself() -> None:
    assert decode_response({"content": []}, context()) == ChatResponse(
        (), StopReason.END, model="asked"
    )


# --- encoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Text("a"), [{"type": "text", "text": "a"}]),
        (Text(""), []),
        (
            Thinking("t", "S", "anthropic"),
            [{"type": "thinking", "thinking": "t", "signature": "S"}],
        ),
        (
            Thinking("t", "S", "openai"),
            [{"type": "thinking", "thinking": "t", "signature": "llm-sidecar.openai.S"}],
        ),
        (
            Thinking("t"),
            [{"type": "thinking", "thinking": "t", "signature": "llm-sidecar.."}],
        ),
        (
            Thinking("", "D", "openai", redacted=True),
            [{"type": "redacted_thinking", "data": "llm-sidecar.openai.D"}],
        ),
        (
            ToolCall("call é", "f", ""),
            [{"type": "tool_use", "id": "sc64_Y2FsbCDDqQ", "name": "f", "input": {}}],
        ),
        (
            ToolCall("", "f", "[]"),
            [{"type": "tool_use", "id": "toolu_n1", "name": "f", "input": {"_raw": "[]"}}],
        ),
        (Opaque("anthropic", "x", {"type": "x"}), [{"type": "x"}]),
        (Opaque("openai-responses", "x", {}), []),
    ],
)
def test_a_part(part: AnswerPart, expected: list[object]) -> None:
    answer = ChatResponse((part,), StopReason.END, id="msg_1")
    assert encode_response(answer, context())["content"] == expected


def test_a_whole_answer() -> None:
    answer = ChatResponse(
        (Text("a"),), StopReason.STOP_SEQUENCE, "END", Usage(125, 9, 100, 4, 20), "chatcmpl-1", "m"
    )
    told = encode_response(answer, context())
    assert told == {
        "id": "msg_n1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "stop_sequence", "stop_sequence": "END",
        "usage": {
            "input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100,
            "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4},
        },
    }  # fmt: skip
    assert Message.model_validate(told).stop_sequence == "END"


def test_a_refusal_is_text_that_ends_as_one() -> None:
    told = encode_response(ChatResponse((Refusal("No."),), StopReason.END), context())
    assert told["content"] == [{"type": "text", "text": "No."}]
    assert told["stop_reason"] == "refusal"
    assert Message.model_validate(told).stop_details is not None


def test_what_is_not_known_is_estimated() -> None:
    told = encode_response(ChatResponse((), StopReason.END), context())
    assert told["model"] == "asked"
    assert usage(told) == Usage(7, 0)


@pytest.mark.parametrize("stop", StopReason)
def test_every_reason_has_a_word(stop: StopReason) -> None:
    Message.model_validate(encode_response(ChatResponse((), stop), context()))
