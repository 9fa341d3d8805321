"""One child, as the system sees it: arguments, environment, descriptors, signals, its end.

Each test runs on the loop of the standard library and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tunnel.stand import (
    CONNECTOR,
    TOKEN,
    TUNNEL,
    Sink,
    Watched,
    named,
    on_each_loop,
    program,
    spawn,
)
from tunnel.child import Child, SpawnFailed, arguments
from tunnel.events import (
    Cause,
    ConnectorTold,
    Exit,
    MetricsTold,
    Registered,
    VersionTold,
)
from tunnel.settings import Settings

WAITS = """
signal.signal(signal.SIGTERM, lambda *_: (log("Connection terminated", "error"), sys.exit(0)))
start()
while True:
    signal.pause()
"""
READY = Registered(0, "http2", "fra")


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of children and of their records are this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def argv_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")[:-1]
    return dict(pair.split("=", 1) for pair in pairs)


def mode_of(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if path.exists() else None


def files_below(folder: str, pattern: str) -> list[str]:
    return [str(each) for each in Path(folder).rglob(pattern)]


def has_children() -> bool:
    """Whether a process of ours runs, or waits to be reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def is_zombie_or_gone(pid: int) -> bool:
    return not exists(pid)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that tells nobody."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    await until(lambda: not exists(pid))


@on_each_loop
async def test_what_the_system_sees(tmp_path: Path) -> None:
    reads = """
    where = sys.argv[sys.argv.index("--token-file") + 1]
    log("read", sha=__import__("hashlib").sha256(open(where).read().encode()).hexdigest())
    log("fds", fds=sorted(int(fd) for fd in os.listdir("/proc/self/fd")))
    """
    binary = program(tmp_path, reads + textwrap.indent(WAITS, "    "))
    environ = {
        "PATH": os.environ["PATH"],
        "TUNNEL_EDGE": "127.0.0.1:7844",
        "TUNNEL_CACERT": "edge.pem",
        "TUNNEL_TOKEN": TOKEN,
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "x",
        "TUNNEL_URL": "http://evil",
        "HOME": "/root",
        "LANG": "de_DE.UTF-8",
        "NOTIFY_SOCKET": "/x",
    }
    watched = await spawn(binary, environ=environ)
    child = watched.child
    await watched.until(READY)
    argv, seen = argv_of(child.pid), environ_of(child.pid)
    at = argv.index(str(binary))
    assert " ".join(argv[at + 1 : -1]) == (
        "tunnel --config /dev/null --no-autoupdate --metrics 127.0.0.1:0 --output json"
        " --loglevel info --retries 1 --max-edge-addr-retries 1 --grace-period 20s"
        f" --management-diagnostics=false run --token-file {argv[-3]} --url"
    )
    assert argv[-1] == "http://127.0.0.1:14402"
    home = Path(seen.pop("HOME"))
    assert seen == {
        "PATH": os.environ["PATH"],
        "TUNNEL_EDGE": "127.0.0.1:7844",
        "TUNNEL_CACERT": os.getcwd() + "/edge.pem",
    }
    assert mode_of(home) == 0o700
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    assert not any(TOKEN in each for each in (*argv, *seen.values(), watched.sink.text))
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    assert f"read sha={digest}" in watched.sink.text
    secret = argv[-3].rpartition("/")[2]
    fds = next(text for _, text in watched.sink.lines if text.startswith("fds "))
    # the three standard ones, the secret's, and the folder that is being listed
    assert set(fds[len('fds fds="[') : -2].split(", ")) - {"0", "1", "2", secret, "3", "4"} == set()
    assert (child.connector, child.port, child.version) == (CONNECTOR, 4567, "2026.8.2")
    assert watched.events == [
        VersionTold("2026.8.2"),
        ConnectorTold(CONNECTOR),
        MetricsTold(4567),
        READY,
    ]
    child.terminate()
    assert await watched.end() == Exit(0, Cause.ASKED, "it was told to stop")
    assert mode_of(home) is None
    assert ("debug", "Connection terminated") in watched.sink.lines


@pytest.mark.parametrize(
    ("settings", "environ", "wanted"),
    [
        (
            Settings("credentials", "http://o", "{}", tunnel_id=TUNNEL, grace=600),
            {},
            "--grace-period 180s --management-diagnostics=false --protocol http2"
            f" run --credentials-file /proc/self/fd/9 --url http://o {TUNNEL}",
        ),
        (
            Settings("quick", "http://o", grace=0.5),
            {},
            "--grace-period 0.5s --management-diagnostics=false --protocol http2 --url http://o",
        ),
        (
            Settings("quick", "http://o"),
            {"TUNNEL_QUICK_SERVICE": "http://127.0.0.1:1"},
            "--protocol http2 --quick-service http://127.0.0.1:1 --url http://o",
        ),
    ],
)
def test_other_command_lines(settings: Settings, environ: dict[str, str], wanted: str) -> None:
    assert " ".join(arguments("/x", settings, "http2", environ, 9)).endswith(wanted)


def test_a_plain_command_line_has_no_new_flags() -> None:
    line = arguments("/x", named(Path("/x")), "auto", {"PATH": "/nowhere"}, 9, plain=True)
    assert " ".join(line) == (
        "/x tunnel --config /dev/null --no-autoupdate --metrics 127.0.0.1:0 --loglevel info"
        " --retries 1 --grace-period 20s run --token-file /proc/self/fd/9"
        " --url http://127.0.0.1:14402"
    )


@on_each_loop
async def test_where_nothing_can_be_written_it_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    watched = await spawn(program(tmp_path, WAITS))
    await watched.until(READY)
    assert environ_of(watched.child.pid)["HOME"] == "/nonexistent"
    assert os.readlink(f"/proc/{watched.child.pid}/cwd") == "/"
    watched.child.terminate()
    assert (await watched.end()).code == 0


@on_each_loop
async def test_credentials_come_the_same_way(tmp_path: Path) -> None:
    body = 'log(open(sys.argv[sys.argv.index("--credentials-file") + 1]).read())\n'
    binary = program(tmp_path, body)
    settings = Settings(
        "credentials", "http://o", '{"TunnelID": "x"}', tunnel_id=TUNNEL, binary=str(binary)
    )
    watched = await spawn(binary, settings=settings)
    assert (await watched.end()).code == 0
    assert watched.sink.text == "***"  # it is the whole secret


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        (
            'print("Incorrect Usage: flag provided but not defined: -x\\n\\nNAME:"); sys.exit(0)',
            (0, Cause.FLAGS, "does not know an argument: flag provided but not defined: -x"),
        ),
        (
            'sys.stderr.write("Provided Tunnel token is not valid.\\nSee \'cloudflared x\'.\\n");'
            "sys.exit(255)",
            (255, Cause.CREDENTIAL, "exit code 255: Provided Tunnel token is not valid."),
        ),
        (
            'log("Error opening metrics server listener", "error", error="in use"); sys.exit(1)',
            (1, Cause.PORT, 'listener error="in use"'),
        ),
        ("sys.exit(11)", (11, Cause.UPDATED, "newer")),
        ('os.write(2, b"panic: x"); os._exit(2)', (2, Cause.UNKNOWN, "panic: x")),
        ("os.kill(os.getpid(), 6)", (-6, Cause.UNKNOWN, "SIGABRT")),
    ],
)  # fmt: skip
@on_each_loop
async def test_how_it_ended(tmp_path: Path, body: str, ended: tuple[int, Cause, str]) -> None:
    watched = await spawn(program(tmp_path, body))
    end = await watched.end()
    assert (end.code, end.cause) == ended[:2]
    assert ended[2] in end.message
    assert watched.events[-1] == end
    assert sum(isinstance(each, Exit) for each in watched.events) == 1
    assert is_zombie_or_gone(watched.child.pid)
    watched.child.terminate()  # of one that has ended: nothing
    watched.child.kill()


@on_each_loop
async def test_the_last_words_come_before_the_end(tmp_path: Path) -> None:
    watched = await spawn(
        program(tmp_path, 'start(); log("Updated to new configuration", version=7)')
    )
    await watched.end()
    assert [type(each).__name__ for each in watched.events][-2:] == ["ConfigPushed", "Exit"]


@on_each_loop
async def test_one_that_does_not_heed_is_killed_with_all_it_started(tmp_path: Path) -> None:
    body = """
    signal.signal(signal.SIGTERM, lambda *_: log("heard"))
    other = os.fork()
    if other:
        log("other", pid=other)
        start()
    while True:
        signal.pause()
    """
    watched = await spawn(program(tmp_path, body))
    await watched.until(READY)
    other = int(next(t for _, t in watched.sink.lines if t.startswith("other")).rpartition("=")[2])
    watched.child.terminate()
    watched.child.terminate()
    await until(lambda: "heard" in watched.sink.text)
    assert watched.sink.text.count("heard") == 1
    watched.child.kill()
    end = await watched.end()
    assert (end.code, end.cause) == (-signal.SIGKILL, Cause.ASKED)
    await gone(other)


@on_each_loop
async def test_a_stopped_one_is_killed(tmp_path: Path) -> None:
    watched = await spawn(program(tmp_path, WAITS))
    await watched.until(READY)
    os.kill(watched.child.pid, signal.SIGSTOP)
    watched.child.terminate()
    watched.child.kill()
    assert (await watched.end()).code == -signal.SIGKILL


@on_each_loop
async def test_a_descendant_that_holds_the_log_holds_up_nothing(tmp_path: Path) -> None:
    body = """
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    log("other", pid=0)
    """
    watched = await spawn(program(tmp_path, body))
    end = await watched.end()
    assert end.code == 0
    assert files_below(tempfile.gettempdir(), "home-*") == []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if str(tmp_path / "cloudflared") in argv_of(int(pid)):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize(
    "body",
    [
        # the log of a busy loop
        'line = json.dumps({"level": "error", "message": "Serve tunnel error", "error": "x" * 50})'
        "\nfor _ in range(40): sys.stderr.write((line + chr(10)) * 5000)",
        # different lines
        "for n in range(200_000):"
        ' sys.stderr.write(\'{"level":"info","message":"line %d"}\\n\' % n)',
        # ten megabytes without an end
        'sys.stderr.buffer.write(b"\\x00\\xff\\x1b[" * 2_500_000 + b"\\n")',
        'sys.stdout.write("x" * 10_000_000)',
    ],
)
@on_each_loop
async def test_a_flood_neither_stops_the_child_nor_the_loop(tmp_path: Path, body: str) -> None:
    body += "\nsys.stderr.flush(); sys.stdout.flush()\n" + textwrap.dedent(WAITS)
    watched = await spawn(program(tmp_path, body))
    longest, last = 0.0, asyncio.get_running_loop().time()
    ready = asyncio.ensure_future(watched.until(READY))
    while not ready.done():
        await asyncio.sleep(0.001)
        now = asyncio.get_running_loop().time()
        longest, last = max(longest, now - last), now
    await ready
    assert longest < 0.25  # five times what is promised
    assert len(watched.sink.lines) < 500
    assert watched.child.connector == CONNECTOR
    watched.child.terminate()
    assert (await watched.end()).code == 0
    written = sum(watched.sink.levels.values())
    assert written < 10 or watched.sink.left_out + len(watched.sink.lines) > 0


@on_each_loop
async def test_what_is_not_told_is_counted(tmp_path: Path) -> None:
    body = 'for n in range(3000): log(f"line {n}")\nfor n in range(7): log("same", "warn")'
    watched = await spawn(program(tmp_path, body))
    await watched.end()
    assert sum(watched.sink.levels.values()) == 3007
    told = [text for _, text in watched.sink.lines if text.startswith("line")]
    same = [text for _, text in watched.sink.lines if text.startswith("same")]
    assert watched.sink.left_out >= 3000 - len(told)
    assert len(told) <= 300
    assert same in ([], ["same", "same (repeated 6 times)"])


@on_each_loop
async def test_a_token_in_the_log_is_masked(tmp_path: Path) -> None:
    body = f'log("token {TOKEN}"); sys.stderr.write("bad token {TOKEN}\\n"); sys.exit(255)'
    watched = await spawn(program(tmp_path, body))
    end = await watched.end()
    assert end.message == "cloudflared ended with exit code 255: bad token ***"
    assert watched.sink.text == "token ***\nbad token ***"


@on_each_loop
async def test_an_event_of_identity_is_taken_once(tmp_path: Path) -> None:
    body = """
    start()
    log("Generated Connector ID: ffffffff-0000-4000-8000-000000000000")
    log("Starting metrics server on 127.0.0.1:9/metrics")
    sys.stderr.write("2026-11-20T17:15:59Z INF Updated to new configuration version=1\\n")
    """
    watched = await spawn(program(tmp_path, body))
    await watched.end()
    assert watched.events[:-1] == [
        VersionTold("2026.8.2"), ConnectorTold(CONNECTOR), MetricsTold(4567), READY,
    ]  # fmt: skip


@on_each_loop
async def test_a_plain_child_tells_in_text(tmp_path: Path) -> None:
    told = "2026-11-20T17:15:59Z INF Starting metrics server on 127.0.0.1:9/metrics"
    body = f"print({told!r}, file=sys.stderr)"
    watched = await spawn(program(tmp_path, body), plain=True)
    await watched.end()
    assert watched.child.port == 9


@on_each_loop
async def test_a_hundred_children_leave_nothing(tmp_path: Path) -> None:
    binary = program(tmp_path, "")
    shell = tmp_path / "quick"
    shell.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo cloudflared version 2026.8.2\nexit 1\n'
    )
    shell.chmod(0o755)
    await (await spawn(binary)).end()
    await (await spawn(shell)).end()
    gc.collect()
    before, tasks = open_descriptors(), len(asyncio.all_tasks())
    for _ in range(20):
        many = await asyncio.gather(*(spawn(shell) for _ in range(5)))
        for one in many:
            assert (await one.end()).code == 1
        assert all(is_zombie_or_gone(one.child.pid) for one in many)
    await asyncio.sleep(0)
    gc.collect()
    assert len(open_descriptors()) <= len(before)
    assert len(asyncio.all_tasks()) == tasks
    assert files_below(tempfile.gettempdir(), "*.json") == []
    assert files_below(tempfile.gettempdir(), "home-*") == []
    assert not has_children()


@pytest.mark.parametrize(
    ("make", "cause", "said"),
    [
        (lambda path: None, Cause.BINARY, "there is no file"),
        (lambda path: path.write_bytes(b"#!/bin/sh\n"), Cause.BINARY, "chmod +x"),
        (lambda path: path.mkdir(), Cause.BINARY, "is no file"),
        (
            lambda path: (path.write_bytes(b"MZ\x90"), path.chmod(0o755)),
            Cause.BINARY,
            "this machine",
        ),
        (
            lambda path: (
                path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xf3\x00"),
                path.chmod(0o755),
            ),
            Cause.BINARY,
            "this machine",
        ),
        (
            lambda path: (path.write_bytes(b"#!/bin/echo no\n"), path.chmod(0o755)),
            Cause.BINARY,
            "is no cloudflared: asked for its version it said 'no ",
        ),
        (
            lambda path: (path.write_bytes(b"#!/nowhere/sh\n"), path.chmod(0o755)),
            Cause.BINARY,
            "cannot be run",
        ),
        (
            lambda path: (
                path.write_bytes(b"#!/bin/sh\nwhile :; do printf '\\033[31m%4096s'; done\n"),
                path.chmod(0o755),
            ),
            Cause.BINARY,
            "is no cloudflared",
        ),
    ],
)  # fmt: skip
@on_each_loop
async def test_what_cannot_be_started(
    tmp_path: Path, make: object, cause: Cause, said: str
) -> None:
    binary = tmp_path / "cloudflared"
    assert callable(make)
    make(binary)
    before = open_descriptors()
    with pytest.raises(SpawnFailed) as failed:
        await spawn(binary)
    assert failed.value.cause is cause
    assert said in str(failed.value)
    assert "\x1b" not in str(failed.value)
    gc.collect()
    assert len(open_descriptors()) <= len(before)


@on_each_loop
async def test_a_name_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(
        SpawnFailed, match=r"no program cloudflared is in .* install it: `"
    ) as failed:
        await spawn(Path("cloudflared"), environ={"PATH": str(tmp_path)})
    assert failed.value.cause is Cause.BINARY


@pytest.mark.parametrize(
    ("kind", "secret", "tunnel", "said"),
    [
        ("token", "", TUNNEL, "token is empty"),
        ("token", None, TUNNEL, "token is empty"),
        ("token", "x" * 40_000, TUNNEL, "too long"),
        ("credentials", "{}", None, "set `id`"),
    ],
)
@on_each_loop
async def test_a_secret_that_is_none(
    tmp_path: Path, kind: str, secret: str | None, tunnel: str | None, said: str
) -> None:
    binary = program(tmp_path, WAITS)
    settings = Settings(kind, "http://o", secret, tunnel_id=tunnel, binary=str(binary))  # type: ignore[arg-type]
    with pytest.raises(SpawnFailed, match=said) as failed:
        await spawn(binary, settings=settings)
    assert failed.value.cause is Cause.CREDENTIAL


@on_each_loop
async def test_without_descriptors_none_is_started(tmp_path: Path) -> None:
    binary = program(tmp_path, WAITS)
    await (await spawn(binary)).until(READY)  # so that the version is known
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    failures: list[SpawnFailed] = []
    watched = None
    for more in range(30):
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, limits[1]))
        try:
            watched = await spawn(binary)
        except SpawnFailed as failed:
            failures.append(failed)
        else:
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(failures) > 5
    assert {failed.cause for failed in failures} == {Cause.RESOURCES}
    assert "raise the limits" in str(failures[-1])
    assert watched is not None
    watched.child.kill()
    assert (await watched.end()).code == -signal.SIGKILL
    again = os.dup(0)
    os.close(again)
    assert again == free


@on_each_loop
async def test_a_cancelled_spawn_leaves_no_process(tmp_path: Path) -> None:
    binary = program(tmp_path, WAITS)
    first = await spawn(binary)
    first.child.kill()
    await first.end()
    watched = Watched()
    for turns in range(6):
        task = asyncio.ensure_future(
            Child.spawn(1, named(binary), "auto", watched.post, Sink(), dict(os.environ))
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            child = await task
            child.kill()
            await child.wait()
    await until(lambda: not any(str(binary) in argv for argv in _all_argv()))


def _all_argv() -> list[list[str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found.append(argv_of(int(pid)))
    return found


SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from tests.tunnel.stand import READY_TO_DIE, spawn
async def main():
    watched = await spawn(Path(sys.argv[1]), environ=dict(os.environ))
    await watched.until(READY_TO_DIE)
    print(watched.child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def supervise(argv: list[str], environ: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def supervisor(tmp_path: Path, private: Path) -> tuple[list[str], dict[str, str]]:
    """How to start a supervisor of its own, whose child ignores SIGTERM."""
    root = Path(__file__).resolve().parents[2]
    binary = program(tmp_path, "signal.signal(15, signal.SIG_IGN)\nstart()\ntime.sleep(600)")
    script = SUPERVISOR.replace("READY_TO_DIE, ", "").replace("READY_TO_DIE", repr(READY))
    script = "from tunnel.events import Registered\n" + script
    environ = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(root), "XDG_RUNTIME_DIR": str(private),
    }  # fmt: skip
    return [sys.executable, "-c", script, str(binary)], environ


@on_each_loop
async def test_a_killed_supervisor_takes_its_child_along(
    supervisor: tuple[list[str], dict[str, str]],
) -> None:
    argv, environ = supervisor
    with supervise(argv, environ) as process:
        assert process.stdout is not None
        pid = int(await asyncio.to_thread(process.stdout.readline))
        process.kill()
    await gone(pid)


@on_each_loop
async def test_without_the_signal_the_next_start_ends_it(
    supervisor: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    argv, environ = supervisor
    tools = tmp_path / "tools"  # a PATH without setpriv
    tools.mkdir()
    alone = {**environ, "PATH": str(tools)}
    with supervise(argv, alone) as process:
        assert process.stdout is not None
        pid = int(await asyncio.to_thread(process.stdout.readline))
        other = await spawn(Path(argv[-1]), environ=environ)
        assert exists(pid)  # its supervisor lives
        assert f"process {process.pid} runs the same tunnel" in other.sink.text
        other.child.kill()
        await other.end()
        process.kill()
    assert exists(pid)
    again = await spawn(Path(argv[-1]), environ=environ)
    await gone(pid)
    assert f"ended cloudflared {pid}, left behind" in again.sink.text
    again.child.kill()
    await again.end()
    assert files_below(environ["XDG_RUNTIME_DIR"], "*.json") == []
    assert files_below(environ["XDG_RUNTIME_DIR"], "home-*") == []
