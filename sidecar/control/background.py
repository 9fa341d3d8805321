"""The owner of background tasks: a bug in one is logged, and it is started again after a pause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

_log = logging.getLogger(__name__)

PAUSE = 5.0  # seconds


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], pause: float = PAUSE
) -> None:
    """Run `work` to its end, again after a pause whenever it fails."""
    while True:
        try:
            return await work()
        except Exception:  # noqa: BLE001 - the bug of one task must not end the program
            _log.exception("background task %s failed; it starts again in %g s", name, pause)
        await asyncio.sleep(pause)


async def repeat(work: Callable[[], None], every: float) -> NoReturn:
    """Do it again and again."""
    while True:
        await asyncio.sleep(every)
        work()


async def watch_loop(report: Callable[[float], None], every: float = 1.0) -> NoReturn:
    """Report every second how many seconds late the event loop woke this task."""
    clock = asyncio.get_running_loop().time
    while True:
        due = clock() + every
        await asyncio.sleep(every)
        report(max(0.0, clock() - due))
