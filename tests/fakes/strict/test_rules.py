"""What the strict backends refuse, a rule a row: a good request, what is changed, what they say."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from tests.fakes.strict import anthropic, model, ollama, openai_chat, openai_responses
from tests.fakes.strict.backend import KEY, StrictBackend, Vendor
from tests.fakes.strict.shapes import Refused

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**SCHEMA, "additionalProperties": False}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
THOUGHT = {
    "type": "thinking",
    "thinking": "Hm.",
    "signature": model.signature("anthropic", "Hm."),
}
ENCRYPTED = model.signature("openai-responses", model.THOUGHT)

ANTHROPIC: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 4000,
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "weather", "input_schema": SCHEMA}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
                {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "21"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [
                    {"type": "image", "source": PNG}
                ]},
                {"type": "text", "text": "And?"},
                {"type": "document", "source": PDF},
            ],
        },
    ],
}  # fmt: skip
CHAT = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "21"},
    ],
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "store": False,
    "stream": True,
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}],
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ENCRYPTED},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "21"},
    ],
}
OLLAMA = {
    "model": "m",
    "options": {"num_predict": 5, "temperature": 0.5, "stop": ["END"]},
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi", "images": ["iVBORw0KGgo="]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": {}}}],
        },
        {"role": "tool", "tool_name": "weather", "tool_call_id": "call_1", "content": "21"},
    ],
}
GOOD: Mapping[str, tuple[Vendor, dict[str, Any]]] = {
    "anthropic": (anthropic.VENDOR, ANTHROPIC),
    "openai": (openai_chat.VENDOR, CHAT),
    "openai-responses": (openai_responses.VENDOR, RESPONSES),
    "ollama": (ollama.VENDOR, OLLAMA),
}
GONE = object()  # takes a member out

# vendor, where (a path), what is put there, what the vendor says
Row = tuple[str, str, object, str]
ROWS: list[Row] = [
    # --- anthropic
    ("anthropic", "max_tokens", GONE, "max_tokens: Field required"),
    ("anthropic", "max_tokens", 0, "max_tokens"),
    ("anthropic", "seed", 7, "seed: Extra inputs are not permitted"),
    ("anthropic", "system.0.text", "", "system.0.text: text must be non-empty"),
    ("anthropic", "messages.0.role", "assistant", "messages.0"),
    ("anthropic", "messages.0.name", "x", "messages.0.name: Extra inputs"),
    ("anthropic", "messages.1.role", "user", "messages.1"),
    ("anthropic", "messages.0.content", " ", "messages.0.content: text must be non-empty"),
    ("anthropic", "messages.0.content", [], "messages.0.content: List should have"),
    ("anthropic", "messages.0.role", "system", "messages.0.role"),
    ("anthropic", "messages.0.content.0.extra", 1, "messages.0.content.0.extra: Extra inputs"),
    ("anthropic", "messages.1.content.0.signature", "bm8=", "Invalid `signature` in `thinking`"),
    ("anthropic", "messages.1.content.1.id", "toolu:1", "messages.1.content.1.id: String should"),
    ("anthropic", "messages.1.content.1.input", "{}", "messages.1.content.1.input"),
    ("anthropic", "messages.1.content.2.id", "toolu_1", "ids"),
    ("anthropic", "messages.2.content.0", GONE, "were found without `tool_result`"),
    ("anthropic", "messages.2.content.0.tool_use_id", "toolu_9", "without `tool_result`"),
    ("anthropic", "messages.2.content.1.tool_use_id", "toolu_1", "without `tool_result`"),
    ("anthropic", "messages.2.content.0", {"type": "text", "text": "x"}, "without `tool_result`"),
    ("anthropic", "messages.2.content.3.source.media_type", "text/html", "media_type"),
    ("anthropic", "temperature", 1.5, "temperature: Input should be between 0 and 1"),
    ("anthropic", "stop_sequences", ["\n"], "stop_sequences.0: text must be non-empty"),
    ("anthropic", "tools.0.name", "a b", "tools.0.name: String should match"),
    ("anthropic", "tools.0.input_schema", {}, "tools.0.input_schema.type"),
    ("anthropic", "tool_choice", {"type": "tool", "name": "x"}, "Tool 'x' not found"),
    ("anthropic", "tool_choice", "auto", "tool_choice: Input should be a valid object"),
    ("anthropic", "thinking", {"type": "enabled", "budget_tokens": 9}, "budget_tokens"),
    ("anthropic", "thinking", {"type": "enabled", "budget_tokens": 4000}, "must be greater than"),
    ("anthropic", "output_config", {"format": {"type": "json_schema", "schema": SCHEMA}},
        "'additionalProperties' must be explicitly set to false"),
    # --- openai
    ("openai", "top_k", 7, "top_k: Extra inputs"),
    ("openai", "messages.1.content.0.cache_control", {}, "cache_control: Extra inputs"),
    ("openai", "messages.1.content.0.type", "input_text", "messages.1.content.0.type"),
    ("openai", "messages.0.content", [{"type": "image_url", "image_url": {"url": "x"}}],
        "messages.0.content.0.type"),
    ("openai", "messages.2.tool_calls.0.function.arguments", {}, "arguments"),
    ("openai", "messages.2.tool_calls.0.index", 0, "index: Extra inputs"),
    ("openai", "messages.2.tool_calls", GONE, "expected a string or 'tool_calls'"),
    ("openai", "messages.3.tool_call_id", "call_9", "must be a response to a preceding message"),
    ("openai", "messages.3", GONE, "did not have response messages: call_1"),
    ("openai", "messages.3", {"role": "user", "content": "x"}, "did not have response messages"),
    ("openai", "stream", False, "is only allowed when 'stream' is enabled"),
    ("openai", "stop", list("abcde"), "stop: List should have between 0 and 4"),
    ("openai", "tools.0.function.strict", True, "'additionalProperties'"),
    ("openai", "tools.0.function.name", "n" * 65, "tools.0.function.name: String should match"),
    ("openai", "tool_choice", {"type": "function", "function": {"name": "x"}}, "'x' not found"),
    ("openai", "response_format", {"type": "json_object"}, "must contain the word 'json'"),
    ("openai", "response_format.type", "json_schema", "json_schema: Field required"),
    ("openai", "response_format",
        {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
        "'additionalProperties'"),
    # --- openai-responses
    ("openai-responses", "stop", ["x"], "stop: Extra inputs"),
    ("openai-responses", "max_tokens", 5, "max_tokens: Extra inputs"),
    ("openai-responses", "previous_response_id", "resp_1", "'resp_1' not found"),
    ("openai-responses", "background", True, "background"),
    ("openai-responses", "input.0.content.0.type", "text", "input.0.content.0.type"),
    ("openai-responses", "input.0.role", "tool", "input.0.role"),
    ("openai-responses", "input.0.type", "item_reference", "not found"),
    ("openai-responses", "input.1.encrypted_content", "bm8=", "could not be verified"),
    ("openai-responses", "input.1.encrypted_content", GONE, "Item with id 'rs_1' not found"),
    ("openai-responses", "input.1.id", "msg_1", "input.1.id"),
    ("openai-responses", "input", RESPONSES["input"][1:2], "required following item"),
    ("openai-responses", "input.2.id", "call_1", "input.2.id"),
    ("openai-responses", "input.3.call_id", "call_9", "No tool call found"),
    ("openai-responses", "input.3", GONE, "No tool output found for function call call_1"),
    ("openai-responses", "tools.0.function", {}, "tools.0.function: Extra inputs"),
    ("openai-responses", "tools.0.strict", True, "'additionalProperties'"),
    ("openai-responses", "response_format", {"type": "text"}, "response_format: Extra inputs"),
    ("openai-responses", "text", {"format": {"type": "json_object"}}, "the word 'json'"),
    # --- ollama
    ("ollama", "max_tokens", 5, "max_tokens: Extra inputs"),
    ("ollama", "options.max_tokens", 5, "options.max_tokens: Extra inputs"),
    ("ollama", "options.num_predict", 5.0, "options.num_predict"),
    ("ollama", "options.stop", "END", "options.stop: Input should be a valid list"),
    ("ollama", "messages.1.content", [{"type": "text", "text": "hi"}], "messages.1.content"),
    ("ollama", "messages.1.images", ["data:image/png;base64,iVBORw0KGgo="], "Invalid base64"),
    ("ollama", "messages.0.role", "developer", "messages.0.role"),
    ("ollama", "messages.1", {"role": "system", "content": "x"}, "must be at the beginning"),
    ("ollama", "messages.2.tool_calls.0.function.arguments", "{}", "arguments"),
    ("ollama", "messages.2.tool_calls.0.type", "function", "type: Extra inputs"),
    ("ollama", "messages.3.tool_name", "clock", "names no waiting call"),
    ("ollama", "messages.2.tool_calls", GONE, "of a tool that was not called"),
    ("ollama", "think", True, '"m" does not support thinking'),
    ("ollama", "think", "xhigh", "think"),
    ("ollama", "format", "yaml", "invalid JSON schema in format"),
    ("ollama", "tool_choice", "auto", "tool_choice: Extra inputs"),
]  # fmt: skip


def changed(body: dict[str, Any], where: str, to: object) -> dict[str, Any]:
    """A copy of a request with one member changed, added or taken out."""
    made: Any = copy.deepcopy(body)
    *path, last = [int(step) if step.isdigit() else step for step in where.split(".")]
    inner = made
    for step in path:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
    if to is GONE:
        del inner[last]
    else:
        inner[last] = to
    return dict(made)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_request_is_taken(name: str) -> None:
    vendor, body = GOOD[name]
    asked = vendor.read(body)
    assert asked.model == body["model"]
    assert asked.system == ("" if name == "openai-responses" else "Be kind.")
    assert asked.results[0] == ("weather", "21")
    assert asked.tools == {"weather": SCHEMA}


def test_a_document_may_stand_at_an_address() -> None:
    told = {"type": "input_file", "file_url": "https://files.example/page.pdf"}
    body = changed(RESPONSES, "input.3.output", [told])
    assert openai_responses.VENDOR.read(body).pictures == [model.Picture("document", None)]
    with pytest.raises(Refused, match="file_url"):
        openai_responses.VENDOR.read(changed(body, "input.3.output.0.file_url", "page.pdf"))


@pytest.mark.parametrize(("name", "where", "to", "said"), ROWS)
def test_a_rule(name: str, where: str, to: object, said: str) -> None:
    vendor, body = GOOD[name]
    with pytest.raises(Refused) as refused:
        vendor.read(changed(body, where, to))
    assert said in str(refused.value)


def test_thinking_must_lead_a_turn_with_tools() -> None:
    config = {"type": "enabled", "budget_tokens": 1024}
    body = changed(ANTHROPIC, "thinking", config)
    assert anthropic.VENDOR.read(body).thinks
    with pytest.raises(Refused, match="Expected `thinking` or `redacted_thinking`"):
        anthropic.VENDOR.read(changed(body, "messages.1.content.0", GONE))
    with pytest.raises(Refused, match="forces tool use"):
        anthropic.VENDOR.read(changed(body, "tool_choice", {"type": "any"}))
    with pytest.raises(Refused, match="may only be set to 1"):
        anthropic.VENDOR.read(changed(body, "temperature", 0.5))


def test_newer_models_think_as_they_like_and_take_no_sampling() -> None:
    newer = changed(ANTHROPIC, "model", "claude-opus-4-8")
    assert anthropic.VENDOR.read(changed(newer, "thinking", {"type": "adaptive"})).thinks
    budget = {"type": "enabled", "budget_tokens": 1024}
    for body, said in [
        (changed(newer, "thinking", budget), "thinking.type.enabled"),
        (changed(ANTHROPIC, "thinking", {"type": "adaptive"}), "thinking.type.adaptive"),
        (changed(newer, "top_p", 0.5), "top_p"),
    ]:
        with pytest.raises(Refused, match=said):
            anthropic.VENDOR.read(body)


def test_older_models_continue_an_answer_and_write_less() -> None:
    begun = changed(
        ANTHROPIC,
        "messages",
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"}],
    )
    assert anthropic.VENDOR.read(begun).model == ANTHROPIC["model"]
    oldest = changed(begun, "model", "claude-3-haiku-20240307")
    for body, said in [
        (changed(begun, "model", "claude-opus-4-8"), "must end with a user message"),
        (changed(begun, "messages.1.content", "Well, "), "trailing whitespace"),
        (changed(begun, "thinking", {"type": "disabled"}), "must end with a user message"),
        (changed(oldest, "max_tokens", 4097), "4097 > 4096"),
        (changed(oldest, "thinking", {"type": "enabled", "budget_tokens": 1024}), "must end"),
    ]:
        with pytest.raises(Refused, match=said):
            anthropic.VENDOR.read(body)


HEADERS: Mapping[str, dict[str, str]] = {
    "anthropic": {"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    "openai": {"authorization": f"Bearer {KEY}"},
    "openai-responses": {"authorization": f"Bearer {KEY}"},
    "ollama": {},
}


async def post(
    fake: StrictBackend, body: object, headers: Mapping[str, str]
) -> tuple[int, dict[str, Any]]:
    url = fake.base_url + fake.vendor.path
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as reply,
    ):
        return reply.status, json.loads(await reply.text())


@pytest.mark.parametrize("name", GOOD)
async def test_a_refusal_has_the_vendors_shape(name: str) -> None:
    vendor, body = GOOD[name]
    async with StrictBackend(vendor) as fake:
        status, told = await post(fake, changed(body, "model", 5), HEADERS[name])
    assert status == 400
    said = "model: Input should be a valid string"
    match name:
        case "anthropic":
            assert told["type"] == "error"
            assert told["error"] == {"type": "invalid_request_error", "message": said}
        case "ollama":
            assert told == {"error": said}
        case _:
            assert told["error"]["message"] == said
            assert told["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("name", "headers", "status"),
    [
        ("anthropic", {**HEADERS["anthropic"], "x-api-key": "another"}, 401),
        ("anthropic", {"x-api-key": KEY}, 400),
        ("anthropic", {"x-api-key": KEY, "anthropic-version": "2020-01-01"}, 400),
        ("openai", {}, 401),
        ("openai-responses", {"authorization": "Bearer another"}, 401),
        ("ollama", {"authorization": "Bearer another"}, 401),
    ],
)
async def test_headers(name: str, headers: Mapping[str, str], status: int) -> None:
    vendor, body = GOOD[name]
    async with StrictBackend(vendor) as fake:
        assert (await post(fake, body, headers))[0] == status


async def test_the_newer_version_of_anthropics_api_has_no_sampling() -> None:
    body = changed(ANTHROPIC, "temperature", 1)
    async with StrictBackend(anthropic.VENDOR) as fake:
        for version, status in {"2023-06-01": 200, "2026-10-21": 400}.items():
            headers = {"x-api-key": KEY, "anthropic-version": version}
            assert (await post(fake, body, headers))[0] == status
