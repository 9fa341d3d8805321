"""Events → a whole answer, and a whole answer → events."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    StreamFailed,
    UsageReport,
)
from sidecar.neutral.problem import CUT_OFF, AttemptFailed
from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.response import AnswerPart, ChatResponse, StopReason


def folded(events: Iterable[Event]) -> ChatResponse:
    """The answer that events in legal order add up to.

    Raises AttemptFailed where they tell of a failure or do not come to an end.
    """
    answer = ChatResponse((), StopReason.END)
    parts: list[AnswerPart] = []
    texts: list[str] = []
    for event in events:
        match event:
            case MessageStart(id, model, usage):
                answer = replace(answer, id=id, model=model, usage=usage)
            case PartStart(part):
                parts.append(part)
                texts = []
            case PartDelta(text):
                texts.append(text)
            case PartEnd():
                parts[-1] = _complete(parts[-1], "".join(texts), event)
            case UsageReport(usage):
                answer = replace(answer, usage=usage)
            case Ping():
                pass
            case MessageEnd(stop, stop_sequence):
                return replace(answer, parts=tuple(parts), stop=stop, stop_sequence=stop_sequence)
            case StreamFailed(problem):
                raise AttemptFailed(problem)
    raise AttemptFailed(CUT_OFF)


def _complete(part: AnswerPart, text: str, end: PartEnd) -> AnswerPart:
    match part:
        case Text() | Refusal():
            return replace(part, text=part.text + text)
        case Thinking():
            signature = part.signature if end.signature is None else end.signature
            signed_by = part.signed_by if end.signed_by is None else end.signed_by
            return replace(part, text=part.text + text, signature=signature, signed_by=signed_by)
        case ToolCall():
            return replace(part, arguments=part.arguments + text)
        case Opaque():
            return part


def unfolded(answer: ChatResponse) -> Iterator[Event]:
    """The events of a stream that says what a whole answer says."""
    yield MessageStart(answer.id, answer.model, answer.usage)
    for part in answer.parts:
        yield from _part(part)
    if answer.usage is not None:
        yield UsageReport(answer.usage)
    yield MessageEnd(answer.stop, answer.stop_sequence)


def _part(part: AnswerPart) -> Iterator[Event]:
    end, text = PartEnd(), ""
    match part:
        case Text() | Refusal():
            yield PartStart(replace(part, text=""))
            text = part.text
        case Thinking(redacted=True) | Opaque():
            yield PartStart(part)
        case Thinking():
            yield PartStart(Thinking(""))
            text, end = part.text, PartEnd(part.signature, part.signed_by)
        case ToolCall():
            yield PartStart(replace(part, arguments=""))
            text = part.arguments
    if text:
        yield PartDelta(text)
    yield end
