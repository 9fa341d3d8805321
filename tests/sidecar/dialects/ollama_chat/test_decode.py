"""A client's request in the neutral form."""

from typing import Any

import pytest

from sidecar.dialects.ollama_chat.decode import decode_request
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import (
    ChatRequest,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Message,
    Reasoning,
    Role,
    Sampling,
    Severity,
    Text,
    Tool,
)
from sidecar.wire.contract import Operation
from tests.sidecar.dialects.ollama_chat.context import PNG

CHAT, COMPLETION = Operation.CHAT, Operation.COMPLETION
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


def chat(**more: Any) -> ChatRequest:
    return decode_request(CHAT, HELLO | more)


def losses(request: ChatRequest) -> dict[str, Severity]:
    return {loss.field: loss.severity for loss in request.unheard}


def test_a_simple_request() -> None:
    assert chat() == ChatRequest(
        messages=(Message(Role.USER, (Text("Hello"),)),), model="m", stream=True
    )
    assert chat(stream=False).stream is False


def test_options() -> None:
    request = chat(
        options={
            "temperature": 0,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "seed": 7,
            "frequency_penalty": 0.5,
            "presence_penalty": 0.25,
            "repeat_penalty": 1.1,
            "num_predict": 128,
            "stop": ["END", ""],
        }
    )
    assert request.sampling == Sampling(
        temperature=0,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        repeat_penalty=1.1,
    )
    assert (request.max_tokens, request.stop, request.unheard) == (128, ("END",), ())


@pytest.mark.parametrize("options", [{"num_predict": -1, "seed": -1}, {"num_predict": -2}, None])
def test_options_that_say_nothing(options: Any) -> None:
    request = chat(options=options)
    assert request.max_tokens is None
    assert request.sampling == Sampling()
    assert request.unheard == ()


@pytest.mark.parametrize(
    ("told", "reasoning"),
    [
        (None, None),
        (True, Reasoning()),
        (False, Reasoning(Effort.NONE)),
        ("low", Reasoning(Effort.LOW)),
        ("medium", Reasoning(Effort.MEDIUM)),
        ("high", Reasoning(Effort.HIGH)),
        ("max", Reasoning(Effort.MAX)),
    ],
)
def test_think(told: Any, reasoning: Reasoning | None) -> None:
    assert chat(think=told).reasoning == reasoning


@pytest.mark.parametrize(
    ("told", "output"),
    [
        (None, None),
        ("", None),
        ("json", JsonOutput()),
        (SCHEMA, JsonOutput(schema=SCHEMA)),
    ],
)
def test_format(told: Any, output: JsonOutput | None) -> None:
    assert chat(format=told).output == output


def test_tools() -> None:
    function = {"name": "age", "description": "Tells an age.", "parameters": SCHEMA}
    request = chat(tools=[{"type": "function", "function": function}, {"function": {"name": "x"}}])
    assert request.tools == (Tool("age", "Tells an age.", SCHEMA), Tool("x"))


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"think": "very"}, "think"),
        ({"think": 3}, "think"),
        ({"format": "xml"}, "format"),
        ({"tools": [{}]}, "tools[0].function"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": []}, "options"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "images": ["no!"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": [3]}]}, "messages[0].images[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0].function",
        ),
    ],
)
def test_what_the_server_itself_would_refuse(more: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        chat(**more)
    assert refused.value.problem.param == param


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"keep_alive": 0}, {"keep_alive": Severity.COSMETIC}),
        (
            {"truncate": True, "shift": True},
            dict.fromkeys(("truncate", "shift"), Severity.COSMETIC),
        ),
        ({"truncate": False, "shift": False}, {}),
        ({"options": {"num_ctx": 4096}}, {"num_ctx": Severity.COSMETIC}),
        ({"options": {"mirostat": 1, "numa": None}}, {"mirostat": Severity.COSMETIC}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": Severity.SEMANTIC}),
        ({"logprobs": False, "top_logprobs": 0}, {}),
        ({"wishes": 3}, {"wishes": Severity.SEMANTIC}),
        ({"wishes": None}, {}),
        ({"template": "{{ .Prompt }}"}, {"template": Severity.FATAL}),
        ({"_debug_render_only": True}, {"_debug_render_only": Severity.FATAL}),
        ({"options": {"num_predict": 0}}, {"num_predict": Severity.FATAL}),
        (
            {"messages": [{"role": "user", "images": ["UklGRgAAAABXQVZFZm10IA=="]}]},
            {"images": Severity.FATAL},
        ),
    ],
)
def test_losses(more: Any, lost: dict[str, Severity]) -> None:
    request = chat(**more)
    assert losses(request) == lost
    assert all(loss.reason for loss in request.unheard if loss.severity is Severity.FATAL)


@pytest.mark.parametrize("body", [{"model": "m"}, {"model": "m", "messages": []}])
def test_no_messages_ask_only_for_the_model_to_be_loaded(body: Any) -> None:
    assert decode_request(CHAT, body).messages == ()


# --- /api/generate --------------------------------------------------------------------------------


def test_a_prompt_is_one_turn_behind_the_system_prompt() -> None:
    body = {"model": "m", "system": "Be brief.", "prompt": "What is this?", "images": [PNG]}
    assert decode_request(COMPLETION, body).messages == (
        Message(Role.SYSTEM, (Text("Be brief."),)),
        Message(Role.USER, (Text("What is this?"), Image(Inline("image/png", PNG)))),
    )


def test_a_prompt_shares_the_other_fields_with_a_chat() -> None:
    body = {"prompt": "x", "format": "json", "think": False, "options": {"num_predict": 3}}
    request = decode_request(COMPLETION, body)
    assert request.output == JsonOutput()
    assert request.reasoning == Reasoning(Effort.NONE)
    assert (request.max_tokens, request.unheard) == (3, ())


@pytest.mark.parametrize("body", [{}, {"prompt": ""}, {"prompt": "", "system": "Be brief."}])
def test_no_prompt_asks_only_for_the_model_to_be_loaded(body: Any) -> None:
    assert decode_request(COMPLETION, body).messages == ()


@pytest.mark.parametrize(
    ("name", "value"), [("suffix", "end"), ("raw", True), ("template", "{{ }}"), ("context", [1])]
)
def test_what_no_other_dialect_can_say_of_a_prompt(name: str, value: Any) -> None:
    request = decode_request(COMPLETION, {"prompt": "x", name: value})
    assert losses(request) == {name: Severity.FATAL}
    assert f"`{name}`" in request.unheard[0].reason
    nothing = decode_request(COMPLETION, {"prompt": "x", name: type(value)()})
    assert nothing.unheard == ()
