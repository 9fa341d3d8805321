"""What a listener keeps, and for how long; in this process, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from sidecar.app import MOST_CONNECTIONS, OWN_FILES, connections_within
from sidecar.dataplane import listener
from sidecar.dataplane.listener import HttpListener

HANG = 30.0
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def listening(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[tuple[HttpListener, int]]:
    """A listener and its port."""
    server = HttpListener(handle, lambda: 8000, lambda: "id", 100)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield server, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def until(fits: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG):
        while not fits():  # noqa: ASYNC110  # the system closes it, without an event
            await asyncio.sleep(0.01)


async def test_what_nobody_reads_is_dropped_after_its_connection_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "UNREAD", 0.2)

    async def handle(http: web.BaseRequest) -> web.StreamResponse:
        assert http.transport is not None
        raw = http.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        response = web.Response(body=b"x" * 50_000)  # less than what makes a writer wait
        response.force_close()
        return response

    async with listening(handle) as (server, port):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, REQUEST)
            await until(lambda: bool(server.connections) and server.requests_count == 1)
            await until(lambda: not server.connections)


async def test_a_head_that_came_in_time_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_WITHIN", 0.0)

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        server.sweep()  # while a request is served nothing is late
        return web.Response(body=b"well")

    async with listening(handle) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(REQUEST)
            async with asyncio.timeout(HANG):
                assert (await reader.readuntil(b"well")).startswith(b"HTTP/1.1 200")
            server.sweep()  # nor between two of them
        writer.write(REQUEST[:10])
        await until(lambda: bool(server._unfinished))
        server.sweep()
        async with asyncio.timeout(HANG):
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


@pytest.mark.parametrize(
    ("files", "most"),
    [
        (OWN_FILES + 2000, 1000),
        (1024, 437),
        (10, 16),
        (1e9, MOST_CONNECTIONS),
        (float("inf"), MOST_CONNECTIONS),
    ],
)
def test_half_of_the_files_are_for_clients(files: float, most: int) -> None:
    assert connections_within(files) == most
