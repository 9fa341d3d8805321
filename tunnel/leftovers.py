"""Second net for children of a supervisor that was killed: a file for each that runs.

The parent-death signal is the first. A file names a process by its number and the moment it
started, so that no stranger with the same number is ever taken for it.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

MOST = 64  # files that are looked at

HOME = "home-"  # how the folders of children begin

_NAME = "llm-sidecar"


@dataclass(frozen=True, slots=True)
class Record:
    """A child that runs, and who started it. Moments are ticks since the machine's start."""

    pid: int
    started: int
    binary: str
    tunnel: str
    home: str  # the name of its folder beside this file, or nothing
    supervisor: int
    supervisor_started: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What was found of others: children that were ended, and supervisors on the same tunnel."""

    ended: tuple[int, ...] = ()
    others: tuple[int, ...] = ()


def folder(environ: Mapping[str, str]) -> Path | None:
    """The private folder of these files, made where it is missing; None: there can be none."""
    base = environ.get("XDG_RUNTIME_DIR")
    try:
        path = Path(base, _NAME) if base else Path(tempfile.gettempdir(), f"{_NAME}-{os.getuid()}")
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return path if mine and not found.st_mode & 0o077 else None


def note(place: Path, home: str, pid: int, binary: str, tunnel: str) -> Path | None:
    """Write down a child of this process; None where that is not possible."""
    path = place / f"{pid}.json"
    name = os.path.relpath(home, place)
    name = name if _is_home(name) else ""
    try:
        started, ours = started_at(pid), started_at(os.getpid())
        if started is None or ours is None:
            return None
        record = Record(pid, started, binary, tunnel, name, os.getpid(), ours)
        path.write_text(json.dumps(asdict(record)), encoding="utf-8")
    except OSError:
        return None
    return path


def sweep(place: Path, tunnel: str) -> Swept:
    """End the children of supervisors that are gone; tell which others run this tunnel."""
    ended: list[int] = []
    others: list[int] = []
    try:
        found = sorted(place.glob("*.json"))[:MOST]
    except OSError:
        return Swept()
    for path in found:
        with contextlib.suppress(OSError):  # what cannot be looked at now is left for the next time
            record = _read(path)
            if record is None:
                forget(path)
            elif started_at(record.supervisor) == record.supervisor_started:
                if record.tunnel == tunnel and record.supervisor != os.getpid():
                    others.append(record.supervisor)
            else:
                if _end(record):
                    ended.append(record.pid)
                if record.home:
                    shutil.rmtree(place / record.home, ignore_errors=True)
                forget(path)
    return Swept(tuple(ended), tuple(sorted(set(others))))


def _end(record: Record) -> bool:
    """Kill the child of a record, where it still is that one; whether it was."""
    if started_at(record.pid) != record.started or not _is_still(record):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(record.pid, signal.SIGKILL)  # each leads a group of its own
        return True
    return False


def started_at(pid: int) -> int | None:
    """When a process started; None where there is none, or it has ended. Raises OSError."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    parts = told.rpartition(")")[2].split()
    return None if parts[0] in ("Z", "X") else int(parts[19])


def forget(path: Path | None) -> None:
    """Remove the file of a child that has ended."""
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_still(record: Record) -> bool:
    """Whether the process runs the binary of the file: as its own, or by an interpreter."""
    process = Path(f"/proc/{record.pid}")
    try:
        if os.readlink(process / "exe") == os.path.realpath(record.binary):
            return True
        return record.binary.encode() in process.joinpath("cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _read(path: Path) -> Record | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        record = Record(
            **{each.name: _checked(each.type, told[each.name]) for each in fields(Record)}
        )
    except (ValueError, TypeError, LookupError):
        return None
    return record if not record.home or _is_home(record.home) else None


def _is_home(name: str) -> bool:
    return name.startswith(HOME) and "/" not in name


def _checked(kind: object, value: Any) -> Any:
    if kind is int and isinstance(value, int) and value > 1:
        return value
    if kind is str and isinstance(value, str):
        return value
    raise ValueError
