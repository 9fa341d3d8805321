"""Whether a second answer repeats what the client already has of a first one.

As long as it does, nothing of it is told; from the first new character on it is. Once it differs
it stays dropped: two different answers are never spliced.

    repeating → beyond what the client has
              → diverged
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
)
from sidecar.neutral.request import Text, ToolCall
from sidecar.neutral.response import AnswerPart


@dataclass(slots=True)
class Told:
    """One part of an answer as the client has it; `text` is its text or its arguments."""

    part: AnswerPart  # as it started
    text: str = ""
    is_whole: bool = False  # its end was told too


def told(events: Iterable[Event]) -> list[Told]:
    """The parts that the events of a broken stream have told, in order."""
    parts: list[Told] = []
    for event in events:
        match event:
            case PartStart(part):
                parts.append(Told(part))
            case PartDelta(text):
                parts[-1].text += text
            case PartEnd():
                parts[-1].is_whole = True
            case _:
                pass
    return parts


def open_text(parts: Sequence[Told]) -> str | None:
    """The text that another answer could continue; None once a call or thinking has begun."""
    if len(parts) != 1 or parts[0].is_whole or not isinstance(parts[0].part, Text):
        return None
    return parts[0].text


@dataclass(slots=True)
class Replay:
    """Holds the events of an answer against the parts that the client has."""

    has: Sequence[Told]
    diverged: bool = False
    _place: int = 0  # of the part that comes now
    _offset: int = 0  # characters of it that have come

    def read(self, event: Event) -> Sequence[Event]:
        """What of an event is new to the client; nothing any more once the answers differ."""
        if self.diverged or isinstance(event, MessageStart | Ping):
            return ()
        if self._place >= len(self.has):
            return (event,)
        match event:
            case PartStart(part):
                self._offset = 0
                return self._same(_comparable(part) == _comparable(self.has[self._place].part))
            case PartDelta(text):
                return self._more(text)
            case PartEnd():
                return self._end(event)
            case MessageEnd():
                return self._same(False)
            case _:
                return (event,)

    def _same(self, is_same: bool) -> Sequence[Event]:
        self.diverged = not is_same
        return ()

    def _more(self, text: str) -> Sequence[Event]:
        known = self.has[self._place]
        left = known.text[self._offset :]
        common = min(len(left), len(text))
        self._offset += common
        news = text[common:]
        if text[:common] != left[:common] or (news and known.is_whole):
            return self._same(False)
        return (PartDelta(news),) if news else ()

    def _end(self, end: PartEnd) -> Sequence[Event]:
        known = self.has[self._place]
        if self._offset < len(known.text):
            return self._same(False)
        self._place += 1
        return () if known.is_whole else (end,)


RESTART = 16  # characters of its beginning by which an answer is known again


@dataclass(slots=True)
class Continuation(Replay):
    """Holds an answer that is to go on from a text against one that begins anew with it.

    What looks like a beginning is held back until it is known to be none.
    """

    opening: str = ""  # the text from which to go on
    _held: str = ""
    _is_onward: bool = False

    def _more(self, text: str) -> Sequence[Event]:
        if self._is_onward:
            return Replay._more(self, text)
        self._held += text
        start, begun = self.opening.lstrip()[:RESTART], self._held.lstrip()[:RESTART]
        if begun == start:
            return self._same(False)
        return () if start.startswith(begun) else self._onward()

    def _end(self, end: PartEnd) -> Sequence[Event]:
        news = () if self._is_onward else self._onward()
        return (*news, *Replay._end(self, end))

    def _onward(self) -> Sequence[Event]:
        self._is_onward = True
        return Replay._more(self, self._held)


def _comparable(part: AnswerPart) -> AnswerPart:
    """A part as it compares: calls of two answers never have the same id."""
    return replace(part, id="") if isinstance(part, ToolCall) else part
