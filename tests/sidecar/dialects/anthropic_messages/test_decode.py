"""A client's request into the neutral form."""

from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.decode import decode_request
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Document,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Loss,
    Message,
    Opaque,
    Part,
    Reasoning,
    Remote,
    Role,
    Severity,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from sidecar.wire.contract import Operation

CACHE = {"type": "ephemeral"}
HELLO = [{"role": "user", "content": "Hello"}]
SCHEMA = {"type": "object", "properties": {}}
TEXT = {"type": "text", "text": "a"}
TOOL_USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
TOOL_RESULT = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
FORMAT = {"type": "json_schema", "schema": SCHEMA}


def read(**body: Any) -> ChatRequest:
    return decode_request(Operation.CHAT, {"messages": HELLO} | body)


def parts(*blocks: Mapping[str, object]) -> tuple[Part, ...]:
    is_call = any(block["type"] == "tool_use" for block in blocks)
    role = "assistant" if is_call else "user"
    return read(messages=[{"role": role, "content": list(blocks)}]).messages[0].parts


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "a"}, Text("a")),
        ({"type": "text", "text": "a", "cache_control": CACHE}, Text("a", CACHE)),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
            Image(Remote("https://x/y")),
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AA"},
                "cache_control": CACHE,
            },
            Image(Inline("image/png", "AA"), cache=CACHE),
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
                "title": "t",
            },
            Document(Inline("application/pdf", "AA"), "t"),
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x"}},
            Document(Remote("https://x")),
        ),
        ({"type": "document", "source": {"type": "text", "data": "words"}}, Document("words")),
        ({"type": "document", "source": {"type": "content", "content": "c"}}, Document("c")),
        (
            {
                "type": "search_result",
                "title": "t",
                "source": "s",
                "content": [{"type": "text", "text": "x"}],
            },
            Text("t\ns\nx"),
        ),
        (
            {"type": "thinking", "thinking": "t", "signature": "S"},
            Thinking("t", "S", "anthropic"),
        ),
        (
            {"type": "thinking", "thinking": "t", "signature": "llm-sidecar.openai.S"},
            Thinking("t", "S", "openai"),
        ),
        ({"type": "thinking", "thinking": "t", "signature": "llm-sidecar.."}, Thinking("t")),
        (
            {"type": "redacted_thinking", "data": "D"},
            Thinking("", "D", "anthropic", redacted=True),
        ),
        (
            {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1, "a": 2}},
            ToolCall("a", "f", '{"b":1,"a":2}'),
        ),
        (
            {"type": "tool_use", "id": "sc64_w6k", "name": "f", "input": {}},
            ToolCall("é", "f", "{}"),
        ),
        (
            {"type": "tool_result", "tool_use_id": "a", "content": "x", "is_error": True},
            ToolResult("a", (Text("x"),), is_error=True),
        ),
        (
            {
                "type": "tool_result",
                "tool_use_id": "a",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {"type": "url", "url": "u"}},
                ],
            },
            ToolResult("a", (Text("x"), Image(Remote("u")))),
        ),
        ({"type": "tool_result", "tool_use_id": "a"}, ToolResult("a", ())),
        (
            {"type": "web_fetch_tool_result", "x": 1},
            Opaque("anthropic", "web_fetch_tool_result", {"type": "web_fetch_tool_result", "x": 1}),
        ),
    ],
)
def test_blocks(block: dict[str, object], expected: Part) -> None:
    assert parts(block) == (expected,)


def test_a_document_of_parts_and_context_becomes_its_parts() -> None:
    source = {
        "type": "content",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "image", "source": {"type": "url", "url": "u"}},
        ],
    }
    assert parts({"type": "document", "source": source, "context": "c"}) == (
        Text("c"), Text("a"), Image(Remote("u")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (None, []),
        ("", []),
        ("Be.", [Message(Role.SYSTEM, (Text("Be."),))]),
        (
            [
                {"type": "text", "text": "a", "cache_control": CACHE},
                {"type": "text", "text": "b"},
            ],
            [Message(Role.SYSTEM, (Text("a", CACHE), Text("b")))],
        ),
    ],
)
def test_system(system: object, expected: list[Message]) -> None:
    assert list(read(system=system).messages[:-1]) == expected


def test_a_system_message_keeps_its_place() -> None:
    messages = [*HELLO, {"role": "system", "content": "Now."}, *HELLO]
    roles = [message.role for message in read(messages=messages).messages]
    assert roles == [Role.USER, Role.SYSTEM, Role.USER]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, Reasoning(Effort.NONE)),
        ({"thinking": {"type": "between_tools"}}, Reasoning(Effort.NONE)),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget=2000)),
        ({"thinking": {"type": "adaptive"}}, Reasoning()),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Reasoning(summary="auto"),
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}},
            Reasoning(Effort.XHIGH),
        ),
        ({"output_config": {"effort": "low"}}, Reasoning(Effort.LOW)),
    ],
)
def test_reasoning(body: dict[str, Any], expected: Reasoning | None) -> None:
    request = read(**body)
    assert request.reasoning == expected
    assert request.unheard == ()


@pytest.mark.parametrize("body", [{"output_config": {"format": FORMAT}}, {"output_format": FORMAT}])
def test_structured_output(body: dict[str, Any]) -> None:
    request = read(**body)
    assert request.output == JsonOutput(SCHEMA, strict=True)
    assert request.unheard == ()


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, ToolChoice(Choosing.AUTO), None),
        ({"type": "none"}, ToolChoice(Choosing.NONE), None),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            ToolChoice(Choosing.REQUIRED),
            False,
        ),
        ({"type": "tool", "name": "f"}, ToolChoice(Choosing.NAMED, "f"), None),
    ],
)
def test_tool_choice(choice: object, expected: ToolChoice | None, parallel: bool | None) -> None:
    request = read(tool_choice=choice)
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


def test_tools() -> None:
    own = {"type": "bash_20250124", "name": "bash"}
    tool = {
        "name": "f", "description": "d", "input_schema": SCHEMA, "strict": True,
        "cache_control": CACHE,
    }  # fmt: skip
    assert read(tools=[tool, own]).tools == (
        Tool("f", "d", SCHEMA, strict=True, cache=CACHE),
        Opaque("anthropic", "bash_20250124", own),
    )


def test_the_rest() -> None:
    request = read(
        model="m", stream=True, max_tokens=5, temperature=0.5, top_p=0.9, top_k=4,
        stop_sequences=["a"], metadata={"user_id": "u"}, service_tier="auto",
    )  # fmt: skip
    assert (request.model, request.stream, request.max_tokens) == ("m", True, 5)
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 4)
    assert (request.stop, request.user, request.service_tier) == (("a",), "u", "auto")
    assert request.unheard == ()


@pytest.mark.parametrize(
    ("body", "field", "severity"),
    [
        ({"cache_control": CACHE}, "cache_control", Severity.COSMETIC),
        ({"metadata": {"x": 1}}, "metadata", Severity.COSMETIC),
        ({"container": "c"}, "container", Severity.SEMANTIC),
        ({"mcp_servers": [{}]}, "mcp_servers", Severity.SEMANTIC),
        ({"never_heard_of": 1}, "never_heard_of", Severity.SEMANTIC),
        ({"output_config": {"task_budget": 1}}, "output_config.task_budget", Severity.SEMANTIC),
        ({"tools": [{"name": "f", "defer_loading": True}]}, "tools.defer_loading",
         Severity.COSMETIC),
        ({"max_tokens": 0}, "max_tokens", Severity.FATAL),
        ({"thinking": {"type": "new"}}, "thinking", Severity.COSMETIC),
        ({"output_config": {"effort": "utmost"}}, "effort", Severity.COSMETIC),
        ({"output_config": {"format": {"type": "xml"}}}, "output_format", Severity.SEMANTIC),
        ({"tool_choice": {"type": "new"}}, "tool_choice", Severity.SEMANTIC),
    ],
)  # fmt: skip
def test_what_is_not_heard(body: dict[str, Any], field: str, severity: Severity) -> None:
    (loss,) = read(**body).unheard
    assert (loss.field, loss.severity) == (field, severity)
    assert bool(loss.reason) is (severity is Severity.FATAL)


@pytest.mark.parametrize(
    "body", [{"container": None}, {"mcp_servers": []}, {"speed": False}, {"thinking": None}]
)
def test_what_asks_for_nothing_is_no_loss(body: dict[str, Any]) -> None:
    assert read(**body).unheard == ()


@pytest.mark.parametrize(
    ("block", "loss"),
    [
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "files"),
        ({"type": "document", "source": {"type": "file", "file_id": "f"}}, "files"),
        ({"type": "image", "source": {"type": "new"}}, "images"),
        ({"type": "hologram"}, "hologram"),
    ],
)
def test_content_that_only_the_vendor_knows(block: object, loss: str) -> None:
    request = read(messages=[{"role": "user", "content": [block]}])
    assert [(one.field, one.severity) for one in request.unheard] == [(loss, Severity.FATAL)]


@pytest.mark.parametrize("kind", ["tool_reference", "web_search_tool_result"])
def test_the_vendors_own_blocks_in_a_result_are_left_out(kind: str) -> None:
    own, text = {"type": kind, "tool_name": "f"}, {"type": "text", "text": "x"}
    for content, left in (([own, text], (Text("x"),)), ([own], ())):
        block = {"type": "tool_result", "tool_use_id": "a", "content": content}
        request = read(messages=[{"role": "user", "content": [block]}])
        assert request.messages[0].parts == (ToolResult("a", left),)
        assert request.unheard == (Loss(kind, Severity.SEMANTIC),)


def test_citations_are_lost() -> None:
    block = {
        "type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True},
    }  # fmt: skip
    request = read(messages=[{"role": "user", "content": [block]}])
    assert request.unheard == (Loss("citations", Severity.SEMANTIC),)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"temperature": "hot"}, "temperature"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages[0].content[0].source",
        ),
        (
            {"messages": [{"role": "user", "content": [TOOL_USE]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": [TEXT, TOOL_RESULT]}]},
            "messages[1].content[1]",
        ),
        ({"system": [TOOL_USE]}, "system[0]"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"tools": [{}]}, "tools[0].name"),
    ],
)
def test_what_the_vendor_would_refuse(body: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        read(**body)
    assert caught.value.problem.param == param
