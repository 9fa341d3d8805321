"""What the system knows of processes, and where a secret stands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def is_gone(pid: int) -> bool:
    """Ended, and reaped."""
    return not _stat(pid)


def born(pid: int) -> str:
    """When it was started, which tells it from another one with its number; or nothing."""
    return "".join(_stat(pid)[19:20])


def _numbers() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def children(pid: int) -> dict[int, str]:
    """The processes that it started and that are not reaped: their states."""
    found = {number: _stat(number) for number in _numbers()}
    return {number: told[0] for number, told in found.items() if told[1:2] == [str(pid)]}


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


def files_below(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (each for each in folder.rglob("*") if each.is_file())
