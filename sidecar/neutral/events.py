"""The neutral stream, and the one table that says which order is legal.

    MessageStart (PartStart PartDelta* PartEnd)* UsageReport* MessageEnd
    any prefix of that, then StreamFailed; Ping anywhere after MessageStart

Parts never overlap. Decoders promise this order, encoders rely on it and check nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from sidecar.neutral.problem import Problem
from sidecar.neutral.response import AnswerPart, StopReason
from sidecar.neutral.usage import Usage


@dataclass(frozen=True, slots=True)
class MessageStart:
    """The answer begins; `id` and `model` are empty where the backend does not say.

    `usage` is what a dialect tells early; a UsageReport behind it replaces it.
    """

    id: str = ""
    model: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class PartStart:
    """A part begins, as an empty Text, Thinking or Refusal, a ToolCall with id and name and empty
    arguments, or whole: Opaque, and Thinking that is redacted (no PartDelta follows)."""

    part: AnswerPart


@dataclass(frozen=True, slots=True)
class PartDelta:
    """More of the open part's text, or of its arguments; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The open part is complete; a signature of Thinking comes with its end."""

    signature: str | None = None
    signed_by: str | None = None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The tokens so far; the last report counts."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Ping:
    """The backend is alive and says nothing."""


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The answer is complete."""

    stop: StopReason
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class StreamFailed:
    """The answer broke off; nothing follows."""

    problem: Problem


Event = (
    MessageStart | PartStart | PartDelta | PartEnd | UsageReport | Ping | MessageEnd | StreamFailed
)


class State(Enum):
    """Where a stream stands."""

    IDLE = "idle"
    BETWEEN_PARTS = "between parts"
    IN_PART = "in a part"
    DONE = "done"


LEGAL: Mapping[State, Mapping[type, State]] = {
    State.IDLE: {MessageStart: State.BETWEEN_PARTS, StreamFailed: State.DONE},
    State.BETWEEN_PARTS: {
        PartStart: State.IN_PART,
        UsageReport: State.BETWEEN_PARTS,
        Ping: State.BETWEEN_PARTS,
        MessageEnd: State.DONE,
        StreamFailed: State.DONE,
    },
    State.IN_PART: {
        PartDelta: State.IN_PART,
        UsageReport: State.IN_PART,
        Ping: State.IN_PART,
        PartEnd: State.BETWEEN_PARTS,
        StreamFailed: State.DONE,
    },
    State.DONE: {},
}


class IllegalOrder(ValueError):
    """An event came where it must not."""


def follow(events: Iterable[Event], state: State = State.IDLE) -> State:
    """Where a stream stands after events. Raises IllegalOrder."""
    for event in events:
        after = LEGAL[state].get(type(event))
        if after is None:
            raise IllegalOrder(f"{type(event).__name__} {state.value}")
        state = after
    return state
