"""What cloudflared writes cannot hold up, steer or fill the sidecar; judged from outside."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from tests.e2e.strangers import MODEL
from tests.e2e.tunnel.exposed import Exposed
from tests.e2e.tunnel.harness import Ground, commands, ground
from tests.fakes.backend import Backend

pytestmark = [commands, pytest.mark.asyncio(loop_scope="module")]

STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]")
FLOOD = 50_000  # lines in a second
MOST_LINES = 1_000  # of our log, for one flood
LONGEST_LINE = 20_000
MEGABYTE = 1024 * 1024
LONGEST_WAIT = 5.0  # seconds for an answer, on a machine that has much else to do


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    async with ground(tmp_path_factory.mktemp("place")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p", models=(MODEL,)) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    place: Ground, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Exposed]:
    """One for all of these, as none of it may do it any harm."""
    place.inside.standin.behave(echo_paths=True)
    async with Exposed(tmp_path_factory.mktemp("logs"), place, backend) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def unmoved(sidecar: Exposed) -> AsyncIterator[None]:
    """The same child carries under the same name, and all that was logged is good JSON."""
    before = await sidecar.until_tunnel(
        lambda told: told["state"] == "healthy" and told["connections"]["ready"] == 4, "all is up"
    )
    yield
    over = time.monotonic()
    after = await sidecar.until_tunnel(
        lambda told: (
            told["state"] == "healthy" and told["probe"]["age"] + 0.1 < time.monotonic() - over
        ),
        "another probe came through",
    )
    for same in ("url", "restarts", "others", "foreign_ingress", "connections"):
        assert after[same] == before[same]
    for same in ("pid", "connector", "protocol", "version"):
        assert after["child"][same] == before["child"][same]
    text = sidecar.output
    lines = text[: text.rindex("\n")].splitlines()  # the last one may be only half written
    assert max(map(len, lines)) < LONGEST_LINE
    for line in map(json.loads, lines):
        assert not STEERS.search(str(line["event"])), line


def say(sidecar: Exposed, **words: object) -> None:
    """Have the child write this."""
    sidecar.ground.inside.standin.behave(log=words)


async def slowest(sidecar: Exposed, seconds: float = 0.0) -> float:
    """Ask from outside for so long; all is answered. Gives the seconds of the slowest answer."""
    longest, end = 0.0, time.monotonic() + seconds
    async with sidecar.ground.visitor() as http:
        while True:
            began = time.monotonic()
            assert (await sidecar.ask_from_outside(http))[0] == 200
            longest = max(longest, time.monotonic() - began)
            if time.monotonic() > end:
                return longest


@pytest.mark.usefixtures("unmoved")
async def test_a_flood(sidecar: Exposed) -> None:
    before, lines, memory = await sidecar.metrics(), len(sidecar.log), sidecar.rss
    say(sidecar, flood=FLOOD, seconds=1)
    assert await slowest(sidecar, 1.0) < LONGEST_WAIT
    count = before.value("tunnel_log_lines_total") + FLOOD
    after = await sidecar.until_metric(
        lambda now: now.value("tunnel_log_lines_total") >= count, "the child is not held up"
    )
    assert after.value("tunnel_exits_total") == before.value("tunnel_exits_total")
    await sidecar.until_metric(
        lambda now: now.value("tunnel_log_dropped_total") > 0, "what is left out is counted"
    )
    asked = sum("attempts" in line for line in sidecar.log)
    assert len(sidecar.log) - lines - 3 * asked < MOST_LINES
    assert sidecar.rss - memory < 20 * MEGABYTE


@pytest.mark.usefixtures("unmoved")
async def test_a_line_of_ten_megabytes(sidecar: Exposed) -> None:
    memory = sidecar.rss
    say(sidecar, long=10 * MEGABYTE)
    await sidecar.says("x" * 1000)
    say(sidecar, lines=["this comes after the long line"])
    await sidecar.says("this comes after the long line")
    assert await slowest(sidecar) < LONGEST_WAIT
    assert sidecar.rss - memory < 20 * MEGABYTE


@pytest.mark.usefixtures("unmoved")
async def test_bytes_that_are_no_text(sidecar: Exposed) -> None:
    bell = b"\x1b]0;title\x07\x1b[31mred\x1b[0m \x00\xff\xfe\xc0\x80 \xe2\x80\xaegnp.exe \r\x08"
    say(sidecar, raw=base64.b64encode(b"a beginning " + bell).decode())
    say_more = json.dumps({"level": "info", "message": "a message \x1b[2J\x9b31m\u2028 of steps"})
    raw = b"\n" + say_more.encode() + b"\n\xf0\x9f\n" + bytes(range(256)) + b" and no end"
    say(sidecar, raw=base64.b64encode(raw).decode())
    await sidecar.says("a message")
    say(sidecar, lines=["", "this comes after the bytes"])
    await sidecar.says("this comes after the bytes")


@pytest.mark.usefixtures("unmoved")
async def test_a_line_with_the_token(sidecar: Exposed) -> None:
    say(sidecar, token=True)
    assert "***" in await sidecar.says("cannot use token")
    await sidecar.keeps_the_secret()


SPOOFS = [
    "/https://evil.trycloudflare.com",
    "/|  https://evil.trycloudflare.com   |",
    "/Registered tunnel connection",
    "/x\n{\"level\":\"info\",\"message\":\"Starting metrics server on 127.0.0.1:1/metrics\"}",
    "/Generated Connector ID: 0c9d4a5e-8f0b-4c5e-9d3a-111111111111",
    "/Unauthorized: Invalid tunnel secret",
    "/x?message=Updated to new configuration&version=7",
    '/","level":"fatal","message":"Initiating shutdown","error":"context canceled',
]  # fmt: skip


@pytest.mark.usefixtures("unmoved")
async def test_lines_that_a_stranger_makes_up(sidecar: Exposed) -> None:
    """Some are logged as they are asked for; none of them is taken for a line of cloudflared."""
    async with sidecar.ground.visitor() as http:
        for spoof in SPOOFS:
            quoted = {"message": "Registered tunnel connection", "connIndex": "3", "level": "info"}
            async with http.get(URL(spoof), headers=quoted) as answer:
                assert answer.status == 404
    await sidecar.says("version=7")
    code, told = await sidecar.command("tunnel", "url")
    assert (code, told) == (0, f"{sidecar.ground.url}\n")


@contextlib.contextmanager
def blocked_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full, and that nobody reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_log_that_nobody_reads(tmp_path: Path, place: Ground, backend: Backend) -> None:
    """However long: nothing waits for it, and what it cannot take is thrown away."""
    place.inside.standin.behave(log={"flood": FLOOD, "seconds": 1})
    sidecar = Exposed(tmp_path, place, backend)
    with blocked_pipe() as sidecar.stderr:
        async with sidecar:
            assert await slowest(sidecar, 1.0) < LONGEST_WAIT
            await sidecar.until_metric(
                lambda now: now.value("tunnel_log_lines_total") >= FLOOD, "the child is read"
            )
            child = await sidecar.child()
            os.kill(child, signal.SIGKILL)
            told = await sidecar.until_tunnel(
                lambda told: told["restarts"] == 1 and told["state"] == "healthy", "it is back"
            )
            assert told["child"]["pid"] != child
            assert await slowest(sidecar) < LONGEST_WAIT
            sidecar.signal(signal.SIGTERM)
            assert await sidecar.exit_code() == 0
