"""Servers that answer as they are told, byte for byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from tests.fakes import listening

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer."""
    lines = (f"HTTP/1.1 {status} Word", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def told(value: object, status: int = 200) -> Answer:
    return raw(http(status, json.dumps(value).encode(), "Content-Type: text/plain"))


def raw(answer: bytes) -> Answer:
    """Send this, and close."""

    async def play(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return play


async def silence(_: bytes, writer: asyncio.StreamWriter) -> None:
    """Say nothing, until the other side leaves."""
    await writer.wait_closed()


async def without_end(_: bytes, writer: asyncio.StreamWriter) -> None:
    """A body that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4\r\n    \r\n" * 1000)
        await writer.drain()


async def drops(_: bytes, writer: asyncio.StreamWriter) -> None:
    """A body that comes one byte a tenth of a second."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def door(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback; its port. `answer` gets the head of each request."""
    at_work: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_work.add(writer)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            at_work.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await listening.close(server)
        for writer in list(at_work):
            writer.transport.abort()
        await asyncio.sleep(0)
