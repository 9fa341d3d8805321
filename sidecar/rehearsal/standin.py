"""A stand-in for a backend: an HTTP server on loopback that behaves as its script says.

Each request takes the next behaviour of the script; the last one goes on for ever. Questions for
models are no part of the script: they are answered unless the behaviour of the moment is an outage.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

from sidecar.rehearsal.clockwork import Address
from sidecar.rehearsal.steps import End, Endless, Pause, Send, Step, Steps, head, whole
from sidecar.rehearsal.voice import Asked, Voice
from sidecar.wire import json
from sidecar.wire.contract import ModelEntry
from sidecar.wire.json import Json

Behaviour = Callable[[Voice, Asked], Steps]

_NO_LINGER = struct.pack("ii", 1, 0)  # closing resets
_TLS = b"\x16"  # how a handshake begins
_MOST_HEAD = 1024 * 1024
_AT_ONCE = 64 * 1024  # bytes of an endless answer


class StandIn:
    """`async with StandIn(name, voice, script, now) as one:` listens, and is gone at the end.

    With an empty script it refuses every connection.
    """

    def __init__(
        self, name: str, voice: Voice, script: Sequence[Behaviour], now: Callable[[], float]
    ) -> None:
        self.name, self.voice = name, voice
        self.asked: list[Asked] = []
        self.left: list[float] = []  # when somebody went away who was still being answered
        self._script, self._now = script, now
        self._connections = count(1)
        self._open: set[asyncio.StreamWriter] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> Address:
        """Where it listens, or would listen."""
        assert self._socket is not None
        host, port = self._socket.getsockname()
        return host, port

    async def __aenter__(self) -> "StandIn":
        # named TCP, or asyncio would let small writes wait for each other
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        if self._script:  # who is bound and does not listen refuses
            self._server = await asyncio.start_server(
                self._serve, sock=self._socket, limit=_MOST_HEAD
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._is_empty.wait()
        if self._socket is not None:
            self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = next(self._connections)
        self._open.add(writer)
        self._is_empty.clear()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                before = 0
                while await self._answer(reader, writer, number, before):
                    before += 1
        finally:
            writer.transport.abort()
            self._open.discard(writer)
            if not self._open:
                self._is_empty.set()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, before: int
    ) -> bool:
        """Answer one request; whether the connection lives on."""
        first = await reader.readexactly(1)
        if first == _TLS:
            writer.write(head(400, ()))
            return False
        told = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = told.split(" ", 2)
        length = 0
        for line in told.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        body = json.loads_object(await reader.readexactly(length)) or {}
        asked = Asked(self._now(), method, path, body, number, before)
        steps = self._models(asked) if self._is_question(asked) else self._play(asked)
        for step in steps:
            if not await self._do(step, reader, writer):
                return False
        return True

    def _is_question(self, asked: Asked) -> bool:
        return asked.method != "POST" or asked.path.partition("?")[0].endswith("/show")

    def _play(self, asked: Asked) -> Steps:
        place = min(len(self.asked), len(self._script) - 1)
        self.asked.append(asked)
        return self._script[place](self.voice, asked)

    def _models(self, asked: Asked) -> Steps:
        """What it says of its models, or the error that it answers everything with now."""
        place = min(len(self.asked), len(self._script) - 1)
        outage = getattr(self._script[place], "outage", None)
        if outage is not None and outage(asked.at):
            return self._script[place](self.voice, asked)
        if asked.method == "HEAD":
            return whole(200, b"")
        path, entries = asked.path.partition("?")[0], [ModelEntry("rehearsal")]
        listings = self.voice.dialect.listings.items()
        # the page that is asked for, else any: a quirk may have bent the path
        pages = [page(entries) for known, page in listings if path.endswith(known)]
        pages += [page(entries) for _, page in listings]
        found: Json = next((page for page in pages if isinstance(page, dict)), {"data": []})
        return whole(200, json.dumps(found))

    async def _do(
        self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Carry out one step; whether the connection lives on."""
        match step:
            case Send(data, piece):
                for start in range(0, len(data), piece or len(data) or 1):
                    writer.write(data[start : start + (piece or len(data))])
                    await writer.drain()
                    await asyncio.sleep(0)
            case Endless(data, most):
                data *= max(1, _AT_ONCE // len(data))
                for _ in range(most // len(data)):
                    writer.write(data)
                    await writer.drain()
            case Pause(seconds):
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._until_gone(reader)
                        return False
            case End.SILENCE:
                await self._until_gone(reader)
                return False
            case End.RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                return False
            case End.CLOSE:
                writer.close()
                await writer.wait_closed()
                return False
        return True

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(1024):
                pass
        finally:
            if reader.at_eof() or reader.exception() is not None:
                self.left.append(self._now())
