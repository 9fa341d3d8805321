"""One cloudflared process: its arguments, environment, descriptors, signals and end.

The secret goes over a pipe that only the child inherits: it is in no argument, environment or file.
Whatever happens, the process is reaped, its group ended, and its end posted once, last of all.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

from tunnel import binary, leftovers, permissions
from tunnel.binary import SpawnFailed
from tunnel.causes import cause_of
from tunnel.events import Cause, Exit, Registered, Told
from tunnel.pump import LogSink, Pump
from tunnel.redact import Redact
from tunnel.settings import Protocol, Settings

__all__ = ["Child", "SpawnFailed", "arguments", "environment"]

LONGEST_GRACE = 180.0  # seconds; cloudflared refuses more
MOST_SECRET = 32 * 1024  # bytes; a pipe holds them before anybody reads
NO_HOME = "/nonexistent"
LAST_WORDS = 1.0  # seconds for a pipe to come to its end once the process has

_PASSED = "PATH", "TUNNEL_EDGE"


class Child:
    """A running child, or one that has ended."""

    def __init__(self, number: int, post: Callable[[int, Told | Exit], None]) -> None:
        self.pid = 0
        self._number, self._post = number, post
        self._loop = asyncio.get_running_loop()
        self._asked = self._carried = False
        self._code: int | None = None
        self._end: asyncio.Future[Exit] = self._loop.create_future()
        self._late: asyncio.TimerHandle | None = None
        self._pump: Pump
        self._process: Popen[bytes]
        self._held: _Held

    @classmethod
    async def spawn(  # noqa: PLR0913 - all that a child is made of
        cls,
        number: int,
        settings: Settings,
        protocol: Protocol,
        post: Callable[[int, Told | Exit], None],
        log: LogSink,
        environ: Mapping[str, str],
        *,
        plain: bool = False,
    ) -> "Child":
        """Start one. Raises SpawnFailed.

        `post(number, event)` is called from the loop for each event of its log and, last of all and
        once, for its Exit. `plain` leaves out arguments that an older cloudflared does not know.
        """
        path = binary.find(settings.binary, environ.get("PATH"))
        await _check(path, environ, number, log)
        _guard(settings.secret_file, number, log)
        child = cls(number, post)
        tunnel = settings.tunnel_id or settings.kind
        place = leftovers.folder(environ)
        if place:
            _report(leftovers.sweep(place, tunnel), settings, number, log)
        child._pump = Pump(
            number,
            log,
            Redact(settings.secret),
            plain=plain,
            tell=child._told,
            closed=child._silent,
        )
        child._pump.named_edge = bool(environ.get("TUNNEL_EDGE"))
        with _Opened() as opened:
            try:
                home = opened.home(place)
                secret = opened.secret(settings)
                errors, output = opened.pipe(), opened.pipe()
                argv = arguments(path, settings, protocol, environ, secret, plain=plain)
                child._start(argv, environment(environ, home), output[1], errors[1], secret)
            except OSError as error:
                raise binary.failed(error, path) from error
            child._pump.watch(opened.keep(errors[0]), opened.keep(output[0]))
            noted = leftovers.note(place, home, child.pid, path, tunnel) if place else None
            child._held = _Held(opened.keep_home(), noted)
        return child

    def terminate(self) -> None:
        """Ask it to drain, once: a second SIGTERM would cut what is in flight."""
        if self._asked or self._code is not None:
            return
        self._asked = self._pump.draining = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        if self._code is None:
            self._asked = self._pump.draining = True
            self._kill_group()

    async def wait(self) -> Exit:
        """Its end, once it is reaped and nothing of it is open."""
        return await asyncio.shield(self._end)

    def _start(
        self, argv: list[str], environ: dict[str, str], output: int, errors: int, secret: int | None
    ) -> None:
        # Popen by itself and not the loop's: that of uvloop leaves descriptors open in the child.
        # The parent-death signal is tied to the thread that starts it, which is the loop's here.
        self._process = Popen(  # noqa: S603 - the program that the configuration names
            argv,
            stdin=DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=() if secret is None else (secret,),
            start_new_session=True,  # no signal of a terminal reaches it
            env=environ,
            cwd=environ["HOME"] if environ["HOME"] != NO_HOME else "/",
        )
        self.pid = self._process.pid
        _when_ended(self._loop, self._process, self._exited)

    # -- what happens to it

    def _told(self, event: Told) -> None:
        self._carried = self._carried or isinstance(event, Registered)
        self._post(self._number, event)

    def _exited(self, code: int) -> None:
        self._code = code
        self._kill_group()  # what it may have left behind
        if self._pump.is_open:
            self._late = self._loop.call_later(LAST_WORDS, self._finish)
        else:
            self._finish()

    def _silent(self) -> None:
        if self._code is not None and self._late is not None:
            self._late.cancel()
            self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        if self._end.done():
            return
        assert self._code is not None
        self._pump.close()
        if self._end.done():
            return
        self._held.release()
        cause, message = cause_of(
            self._code,
            asked=self._asked,
            carried=self._carried,
            words=self._pump.words,
            output=self._pump.output,
        )
        ended = Exit(self._code, cause, message)
        self._end.set_result(ended)
        self._post(self._number, ended)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def arguments(
    path: str,
    settings: Settings,
    protocol: Protocol,
    environ: Mapping[str, str],
    secret: int | None,
    *,
    plain: bool = False,
) -> list[str]:
    """The command line. `secret` is the descriptor where the child reads token or credentials."""
    argv = []
    if (setpriv := shutil.which("setpriv", path=environ.get("PATH", os.defpath))) is not None:
        # KILL, not TERM: the child must not outlive us, and one that hangs would not heed TERM
        argv += [setpriv, "--pdeathsig", "KILL", "--"]
    grace = round(min(settings.grace, LONGEST_GRACE), 3)
    argv += [path, "tunnel", "--config", "/dev/null", "--no-autoupdate"]
    argv += ["--metrics", "127.0.0.1:0"]
    argv += [] if plain else ["--output", "json"]
    argv += ["--loglevel", "info", "--retries", "1"]
    argv += [] if plain else ["--max-edge-addr-retries", "1"]
    argv += ["--grace-period", f"{grace:g}s"]
    argv += [] if plain else ["--management-diagnostics=false"]
    if protocol != "auto":
        argv += ["--protocol", protocol]
    if settings.kind == "quick":
        service = environ.get("TUNNEL_QUICK_SERVICE")  # of tests, as TUNNEL_EDGE is
        argv += ["--quick-service", service] if service else []
        return [*argv, "--url", settings.origin]
    where = f"/proc/self/fd/{secret}"
    argv.append("run")
    if settings.kind == "token":
        return [*argv, "--token-file", where, "--url", settings.origin]
    assert settings.tunnel_id is not None
    return [*argv, "--credentials-file", where, "--url", settings.origin, settings.tunnel_id]


def environment(environ: Mapping[str, str], home: str) -> dict[str, str]:
    """The child's whole environment: nothing of ours that could steer it, and no secret.

    Language and time zone are left out too: its log is English, in UTC.
    """
    kept = {name: environ[name] for name in _PASSED if environ.get(name)}
    if authority := environ.get("TUNNEL_CACERT"):
        kept["TUNNEL_CACERT"] = os.path.abspath(authority)  # the child has another folder
    return {"PATH": os.defpath, **kept, "HOME": home}


def _when_ended(
    loop: asyncio.AbstractEventLoop, process: Popen[bytes], ended: Callable[[int], None]
) -> None:
    """Reap a process once it ends, and say so from the loop, on whatever loop that is."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # another system, or no descriptor is left
        threading.Thread(target=_wait, args=(loop, process, ended), daemon=True).start()
        return

    def readable() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        ended(process.wait())

    loop.add_reader(descriptor, readable)


def _wait(
    loop: asyncio.AbstractEventLoop, process: Popen[bytes], ended: Callable[[int], None]
) -> None:
    code = process.wait()
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(ended, code)


@dataclass(frozen=True, slots=True)
class _Held:
    """What is of use only as long as the child runs."""

    home: str | None
    noted: Path | None

    def release(self) -> None:
        leftovers.forget(self.noted)
        _remove(self.home)


def _remove(home: str | None) -> None:
    if home is None:
        return
    try:
        os.rmdir(home)  # it is empty as a rule, and this needs no descriptor: there may be none
    except OSError:
        shutil.rmtree(home, ignore_errors=True)


class _Opened:
    """Descriptors and a folder on their way to a child; what is not kept is closed at the end."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._home: str | None = None

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        _remove(self._home)

    def home(self, place: Path | None) -> str:
        """A new folder of mode 0700; one that does not exist where nothing can be written."""
        with contextlib.suppress(OSError):
            self._home = tempfile.mkdtemp(prefix=leftovers.HOME, dir=place)
        return self._home or NO_HOME

    def keep_home(self) -> str | None:
        home, self._home = self._home, None
        return home

    def pipe(self) -> tuple[int, int]:
        """Its reading and its writing end."""
        ends = os.pipe()
        self._descriptors += ends
        return ends

    def keep(self, descriptor: int) -> int:
        self._descriptors.remove(descriptor)
        return descriptor

    def secret(self, settings: Settings) -> int | None:
        """A descriptor that reads the secret once, and is empty then."""
        if settings.kind == "quick":
            return None
        secret = (settings.secret or "").encode()
        if not secret or len(secret) > MOST_SECRET:
            wrong = "empty" if not secret else "too long to be one"
            raise SpawnFailed(
                Cause.CREDENTIAL, f"the tunnel's {settings.kind} is {wrong}; look at its file"
            )
        if settings.kind == "credentials" and settings.tunnel_id is None:
            raise SpawnFailed(
                Cause.CREDENTIAL, "the tunnel's credentials name no tunnel; set `id` to its UUID"
            )
        reading, writing = self.pipe()
        os.write(writing, secret)
        os.close(self.keep(writing))
        return reading


_known: set[tuple[str, int, int, int]] = set()  # binaries that told their version before
_MOST_KNOWN = 16


async def _check(path: str, environ: Mapping[str, str], number: int, log: LogSink) -> None:
    """Make sure, once for each file, that it is a cloudflared."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise binary.failed(error, path) from error
    key = path, found.st_ino, found.st_size, found.st_mtime_ns
    if key in _known:
        return
    told = await binary.ask(path, environ)
    if told.warning:
        log.write(number, "warning", told.warning)
    if told.version is not None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known.add(key)


_guarded: set[str] = set()  # files of secrets that were complained of


def _guard(path: str | None, number: int, log: LogSink) -> None:
    """Complain, once, of a secret that is open to others."""
    if path is not None and path not in _guarded and (told := permissions.complaint(path)):
        _guarded.add(path)
        log.write(number, "warning", told)


def _report(swept: leftovers.Swept, settings: Settings, number: int, log: LogSink) -> None:
    for pid in swept.ended:
        log.write(number, "warning", f"ended cloudflared {pid}, left behind by a killed supervisor")
    for pid in () if settings.kind == "quick" else swept.others:
        log.write(number, "warning", f"process {pid} runs the same tunnel; both serve its name")
