"""What a stand-in edge holds: its connections, and the requests that it gave to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakes.cloudflared import wire


@dataclass(frozen=True)
class Refuse:
    """A registration is refused with these words; `keep` leaves the connection open."""

    error: str
    keep: bool = False


# "silent" never answers, "no_control" does not even ask, "close" hangs up, "bad_ca" fails in TLS
Door = Literal["open", "silent", "no_control", "close", "bad_ca"] | Refuse
UNAUTHORIZED = Refuse("Unauthorized: Invalid tunnel secret")
NOT_FOUND = Refuse("Unauthorized: Tunnel not found")


class NoTunnel(Exception):
    """No connection is registered: error 1033."""


class Cut(Exception):
    """The connection with the connector ended before the answer was whole."""


@dataclass(eq=False)
class Link:
    """One connection of one connector."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    index: int
    connector: str
    told: dict[str, Any] = field(default_factory=dict)  # its registration
    registered: bool = False
    wedged: bool = False
    unregistered: bool = False
    in_flight: int = 0
    streams: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def tunnel_id(self) -> str:
        return str(self.told.get("tunnel", ""))

    def abort(self) -> None:
        """The connection ends, and with it all that it carries."""
        self.registered = False
        for each in (self.writer, *self.streams):
            each.transport.abort()


@dataclass
class Carried:
    """A request that was given to a connection; `status` comes with the answer."""

    connector: str
    index: int
    method: str
    host: str
    path: str
    status: int | None = None
    whole: bool = False


class Stream:
    """A request on its way: send its body, read the answer."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        thawed: asyncio.Event,
        carried: Carried,
    ) -> None:
        self._reader, self._writer, self._thawed = reader, writer, thawed
        self.carried = carried

    async def send(self, piece: bytes) -> None:
        await self._thawed.wait()
        self._writer.write(wire.frame(piece) if piece else wire.END)
        await self._writer.drain()

    async def head(self) -> dict[str, Any]:
        """Raises Cut."""
        told = await read_line(self._reader)
        await self._thawed.wait()
        if told is None:
            raise Cut("no answer")
        self.carried.status = told["status"]
        return told

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes; IncompleteReadError where it is cut."""
        while True:
            size = await self._reader.readexactly(wire.LENGTH.size)
            (length,) = wire.LENGTH.unpack(size)
            data = await self._reader.readexactly(length)
            await self._thawed.wait()
            if not data:
                self.carried.whole = True
                return
            yield data


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    try:
        text = await reader.readline()
    except ConnectionError:
        return None
    if not text.endswith(b"\n"):
        return None
    told: dict[str, Any] = json.loads(text)
    return told
