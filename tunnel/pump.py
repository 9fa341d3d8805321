"""Reads what a child writes, for as long as it writes, and never makes it wait.

cloudflared stops serving once its standard error is full, and ends once it is closed. So whatever
comes is taken at once, piece by piece between other work of the loop; when there is too much to
look at, lines are counted and thrown away.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tunnel import loglines
from tunnel.collapse import WHILE, Collapse
from tunnel.events import Told, Trouble
from tunnel.facts import Log
from tunnel.loglines import Line, Lines
from tunnel.redact import Redact

PIECE = 16 * 1024  # bytes of one read
RATE, BURST = 200.0, 400.0  # lines that are looked at in a second, and at once
WORDS = 20  # last lines of trouble that are kept
OUTPUT = 4096  # bytes of standard output that are kept: its beginning
LONGEST = 2000  # characters of a line in our log
_AT_THE_END = 1 << 20  # bytes that are still read of a child that has ended


class LogSink(Protocol):
    """What a child's lines are told to. Nothing of it may wait or raise."""

    def logged(self, level: Log) -> None:
        """The child wrote a line of this level."""

    def dropped(self, lines: int) -> None:
        """So many lines are not written to our log, and are no repeats either."""

    def write(self, number: int, level: Log, text: str) -> None:
        """Write a line of the child of this number."""


class Pump:
    """Standard error and standard output of one child.

    `tell` gets the events of the log, `closed` is called once both have come to their end.
    """

    def __init__(
        self,
        number: int,
        log: LogSink,
        redact: Redact,
        *,
        plain: bool,
        tell: Callable[[Told], None],
        closed: Callable[[], None],
    ) -> None:
        self.draining = False  # told to stop: some errors are none now
        self.named_edge = False  # it need not find the edge by DNS
        self.words: deque[str] = deque(maxlen=WORDS)
        self.output = ""
        self._loop, self._number, self._log = asyncio.get_running_loop(), number, log
        self._redact, self._plain = redact, plain
        self._tell, self._closed = tell, closed
        self._open: dict[int, _Stream] = {}
        self._collapse = Collapse()
        self._timer: asyncio.TimerHandle | None = None
        self._purse, self._filled = BURST, self._loop.time()

    def watch(self, errors: int, output: int) -> None:
        """Read from these descriptors from now on; they are closed here."""
        for descriptor, take in ((errors, self._of_log), (output, self._of_output)):
            os.set_blocking(descriptor, False)
            self._open[descriptor] = _Stream(take)
            self._loop.add_reader(descriptor, self._readable, descriptor)

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        return bool(self._open)

    def close(self) -> None:
        """Take what is there, and end."""
        for descriptor in list(self._open):
            left = _AT_THE_END
            while left > 0 and descriptor in self._open and (got := self._readable(descriptor)):
                left -= got
            if descriptor in self._open:  # somebody else still holds the other end
                self._end(descriptor)
        if self._timer is not None:
            self._timer.cancel()
        self._end_while()

    def _readable(self, descriptor: int) -> int:
        try:
            data = os.read(descriptor, PIECE)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._end(descriptor)
            return 0
        stream = self._open[descriptor]
        self._take(stream, stream.lines.feed(data))
        return len(data)

    def _end(self, descriptor: int) -> None:
        stream = self._open.pop(descriptor)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        self._take(stream, stream.lines.rest())
        if not self._open:
            self._closed()

    def _take(self, stream: "_Stream", lines: list[bytes]) -> None:
        now = self._loop.time()
        self._purse = min(BURST, self._purse + (now - self._filled) * RATE)
        self._filled = now
        unread = 0
        for raw in lines:
            if self._purse >= 1.0:
                self._purse -= 1.0
            elif loglines.NEEDED.search(raw) is None:
                self._log.logged(loglines.level_at_a_glance(raw))
                unread += 1
                continue
            stream.take(raw, now)
        if unread:
            self._collapse.leave_out(now, unread)
            self._open_while()

    def _of_log(self, raw: bytes, now: float) -> None:
        line = loglines.read(raw)
        event = loglines.told(line, plain=self._plain)
        if isinstance(event, Trouble):
            event = replace(event, message=self._redact(event.message))
        if event is not None:
            self._tell(event)
        level: Log = line.level
        if loglines.is_harmless(line, draining=self.draining, named_edge=self.named_edge):
            level = "debug"
        elif level in ("warning", "error") and not loglines.is_of_request(line):
            self.words.append(self._redact(line.text[:LONGEST]))
        self._tell_line(now, level, line)

    def _of_output(self, raw: bytes, now: float) -> None:
        line = loglines.read(raw)
        if len(self.output) < OUTPUT:
            self.output += self._redact(line.text[:LONGEST]) + "\n"
        self._tell_line(now, "error" if line.level == "error" else "debug", line)

    def _tell_line(self, now: float, level: Log, line: Line) -> None:
        self._log.logged(level)
        text = line.text[:LONGEST]
        if self._collapse.take(now, level, text):
            self._log.write(self._number, level, self._redact(text))
        self._open_while()

    def _open_while(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(WHILE, self._end_while)

    def _end_while(self) -> None:
        self._timer = None
        lines, left_out = self._collapse.end()
        for level, text in lines:
            self._log.write(self._number, level, self._redact(text))
        if left_out:
            self._log.dropped(left_out)


class _Stream:
    __slots__ = ("lines", "take")

    def __init__(self, take: Callable[[bytes, float], None]) -> None:
        self.lines, self.take = Lines(), take
