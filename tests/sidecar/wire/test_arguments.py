"""Arguments of tool calls as text, as an object, and as free text."""

import pytest

from sidecar.neutral.request import Opaque, Tool, ToolCall
from sidecar.wire.arguments import as_object, custom_tools, free_text, is_custom, of_free_text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"b":1,"a":{"c":[]}}', {"b": 1, "a": {"c": []}}),
        ("", {}),
        (" ", {}),
        ("[1]", {"_raw": "[1]"}),
        ('{"city": "Zür', {"_raw": '{"city": "Zür'}),
    ],
)
def test_arguments_become_an_object_and_are_never_lost(arguments: str, told: object) -> None:
    assert as_object(arguments) == told


@pytest.mark.parametrize("text", ["", 'say "ü"\n', "{}", "\ud800"])
def test_free_text_survives(text: str) -> None:
    assert free_text(of_free_text(text)) == text


@pytest.mark.parametrize("arguments", ["", "words", "[1]", "{}", '{"input":1}', '{"other":"a"}'])
def test_what_holds_no_free_text_is_it(arguments: str) -> None:
    assert free_text(arguments) == arguments


def test_custom_calls_are_known_by_their_mark_or_their_tool() -> None:
    custom = custom_tools([Tool("f"), Tool("p", custom=True), Opaque("openai", "p", {})])
    assert custom == {"p"}
    calls = [ToolCall("1", "f", ""), ToolCall("2", "p", ""), ToolCall("3", "f", "", custom=True)]
    assert [is_custom(call, custom) for call in calls] == [False, True, True]
