"""From a client's request to the neutral form."""

from typing import Any

import pytest

from sidecar.dialects.openai_responses import DIALECT
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


def decode(**body: Any) -> ChatRequest:
    return DIALECT.decode_request(Operation.CHAT, {"model": "small", "input": "a", **body})


def messages(*items: Any) -> tuple[Message, ...]:
    return decode(input=list(items)).messages


def losses(request: ChatRequest) -> dict[str, Severity]:
    return {loss.field: loss.severity for loss in request.unheard}


PNG = "data:image/png;base64,iVBORw0KGgo="
USER, ASSISTANT = Role.USER, Role.ASSISTANT


# --- input ----------------------------------------------------------------------------------------


def test_a_text_is_the_users() -> None:
    request = decode(input="Grüezi", instructions="Be kind.")
    assert request.messages == (
        Message(Role.SYSTEM, (Text("Be kind."),)),
        Message(USER, (Text("Grüezi"),)),
    )
    assert (request.model, request.stream, request.unheard) == ("small", False, ())


@pytest.mark.parametrize("role", Role)
def test_messages_keep_their_roles_and_places(role: Role) -> None:
    part = {"type": "output_text" if role is ASSISTANT else "input_text", "text": "a"}
    items = ({"role": role, "content": "a"}, {"type": "message", "role": role, "content": [part]})
    for item in items:
        assert messages({"role": "user", "content": "b"}, item)[-1] == Message(role, (Text("a"),))


@pytest.mark.parametrize(
    ("part", "neutral"),
    [
        ({"type": "input_text", "text": "a"}, Text("a")),
        (
            {"type": "input_image", "image_url": PNG, "detail": "low"},
            Image(Inline("image/png", "iVBORw0KGgo="), "low"),
        ),
        ({"type": "input_image", "image_url": "https://a/b.png"}, Image(Remote("https://a/b.png"))),
        (
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,JVBE",
            },
            Document(Inline("application/pdf", "JVBE"), "a.pdf"),
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "JVBE"},
            Document(Inline("application/pdf", "JVBE"), "a.pdf"),
        ),
        (
            {"type": "input_file", "file_url": "https://a/b.pdf"},
            Document(Remote("https://a/b.pdf")),
        ),
        ({"type": "refusal", "refusal": "No."}, Refusal("No.")),
    ],
)
def test_parts(part: dict[str, object], neutral: object) -> None:
    assert messages({"role": "user", "content": [part]})[0].parts == (neutral,)
    if not isinstance(neutral, Refusal):
        output = {"type": "function_call_output", "call_id": "c", "output": [part]}
        assert messages(output)[0].parts == (ToolResult("c", (neutral,)),)  # type: ignore[arg-type]


def test_what_an_assistant_does_is_one_turn_and_so_are_the_results() -> None:
    told = messages(
        {"role": "user", "content": "a"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": 'say "a"'},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "two"},
        {"role": "user", "content": "b"},
    )
    assert told == (
        Message(USER, (Text("a"),)),
        Message(
            ASSISTANT,
            (
                Thinking("Hm.", "gAAA", "openai-responses"),
                Text("I look."),
                ToolCall("c1", "f", "{}"),
                ToolCall("c2", "g", '{"input":"say \\"a\\""}', custom=True),
            ),
        ),
        Message(USER, (ToolResult("c1", (Text("one"),)), ToolResult("c2", (Text("two"),)))),
        Message(USER, (Text("b"),)),
    )


@pytest.mark.parametrize(
    ("item", "thinking"),
    [
        ({"encrypted_content": "gAAA"}, Thinking("", "gAAA", "openai-responses", redacted=True)),
        (
            {"encrypted_content": "llm-sidecar.anthropic.c2.ln", "summary": [{"text": "a"}]},
            Thinking("a", "c2.ln", "anthropic"),
        ),
        (
            {"encrypted_content": "llm-sidecar.anthropic.c2ln", "summary": [{"text": ""}]},
            Thinking("", "c2ln", "anthropic"),
        ),
        ({"encrypted_content": "llm-sidecar..", "summary": [{"text": "a"}]}, Thinking("a")),
        ({"content": [{"type": "reasoning_text", "text": "a"}]}, Thinking("a")),
    ],
)
def test_reasoning(item: dict[str, object], thinking: Thinking) -> None:
    assert messages({"type": "reasoning", **item})[0].parts == (thinking,)


def test_what_servers_did_is_kept_as_it_came() -> None:
    search = {"type": "web_search_call", "id": "ws_1"}
    output = {"type": "local_shell_call_output", "id": "c", "output": "a"}
    assert messages(search, output) == (
        Message(ASSISTANT, (Opaque("openai-responses", "web_search_call", search),)),
        Message(USER, (Opaque("openai-responses", "local_shell_call_output", output),)),
    )


@pytest.mark.parametrize(
    "item",
    [
        {"role": "pope", "content": "a"},
        {"content": "a"},
        {"role": "user", "content": 7},
        {"role": "user", "content": [{"text": "a"}]},
        {"role": "user", "content": [{"type": "input_image"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png,raw"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "output": "a"},
    ],
)
def test_what_the_vendor_would_refuse_is_refused(item: dict[str, object]) -> None:
    with pytest.raises(RequestRefused) as refusal:
        messages(item)
    assert (refusal.value.problem.param or "").split(".")[0] in (
        "input[0]",
        "call_id",
        "role",
        "type",
    )


# --- what cannot be carried -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("previous_response_id", {"previous_response_id": "resp_1"}),
        ("conversation", {"conversation": {"id": "conv_1"}}),
        ("background", {"background": True}),
        ("prompt", {"prompt": {"id": "pmpt_1"}}),
        ("item_reference", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        ("compaction", {"input": [{"type": "compaction", "encrypted_content": "gAAA"}]}),
        (
            "file_id",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        ),
        (
            "file_id",
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        ),
        (
            "input_audio",
            {"input": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        ),
        ("content", {"input": [{"role": "user", "content": [{"type": "hologram"}]}]}),
    ],
)
def test_what_needs_the_vendor_is_fatal_and_says_what_to_do(
    field: str, body: dict[str, object]
) -> None:
    (loss,) = decode(**body).unheard
    assert (loss.field, loss.severity) == (field, Severity.FATAL)
    assert loss.reason.startswith("`") and loss.reason.endswith(".")


@pytest.mark.parametrize(
    ("body", "field", "severity"),
    [
        ({"metadata": {"a": "b"}}, "metadata", Severity.COSMETIC),
        ({"prompt_cache_key": "a"}, "prompt_cache_key", Severity.COSMETIC),
        ({"truncation": "auto"}, "truncation", Severity.COSMETIC),
        ({"reasoning": {"mode": "pro"}}, "reasoning", Severity.COSMETIC),
        (
            {"input": [{"role": "assistant", "content": "a", "phase": "commentary"}]},
            "phase",
            Severity.COSMETIC,
        ),
        (
            {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {}}
                        ],
                    }
                ]
            },
            "prompt_cache_breakpoint",
            Severity.COSMETIC,
        ),
        ({"reasoning": {"effort": "heroic"}}, "reasoning.effort", Severity.COSMETIC),
        ({"top_logprobs": 3}, "logprobs", Severity.SEMANTIC),
        ({"include": ["message.output_text.logprobs"]}, "logprobs", Severity.SEMANTIC),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice", Severity.SEMANTIC),
        ({"text": {"format": {"type": "haiku"}}}, "text.format", Severity.SEMANTIC),
        ({"frobnicate": 1}, "frobnicate", Severity.SEMANTIC),
    ],
)
def test_what_is_lost_is_named(body: dict[str, object], field: str, severity: Severity) -> None:
    assert losses(decode(**body)) == {field: severity}


@pytest.mark.parametrize(
    "body",
    [
        {"store": True}, {"store": False}, {"background": False}, {"previous_response_id": None},
        {"truncation": "disabled"}, {"top_logprobs": 0}, {"metadata": {}}, {"reasoning": {}},
        {"include": ["reasoning.encrypted_content"]}, {"stream_options": {}}, {"user": "u"},
        {"text": {"format": {"type": "text"}}}, {"frobnicate": None}, {"parallel_tool_calls": True},
    ],
)  # fmt: skip
def test_what_is_as_always_is_no_loss(body: dict[str, object]) -> None:
    assert decode(**body).unheard == ()


# --- how to answer --------------------------------------------------------------------------------

FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
SEARCH = {"type": "web_search"}


def test_settings() -> None:
    request = decode(
        stream=True, temperature=0.5, top_p=0.9, max_output_tokens=100, user="u",
        safety_identifier="s", service_tier="flex", parallel_tool_calls=False,
        text={"verbosity": "low"}, reasoning={"effort": "high", "summary": "auto"},
    )  # fmt: skip
    assert request.stream is True
    assert request.sampling == Sampling(temperature=0.5, top_p=0.9)
    assert request.max_tokens == 100
    assert (request.user, request.service_tier, request.verbosity) == ("s", "flex", "low")
    assert request.parallel_tool_calls is False
    assert request.reasoning == Reasoning(Effort.HIGH, summary="auto")
    assert request.unheard == ()


def test_tools() -> None:
    custom = {"type": "custom", "name": "patch", "description": "Edits."}
    function, free, server = decode(tools=[FUNCTION, custom, SEARCH]).tools
    assert function == Tool("f", None, {"type": "object"}, strict=True)
    assert isinstance(free, Tool) and free.custom
    assert free.schema["required"] == ["input"]
    assert server == Opaque("openai-responses", "web_search", SEARCH)


def test_a_grammar_is_at_least_described() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    request = decode(
        tools=[{"type": "custom", "name": "p", "description": "E.", "format": grammar}]
    )
    (tool,) = request.tools
    assert isinstance(tool, Tool)
    assert tool.description == "E.\n\nThe input follows this lark grammar:\nstart: /a/"
    assert losses(request) == {"tools.format": Severity.SEMANTIC}


@pytest.mark.parametrize(
    ("choice", "neutral", "kept"),
    [
        (None, None, 2),
        ("auto", ToolChoice(Choosing.AUTO), 2),
        ("required", ToolChoice(Choosing.REQUIRED), 2),
        ({"type": "function", "name": "f"}, ToolChoice(Choosing.NAMED, "f"), 2),
        (
            {"type": "allowed_tools", "mode": "required",
             "tools": [{"type": "function", "name": "f"}]},
            ToolChoice(Choosing.REQUIRED),
            1,
        ),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
            ToolChoice(Choosing.AUTO),
            1,
        ),
    ],
)  # fmt: skip
def test_tool_choice(choice: object, neutral: ToolChoice | None, kept: int) -> None:
    request = decode(tools=[FUNCTION, SEARCH], tool_choice=choice)
    assert (request.tool_choice, len(request.tools)) == (neutral, kept)


SEARCHING = {"type": "function", "name": "search", "parameters": {"type": "object"}}


def group(name: str, *tools: Any) -> Any:
    return {"type": "namespace", "name": name, "tools": list(tools)}


def names(request: ChatRequest) -> list[str]:
    return [tool.name for tool in request.tools if isinstance(tool, Tool)]


def test_tools_in_namespaces_get_flat_names() -> None:
    edit = {"type": "custom", "name": "edit"}
    request = decode(tools=[FUNCTION, group("mcp__a__", SEARCHING, edit), SEARCH])
    assert request.tools == (
        *decode(tools=[FUNCTION]).tools,
        Tool("mcp__a__search", schema={"type": "object"}, origin=("mcp__a__", "search")),
        Tool("mcp__a__edit", schema=FREE_TEXT, custom=True, origin=("mcp__a__", "edit")),
        Opaque("openai-responses", "web_search", SEARCH),
    )
    assert losses(request) == {}


def test_what_is_said_of_a_namespace_is_lost() -> None:
    request = decode(tools=[{**group("mcp__a__", SEARCHING), "description": "Finds things."}])
    assert losses(request) == {"tools.description": Severity.COSMETIC}


@pytest.mark.parametrize(
    ("tools", "flat"),
    [
        ([group("a", SEARCHING), group("b", SEARCHING)], ["a__search", "b__search"]),
        ([group("a", SEARCHING), group("a_", SEARCHING)], ["a__search", "a__search_2"]),
        (
            [group("a", SEARCHING), {"type": "function", "name": "a__search"}],
            ["a__search_2", "a__search"],
        ),
        (
            [
                group("a", SEARCHING, {**SEARCHING, "name": "search_2"}),
                group("a_", SEARCHING),
                group("a__", SEARCHING),
            ],
            ["a__search", "a__search_2", "a__search_3", "a__search_4"],
        ),
        ([group("a", SEARCHING), group("a", SEARCHING)], ["a__search"]),
    ],
)
def test_no_two_tools_have_the_same_name(tools: list[Any], flat: list[str]) -> None:
    assert names(decode(tools=tools)) == flat


@pytest.mark.parametrize("kind", ["tool_search_output", "additional_tools"])
def test_tools_within_the_input_are_offered_with_the_others(kind: str) -> None:
    found = {"type": kind, "tools": [group("mcp__a__", SEARCHING), FUNCTION]}
    request = decode(input=[{"role": "user", "content": "a"}, found], tools=[FUNCTION])
    assert names(request) == ["f", "mcp__a__search"]
    assert request.messages == (Message(USER, (Text("a"),)),)
    assert losses(request) == {}


def test_calls_and_results_bear_the_flat_names() -> None:
    call = {"call_id": "c", "name": "search", "namespace": "a_", "arguments": "{}"}
    gone = {"call_id": "d", "name": "open", "namespace": "mcp__b__", "input": "x"}
    request = decode(
        tools=[group("a", SEARCHING), group("a_", SEARCHING)],
        input=[
            {"type": "function_call", **call},
            {"type": "custom_tool_call", **gone},
            {"type": "function_call_output", **call, "output": "b"},
        ],
    )
    assert request.messages == (
        Message(
            ASSISTANT,
            (
                ToolCall("c", "a__search_2", "{}"),
                ToolCall("d", "mcp__b__open", '{"input":"x"}', custom=True),
            ),
        ),
        Message(USER, (ToolResult("c", (Text("b"),), name="a__search_2"),)),
    )


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({"namespace": "b", "name": "search"}, "b__search"),
        ({"name": "edit"}, "b__edit"),  # the SDK's type has no namespace
        ({"name": "search"}, "search"),
        ({"name": "b__search"}, "b__search"),
        ({"namespace": "c", "name": "search"}, "search"),
    ],
)
def test_a_tool_in_a_namespace_is_chosen(choice: Any, chosen: str) -> None:
    edit = {**SEARCHING, "name": "edit"}
    request = decode(
        tools=[group("a", SEARCHING), group("b", SEARCHING, edit), SEARCHING],
        tool_choice={"type": "function", **choice},
    )
    assert request.tool_choice == ToolChoice(Choosing.NAMED, chosen)


@pytest.mark.parametrize(
    ("allowed", "kept"),
    [
        ({"type": "namespace", "name": "a"}, ["a__search", "a__edit"]),
        ({"type": "function", "namespace": "a", "name": "edit"}, ["a__edit"]),
        ({"type": "function", "name": "search"}, ["a__search", "b__search"]),
    ],
)
def test_tools_in_namespaces_are_allowed(allowed: Any, kept: list[str]) -> None:
    edit = {**SEARCHING, "name": "edit"}
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [allowed]}
    groups = [group("a", SEARCHING, edit), group("b", SEARCHING)]
    assert names(decode(tools=groups, tool_choice=choice)) == kept


@pytest.mark.parametrize("body", [{"tool_choice": "maybe"}, {"max_output_tokens": 0}])
def test_wrong_settings_are_refused(body: dict[str, object]) -> None:
    with pytest.raises(RequestRefused):
        decode(**body)


@pytest.mark.parametrize(
    ("form", "output"),
    [
        ({"type": "json_object"}, JsonOutput()),
        (
            {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            JsonOutput({"type": "object"}, "n", True),
        ),
    ],
)
def test_structured_output(form: dict[str, object], output: JsonOutput) -> None:
    assert decode(text={"format": form}).output == output
