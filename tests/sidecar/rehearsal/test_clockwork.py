"""The clock that jumps, and the loop that reaches nobody."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from sidecar.rehearsal.clockwork import Clockwork, ForeignAddress

T = TypeVar("T")


def run(work: Callable[[Clockwork], Awaitable[T]]) -> T:
    async def main() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clockwork)
        return await work(loop)

    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(main())


def test_an_hour_passes_at_once_and_at_its_length() -> None:
    async def work(loop: Clockwork) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    began = time.monotonic()
    assert run(work) == pytest.approx(3600)
    assert time.monotonic() - began < 60


def test_the_clock_stands_still_while_bytes_are_on_their_way() -> None:
    async def work(loop: Clockwork) -> tuple[bytes, float]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"x" * 3_000_000)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        loop.stage.add(address)
        async with server, asyncio.timeout(0.5):
            reader, writer = await asyncio.open_connection(*address)
            got = await reader.read()
            writer.close()
            return got, loop.time()

    got, passed = run(work)
    assert len(got) == 3_000_000
    assert passed < 0.5


def test_the_clock_stands_still_while_a_thread_works() -> None:
    async def work(loop: Clockwork) -> float:
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(time.sleep, 0.1)
        return loop.time()

    assert run(work) < 0.01


def test_it_reaches_nobody_but_the_stage() -> None:
    async def work(loop: Clockwork) -> None:
        with socket.create_server(("127.0.0.1", 0)) as canary:
            canary.setblocking(False)
            with pytest.raises(ForeignAddress):
                await asyncio.open_connection(*canary.getsockname())
            with pytest.raises(BlockingIOError):
                canary.accept()

    run(work)


def test_it_looks_up_no_names() -> None:
    async def work(loop: Clockwork) -> None:
        with pytest.raises(socket.gaierror):
            await asyncio.open_connection("localhost", 80)

    run(work)
