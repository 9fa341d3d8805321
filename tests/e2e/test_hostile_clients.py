"""Clients that are slow on purpose, or far too many: they cost nobody else anything.

They never reach a backend, others are answered meanwhile, and what they hold is given back.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.e2e.client import HANG, chat, status_of
from tests.e2e.crossing import DIALECTS, PATHS
from tests.e2e.harness import Sidecar, chain, until, with_relay
from tests.e2e.impatient import Impatient
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MIB = 1024 * 1024
PATH = "/v1/chat/completions"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
QUICK = {"listener.HEAD_WITHIN": 1.0, "listener.TICK": 0.1}


@asynccontextmanager
async def connections(sidecar: Sidecar, count: int = 1) -> AsyncIterator[list[Stream]]:
    """So many connections to the data listener, closed at the end."""
    opened: list[Stream] = []
    try:
        while len(opened) < count:
            opened.append(await asyncio.open_connection("127.0.0.1", sidecar.data_port))
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def drip(writer: asyncio.StreamWriter, data: bytes, pause: float = 0.1) -> None:
    """Send one byte at a time, until the other side has had enough."""
    for place in range(len(data)):
        if writer.is_closing():
            return
        writer.write(data[place : place + 1])
        await asyncio.sleep(pause)


async def rest_of(stream: Stream) -> bytes:
    """What comes until the other side closes; a reset is an end too."""
    raw = bytearray()
    async with asyncio.timeout(HANG):
        try:
            while piece := await stream[0].read(65536):
                raw += piece
        except ConnectionError:
            pass
    return bytes(raw)


async def dripped(stream: Stream, data: bytes, pause: float = 0.1) -> bytes:
    """What comes while `data` is sent byte by byte."""
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(drip(stream[1], data, pause))
        raw = await rest_of(stream)
        writing.cancel()
    return raw


async def asked(stream: Stream, request: bytes = HEALTH) -> bytes:
    """One request and its answer, on a connection that stays open."""
    stream[1].write(request)
    async with asyncio.timeout(HANG):
        head = await stream[0].readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return head + await stream[0].readexactly(size)


@contextmanager
def many_files() -> Iterator[None]:
    """The tests need as many files as the connections that they open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def files_of(sidecar: Sidecar) -> int:
    return len(os.listdir(f"/proc/{sidecar.process.pid}/fd"))


# --- heads -----------------------------------------------------------------------------------


async def test_heads_that_drip_are_closed_with_a_word_and_hold_nobody_up(tmp_path: Path) -> None:
    async with Backend("p") as p, Impatient(tmp_path, chain(p), QUICK) as sidecar:
        async with connections(sidecar, 100) as slow, asyncio.TaskGroup() as group:
            ends = [group.create_task(dripped(one, HEAD * 3)) for one in slow]
            for _ in range(20):
                got = await sidecar.ask(chat())
                assert (got.status, got.text) == (200, text_of("p"))
                assert got.seconds < 5
        for end in ends:
            assert status_of(end.result()) == 408
            assert b'"request_timeout"' in end.result()
            assert b"connection: close" in end.result()
        assert len(p.requests) == 20


async def test_who_never_says_a_word_is_closed_without_one(tmp_path: Path) -> None:
    async with (
        Backend("p") as p,
        Impatient(tmp_path, chain(p), QUICK) as sidecar,
        connections(sidecar) as (silent,),
    ):
        assert await rest_of(silent) == b""


@pytest.mark.parametrize("begun", [b"", b"POST /v1/ch"], ids=["next", "pipelined"])
async def test_a_later_head_may_drip_no_longer_than_the_first(tmp_path: Path, begun: bytes) -> None:
    async with Backend("p") as p, Impatient(tmp_path, chain(p), QUICK) as sidecar:
        async with connections(sidecar) as (slow,):
            assert status_of(await asked(slow, HEALTH + begun)) == 200
            assert status_of(await dripped(slow, (HEAD * 3)[len(begun) :])) == 408
        assert not p.requests


async def test_between_requests_a_connection_may_wait_longer(tmp_path: Path) -> None:
    bounds = {**QUICK, "listener.KEEP_ALIVE": 6.0}
    async with (
        Backend("p") as p,
        Impatient(tmp_path, chain(p), bounds) as sidecar,
        connections(sidecar) as (patient,),
    ):
        assert status_of(await asked(patient)) == 200
        patient[1].write(b"\r\n")  # an empty line is not the beginning of a head
        await asyncio.sleep(3 * QUICK["listener.HEAD_WITHIN"])
        assert status_of(await asked(patient)) == 200
        assert await rest_of(patient) == b"", "closed in the end, without a word"


# --- bodies ----------------------------------------------------------------------------------

STALLING = {"intake.STALL": 1.0, "intake.WHOLE": 3.0}
BODY = json.dumps(chat()).encode()


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_body_that_stalls_is_a_408_in_the_clients_dialect(
    tmp_path: Path, client: str
) -> None:
    async with Backend("p") as p, Impatient(tmp_path, chain(p), STALLING) as sidecar:
        head = HEAD.replace(PATH.encode(), PATHS[client].encode())
        async with connections(sidecar) as (slow,):
            slow[1].write(head + b"Content-Length: 100\r\n\r\n" + BODY[:20])
            assert (await sidecar.ask(chat())).status == 200
            answer = await rest_of(slow)
        assert status_of(answer) == 408
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"connection: close" in head.lower()
        told = json.loads(body)
        error = told["error"] if isinstance(told["error"], dict) else told
        assert error["code"] == "request_timeout"
        assert len(p.requests) == 1, "only the other one was asked for"
        await sidecar.idle()


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 1000", b" " * 1000),
        (b"Transfer-Encoding: chunked", b"3c;" + b"a" * 1000),  # an extension is no body
    ],
)
async def test_a_body_that_drips_is_a_408(tmp_path: Path, framing: bytes, body: bytes) -> None:
    async with Backend("p") as p, Impatient(tmp_path, chain(p), STALLING) as sidecar:
        async with connections(sidecar) as (slow,):
            slow[1].write(HEAD + framing + b"\r\n\r\n")
            assert status_of(await dripped(slow, body)) == 408
        assert not p.requests


async def test_an_upload_that_stalls_is_its_clients_fault(tmp_path: Path) -> None:
    async with Backend("p") as p, Impatient(tmp_path, with_relay(p), STALLING) as sidecar:
        head = HEAD.replace(PATH.encode(), b"/v1/files")
        async with connections(sidecar) as (slow,):
            slow[1].write(head + b"Content-Length: 100\r\n\r\n" + b"x" * 50)
            answer = await rest_of(slow)
        assert status_of(answer) == 408
        assert not p.requests, "it was never a whole request"
        metrics = await sidecar.metrics()
        assert metrics.value("attempts_total", backend="p") == 1
        assert metrics.value("attempts_total", backend="p", outcome="client_error") == 1


async def test_an_upload_that_goes_on_may_take_longer(tmp_path: Path) -> None:
    async with Backend("p") as p, Impatient(tmp_path, with_relay(p), STALLING) as sidecar:
        head = HEAD.replace(PATH.encode(), b"/v1/files")
        async with connections(sidecar) as (slow,):
            slow[1].write(head + b"Content-Length: 40\r\n\r\n")
            await drip(slow[1], b"x" * 39, 0.1)
            slow[1].write(b"x")
            async with asyncio.timeout(HANG):
                assert (await slow[0].readline()).startswith(b"HTTP/1.1 200")
        assert p.bodies == [b"x" * 40]


@pytest.mark.parametrize("path", [PATH, "/v1/files"])
async def test_a_body_whose_framing_breaks_later_is_refused_at_once(
    tmp_path: Path, path: str
) -> None:
    async with Backend("p") as p, Sidecar(tmp_path, with_relay(p)) as sidecar:
        head = HEAD.replace(PATH.encode(), path.encode())
        async with connections(sidecar) as (rude,):
            rude[1].write(head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
            async with asyncio.timeout(HANG):
                assert await rude[0].readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            rude[1].write(b'5\r\n{"mod\r\n')
            rude[1].write(b"no number\r\n")
            async with asyncio.timeout(5):  # the bound for a stall is 30 s
                answer = await rest_of(rude)
        assert status_of(answer) == 400
        assert b'"invalid_body"' in answer
        assert not p.requests


# --- many connections ------------------------------------------------------------------------


async def test_two_thousand_idle_connections_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    count = 2000
    with many_files():
        async with Backend("p") as p, Sidecar(tmp_path, chain(p)) as sidecar:
            assert (await sidecar.ask(chat())).status == 200
            rss, files = sidecar.rss, files_of(sidecar)
            async with connections(sidecar, count) as idle:
                for one in idle:
                    assert status_of(await asked(one)) == 200
                assert files_of(sidecar) >= files + count
                assert sidecar.rss - rss < count * 32 * 1024
                for _ in range(20):
                    got = await sidecar.ask(chat())
                    assert (got.text, got.seconds < 5) == (text_of("p"), True)
                assert status_of(await asked(idle[0])) == 200, "the first one is still open"

            async def are_closed() -> bool:
                return files_of(sidecar) < files + 50

            await until(are_closed, "their files are given back")


async def test_many_at_once_wait_for_their_turn(tmp_path: Path) -> None:
    """As they do when a tunnel's new process opens a connection for each request."""
    count = 400
    async with Backend("p") as p, Sidecar(tmp_path, chain(p)) as sidecar:
        sidecar.signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(HANG), connections(sidecar, count) as waiting:
                sidecar.signal(signal.SIGCONT)
                for one in waiting:
                    assert status_of(await asked(one)) == 200
        finally:
            sidecar.signal(signal.SIGCONT)


SIXTEEN = {"open_files": 182.0}  # half of what the program does not need itself


async def test_past_the_limit_the_oldest_idle_connection_makes_room(tmp_path: Path) -> None:
    async with (
        Backend("p") as p,
        Impatient(tmp_path, chain(p), SIXTEEN) as sidecar,
        connections(sidecar, 16) as old,
    ):
        for one in old:
            assert status_of(await asked(one)) == 200
        async with connections(sidecar) as (new,):
            assert status_of(await asked(new)) == 200
            assert await rest_of(old[0]) == b""
            assert status_of(await asked(old[1])) == 200


async def test_past_the_limit_with_all_at_work_the_new_one_is_turned_away(tmp_path: Path) -> None:
    held = asyncio.Event()
    p = Backend("p", rest=lambda seen: (b.Until(held), *b.well()(seen)))
    async with p, Impatient(tmp_path, chain(p), SIXTEEN) as sidecar:
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        async with connections(sidecar, 16) as busy:
            for one in busy:
                one[1].write(request)
            await p.seen(16)
            async with connections(sidecar) as (new,):
                answer = await rest_of(new)
            assert status_of(answer) == 503
            assert b'"too_many_connections"' in answer
            assert b"retry-after: 1\r\n" in answer
            held.set()
            for one in busy:
                async with asyncio.timeout(HANG):
                    assert (await one[0].readline()).startswith(b"HTTP/1.1 200")


async def test_without_any_file_left_the_program_waits_and_goes_on(tmp_path: Path) -> None:
    async with Backend("p") as p, Sidecar(tmp_path, chain(p)) as sidecar:
        assert (await sidecar.ask(chat())).status == 200
        pid = sidecar.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files_of(sidecar) + 5, before[1]))
        async with connections(sidecar, 50):
            spent = cpu_seconds(pid)
            await asyncio.sleep(2)
            assert cpu_seconds(pid) - spent < 1, "it does not spin"
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

        async def answers() -> bool:
            return (await sidecar.ask(chat())).status == 200

        await until(answers, "it is as well as before")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- who does not read -----------------------------------------------------------------------


@asynccontextmanager
async def unread(sidecar: Sidecar, request: bytes) -> AsyncIterator[socket.socket]:
    """A request whose answer stays in the kernel, with as little room there as can be."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, ("127.0.0.1", sidecar.data_port))
        await loop.sock_sendall(one, request)
        yield one


def streamed() -> bytes:
    body = json.dumps(chat(stream=True)).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_who_reads_no_more_does_not_hold_its_backend(tmp_path: Path) -> None:
    words = ["x" * 65536] * 2000
    p = Backend("p", rest=b.well(words))
    async with (
        p,
        Impatient(tmp_path, chain(p), {"listener.UNREAD": 1.0}) as sidecar,
        unread(sidecar, streamed()),
    ):
        seen = await p.seen()
        async with asyncio.timeout(HANG):
            await seen.left.wait()
        assert not seen.answered.is_set()
        metrics = await sidecar.idle()
        assert metrics.value("attempts_total", backend="p", outcome="cancelled") == 1
        p.rest = b.well()
        assert (await sidecar.ask(chat())).status == 200


async def test_who_reads_slowly_may_take_its_time(tmp_path: Path) -> None:
    words = [f"{number:06d} " + "x" * 65536 for number in range(300)]
    p = Backend("p", rest=b.well(words))
    async with p, Impatient(tmp_path, chain(p), {"listener.UNREAD": 0.5}) as sidecar:
        async with unread(sidecar, streamed()) as slow:
            loop, raw = asyncio.get_running_loop(), bytearray()
            async with asyncio.timeout(4 * HANG):
                while not raw.endswith(b"\r\n0\r\n\r\n"):
                    piece = await loop.sock_recv(slow, MIB)
                    assert piece, "it was cut off"
                    raw += piece
                    if len(raw) < 8 * MIB:
                        await asyncio.sleep(0.002)
        assert b"[DONE]" in raw
