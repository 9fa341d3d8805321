"""Neutral turns as messages of /api/chat."""

from typing import Any

import pytest

from sidecar.dialects.ollama_chat.turns import encode_turns
from sidecar.neutral.request import (
    Document,
    Image,
    Inline,
    Loss,
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
from tests.sidecar.dialects.ollama_chat.context import PNG

PICTURE = Image(Inline("image/png", PNG))
CALL = ToolCall("call_1", "photo", '{"of": "cat"}')
TOLD_CALL = {"id": "call_1", "function": {"name": "photo", "arguments": {"of": "cat"}}}


def user(*parts: Part) -> Message:
    return Message(Role.USER, parts)


def assistant(*parts: Part) -> Message:
    return Message(Role.ASSISTANT, parts)


def system(text: str) -> Message:
    return Message(Role.SYSTEM, (Text(text),))


HI, TOLD_HI = user(Text("Hi")), {"role": "user", "content": "Hi"}
LOST = Opaque("anthropic", "web_search", {})
CONTINUE = {"role": "user", "content": "(continue)"}


def encoded(*messages: Message) -> Any:
    losses: list[Loss] = []
    told = encode_turns(messages, [], losses)
    assert losses == []
    return told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (Message(Role.SYSTEM, (Text("Hi"),)), {"role": "system", "content": "Hi"}),
        (Message(Role.DEVELOPER, (Text("Hi"),)), {"role": "system", "content": "Hi"}),
        (user(Text("a"), Text("b")), {"role": "user", "content": "a\nb"}),
        (user(), {"role": "user", "content": ""}),
        (
            user(Text("What?"), PICTURE),
            {"role": "user", "content": "What?", "images": [PNG]},
        ),
        (
            user(Document("The text.", name="a.txt"), Text("Sum it up.")),
            {"role": "user", "content": "a.txt:\nThe text.\nSum it up."},
        ),
        (
            user(Document(Inline("text/plain", "R3LDvGV6aQ=="))),
            {"role": "user", "content": "Grüezi"},
        ),
        (
            assistant(Thinking("Hm", "sig", "anthropic"), Text("4"), Refusal("No.")),
            {"role": "assistant", "content": "4\nNo.", "thinking": "Hm"},
        ),
    ],
)
def test_turns(message: Message, told: Any) -> None:
    assert encoded(message) == [told]


def test_one_system_prompt_stands_in_front() -> None:
    late = Message(Role.DEVELOPER, (Text("c"),))
    assert encoded(system("a"), system("b"), user(Text("Hi")), late) == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "<system>c</system>"},
    ]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([HI, assistant(LOST), HI], [TOLD_HI, TOLD_HI]),
        ([HI, assistant(LOST), user(LOST)], [TOLD_HI]),
        (
            [HI, assistant(Text("Yes?")), user(LOST)],
            [TOLD_HI, {"role": "assistant", "content": "Yes?"}, CONTINUE],
        ),
        ([system("a"), assistant(LOST)], [{"role": "system", "content": "a"}, CONTINUE]),
        ([user(Text(""))], [{"role": "user", "content": ""}]),
        ([], []),
    ],
)
def test_a_turn_of_which_nothing_is_left_is_left_out(messages: list[Message], told: Any) -> None:
    assert encode_turns(messages, [], []) == told


def test_tool_calls_and_their_results() -> None:
    other = ToolCall("call_2", "clock", "")
    results = (
        ToolResult("call_2", (Text("noon"), Text("sharp")), name="other name"),
        ToolResult("call_1", (Text("no film"),), is_error=True),
    )
    assert encoded(assistant(CALL, other), user(*results, Text("Thanks."))) == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                TOLD_CALL,
                {"id": "call_2", "function": {"name": "clock", "arguments": {}}},
            ],
        },
        {
            "role": "tool",
            "content": "Error: no film",
            "tool_call_id": "call_1",
            "tool_name": "photo",
        },
        {
            "role": "tool",
            "content": "noon\nsharp",
            "tool_call_id": "call_2",
            "tool_name": "clock",
        },
        {"role": "user", "content": "Thanks."},
    ]


def test_results_alone_are_followed_by_nothing() -> None:
    told = encoded(assistant(CALL), user(ToolResult("call_1", (Text("Here."),))))
    assert [one["role"] for one in told] == ["assistant", "tool"]


def test_images_of_results_follow_in_a_message_of_the_user() -> None:
    result = ToolResult("call_1", (Text("Here."), PICTURE))
    assert encoded(assistant(CALL), user(result, Text("Which one?")))[1:] == [
        {
            "role": "tool",
            "content": "Here.\n[image: see the next message]",
            "tool_call_id": "call_1",
            "tool_name": "photo",
        },
        {"role": "user", "content": "The images of the tool results above:", "images": [PNG]},
        {"role": "user", "content": "Which one?"},
    ]


def test_a_result_that_is_missing_and_one_that_answers_nothing() -> None:
    lost = ToolResult("call_9", (Text("42"),))
    assert [(one["role"], one["content"]) for one in encoded(assistant(CALL), user(lost))] == [
        ("assistant", ""),
        ("tool", "Error: [no result]"),
        ("user", "Result of the tool call call_9:\n42"),
    ]


@pytest.mark.parametrize(
    ("parts", "loss"),
    [
        ([Image(Remote("https://x/y.png"))], ("images", Severity.FATAL, "`fetch_images: true`")),
        ([Document(Remote("https://x/y.pdf"))], ("documents", Severity.FATAL, "by its address")),
        ([Document(Inline("application/pdf", "JVBERg=="))], ("documents", Severity.FATAL, "text")),
        ([Document(Inline("text/plain", "/w=="))], ("documents", Severity.FATAL, "plain text")),
        ([Document(Inline("text/plain", "a"))], ("documents", Severity.FATAL, "plain text")),
        ([Opaque("anthropic", "search_result", {})], ("search_result", Severity.SEMANTIC, "")),
    ],
)
def test_what_cannot_be_shown(parts: list[Part], loss: tuple[str, Severity, str]) -> None:
    losses: list[Loss] = []
    assert encode_turns([user(*parts)], [], losses) == [CONTINUE]
    (told,) = losses
    assert (told.field, told.severity) == loss[:2]
    assert loss[2] in told.reason


def test_redacted_thinking_is_left_out() -> None:
    losses: list[Loss] = []
    hidden = Thinking("", "sig", "anthropic", redacted=True)
    told = encode_turns([assistant(hidden, Text("4"))], [], losses)
    assert told == [{"role": "assistant", "content": "4"}]
    assert losses == [Loss("thinking", Severity.COSMETIC)]
