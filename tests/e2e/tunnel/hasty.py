"""The real program on a clock that runs fast: `HASTE=20 python -m tests.e2e.tunnel.hasty run …`.

Deadlines, pauses, questions and probes last that much shorter, seen from outside; nothing else is
another. SIGUSR2 makes the clock leap by the seconds that stand in the file `LEAP`, which is gone
then. While the file `SCARCE` exists the system has no process to give.
"""

from __future__ import annotations

import errno
import os
import queue
import runpy
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import Any

# these keep the clock that they find when they are loaded: to them time runs as it does
USUAL = queue, subprocess, threading


def hurry(haste: float, leap: str) -> None:
    """From here on the monotonic clock, and whatever waits in an event loop, runs so fast."""
    real = time.monotonic
    born, leapt = real(), 0.0

    def take_leap(*_: object) -> None:
        nonlocal leapt
        with open(leap, encoding="ascii") as file:
            leapt += float(file.read())
        os.unlink(leap)

    class Hasty(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            return super().select(None if timeout is None else timeout / haste)

    setattr(time, "monotonic", lambda: born + leapt + (real() - born) * haste)  # noqa: B010
    setattr(selectors, "DefaultSelector", Hasty)  # noqa: B010
    signal.signal(signal.SIGUSR2, take_leap)  # loops wake up for every signal
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # its clock cannot be set


def make_scarce(file: str) -> None:
    """No process is to be had while that file exists."""
    real = getattr(subprocess, "_fork_exec")  # noqa: B009 - the one door of Popen

    def fork_exec(*args: Any) -> int:
        if os.path.exists(file):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        number: int = real(*args)
        return number

    setattr(subprocess, "_fork_exec", fork_exec)  # noqa: B010


if __name__ == "__main__":
    haste = float(os.environ.pop("HASTE", "1"))
    if haste != 1:
        hurry(haste, os.environ.pop("LEAP"))
    make_scarce(os.environ.pop("SCARCE", os.devnull + "/none"))
    sys.argv[0] = "sidecar"
    runpy.run_module("sidecar", run_name="__main__", alter_sys=True)
