"""Putting the turns of a conversation in an order that every backend takes.

Backends want the results of tools in the turn right behind the calls, all of them, in the order of
the calls, before anything else is said. Clients send them late, spread over turns, or not at all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sidecar.neutral.request import Document, Image, Message, Part, Role, Text, ToolCall, ToolResult

NO_RESULT = "[no result]"  # stands for the result that a client left out

_Place = tuple[int, int]  # of a part: its turn, and where in it


def regrouped(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns with every result of a tool right behind its call.

    What is missing is made up and marked as an error; what answers no call becomes text.
    """
    results = _results(messages)
    taken = set(results.values())
    turns: list[Message] = []
    for turn, message in enumerate(messages):
        said: list[Part] = []
        orphans: list[ToolResult] = []
        answers: list[Part] = []
        for place, part in enumerate(message.parts):
            if not isinstance(part, ToolResult):
                said.append(part)
            elif (turn, place) not in taken:
                orphans.append(part)
            if isinstance(part, ToolCall) and message.role is Role.ASSISTANT:
                found = results.get((turn, place))
                answers.append(_at(messages, found) if found else _missing(part))
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


def _at(messages: Sequence[Message], place: _Place) -> Part:
    turn, part = place
    return messages[turn].parts[part]


def _missing(call: ToolCall) -> ToolResult:
    return ToolResult(call.id, (Text(NO_RESULT),), is_error=True, name=call.name)


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
