"""The program with the pauses of its tunnel made short: `python -m tests.tunnel_load.hurried run`.

It does all that it does otherwise, a hundred times as often. They are set before anything reads
them. On SIGUSR1 it writes how many tasks it has into the file that `TASKS_FILE` names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tunnel import backoff

backoff.BASE = backoff.SOON = 0.02
backoff.NAMED = backoff.Pace(0.02)

from tunnel import replacing  # noqa: E402 - see above

replacing.ALONE = replacing.HOLD = replacing.LOOK_EVERY = 0.02

from sidecar.cli.main import main  # noqa: E402
from tunnel.supervisor import Supervisor  # noqa: E402

_run = Supervisor.run


def _count() -> None:
    file = Path(os.environ["TASKS_FILE"])
    beside = file.with_suffix(".new")
    beside.write_text(str(len(asyncio.all_tasks())), encoding="ascii")
    beside.replace(file)


async def _counted(self: Supervisor) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _count)
    await _run(self)


if __name__ == "__main__":
    Supervisor.run = _counted  # type: ignore[method-assign]
    sys.exit(main())
