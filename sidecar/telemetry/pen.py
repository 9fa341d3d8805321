"""Writes the log from a thread of its own: whoever should read it may stop reading, or leave.

A full pipe would hold up every request otherwise.
"""

import os
import select
from collections.abc import Callable
from io import UnsupportedOperation
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TextIO

BACKLOG = 10_000  # lines that wait for a slow reader; more are lost
AT_ONCE = 256  # lines in one write


class Pen:
    """Writes lines in their order. `lost` is told of each line that could not be written, and why.

    It writes to the descriptor of `stream` where it has one: nothing of Python's is locked while
    the system makes it wait, so that the program can always end.
    """

    def __init__(self, stream: TextIO, lost: Callable[[BaseException | None], None]) -> None:
        self._stream, self._lost = stream, lost
        self._lines: SimpleQueue[str | Event] = SimpleQueue()
        self._thread: Thread | None = None
        try:
            self._descriptor: int | None = stream.fileno()
        except (UnsupportedOperation, ValueError):
            self._descriptor = None

    def write(self, line: str) -> None:
        """Have a line written soon. Neither waits nor raises."""
        if self._lines.qsize() >= BACKLOG:
            self._lost(None)
            return
        self._lines.put(line)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def flush(self, seconds: float) -> None:
        """Wait until everything so far is written, but no longer than that."""
        if self._thread is not None:
            written = Event()
            self._lines.put(written)
            written.wait(seconds)

    def _run(self) -> None:
        while True:
            batch = self._batch()
            lines = [one for one in batch if isinstance(one, str)]
            try:
                if lines:
                    self._put("\n".join(lines) + "\n")
            except (OSError, ValueError) as error:
                for _ in lines:
                    self._lost(error)
            for one in batch:
                if isinstance(one, Event):
                    one.set()

    def _batch(self) -> list[str | Event]:
        batch = [self._lines.get()]
        try:
            while len(batch) < AT_ONCE:
                batch.append(self._lines.get_nowait())
        except Empty:
            pass
        return batch

    def _put(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            return
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another program has made it so
                select.select((), (self._descriptor,), ())
