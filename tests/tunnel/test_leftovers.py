"""Whose children are ended at a start, and whose are left alone; where lines go; versions."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import argv_of
from tests.tunnel.stand import program
from tunnel import binary, leftovers
from tunnel.binary import Found
from tunnel.build import Journal
from tunnel.facts import Log, Reason
from tunnel.leftovers import Swept

GONE = 4_194_305  # above the highest number of a process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = leftovers.folder({"XDG_RUNTIME_DIR": str(tmp_path)})
    assert found == tmp_path / "llm-sidecar"
    assert found.stat().st_mode & 0o777 == 0o700
    return found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        while argv_of(process.pid) != ["sleep", "600"]:  # it is not quite there yet
            time.sleep(0.001)
        yield process
        process.kill()


def write(place: Path, sleeper: subprocess.Popen[bytes], **more: object) -> Path:
    started = leftovers.started_at(sleeper.pid)
    record = {
        "pid": sleeper.pid, "started": started, "binary": "sleep", "tunnel": "T", "home": "",
        "supervisor": GONE, "supervisor_started": 7, **more,
    }  # fmt: skip
    path = place / "1.json"
    path.write_text(json.dumps(record))
    return path


def test_a_child_of_nobody_is_ended(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    home = place / "home-x"
    home.mkdir()
    path = write(place, sleeper, home="home-x")
    assert leftovers.sweep(place, "other tunnel") == Swept(ended=(sleeper.pid,))
    assert sleeper.wait(30) == -signal.SIGKILL
    assert not path.exists()
    assert not home.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"started": 7},  # the number has gone to another process
        {"binary": "cloudflared"},
        {"pid": 1},
        {"pid": -1},
        {"pid": True},
        {"pid": "7"},
        {"home": "../x"},
        {"home": "home-/../../x"},
        {"tunnel": None},
        {"supervisor": 0},
    ],
)
def test_a_stranger_is_not(
    place: Path, sleeper: subprocess.Popen[bytes], more: dict[str, object]
) -> None:
    path = write(place, sleeper, **more)
    assert leftovers.sweep(place, "T") == Swept()
    assert sleeper.poll() is None
    assert not path.exists()


def test_one_whose_supervisor_lives_is_told(place: Path, sleeper: subprocess.Popen[bytes]) -> None:
    alive = os.getppid()
    more = {"supervisor": alive, "supervisor_started": leftovers.started_at(alive)}
    path = write(place, sleeper, **more)
    assert leftovers.sweep(place, "T") == Swept(others=(alive,))
    assert leftovers.sweep(place, "another") == Swept()
    assert path.exists()
    own = {"supervisor": os.getpid(), "supervisor_started": leftovers.started_at(os.getpid())}
    write(place, sleeper, **own)
    assert leftovers.sweep(place, "T") == Swept()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", "\udc80", "9" * 5000])
def test_damage_is_swept_away(place: Path, text: str) -> None:
    (place / "1.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert leftovers.sweep(place, "T") == Swept()
    assert list(place.iterdir()) == []


def test_what_cannot_be_looked_at_is_left_alone(
    place: Path, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No descriptor is free: that says nothing of anybody."""

    def refuse(pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    record = write(place, sleeper)
    monkeypatch.setattr(leftovers, "started_at", refuse)
    assert leftovers.sweep(place, "T") == Swept()
    assert record.exists()
    assert sleeper.poll() is None


def test_a_folder_that_is_not_private_is_not_used(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    shared = tmp_path / "llm-sidecar"
    shared.mkdir()
    shared.chmod(0o755)
    assert leftovers.folder(environ) is None
    shared.rmdir()
    shared.symlink_to(tmp_path)
    assert leftovers.folder(environ) is None
    shared.unlink()
    shared.write_text("")
    assert leftovers.folder(environ) is None
    assert leftovers.folder({"XDG_RUNTIME_DIR": str(tmp_path / "none")}) is None


class Counts:
    def __init__(self) -> None:
        self.told: list[object] = []

    def restarted(self, reason: Reason) -> None:
        self.told.append(reason)

    def exited(self, code: int, *, expected: bool) -> None:
        self.told.append((code, expected))

    def started(self, seconds: float) -> None:
        self.told.append(seconds)

    def recovered(self, seconds: float) -> None:
        self.told.append(seconds)

    def logged(self, level: Log) -> None:
        self.told.append(level)

    def dropped(self, lines: int) -> None:
        self.told.append(lines)


def test_lines_go_to_the_log_at_their_level(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    journal = Journal(counts)
    levels: list[Log] = ["debug", "info", "warning", "error"]
    with caplog.at_level(logging.DEBUG, "tunnel.cloudflared"):
        for level in levels:
            journal.logged(level)
            journal.write(2, level, f"100 % {level}")
        journal.dropped(7)
    assert counts.told == [*levels, 7]
    told = [(each.name, each.levelname.lower(), each.getMessage()) for each in caplog.records]
    assert told == [("tunnel.cloudflared", level, f"100 % {level}") for level in levels]
    assert caplog.records[0].__dict__["fields"] == {"child": 2}


def says(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "cloudflared"
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(0o755)
        return path

    return make


@pytest.mark.parametrize(
    ("text", "version", "warning"),
    [
        ("cloudflared version 2026.8.2 (built 2026-08-14-1122 UTC)", "2026.8.2", ""),
        ("cloudflared version 2025.6.1", "2025.6.1", ""),
        ("cloudflared version 2025.10.0-rc1", "2025.10.0-rc1", ""),
        ("cloudflared version 2025.6.0", "2025.6.0", "2025.6.0 is older than 2025.6.1"),
        ("cloudflared version 2021.12.4", "2021.12.4", "install a newer one: `"),
    ],
)
async def test_versions(tmp_path: Path, text: str, version: str, warning: str) -> None:
    found = await binary.ask(str(says(text)(tmp_path)), {})
    assert found.version == version
    assert warning in found.warning
    assert bool(found.warning) is bool(warning)


async def test_one_that_does_not_say_is_run_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "ANSWER", 0.1)
    path = program(tmp_path, "")
    path.write_text("#!/bin/sh\nsleep 600\n")
    found = await binary.ask(str(path), {"PATH": os.environ["PATH"]})
    assert found == Found(None, f"{path} did not tell its version within 0.1 s")
