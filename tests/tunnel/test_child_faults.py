"""Children that cannot be started, many of them, and those whose supervisor was killed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.processes import (
    all_argv,
    below,
    descriptors,
    exists,
    has_children,
    until,
    until_gone,
)
from tests.tunnel.stand import (
    READY,
    TUNNEL,
    WAITS,
    Sink,
    Watched,
    named,
    on_each_loop,
    program,
    spawn,
)
from tunnel.child import Child, SpawnFailed
from tunnel.events import Cause
from tunnel.settings import Settings


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
    before, tasks = descriptors(os.getpid()), len(asyncio.all_tasks())
    for _ in range(20):
        many = await asyncio.gather(*(spawn(shell) for _ in range(5)))
        for one in many:
            assert (await one.end()).code == 1
        assert not any(exists(one.child.pid) for one in many)
    await asyncio.sleep(0)
    gc.collect()
    assert len(descriptors(os.getpid())) <= len(before)
    assert len(asyncio.all_tasks()) == tasks
    assert below(tempfile.gettempdir(), "*.json") == []
    assert below(tempfile.gettempdir(), "home-*") == []
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
    before = descriptors(os.getpid())
    with pytest.raises(SpawnFailed) as failed:
        await spawn(binary)
    assert failed.value.cause is cause
    assert said in str(failed.value)
    assert "\x1b" not in str(failed.value)
    gc.collect()
    assert len(descriptors(os.getpid())) <= len(before)


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
    first = await spawn(binary)  # so that the version is known
    first.child.kill()
    await first.end()
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
    assert below(tempfile.gettempdir(), "home-*") == []


@on_each_loop
async def test_without_descriptors_a_child_that_ends_leaves_no_folder(tmp_path: Path) -> None:
    watched = await spawn(program(tmp_path, WAITS))
    await watched.until(READY)
    assert len(below(tempfile.gettempdir(), "home-*")) == 1
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        watched.child.kill()
        await watched.end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert below(tempfile.gettempdir(), "home-*") == []


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
    await until(lambda: not any(str(binary) in argv for argv in all_argv()))


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
    await until_gone(pid)


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
    await until_gone(pid)
    assert f"ended cloudflared {pid}, left behind" in again.sink.text
    again.child.kill()
    await again.end()
    assert below(environ["XDG_RUNTIME_DIR"], "*.json") == []
    assert below(environ["XDG_RUNTIME_DIR"], "home-*") == []
