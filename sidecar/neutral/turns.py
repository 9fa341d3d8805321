"""Putting the turns of a conversation in an order that every backend takes.

Backends want the results of tools in the turn right behind the calls, all of them, in the order of
the calls, before anything else is said. Clients send them late, spread over turns, or not at all.
Many backends know one prompt of the system, in front. Clients send more with every turn.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count

from sidecar.neutral.request import Document, Image, Message, Part, Role, Text, ToolCall, ToolResult

NO_RESULT = "[no result]"  # stands for the result that a client left out
NOTHING_SAID = "(continue)"  # stands for the user's turn where none is left
PROMPTS = (Role.SYSTEM, Role.DEVELOPER)

_Place = tuple[int, int]  # of a part: its turn, and where in it


def prompt_first(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns with one prompt at most, in front: those that they begin with, joined.

    A later prompt becomes marked text of the user; blank ones are left out. Chat templates such as
    Qwen's refuse any other conversation.
    """
    start = next(
        (at for at, message in enumerate(messages) if message.role not in PROMPTS), len(messages)
    )
    prompt = tuple(part for message in messages[:start] for part in _said(message))
    turns = [Message(Role.SYSTEM, prompt)] if prompt else []
    for message in messages[start:]:
        if message.role not in PROMPTS:
            turns.append(message)
        elif said := _said(message):
            turns.append(Message(Role.USER, tuple(map(_marked, said))))
    return tuple(turns)


def _said(prompt: Message) -> list[Part]:
    return [part for part in prompt.parts if not isinstance(part, Text) or part.text.strip()]


def _marked(part: Part) -> Part:
    return replace(part, text=f"<system>{part.text}</system>") if isinstance(part, Text) else part


def regrouped(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns with every result of a tool right behind its call, and no id of a call twice.

    What is missing is made up and marked as an error; what answers no call becomes text. A call
    whose id is empty or was there before gets another, the same each time.
    """
    ids = _Ids()
    results = _results(messages)
    taken = set(results.values())
    turns: list[Message] = []
    for turn, message in enumerate(messages):
        said: list[Part] = []
        orphans: list[ToolResult] = []
        answers: list[Part] = []
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolCall) and message.role is Role.ASSISTANT:
                call = replace(part, id=ids.of_its_own(part.id))
                said.append(call)
                found = results.get((turn, place))
                result = messages[found[0]].parts[found[1]] if found else None
                answers.append(_answer(call, result))
            elif not isinstance(part, ToolResult):
                said.append(part)
            elif (turn, place) not in taken:
                orphans.append(part)
        parts: tuple[Part, ...] = (*_as_text(orphans), *said)
        if parts or not message.parts:
            turns.append(replace(message, parts=parts))
        if answers:
            turns.append(Message(Role.USER, tuple(answers)))
    return tuple(_joined(turns))


def _results(messages: Sequence[Message]) -> dict[_Place, _Place]:
    """Where the result of each call stands: the first free one behind it that bears its id.

    Some clients count their calls anew in every turn: a result belongs to the latest turn that
    called by its id.
    """
    waiting: dict[str, list[_Place]] = {}
    results: dict[_Place, _Place] = {}
    for turn, message in enumerate(messages):
        called: dict[str, list[_Place]] = {}
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolResult) and waiting.get(part.call_id):
                results[waiting[part.call_id].pop(0)] = (turn, place)
            elif isinstance(part, ToolCall) and message.role is Role.ASSISTANT:
                called.setdefault(part.id, []).append((turn, place))
        waiting |= called
    return results


def _answer(call: ToolCall, result: Part | None) -> ToolResult:
    if isinstance(result, ToolResult):
        return replace(result, call_id=call.id)
    return ToolResult(call.id, (Text(NO_RESULT),), is_error=True, name=call.name)


class _Ids:
    """Ids of calls, none empty and none given twice.

    An id depends only on the calls before it, so a conversation that grows keeps its beginning.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._numbers: dict[str, Iterator[int]] = {}  # by the id that came

    def of_its_own(self, id: str) -> str:
        """The id itself, or another one in its place."""
        own = id
        numbers = self._numbers.setdefault(id, count(2 if id else 1))
        while not own or own in self._given:
            own = f"{id or 'call'}_{next(numbers)}"
        self._given.add(own)
        return own


def _as_text(orphans: Iterable[ToolResult]) -> Iterable[Text | Image | Document]:
    for orphan in orphans:
        yield Text(f"Result of the tool call {orphan.call_id}:")
        yield from orphan.content


def _joined(turns: Sequence[Message]) -> Iterable[Message]:
    """Results and what the user says behind them are one turn."""
    held: Message | None = None
    for turn in turns:
        if held is not None and held.role is turn.role is Role.USER and _answers(held):
            held = replace(held, parts=held.parts + turn.parts)
            continue
        if held is not None:
            yield held
        held = turn
    if held is not None:
        yield held


def _answers(turn: Message) -> bool:
    return any(isinstance(part, ToolResult) for part in turn.parts)


def alternating(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Neighbours of one role joined, for backends whose roles must alternate."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role is message.role:
            joined[-1] = replace(joined[-1], parts=joined[-1].parts + message.parts)
        else:
            joined.append(message)
    return tuple(joined)
