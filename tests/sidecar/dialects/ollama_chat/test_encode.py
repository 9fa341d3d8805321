"""A neutral request as /api/chat takes it."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.ollama_chat.encode import encode_request
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    JsonOutput,
    Message,
    Opaque,
    Reasoning,
    Role,
    Sampling,
    Severity,
    Text,
    Tool,
    ToolChoice,
)
from sidecar.wire.arguments import FREE_TEXT
from sidecar.wire.contract import Encoded, Expectation, Feature, Target

TARGET = Target(model="qwen3", stream=True)
HELLO = ChatRequest((Message(Role.USER, (Text("Hello"),)),), model="asked")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER, CLOCK = Tool("weather", "Tells the weather.", SCHEMA), Tool("clock")
REQUIRED, NONE = ToolChoice(Choosing.REQUIRED), ToolChoice(Choosing.NONE)


def encoded(target: Target = TARGET, **more: Any) -> Encoded:
    return encode_request(replace(HELLO, **more), target)


def body(**more: Any) -> Any:
    return encoded(**more).body


def losses(told: Encoded) -> dict[str, Severity]:
    return {loss.field: loss.severity for loss in told.losses}


def test_a_simple_request_asks_that_nothing_be_cut_off() -> None:
    assert encoded() == Encoded(
        {
            "model": "qwen3",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            "truncate": False,
            "shift": False,
        }
    )
    whole = encoded(Target(model=None, stream=False)).body
    assert whole["stream"] is False
    assert "model" not in whole


def test_without_messages_the_model_is_loaded_as_the_server_sees_fit() -> None:
    assert body(messages=()) == {"model": "qwen3", "messages": [], "stream": True}


def test_options() -> None:
    sampling = Sampling(
        temperature=0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        seed=0,
        frequency_penalty=1,
        presence_penalty=2,
        repeat_penalty=1.1,
    )
    told = encoded(sampling=sampling, stop=("END", "STOP"), max_tokens=100)
    assert told.body["options"] == {
        "num_predict": 100,
        "stop": ["END", "STOP"],
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "seed": 0,
        "frequency_penalty": 1,
        "presence_penalty": 2,
        "repeat_penalty": 1.1,
    }
    assert told.losses == ()


@pytest.mark.parametrize(
    ("asked", "can", "told"),
    [(None, None, None), (None, 50, None), (100, None, 100), (100, 50, 50), (10, 50, 10)],
)
def test_no_more_is_asked_for_than_the_model_can_write(
    asked: int | None, can: int | None, told: int | None
) -> None:
    options = encoded(replace(TARGET, max_output=can), max_tokens=asked).body.get("options", {})
    assert isinstance(options, dict)
    assert options.get("num_predict") == told


@pytest.mark.parametrize(
    ("estimate", "max_tokens", "context", "window"),
    [
        pytest.param(0, None, 40_960, None, id="of unknown size"),
        pytest.param(1, None, None, 8192, id="small, and the model's limit is not known"),
        pytest.param(4000, None, 40_960, 8192, id="with room for an answer"),
        pytest.param(4000, 2048, 40_960, 8192, id="with room for the answer that was asked for"),
        pytest.param(4000, 4096, 40_960, 32_768, id="which may need a larger window"),
        pytest.param(5000, None, 40_960, 32_768, id="the estimate may be too low"),
        pytest.param(1000, 64_000, 200_000, 32_768, id="nobody writes all that was asked for"),
        pytest.param(30_000, None, 200_000, 131_072, id="large"),
        pytest.param(30_000, None, 40_960, 40_960, id="as far as the model reads"),
        pytest.param(90_000, None, 40_960, 40_960, id="too large: the server will say so"),
        pytest.param(1, None, 2048, 2048, id="a small model"),
    ],
)
def test_the_window_is_one_of_a_few(
    estimate: int, max_tokens: int | None, context: int | None, window: int | None
) -> None:
    target = replace(TARGET, estimate=estimate, context=context)
    options = encoded(target, max_tokens=max_tokens).body.get("options", {})
    assert isinstance(options, dict)
    assert options.get("num_ctx") == window


@pytest.mark.parametrize(
    ("wish", "think"),
    [
        (Reasoning(), True),
        (Reasoning(Effort.NONE), False),
        (Reasoning(Effort.MINIMAL), "low"),
        (Reasoning(Effort.LOW), "low"),
        (Reasoning(Effort.MEDIUM), "medium"),
        (Reasoning(Effort.HIGH), "high"),
        (Reasoning(Effort.XHIGH), "max"),
        (Reasoning(Effort.MAX), "max"),
        (Reasoning(budget=1024), "low"),
        (Reasoning(budget=5000), "medium"),
        (Reasoning(budget=10_000), "high"),
    ],
)
def test_think(wish: Reasoning, think: bool | str) -> None:
    assert body(reasoning=wish)["think"] == think
    assert "think" not in body()
    refused = encoded(replace(TARGET, without=frozenset({Feature.THINKING})), reasoning=wish)
    assert "think" not in refused.body
    assert losses(refused) == ({"thinking": Severity.COSMETIC} if think else {})


# --- tools ----------------------------------------------------------------------------------------


def test_tools() -> None:
    custom = Tool("patch", schema=FREE_TEXT, custom=True)
    assert body(tools=(WEATHER, CLOCK, custom))["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": SCHEMA,
            },
        },
        {
            "type": "function",
            "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
        },
        {
            "type": "function",
            "function": {
                "name": "patch",
                "parameters": {
                    "type": "object",
                    "properties": {"input": {"type": "string"}},
                    "required": ["input"],
                },
            },
        },
    ]


@pytest.mark.parametrize(
    ("choice", "shown", "expects"),
    [
        (None, ["weather", "clock"], None),
        (ToolChoice(Choosing.AUTO), ["weather", "clock"], None),
        (NONE, None, None),
        (REQUIRED, ["weather", "clock"], Expectation(calls=True)),
        (ToolChoice(Choosing.NAMED, "clock"), ["clock"], Expectation(calls=True, tool="clock")),
    ],
)
def test_a_choice_of_tools_is_made_by_what_is_shown_and_asked(
    choice: ToolChoice | None, shown: list[str] | None, expects: Expectation | None
) -> None:
    told = encoded(tools=(WEATHER, CLOCK), tool_choice=choice)
    tools: Any = told.body.get("tools")
    assert (tools and [tool["function"]["name"] for tool in tools]) == shown
    assert told.expects == expects
    messages: Any = told.body["messages"]
    assert [one["role"] for one in messages] == (["system", "user"] if expects else ["user"])
    assert told.losses == ()


def test_what_is_asked_in_words_stands_in_the_first_system_prompt() -> None:
    prompt = Message(Role.SYSTEM, (Text("Be kind."),))
    told = body(messages=(prompt, *HELLO.messages), tools=(CLOCK,), tool_choice=REQUIRED)
    assert [one["role"] for one in told["messages"]] == ["system", "user"]
    content = told["messages"][0]["content"]
    assert content.startswith("Be kind.\n\nAnswer by calling at least one of the tools.")


def test_a_choice_among_no_tools_is_lost() -> None:
    assert losses(encoded(tool_choice=REQUIRED)) == {"tool_choice": Severity.SEMANTIC}
    missing = encoded(tools=(CLOCK,), tool_choice=ToolChoice(Choosing.NAMED, "weather"))
    assert losses(missing) == {"tool_choice": Severity.SEMANTIC}
    assert losses(encoded(tool_choice=NONE)) == {}


# --- structured output ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "format"),
    [(None, None), (JsonOutput(), "json"), (JsonOutput(SCHEMA, "city", True), SCHEMA)],
)
def test_structured_output(output: JsonOutput | None, format: object) -> None:
    told = encoded(output=output)
    assert told.body.get("format") == format
    assert (told.expects, told.losses) == (None, ())
    # no tool is shown, so none can be in the way
    assert encoded(output=output, tools=(CLOCK,), tool_choice=NONE).body.get("format") == format


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_beside_tools_structured_output_is_only_asked_for(schema: Any) -> None:
    told = encoded(output=JsonOutput(schema), tools=(CLOCK,))
    assert "format" not in told.body
    assert told.expects == Expectation(is_json=True, schema=schema)
    messages: Any = told.body["messages"]
    assert "a JSON object and nothing else" in messages[0]["content"]
    assert ('"required":["city"]' in messages[0]["content"]) is (schema is not None)


# --- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"user": "u"}, {"user": Severity.COSMETIC}),
        ({"verbosity": "low"}, {"verbosity": Severity.COSMETIC}),
        ({"service_tier": "priority"}, {"service_tier": Severity.COSMETIC}),
        ({"service_tier": "auto"}, {}),
        ({"sampling": Sampling(logit_bias={"1": 2})}, {"logit_bias": Severity.COSMETIC}),
        ({"tools": (Tool("x", strict=True),)}, {"strict": Severity.SEMANTIC}),
        ({"tools": (Tool("x", strict=False),)}, {}),
        ({"tools": (Tool("x", cache={}),)}, {"cache_control": Severity.COSMETIC}),
        (
            {"messages": (Message(Role.SYSTEM, (Text("x", cache={"type": "ephemeral"}),)),)},
            {"cache_control": Severity.COSMETIC},
        ),
        ({"tools": (CLOCK,), "parallel_tool_calls": True}, {}),
        ({"parallel_tool_calls": False}, {}),
        (
            {"tools": (CLOCK,), "parallel_tool_calls": False},
            {"parallel_tool_calls": Severity.SEMANTIC},
        ),
        (
            {"tools": (Opaque("anthropic", "web_search_20250305", {}),)},
            {"server_tools": Severity.SEMANTIC},
        ),
    ],
)
def test_losses(more: Any, lost: dict[str, Severity]) -> None:
    assert losses(encoded(**more)) == lost
