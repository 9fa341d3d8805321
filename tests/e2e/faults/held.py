"""What a run of the fault table has shown to hold; the page is written from it, or compared.

Cells are known from their table. A moment is a test of its own: `@moment(row)` plays it for the
clients of all four dialects, and notes how it went.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.crossing import DIALECTS

Test = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Shown:
    """One promise before one client: `name` is a unit's id or a test's name."""

    row: int
    client: str
    streamed: bool
    name: str


MOMENTS: set[Shown] = set()  # all there are
HELD: set[Shown] = set()  # what this run has seen to hold
BROKEN: set[Shown] = set()  # and what not


def moment(row: int, *modes: bool) -> Callable[[Test], Test]:
    """The test is one of row `row`, for streams and whole answers as `modes` say.

    It gets `dialect`; and `stream`, one mode at a time, where it has such an argument.
    """

    def decorate(test: Test) -> Test:
        marked: Test
        names = inspect.signature(test).parameters
        MOMENTS.update(
            Shown(row, client, mode, test.__name__) for client in DIALECTS for mode in modes
        )

        @functools.wraps(test)
        async def run(*args: Any, **named: Any) -> None:
            played = [named["stream"]] if "stream" in named else modes
            shown = {Shown(row, named["dialect"], mode, test.__name__) for mode in played}
            try:
                await test(*args, **named)
            except BaseException:
                BROKEN.update(shown)
                raise
            HELD.update(shown)

        marked = pytest.mark.parametrize("dialect", DIALECTS)(run)
        if "stream" in names:
            ids = ["stream" if mode else "whole" for mode in modes]
            marked = pytest.mark.parametrize("stream", modes, ids=ids)(marked)
        return marked

    return decorate
