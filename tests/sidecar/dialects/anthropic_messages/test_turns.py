"""Conversations as the vendor wants them."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.turns import encoded
from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Message,
    Opaque,
    Part,
    Refusal,
    Remote,
    Role,
    Severity,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

CACHE = {"type": "ephemeral"}
PNG = "iVBORw0KGgoAAAANSUhEUg=="


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


def system(text: str) -> Message:
    return Message(Role.SYSTEM, (Text(text),))


def told(*messages: Message, signed: bool = True, continues: bool = True) -> list[tuple[Any, Any]]:
    turns = encoded(messages, signed=signed, continues=continues)
    return [(message["role"], message["content"]) for message in turns.messages]


HI = user(Text("Hi"))
CALL = ToolCall("a", "f", '{"b":1}')
CALLED = {"type": "tool_use", "id": "a", "name": "f", "input": {"b": 1}}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], [("user", "(continue)")], id="nothing"),
        pytest.param([system("x")], [("user", "(continue)")], id="only a prompt"),
        pytest.param([HI], [("user", "Hi")], id="text"),
        pytest.param(
            [assistant(Text("a")), HI],
            [("user", "(continue)"), ("assistant", "a"), ("user", "Hi")],
            id="the assistant speaks first",
        ),
        pytest.param(
            [HI, HI],
            [("user", [{"type": "text", "text": "Hi"}] * 2)],
            id="roles alternate",
        ),
        pytest.param(
            [HI, assistant(Text(" "), Text("")), user(Text("there"))],
            [("user", [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}])],
            id="nothing is left out",
        ),
        pytest.param(
            [HI, assistant(Text("a")), system("Now."), HI],
            [
                ("user", "Hi"),
                ("assistant", "a"),
                (
                    "user",
                    [
                        {"type": "text", "text": "<system>Now.</system>"},
                        {"type": "text", "text": "Hi"},
                    ],
                ),
            ],
            id="a prompt in the middle",
        ),
        pytest.param(
            [HI, assistant(Text("It is "))],
            [("user", "Hi"), ("assistant", "It is")],
            id="what is to be continued does not end in space",
        ),
        pytest.param(
            [HI, assistant(CALL), system("Now."), user(Text("go"), ToolResult("a", (Text("x"),)))],
            [
                ("user", "Hi"),
                ("assistant", [CALLED]),
                (
                    "user",
                    [
                        {"type": "tool_result", "tool_use_id": "a", "content": "x"},
                        {"type": "text", "text": "<system>Now.</system>"},
                        {"type": "text", "text": "go"},
                    ],
                ),
            ],
            id="results come first",
        ),
        pytest.param(
            [HI, assistant(CALL), HI],
            [
                ("user", "Hi"),
                ("assistant", [CALLED]),
                (
                    "user",
                    [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": "[no result]",
                            "is_error": True,
                        },
                        {"type": "text", "text": "Hi"},
                    ],
                ),
            ],
            id="a result is missing",
        ),
    ],
)
def test_turns(messages: list[Message], expected: list[object]) -> None:
    assert told(*messages) == expected


def test_a_model_that_continues_nothing_gets_a_last_word() -> None:
    turns = encoded([HI, assistant(Text("It is"))], signed=True, continues=False)
    assert turns.messages[-1] == {"role": "user", "content": "(continue)"}
    assert [(loss.field, loss.severity) for loss in turns.losses] == [
        ("prefill", Severity.SEMANTIC)
    ]


def test_the_prompts_at_the_beginning_stand_outside() -> None:
    developer = Message(Role.DEVELOPER, (Text("b", CACHE),))
    turns = encoded([system("a"), developer, HI, system("c")], signed=True, continues=True)
    assert turns.system == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": CACHE},
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Text("a", CACHE), {"type": "text", "text": "a", "cache_control": CACHE}),
        (
            Image(Remote("https://x/y")),
            {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
        ),
        (
            Image(Inline("image/jpg", PNG), cache=CACHE),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                "cache_control": CACHE,
            },
        ),
        (
            Image(Inline("image/webp", "AAAA")),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/webp", "data": "AAAA"},
            },
        ),
        (
            Document(Inline("application/pdf", "AA"), "t"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
                "title": "t",
            },
        ),
        (
            Document(Inline("text/csv", "YSxi")),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "a,b"},
            },
        ),
        (
            Document("words"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            },
        ),
        (
            Document(Remote("https://x")),
            {"type": "document", "source": {"type": "url", "url": "https://x"}},
        ),
    ],
)
def test_parts_of_the_user(part: Part, expected: dict[str, object]) -> None:
    assert told(user(part)) == [("user", [expected])]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Refusal("no"), "no"),
        (
            Thinking("t", "S", "anthropic"),
            [{"type": "thinking", "thinking": "t", "signature": "S"}],
        ),
        (
            Thinking("", "D", "anthropic", redacted=True),
            [{"type": "redacted_thinking", "data": "D"}],
        ),
        (
            ToolCall("é", "f", "[1]", cache=CACHE),
            [
                {
                    "type": "tool_use",
                    "id": "sc64_w6k",
                    "name": "f",
                    "input": {"_raw": "[1]"},
                    "cache_control": CACHE,
                }
            ],
        ),
        (Opaque("anthropic", "server_tool_use", {"type": "x"}), [{"type": "x"}]),
    ],
)
def test_parts_of_the_assistant(part: Part, expected: object) -> None:
    assert told(HI, assistant(part))[1] == ("assistant", expected)


@pytest.mark.parametrize(
    ("part", "signed"),
    [
        (Thinking("t"), True),
        (Thinking("t", "S", "openai-responses"), True),
        (Thinking("t", "S", "anthropic"), False),
    ],
)
def test_thinking_that_proves_nothing_here_is_left_out(part: Thinking, signed: bool) -> None:
    messages = [HI, assistant(part, Text("a")), HI]
    turns = encoded(messages, signed=signed, continues=True)
    assert turns.messages[1]["content"] == "a"
    assert [(loss.field, loss.severity) for loss in turns.losses] == [
        ("thinking", Severity.COSMETIC)
    ]


def test_what_a_result_holds() -> None:
    content = (Text("x"), Text(""), Image(Remote("https://x")))
    result = ToolResult("a", content, is_error=True, cache=CACHE)
    (_, _, (_, blocks)) = told(HI, assistant(CALL), user(result))
    assert blocks == [
        {
            "type": "tool_result",
            "tool_use_id": "a",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image", "source": {"type": "url", "url": "https://x"}},
            ],
            "is_error": True,
            "cache_control": CACHE,
        }
    ]


@pytest.mark.parametrize(
    ("message", "field", "severity"),
    [
        (user(Image(Inline("image/bmp", "AA"))), "images", Severity.FATAL),
        (user(Image(Remote("ftp://x"))), "images", Severity.FATAL),
        (user(Document(Inline("application/zip", "AA"))), "documents", Severity.FATAL),
        (user(Document(Inline("text/plain", "/w=="))), "documents", Severity.FATAL),
        (user(Document(Remote("file:///x"))), "documents", Severity.FATAL),
        (assistant(Image(Remote("https://x"))), "images", Severity.FATAL),
        (user(Opaque("openai", "input_audio", {})), "input_audio", Severity.SEMANTIC),
        (Message(Role.SYSTEM, (Image(Remote("https://x")),)), "system", Severity.FATAL),
    ],
)
def test_what_cannot_be_shown(message: Message, field: str, severity: Severity) -> None:
    (loss,) = encoded([message], signed=True, continues=True).losses
    assert (loss.field, loss.severity) == (field, severity)
    assert bool(loss.reason) is (severity is Severity.FATAL)
