"""Second net for children of a supervisor that was killed: a file for each that runs.

The parent-death signal is the first. A file names a process by its number and the moment it
started, so that no stranger with the same number is ever taken for it.
"""

import contextlib
import json
import os
import signal
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

MOST = 64  # files that are looked at

_NAME = "llm-sidecar"


@dataclass(frozen=True, slots=True)
class Record:
    """A child that runs, and who started it. Moments are ticks since the machine's start."""

    pid: int
    started: int
    binary: str
    tunnel: str
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
    path = Path(base) / _NAME if base else Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return path if mine and not found.st_mode & 0o077 else None


def note(place: Path, pid: int, binary: str, tunnel: str) -> Path | None:
    """Write down a child of this process; None where that is not possible."""
    started, ours = started_at(pid), started_at(os.getpid())
    if started is None or ours is None:
        return None
    path = place / f"{pid}.json"
    record = Record(pid, started, binary, tunnel, os.getpid(), ours)
    try:
        path.write_text(json.dumps(asdict(record)), encoding="utf-8")
    except OSError:
        return None
    return path


def sweep(place: Path, tunnel: str) -> Swept:
    """End the children of supervisors that are gone; tell which others run this tunnel."""
    ended: list[int] = []
    others: list[int] = []
    for path in sorted(place.glob("*.json"))[:MOST]:
        record = _read(path)
        if record is None or started_at(record.pid) != record.started:
            _remove(path)
        elif started_at(record.supervisor) == record.supervisor_started:
            if record.tunnel == tunnel and record.supervisor != os.getpid():
                others.append(record.supervisor)
        else:
            if _is_still(record):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(record.pid, signal.SIGKILL)  # each leads a group of its own
                    ended.append(record.pid)
            _remove(path)
    return Swept(tuple(ended), tuple(sorted(set(others))))


def started_at(pid: int) -> int | None:
    """When a process started; None where there is none, or it has ended."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    parts = told.rpartition(")")[2].split()
    return None if parts[0] in ("Z", "X") else int(parts[19])


def forget(path: Path | None) -> None:
    """Remove the file of a child that has ended."""
    if path is not None:
        _remove(path)


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
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    numbers = record.pid, record.started, record.supervisor, record.supervisor_started
    texts = record.binary, record.tunnel
    if not all(isinstance(each, int) and each > 0 for each in numbers) or record.pid == 1:
        return None
    return record if all(isinstance(each, str) for each in texts) else None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
