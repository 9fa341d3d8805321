"""Writing the log: in order, without waiting, without raising."""

import os
from collections.abc import Iterator
from io import StringIO
from threading import Event
from typing import TextIO

import pytest

from sidecar.telemetry.pen import BACKLOG, Pen

LONG = 20.0  # seconds; much longer than anything here takes


class Ends:
    """A pipe; `lost` holds what could not be written, `first` is set by the first of them."""

    def __init__(self) -> None:
        read, write = os.pipe()
        self.read, self.write = os.fdopen(read, "rb"), os.fdopen(write, "w")
        self.lost: list[BaseException | None] = []
        self.first = Event()

    def lose(self, error: BaseException | None) -> None:
        self.lost.append(error)
        self.first.set()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    for one in (ends.read, ends.write):
        one.close()


def test_lines_come_in_order(ends: Ends) -> None:
    pen = Pen(ends.write, ends.lose)
    lines = [f"line {number} \u00e9" for number in range(1000)]
    for line in lines:
        pen.write(line)
    pen.flush(LONG)
    ends.write.close()
    assert ends.read.read().decode().splitlines() == lines
    assert not ends.lost


def test_a_reader_that_has_gone_loses_lines_and_nothing_else(ends: Ends) -> None:
    pen = Pen(ends.write, ends.lose)
    ends.read.close()
    pen.write("one")
    assert ends.first.wait(LONG)
    pen.write("two")
    pen.flush(LONG)
    assert [type(error) for error in ends.lost] == [BrokenPipeError] * 2


def test_a_reader_that_does_not_read_holds_nobody_up(ends: Ends) -> None:
    pen = Pen(ends.write, ends.lose)
    total = BACKLOG + 2000
    for number in range(total):
        pen.write(f"{number:0100d}")
    assert set(ends.lost) == {None}  # this far without anybody reading
    pen.flush(0.0)
    kept = total - len(ends.lost)
    numbers = [int(ends.read.readline()) for _ in range(kept)]
    assert numbers == sorted(set(numbers))
    pen.flush(LONG)


def test_a_descriptor_that_does_not_block_is_waited_for(ends: Ends) -> None:
    os.set_blocking(ends.write.fileno(), False)
    pen = Pen(ends.write, ends.lose)
    lines = ["x" * 1000] * 500
    for line in lines:
        pen.write(line)
    assert [ends.read.readline().decode().strip() for _ in lines] == lines
    assert not ends.lost


class Broken(StringIO):
    def write(self, text: str) -> int:
        raise OSError("no")


@pytest.mark.parametrize("stream", [Broken(), StringIO()])
def test_a_stream_without_a_descriptor(stream: TextIO) -> None:
    lost: list[BaseException | None] = []
    pen = Pen(stream, lost.append)
    pen.write("one")
    pen.flush(LONG)
    assert (len(lost) == 1) is isinstance(stream, Broken)
