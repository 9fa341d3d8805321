"""A real HTTP server on loopback that misbehaves as its script says, and remembers what it saw.

It speaks HTTP by hand over asyncio streams, so that it can also send what no HTTP library would.
The script is for inference requests (POST); the list of models is always answered well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
import weakref
from collections.abc import Iterator, Sequence
from types import TracebackType

from tests.fakes import answers, listening, voices
from tests.fakes.behaviours import (
    Behaviour,
    Close,
    Endless,
    Heard,
    Pause,
    Reset,
    Send,
    Silence,
    Step,
    Until,
    listing,
    status,
    well,
    whole,
)
from tests.fakes.seen import Seen

PATIENCE = 20.0  # seconds that a test waits for something that must happen
HEAD_LIMIT = 4 * 1024 * 1024
SHOWN = {  # what an Ollama tells of a model
    "details": {"family": "fake", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"},
    "model_info": {"general.architecture": "fake", "fake.context_length": 32768},
    "capabilities": ["completion", "tools"],
}


class _Gone(Exception):
    """The connection has ended, or must."""


class _Connection(asyncio.StreamReaderProtocol):
    """The stream protocol of the standard library, which also says when the client has left."""

    def __init__(self, backend: Backend) -> None:
        reader = asyncio.StreamReader(limit=HEAD_LIMIT)
        super().__init__(reader, backend._accept)
        self.current: Seen | None = None
        self.gone = False

    def _mark(self) -> None:
        self.gone = True
        if self.current is not None:
            self.current.left.set()

    def eof_received(self) -> bool:
        self._mark()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._mark()
        super().connection_lost(exc)


class Backend:
    """`async with Backend("p", well(), rest=silent) as p`: one behaviour a request, then `rest`.

    It answers in the dialect of the path that is asked; `dialect` is what its address is for.
    `rest` may be changed while it runs; so may `aside`, which answers all but inference requests.
    `requests` holds inference requests in order of arrival, `others` everything else; `connections`
    counts what was accepted. `heard` is set by a test whose client has heard something.
    """

    def __init__(
        self,
        name: str = "p",
        *script: Behaviour,
        rest: Behaviour | None = None,
        models: Sequence[str] = ("model-a",),
        tls: ssl.SSLContext | None = None,
        dialect: str = "openai",
    ) -> None:
        self.name = name
        self.dialect = dialect
        self.script = list(script)
        self.rest = well() if rest is None else rest
        self.models = tuple(models)
        self.aside: Behaviour | None = None
        self.requests: list[Seen] = []
        self.others: list[Seen] = []
        self.heard = asyncio.Event()
        self.connections = 0
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._news = asyncio.Event()

    @property
    def base_url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{voices.VOICES[self.dialect].prefix}"

    @property
    def bodies(self) -> list[bytes]:
        return [seen.body for seen in self.requests]

    async def seen(self, count: int = 1) -> Seen:
        """Wait until `count` inference requests have come; gives the newest of those."""
        async with asyncio.timeout(PATIENCE):
            while len(self.requests) < count:
                self._news.clear()
                await self._news.wait()
        return self.requests[count - 1]

    async def __aenter__(self) -> Backend:
        """Listen; at the same port as before, if there was one."""
        if not self.port:
            keeper = listening.keep()
            weakref.finalize(self, keeper.close)
            self.port = keeper.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self),
            "127.0.0.1",
            self.port,
            ssl=self._tls,
            backlog=1024,
            reuse_port=True,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await listening.close(self._server)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.transport.get_protocol()
        assert isinstance(connection, _Connection)
        self._writers.add(writer)
        if self._tls is None:  # over TLS a buffer of nothing is never seen as drained
            writer.transport.set_write_buffer_limits(high=0)
        try:
            for number in range(1_000_000):
                seen = await self._read(reader, number)
                connection.current = seen
                if connection.gone:
                    seen.left.set()
                for step in self._behaviour(seen)(seen):
                    await self._play(step, seen, writer)
                connection.current = None
                seen.answered.set()
        except (_Gone, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Seen:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        pairs = [line.split(":", 1) for line in lines[1:] if line]
        headers = [(name, value.strip()) for name, value in pairs]
        seen = Seen(self.name, method, target, headers, b"", 0.0, number)
        if seen.header("transfer-encoding") == "chunked":
            seen.body = await _read_chunks(reader)
        else:
            seen.body = await reader.readexactly(int(seen.header("content-length") or 0))
        seen.at = time.monotonic()
        return seen

    def _behaviour(self, seen: Seen) -> Behaviour:
        # the catalogue asks an Ollama for its models one by one
        is_shown = seen.path == "/api/show" and self.dialect == "ollama"
        if seen.method != "POST" or is_shown:
            self.others.append(seen)
            return self._lookup(seen) if self.aside is None else self.aside
        position = len(self.requests)
        self.requests.append(seen)
        self._news.set()
        return self.script[position] if position < len(self.script) else self.rest

    def _lookup(self, seen: Seen) -> Behaviour:
        if seen.path == "/v1/models":
            return listing(*self.models)
        if seen.path == "/api/show":
            return lambda _: whole(200, answers.dump(SHOWN))
        if seen.path == "/api/version":
            return lambda _: whole(200, answers.dump({"version": "0.0.0"}))
        if seen.path == "/api/tags":
            tags = {"models": [{"name": name, "model": name} for name in self.models]}
            return lambda _: whole(200, answers.dump(tags))
        if seen.path.startswith("/v1/models/"):
            return status(404, "no such model", "model_not_found")
        return well()

    async def _play(self, step: Step, seen: Seen, writer: asyncio.StreamWriter) -> None:
        match step:
            case Send(data, piece):
                size = piece or len(data) or 1
                for start in range(0, len(data), size):
                    await _write(writer, seen, data[start : start + size])
                    await asyncio.sleep(0)
            case Pause(seconds):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(seen.left.wait(), seconds)
                    raise _Gone
            case Until(event):
                await _either(event, seen.left)
            case Heard():
                await _either(self.heard, seen.left)
            case Silence():
                await seen.left.wait()
                raise _Gone
            case Endless(data):
                while not seen.left.is_set():
                    await _write(writer, seen, data)
                raise _Gone
            case Close():
                raise _Gone
            case Reset():
                _break(writer)
                raise _Gone


async def _write(writer: asyncio.StreamWriter, seen: Seen, data: bytes) -> None:
    if seen.left.is_set():
        raise _Gone
    writer.write(data)
    await writer.drain()
    seen.sent += len(data)


async def _either(event: asyncio.Event, left: asyncio.Event) -> None:
    """Wait for the first of two events; the second one ends the connection."""
    loop = asyncio.get_running_loop()
    waits = [loop.create_task(event.wait()), loop.create_task(left.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if left.is_set():
        raise _Gone


def _break(writer: asyncio.StreamWriter) -> None:
    """Abort with a reset instead of an orderly end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return bytes(body)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port of loopback on which nobody listens, and which nobody else can take meanwhile."""
    with listening.keep() as keeper:
        yield int(keeper.getsockname()[1])
