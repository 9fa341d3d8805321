"""A client's request in the neutral form: every field, and what has no place in it."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_chat.decode_request import decode_request
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Document,
    Effort,
    Image,
    Inline,
    JsonOutput,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Remote,
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
from sidecar.wire.contract import Operation

CHAT, COMPLETION = Operation.CHAT, Operation.COMPLETION
HELLO = [{"role": "user", "content": "Hello"}]
EPHEMERAL = {"type": "ephemeral"}


def read(**body: Any) -> ChatRequest:
    return decode_request(CHAT, {"model": "m", "messages": HELLO, **body})


def messages(*told: Any) -> tuple[Message, ...]:
    return read(messages=list(told)).messages


def losses(request: ChatRequest) -> dict[str, Severity]:
    return {loss.field: loss.severity for loss in request.unheard}


# --- messages -------------------------------------------------------------------------------------


def test_who_speaks() -> None:
    told = [{"role": role, "content": role} for role in ("system", "developer", "user")]
    told.append({"role": "assistant", "content": "assistant"})
    assert messages(*told) == tuple(Message(role, (Text(role.value),)) for role in Role)


PNG = base64.b64encode(b"\x89PNG").decode()
URL = "https://example.com/cat.png"


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"type": "text", "text": "x"}, Text("x")),
        ({"type": "text", "text": "x", "cache_control": EPHEMERAL}, Text("x", EPHEMERAL)),
        ({"type": "image_url", "image_url": {"url": URL}}, Image(Remote(URL))),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            Image(Inline("image/png", PNG)),
        ),
        (
            {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
            Image(Remote(URL), "low"),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg/%3E"}},
            Image(Inline("image/svg+xml", base64.b64encode(b"<svg/>").decode())),
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}},
            Document(Inline("application/pdf", "JVBE")),
        ),
        (
            {"type": "file", "file": {"file_data": "JVBE", "filename": "a.pdf"}},
            Document(Inline("application/pdf", "JVBE"), "a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,SGk="}},
            Document("Hi"),
        ),
    ],
)
def test_content(told: Any, part: Part) -> None:
    assert messages({"role": "user", "content": [told]})[0].parts == (part,)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        ({"content": None, "tool_calls": [CALL]}, [ToolCall("a", "f", '{"x": 1}')]),
        ({"content": "x", "refusal": None, "audio": None, "annotations": []}, [Text("x")]),
        ({"refusal": "No."}, [Refusal("No.")]),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, [Refusal("No.")]),
        ({"content": "x", "reasoning_content": "hm"}, [Thinking("hm"), Text("x")]),
        ({"content": "x", "reasoning": "hm"}, [Thinking("hm"), Text("x")]),
        (
            {"reasoning_content": "hm", "reasoning_details": [{"signature": "s", "text": "hm"}]},
            [Thinking("hm", "s", "openai")],
        ),
        (
            {"reasoning_content": "hm", "reasoning_details": [{"signature": "llm-sidecar.toy.s"}]},
            [Thinking("hm", "s", "toy")],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "llm-sidecar.toy.s"}]},
            [Thinking("", "s", "toy", redacted=True)],
        ),
        (
            {
                "tool_calls": [
                    {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** é"}}
                ]
            },
            [ToolCall("a", "patch", '{"input":"*** é"}', custom=True)],
        ),
        (
            {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]},
            [ToolCall("a", "f", '{"x":1}')],
        ),
    ],
)
def test_what_the_assistant_said(told: Any, parts: list[Part]) -> None:
    assert messages(*HELLO, {"role": "assistant", **told})[1].parts == tuple(parts)


def test_results_of_tools_are_one_turn_of_the_user() -> None:
    image = {"type": "image_url", "image_url": {"url": URL}}
    results = messages(
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "name": "g", "content": [image]},
        {"role": "user", "content": "And?"},
    )
    assert results == (
        Message(
            Role.USER,
            (ToolResult("a", (Text("one"),)), ToolResult("b", (Image(Remote(URL)),), name="g")),
        ),
        Message(Role.USER, (Text("And?"),)),
    )


def test_the_older_form_of_calls_and_results() -> None:
    request = read(
        messages=[
            *HELLO,
            {"role": "assistant", "content": None, "function_call": {"name": "f"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert request.messages[1:] == (
        Message(Role.ASSISTANT, (ToolCall("call_1", "f", ""),)),
        Message(Role.USER, (ToolResult("call_1", (Text("1"),), name="f"),)),
    )
    assert request.tools == (Tool("f", schema={"type": "object"}),)
    assert request.tool_choice == ToolChoice(Choosing.NAMED, "f")
    assert request.parallel_tool_calls is False
    assert request.unheard == ()


# --- how to answer --------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"stream": True}, "stream", True),
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, "max_tokens", 7),
        ({"stop": "a"}, "stop", ("a",)),
        ({"stop": ["a", "b", ""]}, "stop", ("a", "b")),
        ({"user": "u"}, "user", "u"),
        ({"user": "u", "safety_identifier": "s"}, "user", "s"),
        ({"verbosity": "low"}, "verbosity", "low"),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"reasoning_effort": "xhigh"}, "reasoning", Reasoning(Effort.XHIGH)),
        ({"reasoning": {"effort": "low"}}, "reasoning", Reasoning(Effort.LOW)),
        ({"reasoning": {"max_tokens": 2000}}, "reasoning", Reasoning(budget=2000)),
        ({"reasoning": {"enabled": True}}, "reasoning", Reasoning()),
        ({"reasoning": {"enabled": False}}, "reasoning", Reasoning(Effort.NONE)),
        ({"response_format": {"type": "text"}}, "output", None),
        ({"response_format": {"type": "json_object"}}, "output", JsonOutput()),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
                }
            },
            "output",
            JsonOutput(SCHEMA, "n", True),
        ),
        (
            {"temperature": 0, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "seed": 4},
            "sampling",
            Sampling(temperature=0, top_p=0.5, top_k=3, min_p=0.1, seed=4),
        ),
        (
            {"frequency_penalty": 1, "presence_penalty": 2, "repetition_penalty": 1.1},
            "sampling",
            Sampling(frequency_penalty=1, presence_penalty=2, repeat_penalty=1.1),
        ),
        ({"logit_bias": {"5": -1}}, "sampling", Sampling(logit_bias={"5": -1})),
        ({"stream_options": {"include_usage": True}}, "sampling", Sampling()),
    ],
)
def test_fields(body: Any, field: str, value: object) -> None:
    request = read(**body)
    assert getattr(request, field) == value
    assert request.unheard == ()


FUNCTION = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
F, G = Tool("f", "d", SCHEMA, True), Tool("g")
TOOLS = [
    {"type": "function", "function": FUNCTION},
    {"type": "function", "function": {"name": "g"}},
]


def test_tools() -> None:
    custom = {"type": "custom", "custom": {"name": "patch", "description": "d"}}
    other = {"type": "web_search"}
    request = read(tools=[*TOOLS, custom, other])
    patch = Tool("patch", "d", FREE_TEXT, custom=True)
    assert request.tools == (F, G, patch, Opaque("openai", "web_search", other))


@pytest.mark.parametrize(
    ("told", "choice", "tools"),
    [
        ("auto", ToolChoice(Choosing.AUTO), (F, G)),
        ("none", ToolChoice(Choosing.NONE), (F, G)),
        ("required", ToolChoice(Choosing.REQUIRED), (F, G)),
        (
            {"type": "function", "function": {"name": "f"}},
            ToolChoice(Choosing.NAMED, "f"),
            (F, G),
        ),
        ({"type": "custom", "custom": {"name": "f"}}, ToolChoice(Choosing.NAMED, "f"), (F, G)),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": TOOLS[1:]}},
            ToolChoice(Choosing.REQUIRED),
            (G,),
        ),
    ],
)
def test_tool_choice(told: Any, choice: ToolChoice, tools: Any) -> None:
    request = read(tools=TOOLS, tool_choice=told)
    assert (request.tool_choice, request.tools) == (choice, tools)


# --- what has no place ----------------------------------------------------------------------------

COSMETIC, SEMANTIC, FATAL = Severity.COSMETIC, Severity.SEMANTIC, Severity.FATAL


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"n": 1, "logprobs": False, "top_logprobs": 0, "modalities": ["text"]}, {}),
        ({"store": True, "metadata": {}, "logit_bias": {}, "audio": None}, {}),
        ({"store": False}, {}),
        ({"metadata": {"a": "b"}, "prompt_cache_key": "k"}, {
            "metadata": COSMETIC, "prompt_cache_key": COSMETIC,
        }),
        ({"prediction": {"type": "content", "content": "x"}}, {"prediction": COSMETIC}),
        ({"reasoning_effort": "default"}, {"reasoning_effort": COSMETIC}),
        ({"n": 2, "logprobs": True, "top_logprobs": 3}, {
            "n": SEMANTIC, "logprobs": SEMANTIC, "top_logprobs": SEMANTIC,
        }),
        ({"web_search_options": {"search_context_size": "low"}}, {"web_search_options": SEMANTIC}),
        ({"chat_template_kwargs": {"x": 1}}, {"chat_template_kwargs": SEMANTIC}),
        ({"response_format": {"type": "grammar"}}, {"response_format": SEMANTIC}),
        ({"tools": [{"type": "custom", "custom": {"name": "p", "format": {"type": "grammar"}}}]}, {
            "tools.custom.format": SEMANTIC,
        }),
        ({"modalities": ["text", "audio"], "audio": {"voice": "ash"}}, {
            "modalities": FATAL, "audio": SEMANTIC,
        }),
        ({"max_tokens": 0}, {"max_tokens": FATAL}),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {
            "input_audio": FATAL,
        }),
        ({"messages": [{"role": "user", "content": [{"type": "video_url"}]}]}, {
            "video_url": FATAL,
        }),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
         {"file_id": FATAL}),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann", "extra": 1}]}, {
            "messages.name": SEMANTIC, "messages.extra": COSMETIC,
        }),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, {
            "messages.audio": SEMANTIC,
        }),
    ],
)  # fmt: skip
def test_losses(body: Any, expected: dict[str, Severity]) -> None:
    request = read(**body)
    assert losses(request) == expected
    assert all(bool(loss.reason) is (loss.severity is FATAL) for loss in request.unheard)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages[0].content[0].image_url",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": [1]}, "stop[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_refusals_name_the_field(body: Any, param: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read(**body)
    assert refused.value.problem.param == param


# --- completions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_one_turn(prompt: object) -> None:
    request = decode_request(COMPLETION, {"prompt": prompt, "max_tokens": 5, "suffix": None})
    assert request.messages == (Message(Role.USER, (Text("Once"),)),)
    assert (request.max_tokens, request.unheard) == (5, ())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "echo": True}, "echo"),
    ],
)
def test_what_no_chat_can_complete(body: Any, field: str) -> None:
    assert losses(decode_request(COMPLETION, body)) == {field: FATAL}


def test_log_probabilities_of_a_completion_are_asked_for_by_number() -> None:
    assert losses(decode_request(COMPLETION, {"prompt": "a", "logprobs": 0})) == {
        "logprobs": SEMANTIC
    }


# --- whatever a client sends ----------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        *("role", "content", "type", "text", "image_url", "url", "file", "file_data", "name"),
        *("tool_calls", "function", "arguments", "id", "tool_call_id", "tool_choice", "tools"),
        *("reasoning_details", "signature", "prompt", "response_format", "json_schema", "schema"),
    ]
)
WORDS = st.sampled_from(["user", "assistant", "tool", "text", "image_url", "function", "data:,x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(body=st.dictionaries(NAMES, JSON, max_size=4), told=JSON)
def test_any_body_is_read_or_refused(body: dict[str, object], told: object) -> None:
    for operation in (CHAT, COMPLETION):
        try:
            request = decode_request(operation, {"messages": told, **body})
        except RequestRefused as refused:
            assert refused.problem.message
        else:
            assert request.unheard is not None
