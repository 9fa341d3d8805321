"""One child, as the system sees it: arguments, environment, log, signals, its end.

Each test runs on the loop of the standard library and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import tempfile
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import (
    argv_of,
    below,
    environ_of,
    exists,
    mode_of,
    until,
    until_gone,
)
from tests.tunnel.stand import (
    CONNECTOR,
    READY,
    TOKEN,
    TUNNEL,
    WAITS,
    named,
    on_each_loop,
    program,
    spawn,
)
from tunnel.child import arguments
from tunnel.events import Cause, ConnectorTold, Exit, MetricsTold, VersionTold
from tunnel.settings import Settings


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


@on_each_loop
async def test_a_secret_that_is_open_to_others_is_complained_of_once(tmp_path: Path) -> None:
    binary, file = program(tmp_path, ""), tmp_path / "token"
    file.write_text(TOKEN, encoding="ascii")
    file.chmod(0o644)
    settings = replace(named(binary), secret_file=str(file))
    for told in (1, 0):
        watched = await spawn(binary, settings=settings)
        await watched.end()
        assert watched.sink.text.count("others on this machine may use") == told
        assert TOKEN not in watched.sink.text


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
    assert not exists(watched.child.pid)
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
    await until_gone(other)


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
    assert below(tempfile.gettempdir(), "home-*") == []
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
    # on its own clock, which stands while the processor is somebody else's
    longest, last = 0.0, time.thread_time()
    ready = asyncio.ensure_future(watched.until(READY))
    while not ready.done():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    await ready
    assert longest < 0.25  # five times what is promised
    assert len(watched.sink.lines) < 500
    watched.child.terminate()
    assert (await watched.end()).code == 0
    written = sum(watched.sink.levels.values())
    assert written < 10 or watched.sink.left_out + len(watched.sink.lines) > 0


@on_each_loop
async def test_what_is_not_told_is_counted(tmp_path: Path) -> None:
    letters = 'str(n).translate(str.maketrans("0123456789", "abcdefghij"))'
    body = f'for n in range(3000): log("line " + {letters})\nfor n in range(7): log("same", "warn")'
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
async def test_text_is_no_event_of_a_child_that_writes_json(tmp_path: Path) -> None:
    body = """
    start()
    sys.stderr.write("2026-11-20T17:15:59Z INF Updated to new configuration version=1\\n")
    """
    watched = await spawn(program(tmp_path, body))
    await watched.end()
    assert watched.events[-2] == READY


@on_each_loop
async def test_a_plain_child_tells_in_text(tmp_path: Path) -> None:
    told = "2026-11-20T17:15:59Z INF Starting metrics server on 127.0.0.1:9/metrics"
    body = f"print({told!r}, file=sys.stderr)"
    watched = await spawn(program(tmp_path, body), plain=True)
    await watched.end()
    assert MetricsTold(9) in watched.events
