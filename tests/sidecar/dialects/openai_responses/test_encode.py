"""From the neutral form to a backend's request."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.openai_responses import DIALECT
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
from sidecar.wire.contract import Feature, Operation, Target
from tests.sidecar.dialects.openai_responses.crossing import APPLY_PATCH, ASKED, WEATHER

SYSTEM, USER, ASSISTANT = Role.SYSTEM, Role.USER, Role.ASSISTANT
HELLO = Message(USER, (Text("Hi"),))
SIGNED = Thinking("Hm.", "gAAA", "openai-responses")


def encode(
    request: ChatRequest, without: frozenset[Feature] = frozenset(), **target: Any
) -> tuple[dict[str, Any], dict[str, Severity]]:
    """The body, and the losses by their names."""
    told = DIALECT.encode_request(request, Target("big", False, without=without, **target))
    return dict(told.body), {loss.field: loss.severity for loss in told.losses}


def asked(**changes: Any) -> ChatRequest:
    return replace(ASKED, **changes)


def items(*messages: Message) -> list[dict[str, Any]]:
    body, _ = encode(asked(messages=messages))
    given: list[dict[str, Any]] = body["input"]
    return given


def test_the_plainest_request() -> None:
    body, losses = encode(ASKED)
    content = [{"type": "input_text", "text": "Grüezi"}]
    assert body == {
        "model": "big",
        "input": [{"type": "message", "role": "user", "content": content}],
        "store": False,
    }
    assert losses == {}
    streamed = DIALECT.encode_request(ASKED, Target(None, stream=True)).body
    assert streamed["stream"] is True and "model" not in streamed


# --- input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "instructions", "roles"),
    [
        ((SYSTEM,), "0", ["user"]),
        ((SYSTEM, SYSTEM), None, ["system", "system", "user"]),
        ((SYSTEM, Role.DEVELOPER), None, ["system", "developer", "user"]),
        ((Role.DEVELOPER,), None, ["developer", "user"]),
        ((USER, SYSTEM), None, ["user", "system", "user"]),
    ],
)
def test_a_lone_system_prompt_is_the_instructions(
    before: tuple[Role, ...], instructions: str | None, roles: list[str]
) -> None:
    prompts = [Message(role, (Text(str(place)),)) for place, role in enumerate(before)]
    body, _ = encode(asked(messages=(*prompts, HELLO)))
    assert body.get("instructions") == instructions
    assert [item["role"] for item in body["input"]] == roles


@pytest.mark.parametrize(
    ("part", "content"),
    [
        (
            Image(Inline("image/png", "iVBO")),
            {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "auto"},
        ),
        (
            Image(Remote("https://a/b"), "low"),
            {"type": "input_image", "image_url": "https://a/b", "detail": "low"},
        ),
        (
            Document(Inline("application/pdf", "JVBE")),
            {
                "type": "input_file",
                "filename": "document.pdf",
                "file_data": "data:application/pdf;base64,JVBE",
            },
        ),
        (Document(Remote("https://a/b")), {"type": "input_file", "file_url": "https://a/b"}),
        (Document("Text.", "a.txt"), {"type": "input_text", "text": "a.txt:\nText."}),
    ],
)
def test_pictures_and_documents(part: Part, content: dict[str, str]) -> None:
    assert items(Message(USER, (part,)))[0]["content"] == [content]
    called = Message(ASSISTANT, (ToolCall("c", "f", "{}"),))
    assert isinstance(part, Image | Document)
    result = Message(USER, (ToolResult("c", (Text("a"), part)),))
    assert items(called, result)[-1]["output"] == [{"type": "input_text", "text": "a"}, content]


def test_a_picture_by_the_assistant_cannot_be_sent() -> None:
    image = Message(ASSISTANT, (Image(Inline("image/png", "iVBO")),))
    _, losses = encode(asked(messages=(HELLO, image, HELLO)))
    assert losses == {"images": Severity.FATAL}


def test_a_turn_with_tools() -> None:
    turn = Message(
        ASSISTANT,
        (
            SIGNED,
            Text("I look."),
            ToolCall("c1", "weather", ""),
            ToolCall("c2", "apply_patch", '{"input":"a"}'),
        ),
    )
    late = Message(USER, (ToolResult("c2", (Text("broken"),), is_error=True), Text("Go on.")))
    body, losses = encode(asked(messages=(HELLO, turn, late), tools=(WEATHER, APPLY_PATCH)))
    said = [{"type": "output_text", "text": "I look."}]
    assert body["input"][1:] == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {"type": "message", "role": "assistant", "content": said},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "a"},
        {"type": "function_call_output", "call_id": "c1", "output": "Error: [no result]"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "Error: broken"},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Go on."}],
        },
    ]
    assert losses == {}


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (ToolResult("c", ()), ""),
        (ToolResult("c", (), is_error=True), "Error:"),
        (ToolResult("c", (Text("a"),), is_error=True), "Error: a"),
    ],
)
def test_results_of_few_words(result: ToolResult, output: str) -> None:
    called = Message(ASSISTANT, (ToolCall("c", "f", "{}"),))
    assert items(HELLO, called, Message(USER, (result,)))[-1]["output"] == output


@pytest.mark.parametrize("arguments", ["not JSON", '{"text": "a"}', '["a"]'])
def test_a_custom_tool_that_was_called_wrongly_is_told_so(arguments: str) -> None:
    called = Message(ASSISTANT, (ToolCall("c", "f", arguments, custom=True),))
    assert items(HELLO, called)[1]["input"] == arguments


def test_words_that_the_vendor_has_no_place_for() -> None:
    said = Message(USER, (Text(""), Refusal("No.")))
    assert items(said)[0]["content"] == [{"type": "input_text", "text": "No."}]


def test_a_refusal_stays_one() -> None:
    said = Message(ASSISTANT, (Refusal("No."),))
    assert items(HELLO, said, HELLO)[1]["content"] == [{"type": "refusal", "refusal": "No."}]


@pytest.mark.parametrize(
    ("thinking", "is_sent"),
    [
        (SIGNED, True),
        (Thinking("", "gAAA", "openai-responses", redacted=True), True),
        (Thinking("Hm.", "c2ln", "anthropic"), False),
        (Thinking("Hm."), False),
    ],
)
def test_only_reasoning_of_its_own_goes_back(thinking: Thinking, is_sent: bool) -> None:
    turn = Message(ASSISTANT, (thinking, Text("a")))
    body, losses = encode(asked(messages=(HELLO, turn, HELLO)))
    assert (body["input"][1]["type"] == "reasoning") is is_sent
    assert losses == ({} if is_sent else {"thinking": Severity.COSMETIC})
    assert body.get("include") == (["reasoning.encrypted_content"] if is_sent else None)


@pytest.mark.parametrize(
    ("turn", "without"),
    [
        ((SIGNED,), frozenset()),  # the vendor refuses reasoning that nothing follows
        ((SIGNED, Text("a")), frozenset({Feature.SIGNED_THINKING})),
    ],
)
def test_reasoning_that_would_be_refused_is_left_out(
    turn: tuple[Part, ...], without: frozenset[Feature]
) -> None:
    body, losses = encode(asked(messages=(HELLO, Message(ASSISTANT, turn), HELLO)), without)
    assert "reasoning" not in {item["type"] for item in body["input"]}
    assert losses == {"thinking": Severity.COSMETIC}


# --- settings -------------------------------------------------------------------------------------


def test_tools() -> None:
    search = {"type": "web_search"}
    body, losses = encode(
        asked(
            tools=(Tool("f"), APPLY_PATCH, Opaque("openai-responses", "web_search", search)),
            tool_choice=ToolChoice(Choosing.NAMED, "apply_patch"),
            parallel_tool_calls=False,
        )
    )
    assert body["tools"] == [
        {
            "type": "function",
            "name": "f",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
        {"type": "custom", "name": "apply_patch", "description": "Edits files"},
        search,
    ]
    assert body["tool_choice"] == {"type": "custom", "name": "apply_patch"}
    assert body["parallel_tool_calls"] is False
    assert losses == {}


def test_a_choice_without_a_name() -> None:
    body, _ = encode(asked(tools=(WEATHER,), tool_choice=ToolChoice(Choosing.REQUIRED)))
    assert body["tool_choice"] == "required"


def test_no_choice_without_tools() -> None:
    foreign = Opaque("anthropic", "web_search", {})
    choice = ToolChoice(Choosing.REQUIRED)
    body, losses = encode(asked(tools=(foreign,), tool_choice=choice, parallel_tool_calls=False))
    assert body.keys() == {"model", "input", "store"}
    assert losses == {"server_tools": Severity.SEMANTIC}


@pytest.mark.parametrize(
    ("reasoning", "told"),
    [
        (Reasoning(Effort.XHIGH, summary="auto"), {"effort": "xhigh", "summary": "auto"}),
        (Reasoning(budget=10_000), {"effort": "high", "summary": "auto"}),
        (Reasoning(budget=5_000, summary="concise"), {"effort": "medium", "summary": "concise"}),
        (Reasoning(), {"summary": "auto"}),
        (Reasoning(Effort.NONE), {"effort": "none"}),
    ],
)
def test_reasoning(reasoning: Reasoning, told: dict[str, str]) -> None:
    body, _ = encode(asked(reasoning=reasoning))
    assert body["reasoning"] == told
    assert ("include" in body) is (reasoning.effort is not Effort.NONE)


def test_reasoning_that_the_model_does_not_know_is_left_out() -> None:
    body, losses = encode(asked(reasoning=Reasoning(Effort.LOW)), frozenset({Feature.THINKING}))
    assert body.keys() == {"model", "input", "store"}
    assert losses == {"thinking": Severity.COSMETIC}


@pytest.mark.parametrize(
    ("asked_for", "effort", "losses"),
    [
        (Effort.MAX, "high", {"thinking": Severity.COSMETIC}),
        (Effort.MINIMAL, "low", {"thinking": Severity.COSMETIC}),
        (Effort.MEDIUM, "medium", {}),
        (Effort.NONE, "none", {}),
    ],
)
def test_an_effort_that_the_model_does_not_know_is_moved(
    asked_for: Effort, effort: str, losses: dict[str, Severity]
) -> None:
    body, lost = encode(asked(reasoning=Reasoning(asked_for)), frozenset({Feature.EFFORT}))
    assert (body["reasoning"]["effort"], lost) == (effort, losses)


def test_sampling_that_the_model_refuses_is_left_out() -> None:
    body, lost = encode(asked(sampling=Sampling(0.0, 0.5)), frozenset({Feature.SAMPLING}))
    assert body.keys() == {"model", "input", "store"}
    assert lost == {"temperature": Severity.COSMETIC, "top_p": Severity.COSMETIC}


def test_the_vendor_is_strict_only_about_schemas_that_leave_nothing_to_choice() -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string"}}}
    body, lost = encode(asked(output=JsonOutput(loose, strict=True)))
    assert (body["text"]["format"]["strict"], lost) == (False, {})
    tools = (Tool("f", None, loose, strict=True), Tool("g", None, loose, strict=True))
    body, lost = encode(asked(tools=tools))
    assert [one["strict"] for one in body["tools"]] == [False, False]
    assert lost == {"strict": Severity.SEMANTIC}


def test_structured_output() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body, _ = encode(asked(output=JsonOutput(schema, strict=True), verbosity="low"))
    assert body["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True},
        "verbosity": "low",
    }


@pytest.mark.parametrize(("words", "is_added"), [("Hi", True), ("Answer in Json", False)])
def test_the_vendor_wants_to_read_of_json_before_it_writes_some(words: str, is_added: bool) -> None:
    body, _ = encode(asked(messages=(Message(USER, (Text(words),)),), output=JsonOutput()))
    assert body["text"] == {"format": {"type": "json_object"}}
    assert (body["input"][-1]["role"] == "system") is is_added


@pytest.mark.parametrize(
    ("asked_for", "known", "told", "losses"),
    [
        (100, None, 100, {}),
        (1, None, 16, {"max_tokens": Severity.COSMETIC}),
        (9000, 4096, 4096, {}),
    ],
)
def test_the_bound_of_the_answer(
    asked_for: int, known: int | None, told: int, losses: dict[str, Severity]
) -> None:
    body, lost = encode(asked(max_tokens=asked_for), max_output=known)
    assert body["max_output_tokens"] == told
    assert lost == losses


def test_who_asks_and_how_it_is_billed() -> None:
    body, _ = encode(asked(user="u", service_tier="flex", sampling=Sampling(0.0, 0.5)))
    assert (body["safety_identifier"], body["service_tier"]) == ("u", "flex")
    assert (body["temperature"], body["top_p"]) == (0.0, 0.5)
    assert len(encode(asked(user="u" * 65))[0]["safety_identifier"]) == 64


@pytest.mark.parametrize(
    ("changes", "field", "severity"),
    [
        ({"stop": ("END",)}, "stop_sequences", Severity.SEMANTIC),
        ({"sampling": Sampling(top_k=5)}, "top_k", Severity.COSMETIC),
        ({"sampling": Sampling(seed=0)}, "seed", Severity.COSMETIC),
        ({"sampling": Sampling(logit_bias={"1": 2})}, "logit_bias", Severity.COSMETIC),
        ({"service_tier": "standard_only"}, "service_tier", Severity.COSMETIC),
        ({"tools": (Tool("f", cache={"a": 1}),)}, "cache_control", Severity.COSMETIC),
        (
            {"messages": (Message(SYSTEM, (Text("a", cache={"type": "ephemeral"}),)), HELLO)},
            "cache_control",
            Severity.COSMETIC,
        ),
        (
            {"messages": (Message(USER, (Text("a", cache={"type": "ephemeral"}),)),)},
            "cache_control",
            Severity.COSMETIC,
        ),
        (
            {"messages": (HELLO, Message(ASSISTANT, (Opaque("anthropic", "x", {}),)), HELLO)},
            "x",
            Severity.SEMANTIC,
        ),
        ({"messages": (HELLO, Message(ASSISTANT, (Text("{"),)))}, "prefill", Severity.SEMANTIC),
    ],
)  # fmt: skip
def test_what_is_lost_is_named(changes: dict[str, Any], field: str, severity: Severity) -> None:
    assert encode(asked(**changes))[1] == {field: severity}


# --- there and back -------------------------------------------------------------------------------


def test_a_request_survives_the_neutral_form() -> None:
    text = [{"type": "input_text", "text": "Weather?"}]
    body = {
        "model": "big",
        "instructions": "Be kind.",
        "input": [
            {"type": "message", "role": "user", "content": text},
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "Hm."}],
                "encrypted_content": "gAAA",
            },
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "function_call_output", "call_id": "c1", "output": "Sunny."},
        ],
        "tools": [
            {
                "type": "function",
                "name": "f",
                "description": "F.",
                "parameters": {"type": "object", "additionalProperties": False},
                "strict": True,
            },
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "temperature": 0.5,
        "max_output_tokens": 500,
        "safety_identifier": "u",
        "store": False,
    }
    request = DIALECT.decode_request(Operation.CHAT, body)
    assert request.unheard == ()
    assert encode(request) == (body, {})
