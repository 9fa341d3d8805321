"""Processes, descriptors and files as the system knows them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty where there is no such process."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return told.rpartition(")")[2].split()


def _numbers() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def state_of(pid: int) -> str | None:
    """The letter of a process in the system's table; None where there is none."""
    return next(iter(_stat(pid)), None)


def born(pid: int) -> str:
    """When it was started, which tells it from another one with its number; or nothing."""
    return "".join(_stat(pid)[19:20])


def exists(pid: int) -> bool:
    """Whether it runs; one that waits to be reaped does not."""
    return state_of(pid) not in (None, "Z")


def children_of(pid: int) -> dict[int, str]:
    """The processes that it started and has not reaped: their states."""
    found = {number: _stat(number) for number in _numbers()}
    return {number: told[0] for number, told in found.items() if told[1:2] == [str(pid)]}


def has_children() -> bool:
    """Whether a process of ours runs, or waits to be reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def argv_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


def all_argv() -> list[list[str]]:
    found = []
    for pid in _numbers():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found.append(argv_of(pid))
    return found


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
    return dict(pair.split("=", 1) for pair in pairs)


def descriptors(pid: int) -> list[str]:
    """What its open descriptors lead to."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def resident(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def told_by_processes(secrets: Iterable[str]) -> list[str]:
    """Command lines and environments that hold one of these."""
    files = (f"/proc/{number}/{name}" for number in _numbers() for name in ("cmdline", "environ"))
    return holding(map(Path, files), secrets)


def holding(files: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """The files that hold one of these."""
    sought = [secret.encode() for secret in secrets]
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            text = file.read_bytes()
            if any(one in text for one in sought):
                found.append(str(file))
    return found


def below(folder: str, pattern: str) -> list[Path]:
    """Files and folders of this name, however deep."""
    return list(Path(folder).rglob(pattern))


def files_below(*folders: Path) -> list[Path]:
    return [each for folder in folders for each in folder.rglob("*") if each.is_file()]


def mode_of(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if path.exists() else None


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that tells nobody."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


async def until_gone(*pids: int, seconds: float = 30.0) -> None:
    """Wait until these have ended; without a parent they may wait to be reaped."""
    await until(lambda: not any(map(exists, pids)), seconds)


async def until_reaped(*pids: int, seconds: float = 30.0) -> None:
    """Wait until these are in the table no more."""
    await until(lambda: all(state_of(pid) is None for pid in pids), seconds)
