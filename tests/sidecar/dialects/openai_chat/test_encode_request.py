"""A neutral request as a backend gets it, and what it could not be told."""

from dataclasses import replace
from typing import Any

import pytest

from sidecar.dialects.openai_chat.encode_request import encode_request
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
from sidecar.wire.contract import Encoded, Feature, Target, Traits

COSMETIC, SEMANTIC, FATAL = Severity.COSMETIC, Severity.SEMANTIC, Severity.FATAL
PLAIN = Target("m", stream=False)
USER = Message(Role.USER, (Text("Hello"),))
CACHE = {"type": "ephemeral"}


def write(*messages: Message, target: Target = PLAIN, **more: Any) -> Encoded:
    return encode_request(ChatRequest(messages or (USER,), **more), target)


def body(*messages: Message, target: Target = PLAIN, **more: Any) -> Any:
    return write(*messages, target=target, **more).body


def losses(encoded: Encoded) -> dict[str, Severity]:
    return {loss.field: loss.severity for loss in encoded.losses}


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


def prompt(text: str) -> Message:
    return Message(Role.DEVELOPER, (Text(text),))


HELLO = {"role": "user", "content": "Hello"}


def test_the_least_that_is_asked() -> None:
    told = write()
    assert told.body == {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    assert (told.losses, told.expects) == ((), None)
    assert "model" not in body(target=Target(None, stream=False))


# --- messages -------------------------------------------------------------------------------------


ANYWHERE = Target("m", False, traits=Traits(late_system=True))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (PLAIN, [("system", "a\n\nb"), ("user", "Hello"), ("user", "<system>c</system>")]),
        (ANYWHERE, [("system", "a"), ("system", "b"), ("user", "Hello"), ("system", "c")]),
    ],
)
def test_prompts_of_the_system_stand_where_the_vendor_takes_them(
    target: Target, told: object
) -> None:
    messages = body(prompt("a"), prompt("b"), USER, prompt("c"), target=target)["messages"]
    assert [(one["role"], one["content"]) for one in messages] == told


LOST = Opaque("toy", "web_search", {})
CONTINUE = {"role": "user", "content": "(continue)"}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([USER, assistant(Thinking("hm")), USER], [HELLO, HELLO]),
        ([USER, assistant(Thinking("hm"))], [HELLO]),
        ([USER, assistant(LOST), user(LOST)], [HELLO]),
        ([USER, assistant(Text("")), USER], [HELLO, HELLO]),
        (
            [USER, assistant(Text("Hi")), user(LOST)],
            [HELLO, {"role": "assistant", "content": "Hi"}, CONTINUE],
        ),
        ([user(LOST)], [CONTINUE]),
        (
            [prompt("a"), assistant(Thinking("hm"))],
            [{"role": "system", "content": "a"}, CONTINUE],
        ),
        ([user()], [{"role": "user", "content": ""}]),
        ([user(Text(""))], [{"role": "user", "content": ""}]),
    ],
)
def test_a_turn_of_which_nothing_is_left_is_left_out(messages: list[Message], told: object) -> None:
    encoded = write(*messages)
    assert encoded.body["messages"] == told
    assert "prefill" not in losses(encoded)


PNG = Inline("image/png", "iVBO")
SHOWN_PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
PDF = Inline("application/pdf", "JVBE")
URL = "https://example.com/cat.png"


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([Text("a"), Text("b")], "a\nb"),
        ([Text("a"), Image(PNG)], [{"type": "text", "text": "a"}, SHOWN_PNG]),
        (
            [Image(Remote(URL), "low")],
            [{"type": "image_url", "image_url": {"url": URL, "detail": "low"}}],
        ),
        ([Document("words", "a.txt")], "a.txt\n\nwords"),
        ([Document(Inline("text/plain", "SGk="))], "Hi"),
        (
            [Document(PDF)],
            [
                {
                    "type": "file",
                    "file": {
                        "filename": "document.pdf",
                        "file_data": "data:application/pdf;base64,JVBE",
                    },
                }
            ],
        ),
    ],
)
def test_what_a_user_shows(parts: list[Part], content: object) -> None:
    told = write(user(*parts))
    assert told.body["messages"] == [{"role": "user", "content": content}]
    assert told.losses == ()


@pytest.mark.parametrize(
    "document", [Document(Remote(URL)), Document(Inline("application/msword", "AAAA"))]
)
def test_documents_that_no_backend_reads(document: Document) -> None:
    (loss,) = write(user(Text("x"), document)).losses
    assert (loss.field, loss.severity) == ("documents", FATAL)
    assert loss.reason.endswith(".")


CALL_A, CALL_B = ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "")


def test_results_of_tools_stand_right_behind_their_calls_and_show_images_later() -> None:
    told = body(
        USER,
        assistant(Text("Let me see."), CALL_A, CALL_B),
        user(Text("Well?"), ToolResult("b", (Text("1"), Image(PNG)))),
        user(ToolResult("a", (Text("broken"),), is_error=True)),
    )["messages"]
    assert told[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"x": 1}'},
                },
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "Error: broken"},
        {"role": "tool", "tool_call_id": "b", "content": "1\n[shown in the next message]"},
        {"role": "user", "content": [SHOWN_PNG, {"type": "text", "text": "Well?"}]},
    ]


def test_a_result_that_is_missing_is_made_up_and_an_orphan_becomes_text() -> None:
    told = body(assistant(CALL_A), user(ToolResult("z", (Text("?"),))))["messages"]
    assert told[0]["content"] is None
    assert told[1] == {"role": "tool", "tool_call_id": "a", "content": "Error: [no result]"}
    assert told[2]["content"] == "Result of the tool call z:\n?"


THOUGHT = Thinking("hm")
OWN = Thinking("hm", "sig", "openai")
FOREIGN = Thinking("hm", "sig", "toy")
REFUSED = frozenset({Feature.SIGNED_THINKING})
TAKES_BACK = Target("m", False, traits=Traits(reasoning="reasoning_content"))
DETAIL = {"type": "reasoning.text", "text": "hm", "signature": "sig", "index": 0}


@pytest.mark.parametrize(
    ("part", "target", "fields", "lost"),
    [
        (THOUGHT, PLAIN, {}, {"thinking": COSMETIC}),
        (FOREIGN, PLAIN, {}, {"thinking": COSMETIC}),
        (THOUGHT, TAKES_BACK, {"reasoning_content": "hm"}, {}),
        (FOREIGN, TAKES_BACK, {"reasoning_content": "hm"}, {}),
        (OWN, PLAIN, {"reasoning_details": [DETAIL]}, {}),
        (
            OWN,
            Target("m", False, without=frozenset({Feature.SIGNED_THINKING})),
            {},
            {"thinking": COSMETIC},
        ),
        (THOUGHT, replace(TAKES_BACK, without=REFUSED), {}, {"thinking": COSMETIC}),
    ],
)
def test_thinking_goes_back_to_who_takes_it(
    part: Thinking, target: Target, fields: Any, lost: Any
) -> None:
    told = write(USER, assistant(part, Text("x")), USER, target=target)
    messages: Any = told.body["messages"]
    assert messages[1] == {"role": "assistant", "content": "x", **fields}
    assert losses(told) == lost


@pytest.mark.parametrize(
    ("field", "thoughts", "fields"),
    [
        ("reasoning_content", [], {"reasoning_content": ""}),
        ("reasoning_content", [THOUGHT], {"reasoning_content": "hm"}),
        ("reasoning", [], {}),
        (None, [], {}),
    ],
)
def test_calls_have_the_thinking_before_them_where_a_vendor_wants_it(
    field: str | None, thoughts: list[Thinking], fields: Any
) -> None:
    target = Target("m", False, traits=Traits(reasoning=field))
    told = body(USER, assistant(*thoughts, CALL_A), target=target)["messages"][1]
    assert {name: told[name] for name in told if name.startswith("reasoning")} == fields
    (words,) = body(assistant(Text("x")), target=target)["messages"]
    assert words == {"role": "assistant", "content": "x"}


def test_calls_have_a_signature_where_a_vendor_wants_it() -> None:
    proof = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    for signs, told in ((True, proof), (False, None)):
        target = Target("m", False, traits=Traits(signs_calls=signs))
        calls = body(USER, assistant(CALL_A, CALL_B), target=target)["messages"][1]["tool_calls"]
        assert [call.get("extra_content") for call in calls] == [told, told]


@pytest.mark.parametrize("part", [Text("Once"), Refusal("No.")])
def test_words_put_into_the_mouth_of_the_assistant(part: Text | Refusal) -> None:
    told = write(USER, assistant(part))
    messages: Any = told.body["messages"]
    assert messages[-1] == {"role": "assistant", "content": part.text}
    assert losses(told) == {"prefill": SEMANTIC}


# --- how to answer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (Target("m", True), {"stream": True, "stream_options": {"include_usage": True}}),
        (Target("m", True, ask_usage=False), {"stream": True}),
        (Target("m", True, without=frozenset({Feature.USAGE_IN_STREAM})), {"stream": True}),
        (Target("m", False), {}),
    ],
)
def test_streams(target: Target, fields: Any) -> None:
    told = body(target=target)
    assert {name: told[name] for name in told if name not in ("model", "messages")} == fields


REASONS = Traits(max_tokens="max_completion_tokens", more_sampling=True)
MORE = Target("m", False, max_output=100, traits=REASONS)
LESS = Target("m", False, traits=Traits(reasoning_effort=False))
UNBOUND = Target("m", False, without=frozenset({Feature.MAX_TOKENS}))
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
NO_SAMPLING = frozenset({Feature.SAMPLING})
UNKNOWN_EFFORT = Target("m", False, without=frozenset({Feature.EFFORT}))


def room(context: int, estimate: int) -> Target:
    return Target("m", False, context=context, estimate=estimate)


@pytest.mark.parametrize(
    ("more", "target", "fields", "lost"),
    [
        ({"max_tokens": 5}, PLAIN, {"max_tokens": 5}, {}),
        ({"max_tokens": 500}, MORE, {"max_completion_tokens": 100}, {}),
        ({"max_tokens": 500}, room(1000, 400), {"max_tokens": 500}, {}),
        ({"max_tokens": 600}, room(1000, 400), {"max_tokens": 560}, {"max_tokens": COSMETIC}),
        ({"max_tokens": 600}, room(1000, 1000), {"max_tokens": 1}, {"max_tokens": COSMETIC}),
        ({"max_tokens": 600}, room(1000, 1001), {"max_tokens": 600}, {}),
        ({}, room(1000, 400), {}, {}),
        ({"max_tokens": 600}, UNBOUND, {}, {"max_tokens": COSMETIC}),
        ({"stop": ("a", "b")}, PLAIN, {"stop": ["a", "b"]}, {}),
        ({"stop": tuple("abcde")}, PLAIN, {"stop": list("abcd")}, {"stop_sequences": SEMANTIC}),
        ({"user": "u"}, PLAIN, {"user": "u"}, {}),
        ({"verbosity": "low"}, PLAIN, {"verbosity": "low"}, {}),
        ({"verbosity": "medium"}, PLAIN, {}, {}),
        ({"service_tier": "flex"}, PLAIN, {"service_tier": "flex"}, {}),
        ({"service_tier": "auto"}, PLAIN, {}, {}),
        ({"service_tier": "gold"}, PLAIN, {}, {"service_tier": COSMETIC}),
        (
            {"sampling": Sampling(temperature=0, top_p=0.5, seed=1, logit_bias={"5": 1})},
            PLAIN,
            {"temperature": 0, "top_p": 0.5, "seed": 1, "logit_bias": {"5": 1}},
            {},
        ),
        (
            {"sampling": Sampling(top_k=3, min_p=0.1, repeat_penalty=1.1)},
            MORE,
            {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1},
            {},
        ),
        (
            {"sampling": Sampling(top_k=3, min_p=0.1, repeat_penalty=1.1)},
            PLAIN,
            {},
            {"top_k": COSMETIC, "min_p": COSMETIC, "repeat_penalty": COSMETIC},
        ),
        (
            {"sampling": Sampling(temperature=0, top_k=3, repeat_penalty=1.1)},
            replace(MORE, without=NO_SAMPLING),
            {},
            {"temperature": COSMETIC, "top_k": COSMETIC, "repeat_penalty": COSMETIC},
        ),
        ({"reasoning": Reasoning(Effort.MAX)}, PLAIN, {"reasoning_effort": "max"}, {}),
        ({"reasoning": Reasoning(Effort.LOW)}, PLAIN, {"reasoning_effort": "low"}, {}),
        (
            {"reasoning": Reasoning(Effort.MAX)},
            UNKNOWN_EFFORT,
            {"reasoning_effort": "high"},
            {"thinking": COSMETIC},
        ),
        (
            {"reasoning": Reasoning(budget=1_024)},
            UNKNOWN_EFFORT,
            {"reasoning_effort": "low"},
            {"thinking": COSMETIC},
        ),
        ({"reasoning": Reasoning(Effort.NONE)}, UNKNOWN_EFFORT, {"reasoning_effort": "none"}, {}),
        ({"reasoning": Reasoning(budget=12_000)}, PLAIN, {"reasoning_effort": "high"}, {}),
        ({"reasoning": Reasoning(budget=5_000)}, PLAIN, {"reasoning_effort": "medium"}, {}),
        ({"reasoning": Reasoning(budget=2_000)}, PLAIN, {"reasoning_effort": "low"}, {}),
        ({"reasoning": Reasoning(budget=1_024)}, PLAIN, {"reasoning_effort": "minimal"}, {}),
        ({"reasoning": Reasoning()}, PLAIN, {}, {}),
        ({"reasoning": Reasoning(Effort.LOW)}, LESS, {}, {"thinking": COSMETIC}),
        (
            {"reasoning": Reasoning(Effort.LOW)},
            Target("m", False, without=frozenset({Feature.THINKING})),
            {},
            {"thinking": COSMETIC},
        ),
        (
            {"output": JsonOutput(SCHEMA, "n", True, "d")},
            PLAIN,
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "n",
                        "schema": SCHEMA,
                        "description": "d",
                        "strict": True,
                    },
                }
            },
            {},
        ),
    ],
)
def test_fields(more: Any, target: Target, fields: Any, lost: Any) -> None:
    told = write(target=target, **more)
    rest = {name: told.body[name] for name in told.body if name not in ("model", "messages")}
    assert rest == fields
    assert losses(told) == lost


def test_openai_is_strict_only_about_schemas_that_leave_nothing_to_choice() -> None:
    told = write(output=JsonOutput(LOOSE, strict=True))
    form: Any = told.body["response_format"]
    assert (form["json_schema"]["strict"], losses(told)) == (False, {})
    told = write(tools=(Tool("f", None, LOOSE, strict=True),))
    tools: Any = told.body["tools"]
    assert (tools[0]["function"]["strict"], losses(told)) == (False, {"strict": SEMANTIC})


def test_a_long_name_of_a_user_stays_the_same_one() -> None:
    told = body(user="u" * 65)["user"]
    assert len(told) == 64
    assert told == body(user="u" * 65)["user"] != body(user="u" * 66)["user"]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([USER], ["system", "user"]),
        ([prompt("Be brief."), USER], ["system", "user"]),
        ([user(Text("Give me JSON"))], ["user"]),
    ],
)
def test_openai_gives_json_only_to_who_speaks_of_it(
    messages: list[Message], roles: list[str]
) -> None:
    told = body(*messages, output=JsonOutput())
    assert told["response_format"] == {"type": "json_object"}
    assert [one["role"] for one in told["messages"]] == roles
    assert "json" in told["messages"][0]["content"].casefold()


F = Tool("f", "d", SCHEMA, strict=True)
F_TOLD = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True},
}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (ToolChoice(Choosing.AUTO), "auto"),
        (ToolChoice(Choosing.NONE), "none"),
        (ToolChoice(Choosing.REQUIRED), "required"),
        (ToolChoice(Choosing.NAMED, "f"), {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tools_and_their_choice(choice: ToolChoice, told: object) -> None:
    found = body(tools=(F,), tool_choice=choice, parallel_tool_calls=False)
    assert (found["tools"], found["tool_choice"]) == ([F_TOLD], told)
    assert found["parallel_tool_calls"] is False
    assert "tool_choice" not in body(tool_choice=choice, parallel_tool_calls=False)


def test_tools_of_other_kinds() -> None:
    own, other = Opaque("openai", "x", {"type": "x"}), Opaque("toy", "web_search", {})
    bare = {"type": "function", "function": {"name": "g", "parameters": {
        "type": "object", "properties": {},
    }}}  # fmt: skip
    told = write(tools=(own, other, Tool("g", cache=CACHE)))
    assert told.body["tools"] == [{"type": "x"}, bare]
    assert losses(told) == {"server_tools": SEMANTIC, "cache_control": COSMETIC}
