"""Finds cloudflared and asks for its version; says what is wrong with it, and what to do."""

import asyncio
import contextlib
import errno
import os
import re
import shutil
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import Literal

from tunnel.events import Cause

OLDEST = (2025, 6, 1)  # the first that logs JSON; a token by file came shortly before
ANSWER = 5.0  # seconds for `--version`
MOST = 4096  # bytes of its answer that are read

DOWNLOADS = "https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/downloads/"

_VERSION = re.compile(rb"cloudflared version (\d{4})\.(\d{1,2})\.(\d{1,3})([\w.+-]{0,40})")
_ELF, _SCRIPT = b"\x7fELF", b"#!"
_FEW = frozenset(
    {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT}
)


class SpawnFailed(Exception):
    """No child came to be. The message is a sentence: what is wrong, and what to do."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Found:
    """A cloudflared that can be run. `version` is None where it did not say in time."""

    version: str | None
    warning: str = ""  # a sentence, where it is older than what is known to work


def find(binary: str, search: str | None) -> str:
    """The absolute path of a name in the folders of `search` (as in PATH), or of a path.

    Raises SpawnFailed where it cannot be run.
    """
    if os.sep in binary:
        path = os.path.abspath(os.path.expanduser(binary))
        if not os.path.exists(path):
            raise SpawnFailed(Cause.BINARY, f"there is no file {path}; {_install()}")
    else:
        found = shutil.which(binary, path=search if search is not None else os.defpath)
        if found is None:
            raise SpawnFailed(
                Cause.BINARY, f"no program {binary} is in the folders of PATH; {_install()}"
            )
        path = os.path.abspath(found)
    if not os.path.isfile(path):
        raise SpawnFailed(Cause.BINARY, f"{path} is no file; name the program itself")
    if not os.access(path, os.X_OK):
        raise SpawnFailed(
            Cause.BINARY, f"{path} may not be executed; `chmod +x {path}` as its owner"
        )
    _check_head(path)
    return path


async def ask(path: str, environ: Mapping[str, str]) -> Found:
    """Ask a program for its version. Raises SpawnFailed where it is no cloudflared."""
    answer = await asyncio.to_thread(_answer, path, environ)
    if answer is None:
        return Found(None, f"{path} did not tell its version within {ANSWER:g} s")
    found = _VERSION.search(answer)
    if found is None:
        shown = re.sub(r"[^\x20-\x7e]+", " ", answer[:80].decode("ascii", "replace")).strip()
        raise SpawnFailed(
            Cause.BINARY,
            f"{path} is no cloudflared: asked for its version it said {shown!r}; {_install()}",
        )
    version = ".".join(str(int(part)) for part in found.groups()[:3]) + found[4].decode()
    if tuple(map(int, found.groups()[:3])) >= OLDEST:
        return Found(version)
    oldest = ".".join(map(str, OLDEST))
    return Found(
        version,
        f"cloudflared {version} is older than {oldest}, the oldest that is known to work; "
        f"{_install(again=True)}",
    )


def failed(error: OSError, path: str) -> SpawnFailed:
    """What the failure to start a program says."""
    if error.errno in _FEW:
        return SpawnFailed(
            Cause.RESOURCES,
            f"the system gave no process for cloudflared ({error.strerror}); "
            "raise the limits of processes, open files or memory (`ulimit -u -n -v`)",
        )
    if error.errno == errno.ENOEXEC:
        return _of_another_machine(path)
    return SpawnFailed(Cause.BINARY, f"{path} cannot be run: {error.strerror}; {_install()}")


def _answer(path: str, environ: Mapping[str, str]) -> bytes | None:
    """What it says to `--version`, at most `MOST` bytes; None where it takes too long."""
    keep = {"PATH": environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
    try:
        process = Popen(  # noqa: S603 - the program that the configuration names
            [path, "--version"], stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=keep,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise failed(error, path) from error
    took_too_long = threading.Event()

    def give_up() -> None:
        took_too_long.set()
        _end(process)

    late = threading.Timer(ANSWER, give_up)
    late.start()
    with process:
        try:
            assert process.stdout is not None
            answer = process.stdout.read(MOST)
            return None if took_too_long.is_set() else answer
        finally:
            late.cancel()
            _end(process)


def _end(process: Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, 9)


def _check_head(path: str) -> None:
    """Refuse what is no program of this machine.

    Whatever starts it must not be left to find out: a shell would be tried on such a file next.
    """
    try:
        with open(path, "rb") as file, open(sys.executable, "rb") as own:
            head, ours = file.read(20), own.read(20)
    except PermissionError:
        return  # executable, not readable
    except OSError as error:
        raise failed(error, path) from error
    if head.startswith(_SCRIPT) or not ours.startswith(_ELF):
        return
    if not head.startswith(_ELF) or not _runs_here(head, ours):
        raise _of_another_machine(path)


def _runs_here(head: bytes, ours: bytes) -> bool:
    order: Literal["little", "big"] = "little" if head[5:6] == b"\x01" else "big"
    machine = int.from_bytes(head[18:20], order)
    own = int.from_bytes(ours[18:20], order)
    # a 64-bit system runs programs of 32 bits too: x86 on amd64, arm on arm64
    return machine == own or (own, machine) in {(62, 3), (183, 40)}


def _of_another_machine(path: str) -> SpawnFailed:
    return SpawnFailed(
        Cause.BINARY,
        f"{path} is no program of this machine ({os.uname().machine}); {_install(again=True)}",
    )


def _install(*, again: bool = False) -> str:
    verb = "install a newer one" if again else "install it"
    if sys.platform == "darwin":
        return f"{verb}: `brew install cloudflared`"
    kind = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "i686": "386"}.get(
        os.uname().machine, "amd64"
    )
    url = "https://github.com/cloudflare/cloudflared/releases/latest/download/cloudflared-linux-"
    target = Path("/usr/local/bin/cloudflared")
    return (
        f"{verb}: `sudo curl -fLo {target} {url}{kind} && sudo chmod +x {target}`, "
        f"or see {DOWNLOADS}"
    )
