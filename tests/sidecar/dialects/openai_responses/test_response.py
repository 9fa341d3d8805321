"""Whole answers in both directions."""

from typing import Any

import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    JsonOutput,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    ToolCall,
    ToolChoice,
)
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Operation
from tests.sidecar.dialects.openai_responses.crossing import ANSWERS, USAGE, WEATHER, context

CHAT = Operation.CHAT


def encode(answer: ChatResponse, request: ChatRequest | None = None) -> dict[str, Any]:
    return dict(DIALECT.encode_response(answer, context(request) if request else context()))


# --- is it one ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"output": []},
        {"status": "completed", "error": None, "output": [{"type": "message"}]},
        {"status": "queued", "output": []},  # in the background: the client asks for it later
    ],
)
def test_an_answer(body: object) -> None:
    assert DIALECT.judge(CHAT, body) is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ([], ProblemKind.PROTOCOL),
        ({}, ProblemKind.PROTOCOL),
        ({"choices": []}, ProblemKind.PROTOCOL),
        ({"status": "cancelled", "output": []}, ProblemKind.BACKEND_ERROR),
        (
            {"status": "failed", "error": {"code": "server_error", "message": "Oh"}, "output": []},
            ProblemKind.BACKEND_ERROR,
        ),
        (
            {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Oh"}},
            ProblemKind.RATE_LIMITED,
        ),
        ({"error": {"code": "context_length_exceeded"}}, ProblemKind.CONTEXT_LENGTH),
        ({"error": "something broke"}, ProblemKind.BACKEND_ERROR),
    ],
)
def test_what_is_no_answer_although_it_says_so(body: object, kind: ProblemKind) -> None:
    problem = DIALECT.judge(CHAT, body)
    assert problem is not None and problem.kind is kind


def test_a_count() -> None:
    counted = DIALECT.encode_count(7)
    assert counted == {"object": "response.input_tokens", "input_tokens": 7}
    assert DIALECT.decode_count(counted) == 7
    assert DIALECT.judge(Operation.COUNT, counted) is None
    assert DIALECT.judge(Operation.COUNT, {"input_tokens": "many"}) is not None


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (None, None),
        ({}, Usage(0, 0)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(3, 2)),
        (
            {
                "input_tokens": 20,
                "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
                "output_tokens": 12,
                "output_tokens_details": {"reasoning_tokens": 5},
            },
            USAGE,
        ),
        ({"input_tokens": "3", "input_tokens_details": []}, Usage(0, 0)),
    ],
)
def test_usage(told: object, usage: Usage | None) -> None:
    assert DIALECT.usage({"usage": told}) == usage


# --- from a backend -------------------------------------------------------------------------------

SEARCH = {"type": "web_search_call", "id": "ws_1"}


@pytest.mark.parametrize(
    ("item", "parts"),
    [
        (
            {
                "type": "message",
                "content": [
                    {"type": "output_text", "text": "a", "annotations": [{}]},
                    {"type": "output_text", "text": ""},
                    {"type": "refusal", "refusal": "No."},
                ],
            },
            (Text("a"), Refusal("No.")),
        ),
        ({"type": "message", "content": None}, ()),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            (ToolCall("c", "f", "{}"),),
        ),
        ({"type": "function_call", "name": "f"}, (ToolCall("call_1", "f", ""),)),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "a"},
            (ToolCall("c", "f", '{"input":"a"}', custom=True),),
        ),
        (
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"text": "One."}, {"text": "Two."}],
                "encrypted_content": "gAAA",
            },
            (Thinking("One.\n\nTwo.", "gAAA", "openai-responses"),),
        ),
        ({"type": "reasoning", "summary": []}, ()),
        (SEARCH, (Opaque("openai-responses", "web_search_call", SEARCH),)),
    ],
)
def test_items(item: dict[str, object], parts: tuple[AnswerPart, ...]) -> None:
    body = {"id": "resp_1", "model": "gpt", "output": [item, "junk"]}
    answer = DIALECT.decode_response(body, context())
    assert (answer.parts, answer.id, answer.model) == (parts, "resp_1", "gpt")


# --- to a client ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.stop)
def test_an_answer_survives_the_neutral_form(answer: ChatResponse) -> None:
    again = DIALECT.decode_response(encode(answer), context())
    assert (again.parts, again.stop, again.usage) == (answer.parts, answer.stop, answer.usage)


@pytest.mark.parametrize(
    ("stop", "parts", "status", "details"),
    [
        (StopReason.END, (Text("a"),), "completed", None),
        (StopReason.STOP_SEQUENCE, (Text("a"),), "completed", None),
        (StopReason.PAUSE, (Text("a"),), "completed", None),
        (StopReason.MAX_TOKENS, (Text("a"),), "incomplete", {"reason": "max_output_tokens"}),
        (StopReason.REFUSAL, (Text("a"),), "incomplete", {"reason": "content_filter"}),
        (StopReason.REFUSAL, (Refusal("No."),), "completed", None),
    ],
)
def test_how_it_ended(
    stop: StopReason, parts: tuple[AnswerPart, ...], status: str, details: dict[str, str] | None
) -> None:
    body = encode(ChatResponse(parts, stop))
    assert (body["status"], body["incomplete_details"]) == (status, details)
    assert ("completed_at" in body) is (status == "completed")


def test_only_items_of_its_own_are_told() -> None:
    own = Opaque("openai-responses", "web_search_call", SEARCH)
    foreign = Opaque("anthropic", "server_tool_use", {})
    assert encode(ChatResponse((own, foreign), StopReason.END))["output"] == [SEARCH]


@pytest.mark.parametrize(
    ("thinking", "kept"),
    [
        (Thinking("So.", "gAAA", "openai-responses"), "gAAA"),
        (Thinking("So.", "c2ln", "anthropic"), "llm-sidecar.anthropic.c2ln"),
        (Thinking("So."), "llm-sidecar.."),
    ],
)
def test_what_signs_reasoning_is_kept_by_the_client(thinking: Thinking, kept: str) -> None:
    (item,) = encode(ChatResponse((thinking,), StopReason.END))["output"]
    assert item["id"].startswith("rs_")
    assert item["encrypted_content"] == kept


def test_the_response_repeats_what_was_asked() -> None:
    request = ChatRequest(
        (Message(Role.SYSTEM, (Text("Be kind."),)), Message(Role.USER, (Text("Hi"),))),
        tools=(WEATHER,),
        tool_choice=ToolChoice(Choosing.NAMED, "weather"),
        parallel_tool_calls=False,
        output=JsonOutput({"type": "object"}, "n"),
        reasoning=Reasoning(summary="auto"),
        sampling=Sampling(temperature=0.5),
        max_tokens=100,
    )
    body = encode(ChatResponse((Text("{}"),), StopReason.END), request)
    assert body["instructions"] == "Be kind."
    assert [tool["name"] for tool in body["tools"]] == ["weather"]
    assert body["tool_choice"] == {"type": "function", "name": "weather"}
    assert body["parallel_tool_calls"] is False
    assert body["text"]["format"]["name"] == "n"
    assert body["reasoning"] == {"effort": None, "summary": "auto"}
    assert (body["temperature"], body["max_output_tokens"]) == (0.5, 100)
    assert (body["created_at"], body["completed_at"]) == (1_700_000_000, 1_700_000_002)
    assert body["store"] is False


@pytest.mark.parametrize(
    ("told", "id", "model"),
    [(("resp_9", "gpt"), "resp_9", "gpt"), (("msg_9", ""), "resp_", "small")],
)
def test_its_id_and_model(told: tuple[str, str], id: str, model: str) -> None:
    body = encode(ChatResponse((Text("a"),), StopReason.END, id=told[0], model=told[1]))
    assert body["id"].startswith(id)
    assert body["model"] == model
