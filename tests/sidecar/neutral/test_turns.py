"""Results stand right behind their calls, all of them, in order, and nothing is lost."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.neutral.request import Image, Inline, Message, Part, Role, Text, ToolCall, ToolResult
from sidecar.neutral.turns import NO_RESULT, alternating, prompt_first, regrouped

PICTURE = Image(Inline("image/png", "iVBORw0="))


def system(text: str) -> Message:
    return Message(Role.SYSTEM, (Text(text),))


def user(*parts: Part | str) -> Message:
    return Message(Role.USER, tuple(Text(one) if isinstance(one, str) else one for one in parts))


def model(*parts: Part | str) -> Message:
    told = tuple(Text(one) if isinstance(one, str) else one for one in parts)
    return Message(Role.ASSISTANT, told)


def developer(text: str) -> Message:
    return Message(Role.DEVELOPER, (Text(text),))


def call(id: str) -> ToolCall:
    return ToolCall(id, f"tool {id}", "{}")


def again(id: str) -> ToolCall:
    """A further call of the id 1, under the id that it gets."""
    return ToolCall(id, "tool 1", "{}")


def result(id: str, text: str = "") -> ToolResult:
    return ToolResult(id, (Text(text or f"result {id}"),))


def ids_of_calls(turns: list[Message]) -> list[str]:
    grouped = regrouped(turns)
    return [part.id for turn in grouped for part in turn.parts if isinstance(part, ToolCall)]


def missing(id: str) -> ToolResult:
    return ToolResult(id, (Text(NO_RESULT),), is_error=True, name=f"tool {id}")


ROWS = [
    pytest.param([], [], id="nothing"),
    pytest.param([user("a"), model("b")], [user("a"), model("b")], id="no tools"),
    pytest.param(
        [model(call("1")), user(result("1"))],
        [model(call("1")), user(result("1"))],
        id="in order already",
    ),
    pytest.param(
        [model(call("1"), call("2")), user(result("2"), result("1"))],
        [model(call("1"), call("2")), user(result("1"), result("2"))],
        id="in the order of the calls",
    ),
    pytest.param(
        [model(call("1"), call("2")), user(result("1")), user("and"), user(result("2"))],
        [model(call("1"), call("2")), user(result("1"), result("2"), "and")],
        id="spread over turns",
    ),
    pytest.param(
        [model(call("1")), user("wait", result("1"), "so?")],
        [model(call("1")), user(result("1"), "wait", "so?")],
        id="text around it comes behind",
    ),
    pytest.param(
        [model(call("1")), model("hm"), user(result("1"))],
        [model(call("1")), user(result("1")), model("hm")],
        id="the model went on before",
    ),
    pytest.param(
        [model(call("1"), call("2")), user(result("2"))],
        [model(call("1"), call("2")), user(missing("1"), result("2"))],
        id="one is missing",
    ),
    pytest.param([model(call("1"))], [model(call("1")), user(missing("1"))], id="none at all"),
    pytest.param(
        [user(result("9"), "so?")],
        [user("Result of the tool call 9:", "result 9", "so?")],
        id="of no call",
    ),
    pytest.param(
        [user(ToolResult("9", (Text("a"), PICTURE)))],
        [user("Result of the tool call 9:", "a", PICTURE)],
        id="of no call, with a picture",
    ),
    pytest.param(
        [user(result("1")), model(call("1"))],
        [user("Result of the tool call 1:", "result 1"), model(call("1")), user(missing("1"))],
        id="before its call",
    ),
    pytest.param(
        [model(call("1")), user(result("1", "a")), user(result("1", "b"))],
        [model(call("1")), user(result("1", "a"), "Result of the tool call 1:", "b")],
        id="told twice",
    ),
    pytest.param(
        [model(call("1")), user(result("1", "a")), model(call("1")), user(result("1", "b"))],
        [model(call("1")), user(result("1", "a")), model(again("1_2")), user(result("1_2", "b"))],
        id="ids counted anew in every turn",
    ),
    pytest.param(
        [model(call("1")), model(call("1")), user(result("1", "b"))],
        [model(call("1")), user(missing("1")), model(again("1_2")), user(result("1_2", "b"))],
        id="ids counted anew, the first unanswered",
    ),
    pytest.param(
        [model(call("1"), call("1")), user(result("1", "a"), result("1", "b"))],
        [model(call("1"), again("1_2")), user(result("1", "a"), result("1_2", "b"))],
        id="one id for two calls",
    ),
    pytest.param(
        [model(call("")), user(result("", "a")), model(call("")), user(result("", "b"))],
        [
            model(ToolCall("call_1", "tool ", "{}")),
            user(result("call_1", "a")),
            model(ToolCall("call_2", "tool ", "{}")),
            user(result("call_2", "b")),
        ],
        id="no ids",
    ),
    pytest.param(
        [model(call("1"), call("1"), call("1_2"), call("1"))],
        [
            model(call("1"), again("1_2"), ToolCall("1_2_2", "tool 1_2", "{}"), again("1_3")),
            user(
                missing("1"),
                replace(missing("1_2"), name="tool 1"),
                replace(missing("1_2_2"), name="tool 1_2"),
                replace(missing("1_3"), name="tool 1"),
            ),
        ],
        id="an id that was made up comes, too",
    ),
    pytest.param(
        [model(call("1")), system("be brief"), user(result("1"))],
        [model(call("1")), user(result("1")), system("be brief")],
        id="a system prompt between",
    ),
    pytest.param([user(), model("a")], [user(), model("a")], id="an empty turn stays"),
]


@pytest.mark.parametrize(("turns", "wanted"), ROWS)
def test_regrouped(turns: list[Message], wanted: list[Message]) -> None:
    assert regrouped(turns) == tuple(wanted)


@pytest.mark.parametrize(("turns", "wanted"), ROWS)
def test_what_is_in_order_stays(turns: list[Message], wanted: list[Message]) -> None:
    assert regrouped(wanted) == tuple(wanted)


_IDS = st.sampled_from(["", "1", "2", "1_2", "call_1"])
_CALLS, _RESULTS, _TEXTS = _IDS.map(call), _IDS.map(result), st.sampled_from("ab").map(Text)
_TURNS = st.one_of(
    st.builds(Message, st.just(Role.USER), st.lists(_RESULTS | _TEXTS, max_size=4).map(tuple)),
    st.builds(Message, st.just(Role.ASSISTANT), st.lists(_CALLS | _TEXTS, max_size=4).map(tuple)),
    st.just(system("s")),
)


@given(st.lists(_TURNS, max_size=7))
def test_every_call_is_answered_at_once_and_nothing_else_is(turns: list[Message]) -> None:
    grouped = regrouped(turns)
    waiting: list[str] = []
    for turn in grouped:
        answered = [part.call_id for part in turn.parts if isinstance(part, ToolResult)]
        assert answered == waiting
        assert all(isinstance(part, ToolResult) for part in turn.parts[: len(answered)])
        waiting = [part.id for part in turn.parts if isinstance(part, ToolCall)]
    assert waiting == []
    ids = ids_of_calls(turns)
    assert len(set(ids)) == len(ids)
    assert all(ids)


@given(st.lists(_TURNS, max_size=7))
def test_a_conversation_that_grows_keeps_the_ids_of_its_beginning(turns: list[Message]) -> None:
    ids = ids_of_calls(turns)
    for length in range(len(turns)):
        before = ids_of_calls(turns[:length])
        assert before == ids[: len(before)]


@given(st.lists(_TURNS, max_size=7))
def test_no_call_and_no_word_is_lost(turns: list[Message]) -> None:
    def told(messages: tuple[Message, ...]) -> list[str]:
        calls = [p.name for m in messages for p in m.parts if isinstance(p, ToolCall)]
        texts = [p.text for m in messages for p in m.parts if isinstance(p, Text)]
        texts += [
            one.text
            for m in messages
            for p in m.parts
            if isinstance(p, ToolResult)
            for one in p.content
            if isinstance(one, Text) and one.text != NO_RESULT
        ]
        added = "Result of the tool call"
        return calls + sorted(text for text in texts if not text.startswith(added))

    assert told(regrouped(turns)) == told(tuple(turns))


def test_alternating() -> None:
    turns = [user("a"), user("b"), model("c"), user("d"), system("e"), system("f")]
    joined = Message(Role.SYSTEM, (Text("e"), Text("f")))
    assert alternating(turns) == (user("a", "b"), model("c"), user("d"), joined)
    assert alternating([]) == ()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([user("a"), model("b")], [user("a"), model("b")], id="no prompt"),
        pytest.param(
            [system("s"), developer("d"), user("a")],
            [Message(Role.SYSTEM, (Text("s"), Text("d"))), user("a")],
            id="those in front are joined",
        ),
        pytest.param([developer("d")], [system("d")], id="nothing but a prompt"),
        pytest.param(
            [system("s"), user("a"), developer("d"), system("t")],
            [system("s"), user("a"), user("<system>d</system>"), user("<system>t</system>")],
            id="later ones are marked text of the user",
        ),
        pytest.param(
            [system(" "), user("a"), system(""), Message(Role.USER, ())],
            [user("a"), Message(Role.USER, ())],
            id="blank ones are left out",
        ),
        pytest.param(
            [user("a"), Message(Role.SYSTEM, (PICTURE,))],
            [user("a"), user(PICTURE)],
            id="what is no text stays what it is",
        ),
    ],
)
def test_one_prompt_stands_in_front(messages: list[Message], expected: list[Message]) -> None:
    assert prompt_first(messages) == tuple(expected)
    assert prompt_first(expected) == tuple(expected)
