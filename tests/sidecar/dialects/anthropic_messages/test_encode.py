"""The neutral form into a request for a backend, fitted to its model."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.encode import encode_request
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    JsonOutput,
    Loss,
    Message,
    Opaque,
    Reasoning,
    Role,
    Sampling,
    Severity,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from sidecar.wire.arguments import FREE_TEXT
from sidecar.wire.contract import Encoded, Expectation, Feature, Target

C, S = Severity.COSMETIC, Severity.SEMANTIC
HELLO = (Message(Role.USER, (Text("Hello"),)),)
TOOL = Tool("f", "does", {"type": "object", "properties": {"a": {"type": "string"}}})
OLD, SIX, EIGHT, FIVE, SONNET, NEW, OTHER = (
    "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-opus-4-8", "claude-opus-5",
    "claude-sonnet-5-5", "claude-opus-5-5", "glm-4.6",
)  # fmt: skip


def encode(model: str | None = OLD, target: Target | None = None, **more: Any) -> Encoded:
    fields: dict[str, Any] = {"messages": HELLO, "max_tokens": 4000} | more
    return encode_request(ChatRequest(**fields), target or Target(model, stream=False))


def lost(found: Encoded) -> list[tuple[str, Severity]]:
    return [(loss.field, loss.severity) for loss in found.losses]


def test_a_plain_request() -> None:
    assert encode() == Encoded(
        {
            "model": OLD,
            "max_tokens": 4000,
            "messages": [{"role": "user", "content": "Hello"}],
        }
    )


# --- how much -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "most", "expected"),
    [
        (OLD, 100, None, 100),
        (OLD, None, None, 32_000),
        (OLD, None, 64_000, 64_000),
        (None, None, None, 32_000),
        ("claude-3-haiku-20240307", None, None, 4096),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", None, None, 8192),
    ],
)
def test_max_tokens(model: str, asked: int | None, most: int | None, expected: int) -> None:
    target = Target(model, stream=False, max_output=most)
    found = encode(target=target, max_tokens=asked)
    assert found.body["max_tokens"] == expected
    assert found.losses == ()


@pytest.mark.parametrize(
    ("model", "known", "most"),
    [
        (OLD, 100, 100),
        ("claude-3-haiku-20240307", None, 4096),
        ("claude-3-5-haiku-latest", None, 8192),
        ("claude-3-haiku-20240307", 5000, 5000),  # the backend itself tells
    ],
)
def test_more_than_the_model_writes_is_clamped(model: str, known: int | None, most: int) -> None:
    target = Target(model, stream=False, max_output=known)
    found = encode(target=target, max_tokens=60_000)
    assert found.body["max_tokens"] == most
    assert lost(found) == [("max_tokens", C)]


@pytest.mark.parametrize("model", [OLD, "claude-3-7-sonnet-latest", NEW, OTHER])
def test_where_no_bound_is_known_the_clients_stays(model: str) -> None:
    found = encode(model, max_tokens=60_000)
    assert found.body["max_tokens"] == 60_000
    assert found.losses == ()


@pytest.mark.parametrize(
    ("asked", "max_tokens", "streams"),
    [(True, 10, True), (False, 10, None), (False, 21_333, None), (False, 21_334, True)],
)
def test_what_may_take_long_is_streamed(asked: bool, max_tokens: int, streams: object) -> None:
    found = encode(target=Target(OLD, stream=asked), max_tokens=max_tokens)
    assert found.body.get("stream") is streams


# --- thinking -------------------------------------------------------------------------------------

ON = {"type": "adaptive", "display": "summarized"}


def budget(tokens: int) -> dict[str, object]:
    return {"type": "enabled", "budget_tokens": tokens}


@pytest.mark.parametrize(
    ("model", "wish", "thinking", "effort", "losses"),
    [
        (OLD, None, None, None, []),
        (OLD, Reasoning(budget=2000), budget(2000), None, []),
        (OLD, Reasoning(budget=1), budget(1024), None, []),
        (OLD, Reasoning(budget=9000), budget(3999), None, []),
        (OLD, Reasoning(Effort.LOW), budget(2000), None, []),
        (OLD, Reasoning(Effort.MINIMAL), budget(1024), None, []),
        (OLD, Reasoning(), budget(2000), None, []),
        (OLD, Reasoning(Effort.NONE), None, None, []),
        ("claude-3-5-haiku-latest", Reasoning(), None, None, [("thinking", C)]),
        (SIX, Reasoning(), ON, None, []),
        (SIX, Reasoning(Effort.MINIMAL), ON, "low", []),
        (SIX, Reasoning(Effort.XHIGH), ON, "high", []),
        (SIX, Reasoning(Effort.MAX), ON, "max", []),
        (SIX, Reasoning(budget=12_000), ON, "high", []),
        (SIX, Reasoning(Effort.NONE), None, None, []),
        (EIGHT, Reasoning(Effort.XHIGH), ON, "xhigh", []),
        (FIVE, Reasoning(Effort.NONE), {"type": "disabled"}, None, []),
        (SONNET, Reasoning(Effort.NONE), {"type": "between_tools"}, None, []),
        (NEW, Reasoning(Effort.NONE), None, "low", [("thinking", C)]),
        (OTHER, Reasoning(budget=2000), budget(2000), None, []),
        (OTHER, Reasoning(Effort.NONE), {"type": "disabled"}, None, []),
    ],
)
def test_thinking(
    model: str, wish: Reasoning | None, thinking: object, effort: object, losses: list[object]
) -> None:
    found = encode(model, reasoning=wish)
    assert found.body.get("thinking") == thinking
    assert found.body.get("output_config") == ({"effort": effort} if effort else None)
    assert lost(found) == losses


def test_no_room_to_think() -> None:
    found = encode(reasoning=Reasoning(Effort.HIGH), max_tokens=1024)
    assert "thinking" not in found.body
    assert lost(found) == [("thinking", C)]


def test_a_backend_that_refused_to_think_is_not_asked_again() -> None:
    target = Target(SIX, stream=False, without=frozenset({Feature.THINKING}))
    found = encode(target=target, reasoning=Reasoning(Effort.HIGH))
    assert not found.body.keys() & {"thinking", "output_config"}
    assert lost(found) == [("thinking", C)]


SIGNED = Thinking("t", "S", "anthropic")
CALL = ToolCall("a", "f", '{"a":"b"}')
ANSWERED = Message(Role.USER, (ToolResult("a", (Text("x"),)),))


@pytest.mark.parametrize(
    ("model", "said", "thinks"),
    [
        (OLD, (SIGNED, CALL), True),
        (OLD, (CALL,), False),
        (OLD, (Thinking("t", "S", "openai-responses"), CALL), False),
        (SIX, (CALL,), True),
        (OTHER, (CALL,), True),
    ],
)
def test_calls_without_their_thinking(model: str, said: tuple[Any, ...], thinks: bool) -> None:
    messages = (*HELLO, Message(Role.ASSISTANT, said), ANSWERED)
    found = encode(model, messages=messages, tools=(TOOL,), reasoning=Reasoning())
    assert ("thinking" in found.body) is thinks
    assert (("thinking", C) in lost(found)) is (not thinks)


@pytest.mark.parametrize(("model", "thinks"), [(OLD, False), (OTHER, False), (SIX, True)])
def test_a_model_that_asked_for_its_thinking_is_not_told_to_think(model: str, thinks: bool) -> None:
    target = Target(model, stream=False, without=frozenset({Feature.SIGNED_THINKING}))
    messages = (*HELLO, Message(Role.ASSISTANT, (CALL,)), ANSWERED)
    found = encode(target=target, messages=messages, tools=(TOOL,), reasoning=Reasoning())
    told: Any = found.body.get("thinking", {})
    assert (told.get("type") in ("enabled", "adaptive")) is thinks
    assert (("thinking", C) in lost(found)) is (not thinks)


@pytest.mark.parametrize(
    ("model", "choosing", "thinking", "choice"),
    [
        (OLD, Choosing.AUTO, budget(2000), {"type": "auto"}),
        (OLD, Choosing.NONE, budget(2000), {"type": "none"}),
        (OLD, Choosing.REQUIRED, None, {"type": "any"}),
        (SIX, Choosing.NAMED, None, {"type": "tool", "name": "f"}),
        (FIVE, Choosing.NAMED, {"type": "disabled"}, {"type": "tool", "name": "f"}),
    ],
)
def test_a_forced_call_goes_before_thinking(
    model: str, choosing: Choosing, thinking: object, choice: object
) -> None:
    forced = ToolChoice(choosing, "f" if choosing is Choosing.NAMED else None)
    found = encode(model, tools=(TOOL,), tool_choice=forced, reasoning=Reasoning())
    assert found.body.get("thinking") == thinking
    assert found.body["tool_choice"] == choice


def test_a_forced_call_turns_thinking_off_that_nobody_asked_for() -> None:
    found = encode(FIVE, tools=(TOOL,), tool_choice=ToolChoice(Choosing.REQUIRED))
    assert found.body["thinking"] == {"type": "disabled"}
    assert found.losses == ()


@pytest.mark.parametrize(
    ("choice", "expects"),
    [
        (ToolChoice(Choosing.REQUIRED), Expectation(calls=True)),
        (ToolChoice(Choosing.NAMED, "f"), Expectation(calls=True, tool="f")),
    ],
)
@pytest.mark.parametrize("model", [NEW, SONNET, "claude-fable-5-2"])
def test_a_model_that_cannot_be_forced_is_asked(
    model: str, choice: ToolChoice, expects: Expectation
) -> None:
    found = encode(model, tools=(TOOL,), tool_choice=choice)
    assert found.body["tool_choice"] == {"type": "auto"}
    assert "You must call" in str(found.body["system"])
    assert found.expects == expects


# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "sampling", "expected", "losses"),
    [
        (OLD, Sampling(temperature=0.5, top_k=4), {"temperature": 0.5, "top_k": 4}, []),
        (OLD, Sampling(temperature=1.5), {"temperature": 1}, [("temperature", C)]),
        (OLD, Sampling(temperature=0, top_p=0.5), {"temperature": 0}, [("top_p", C)]),
        (OLD, Sampling(temperature=0, top_p=1), {"temperature": 0}, []),
        (OLD, Sampling(top_p=0.5), {"top_p": 0.5}, []),
        (NEW, Sampling(temperature=1, top_p=1), {}, []),
        (
            EIGHT,
            Sampling(temperature=0, top_p=0.5, top_k=1),
            {},
            [("temperature", C), ("top_p", C), ("top_k", C)],
        ),
        (
            OLD,
            Sampling(min_p=0.1, seed=0, frequency_penalty=1, presence_penalty=1, repeat_penalty=2),
            {},
            [("min_p", C), ("seed", C), ("frequency_penalty", C), ("presence_penalty", C),
             ("repeat_penalty", C)],
        ),
        (OLD, Sampling(min_p=0, frequency_penalty=0, repeat_penalty=1, logit_bias={}), {}, []),
    ],
)  # fmt: skip
def test_sampling(
    model: str, sampling: Sampling, expected: dict[str, object], losses: list[object]
) -> None:
    found = encode(model, sampling=sampling)
    told = {
        name: found.body[name] for name in ("temperature", "top_p", "top_k") if name in found.body
    }
    assert told == expected
    assert lost(found) == losses


def test_sampling_that_a_model_refuses_is_left_out() -> None:
    target = Target(OLD, stream=False, without=frozenset({Feature.SAMPLING}))
    found = encode(target=target, sampling=Sampling(temperature=0.5, top_k=4))
    assert not found.body.keys() & {"temperature", "top_p", "top_k"}
    assert lost(found) == [("temperature", C), ("top_k", C)]


def test_a_model_that_thinks_takes_no_temperature() -> None:
    found = encode(OLD, sampling=Sampling(temperature=0), reasoning=Reasoning())
    assert "temperature" not in found.body
    assert lost(found) == [("temperature", C)]


# --- structured output ----------------------------------------------------------------------------

OPEN = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}


def test_a_schema_that_the_vendor_takes_whole() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    found = encode(output=JsonOutput(schema))
    assert found.body["output_config"] == {
        "format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}
    }
    assert found.expects is None


def test_what_is_taken_out_of_a_schema_is_verified() -> None:
    found = encode(SIX, output=JsonOutput(OPEN), reasoning=Reasoning(Effort.LOW))
    closed = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert found.body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {**closed, "additionalProperties": False}},
    }
    assert found.expects == Expectation(is_json=True, schema=OPEN)


@pytest.mark.parametrize(
    ("model", "schema"),
    [(OLD, None), (OLD, {"type": "object"}), (OTHER, OPEN), ("claude-sonnet-4-0", OPEN)],
)
def test_what_has_no_format_is_asked_for_in_words(model: str, schema: Any) -> None:
    messages = (Message(Role.SYSTEM, (Text("Be."),)), *HELLO)
    found = encode(model, output=JsonOutput(schema), messages=messages)
    assert "output_config" not in found.body
    assert str(found.body["system"]).startswith("Be.\n\nAnswer with one JSON object")
    assert found.expects == Expectation(is_json=True, schema=schema)


# --- tools ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "expected", "losses"),
    [
        (TOOL, {"name": "f", "description": "does", "input_schema": TOOL.schema}, []),
        (
            Tool("f", cache={"type": "ephemeral"}),
            {
                "name": "f",
                "input_schema": {"type": "object", "properties": {}},
                "cache_control": {"type": "ephemeral"},
            },
            [],
        ),
        (
            Tool("f", schema=FREE_TEXT, custom=True),
            {"name": "f", "input_schema": FREE_TEXT},
            [],
        ),
        (
            Tool("f", schema={"type": "object", "anyOf": [{}]}),
            {"name": "f", "input_schema": {"type": "object"}},
            [("tools", S)],
        ),
        (
            Tool("f", schema={"type": "object", "properties": {}}, strict=True),
            {
                "name": "f",
                "strict": True,
                "input_schema": {
                    "type": "object", "properties": {}, "additionalProperties": False,
                },
            },
            [],
        ),
        (Tool("f", schema=OPEN, strict=True), {"name": "f", "input_schema": OPEN}, [("strict", C)]),
        (Opaque("anthropic", "bash", {"type": "bash"}), {"type": "bash"}, []),
    ],
)  # fmt: skip
def test_a_tool(tool: Tool | Opaque, expected: object, losses: list[object]) -> None:
    found = encode(tools=(tool,))
    assert found.body["tools"] == [expected]
    assert "tool_choice" not in found.body
    assert lost(found) == losses


def test_tools_of_another_vendor_are_lost() -> None:
    found = encode(tools=(Opaque("openai-responses", "web_search", {}),))
    assert "tools" not in found.body
    assert lost(found) == [("server_tools", S)]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            ToolChoice(Choosing.NAMED, "f"),
            {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        ),
        (ToolChoice(Choosing.NONE), {"type": "none"}),
    ],
)
def test_one_call_at_a_time(choice: ToolChoice | None, expected: object) -> None:
    found = encode(tools=(TOOL,), tool_choice=choice, parallel_tool_calls=False)
    assert found.body["tool_choice"] == expected


def test_calls_of_the_past_need_tools_that_are_not_to_be_called() -> None:
    messages = (*HELLO, Message(Role.ASSISTANT, (CALL,)), ANSWERED)
    found = encode(messages=messages, tool_choice=ToolChoice(Choosing.AUTO))
    assert found.body["tools"] == [
        {"name": "f", "input_schema": {"type": "object", "properties": {}}}
    ]
    assert found.body["tool_choice"] == {"type": "none"}


def test_a_call_cannot_be_forced_without_tools() -> None:
    found = encode(tool_choice=ToolChoice(Choosing.REQUIRED))
    assert not found.body.keys() & {"tools", "tool_choice"}
    assert lost(found) == [("tool_choice", S)]


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "expected", "losses"),
    [
        ({"stop": ("a", "\n", "b")}, {"stop_sequences": ["a", "b"]}, [Loss("stop_sequences", C)]),
        ({"stop": (" ",)}, {}, [Loss("stop_sequences", C)]),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}, []),
        ({"user": "u" * 257}, {}, [Loss("user", C)]),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}, []),
        ({"service_tier": "standard_only"}, {"service_tier": "standard_only"}, []),
        ({"service_tier": "flex"}, {}, [Loss("service_tier", C)]),
        ({"verbosity": "low"}, {}, [Loss("verbosity", C)]),
    ],
)
def test_the_rest(asked: dict[str, Any], expected: dict[str, object], losses: list[Loss]) -> None:
    found = encode(**asked)
    rest = {
        name: value
        for name, value in found.body.items()
        if name not in ("model", "max_tokens", "messages")
    }
    assert rest == expected
    assert list(found.losses) == losses
