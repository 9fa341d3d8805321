"""Where the lines of a child go: our log, under the name `tunnel.cloudflared`."""

import logging
from typing import Protocol

from tunnel.facts import Log, Observer

_LEVELS: dict[Log, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogSink(Protocol):
    """What a child's lines are told to. Nothing of it may wait or raise."""

    def logged(self, level: Log) -> None:
        """The child wrote a line of this level."""

    def dropped(self, lines: int) -> None:
        """So many lines are not written to our log, and are no repeats either."""

    def write(self, number: int, level: Log, text: str) -> None:
        """Write a line of the child of this number."""


class Journal:
    """Writes to the standard library's log, whose handlers must not block, and counts."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._logger = logging.getLogger("tunnel.cloudflared")

    def logged(self, level: Log) -> None:
        self._observer.logged(level)

    def dropped(self, lines: int) -> None:
        self._observer.dropped(lines)

    def write(self, number: int, level: Log, text: str) -> None:
        self._logger.log(_LEVELS[level], "%s", text, extra={"fields": {"child": number}})
