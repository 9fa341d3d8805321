"""Turns, tool calls without ids and results that name only their tool."""

from typing import Any

import pytest

from sidecar.dialects.ollama_chat.conversation import decode_messages
from sidecar.neutral.request import (
    Image,
    Inline,
    Message,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.turns import regrouped
from sidecar.wire.fields import Fields
from tests.sidecar.dialects.ollama_chat.context import PNG


def decoded(*messages: Any) -> tuple[Message, ...]:
    found = [Fields(one, f"messages[{place}]") for place, one in enumerate(messages)]
    return decode_messages(found, [])


def calling(*calls: tuple[str | None, str]) -> dict[str, Any]:
    """A turn that calls tools, each with its id and name."""
    told = [{"id": id, "function": {"name": name, "arguments": {}}} for id, name in calls]
    return {"role": "assistant", "content": "", "tool_calls": told}


def answers(*messages: Any) -> list[tuple[str, str]]:
    """The results behind the calls: the id of the call and the text."""
    return [
        (part.call_id, part.content[0].text)
        for message in decoded(*messages)
        for part in message.parts
        if isinstance(part, ToolResult) and isinstance(part.content[0], Text)
    ]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"role": "system", "content": "Hi"}, Message(Role.SYSTEM, (Text("Hi"),))),
        ({"role": "developer", "content": "Hi"}, Message(Role.DEVELOPER, (Text("Hi"),))),
        ({"role": "User", "content": "Hi"}, Message(Role.USER, (Text("Hi"),))),
        ({"role": "user", "content": None}, Message(Role.USER, ())),
        (
            {"role": "user", "content": "What?", "images": [PNG, f"{PNG[:20]}\n{PNG[20:]}"]},
            Message(Role.USER, (Text("What?"), *[Image(Inline("image/png", PNG))] * 2)),
        ),
        (
            {"role": "assistant", "content": "4", "thinking": "2+2"},
            Message(Role.ASSISTANT, (Thinking("2+2"), Text("4"))),
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "call_x", "function": {"name": "f", "arguments": {"b": 1, "a": "ü"}}},
                    {"function": {"name": "g", "arguments": '{"as": "text"}'}},
                    {"function": {"index": 2, "name": "h"}},
                ],
            },
            Message(
                Role.ASSISTANT,
                (
                    ToolCall("call_x", "f", '{"b":1,"a":"ü"}'),
                    ToolCall("call_0_1", "g", '{"as": "text"}'),
                    ToolCall("call_0_2", "h", "{}"),
                ),
            ),
        ),
    ],
)
def test_turns(told: Any, message: Message) -> None:
    assert decoded(told) == (message,)


def test_a_result_with_an_image() -> None:
    (_, result) = decoded(
        calling(("call_1", "photo")),
        {"role": "tool", "tool_name": "photo", "content": "Here", "images": [PNG]},
    )
    content = (Text("Here"), Image(Inline("image/png", PNG)))
    assert result.parts == (ToolResult("call_1", content, name="photo"),)


def tool(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, **more}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(
            [
                calling(("a", "f"), ("b", "g")),
                tool("G", tool_call_id="b"),
                tool("F", tool_call_id="a"),
            ],
            [("b", "G"), ("a", "F")],
            id="by id",
        ),
        pytest.param(
            [
                calling((None, "f"), (None, "g"), (None, "f")),
                tool("G", tool_name="g"),
                tool("F1", tool_name="f"),
                tool("F2", tool_name="f"),
            ],
            [("call_0_1", "G"), ("call_0_0", "F1"), ("call_0_2", "F2")],
            id="by name, and in order where a name comes twice",
        ),
        pytest.param(
            [calling((None, "f"), (None, "g")), tool("F"), tool("G")],
            [("call_0_0", "F"), ("call_0_1", "G")],
            id="in order",
        ),
        pytest.param(
            [calling((None, "f")), tool("F", tool_call_id="lost", tool_name="f")],
            [("call_0_0", "F")],
            id="the client dropped the id of the call only",
        ),
        pytest.param(
            [calling(("a", "f")), tool("F", tool_call_id="lost", tool_name="f")],
            [("lost", "F")],
            id="an id that nobody gave",
        ),
        pytest.param([tool("F", tool_name="f")], [("f", "F")], id="nobody has called"),
        pytest.param([tool("F")], [("unknown", "F")], id="nobody has called anything"),
        pytest.param(
            [calling(("a", "f")), tool("1"), calling(("a", "f")), tool("2", tool_call_id="a")],
            [("a", "1"), ("call_2_0", "2")],
            id="an id that comes again in a later turn",
        ),
        pytest.param(
            [calling((None, "f")), calling((None, "f")), tool("new"), tool("old")],
            [("call_1_0", "new"), ("call_0_0", "old")],
            id="late: those of the last turn first",
        ),
    ],
)
def test_results_find_their_calls(messages: list[Any], expected: list[tuple[str, str]]) -> None:
    assert answers(*messages) == expected


def test_made_up_ids_are_the_same_each_time_and_hold_turns_together() -> None:
    messages = [
        {"role": "user", "content": "Weather?"},
        calling((None, "weather"), (None, "weather")),
        tool("sun"),
        tool("rain"),
    ]
    turns = regrouped(decoded(*messages))
    assert turns[2].parts == (
        ToolResult("call_1_0", (Text("sun"),), name="weather"),
        ToolResult("call_1_1", (Text("rain"),), name="weather"),
    )
    further = {"role": "user", "content": "And tomorrow?"}
    assert decoded(*messages, further)[:4] == decoded(*messages)
