"""A stand-in for Cloudflare's edge: takes tunnel connections, and carries requests over them.

`async with Edge() as edge:` listens on several loopback addresses, as connectors want one for each
connection. `public.py` is the entry for visitors. Everything that can go wrong is an attribute or a
method: what registrations meet (`door`), `stop`, `freeze`, `blackhole`, `wedge`, `drop`, `push`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from tests.fakes import listening
from tests.fakes.cloudflared import wire
from tests.fakes.cloudflared.credentials import Tunnel
from tests.fakes.cloudflared.links import (
    NOT_FOUND,
    UNAUTHORIZED,
    Carried,
    Cut,
    Door,
    Link,
    NoTunnel,
    Refuse,
    Stream,
    read_line,
)

PATIENCE = 19.7  # seconds that a request waits for a connection that does not take it
LINE_LIMIT = 4 * 1024 * 1024


class Edge:
    """See above. Times are seconds; nothing here is scaled."""

    def __init__(self, tunnel: Tunnel | None = None, *, addresses: int = 4) -> None:
        self.tunnel = tunnel or Tunnel.new()
        self.secrets: dict[str, set[str]] = {self.tunnel.tunnel_id: {self.tunnel.secret}}
        self.hostnames: dict[str, str] = {}  # of quick tunnels: name -> tunnel id
        self.door: Door = "open"
        self.doors: dict[str, Door] = {}  # of single connectors
        self.patience = PATIENCE
        self.answers_unregister = True
        self.closes_when_drained = True
        self.remotely_managed = False
        self.links: list[Link] = []
        self.carried: list[Carried] = []
        self.registrations: list[dict[str, Any]] = []
        self.attempts = 0  # connections that connectors opened
        self.port = 0
        self.hosts = [f"127.0.0.{number}" for number in range(1, addresses + 1)]
        self._servers: list[asyncio.Server] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._keepers: list[socket.socket] = []
        self._fillers: list[socket.socket] = []
        self._numbers = itertools.count(1)
        self._awaited: dict[int, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
        self._awaited = {}
        self._turn = itertools.count()
        self._news = asyncio.Condition()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._version = itertools.count(1)

    # --- life ---------------------------------------------------------------------------------

    @property
    def addresses(self) -> str:
        """The value of TUNNEL_EDGE."""
        return ",".join(f"{host}:{self.port}" for host in self.hosts)

    async def __aenter__(self) -> Edge:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thawed.set()
        await self.stop()
        for keeper in self._keepers:
            keeper.close()

    async def start(self) -> None:
        """Listen; at the same port as before, if there was one."""
        while not self.port:
            self._keep_port()
        for host in self.hosts[len(self._servers) :]:
            self._servers.append(
                await asyncio.start_server(
                    self._accept,
                    host,
                    self.port,
                    limit=LINE_LIMIT,
                    backlog=512,
                    reuse_port=True,
                )
            )

    def _keep_port(self) -> None:
        """One that is free at all addresses, and stays ours while nobody listens."""
        try:
            for host in self.hosts:
                self._keepers.append(listening.keep(host, self.port))
                self.port = self._keepers[0].getsockname()[1]
        except OSError:
            if not self._keepers:
                raise
            while self._keepers:
                self._keepers.pop().close()
            self.port = 0

    async def stop(self) -> None:
        """Refuse connections, and drop those there are."""
        await self._close_doors()
        self._cut_everything()
        await asyncio.sleep(0)

    async def _close_doors(self) -> None:
        await listening.close(*self._servers)
        self._servers.clear()

    def _cut_everything(self) -> None:
        """Also what is only just coming in."""
        for each in self._fillers:
            each.close()
        self._fillers.clear()
        self.drop_all()
        for writer in self._open:
            writer.transport.abort()

    # --- faults -------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Keep all sockets, and do nothing with them."""
        self._thawed.clear()

    def thaw(self) -> None:
        self._thawed.set()

    async def blackhole(self) -> None:
        """Nothing arrives any more: what is open stays so, what is new waits for ever."""
        self.freeze()
        await self._close_doors()
        for host in self.hosts:
            mute = socket.create_server((host, self.port), backlog=0, reuse_port=True)
            self._fillers.append(mute)
            for _ in range(2):  # with its queue full a socket lets nobody in
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect((host, self.port))
                self._fillers.append(filler)

    async def heal(self) -> None:
        """After `blackhole`: the network is back; what was open has died of the silence."""
        self._cut_everything()
        self.thaw()
        await self.start()

    def drop(self, *, connector: str | None = None, index: int | None = None) -> int:
        """Cut connections, of one connector or all; gives how many."""
        doomed = self._chosen(connector, index)
        for link in doomed:
            link.abort()
        return len(doomed)

    def drop_all(self) -> int:
        return self.drop()

    def wedge(self, *, connector: str | None = None, index: int | None = None) -> int:
        """From now on these connections take requests and never answer."""
        chosen = self._chosen(connector, index)
        for link in chosen:
            link.wedged = True
        return len(chosen)

    def _chosen(self, connector: str | None, index: int | None) -> list[Link]:
        return [
            link
            for link in self.links
            if connector in (None, link.connector) and index in (None, link.index)
        ]

    async def push(self, config: object, *, version: int | None = None) -> int:
        """Send a configuration to each connector; gives its version. Text goes as it is."""
        version = next(self._version) if version is None else version
        text = config if isinstance(config, str) else json.dumps(config)
        told = set[str]()
        for link in self.registered:
            if link.connector not in told:
                told.add(link.connector)
                link.writer.write(wire.line("config", version=version, config=text))
        return version

    # --- watching -----------------------------------------------------------------------------

    @property
    def registered(self) -> list[Link]:
        return [link for link in self.links if link.registered]

    @property
    def connectors(self) -> list[str]:
        """Those with a registered connection, the oldest first."""
        return list(dict.fromkeys(link.connector for link in self.registered))

    async def until(self, fits: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until it is so; looked at whenever something happens here."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(fits)

    async def until_registered(self, count: int = 1, *, seconds: float = 20.0) -> None:
        """Wait until so many connections are registered."""
        await self.until(lambda: len(self.registered) >= count, seconds)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    # --- connectors ---------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._thawed.wait()
            first = await read_line(reader)
            if first is None:
                return
            if first["kind"] == "data":
                awaited = self._awaited.pop(first["request"], None)
                if awaited is None or awaited.done():
                    return
                awaited.set_result((reader, writer))
                await writer.wait_closed()
            else:
                await self._serve(Link(reader, writer, first["index"], first["connector"]))
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # it is closed below, whatever happened
        finally:
            self._open.remove(writer)
            writer.transport.abort()

    async def _serve(self, link: Link) -> None:
        self.links.append(link)
        self.attempts += 1
        await self._tell()
        try:
            door = self.doors.get(link.connector, self.door)
            if door == "bad_ca":
                link.writer.write(wire.line("bad_ca"))
                await link.writer.drain()
                return
            if door != "no_control":
                link.writer.write(wire.line("control"))
            while (told := await read_line(link.reader)) is not None:
                await self._thawed.wait()
                if told["kind"] == "register":
                    link.told = told
                    if not await self._register(link, door):
                        return
                elif told["kind"] == "unregister":
                    await self._unregister(link)
        finally:
            link.abort()
            self.links.remove(link)
            await self._tell()

    def _judge(self, told: dict[str, Any]) -> Door:
        known = self.secrets.get(told["tunnel"])
        if known is None:
            return NOT_FOUND
        return "open" if told["secret"] in known else UNAUTHORIZED

    async def _register(self, link: Link, door: Door) -> bool:
        """False where the connection is to be closed."""
        self.registrations.append(link.told)
        await self._tell()
        if door == "open":
            door = self._judge(link.told)
        if isinstance(door, Refuse):
            link.writer.write(wire.line("refused", error=door.error))
            await link.writer.drain()
            return door.keep
        if door == "silent":
            return True
        if door == "close":
            return False
        link.writer.write(
            wire.line("registered", connection=str(uuid.uuid4()), location=f"fra{link.index:02}")
        )
        link.registered = True
        await self._tell()
        return True

    async def _unregister(self, link: Link) -> None:
        link.registered = False
        link.unregistered = True
        await self._tell()
        if self.answers_unregister:
            link.writer.write(wire.line("unregistered"))
            self._close_if_drained(link)

    def _close_if_drained(self, link: Link) -> None:
        may = self.answers_unregister and self.closes_when_drained
        if link.unregistered and not link.in_flight and may:
            link.writer.close()

    # --- requests -----------------------------------------------------------------------------

    def pick(self, host: str) -> Link:
        """The next connection for a name, in turn over all connectors; raises NoTunnel."""
        tunnel_id = self.hostnames.get(host)
        quick = set(self.hostnames.values())
        fitting = [
            link
            for link in self.registered
            if (link.tunnel_id not in quick if tunnel_id is None else link.tunnel_id == tunnel_id)
        ]
        if not fitting:
            raise NoTunnel
        return fitting[next(self._turn) % len(fitting)]

    @contextlib.asynccontextmanager
    async def stream(self, head: dict[str, Any]) -> AsyncIterator[Stream]:
        """Give a request to a connection; raises NoTunnel, Cut, or TimeoutError."""
        await self._thawed.wait()
        link = self.pick(head["host"])
        carried = Carried(link.connector, link.index, head["method"], head["host"], head["path"])
        self.carried.append(carried)
        number = next(self._numbers)
        awaited = asyncio.get_running_loop().create_future()
        self._awaited[number] = awaited
        link.in_flight += 1
        writer: asyncio.StreamWriter | None = None
        try:
            if not link.wedged:
                link.writer.write(wire.line("request", request=number))
            reader, writer = await self._taken(link, awaited)
            link.streams.add(writer)
            writer.write(json.dumps(head).encode() + b"\n")
            yield Stream(reader, writer, self._thawed, carried)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise Cut(str(error)) from error
        finally:
            self._awaited.pop(number, None)
            link.in_flight -= 1
            if writer is None and awaited.done() and not awaited.cancelled():
                writer = awaited.result()[1]  # it came too late for this request
            if writer is not None:
                link.streams.discard(writer)
                writer.transport.abort() if not carried.whole else writer.close()
            self._close_if_drained(link)
            await self._tell()

    async def _taken(
        self, link: Link, awaited: asyncio.Future[Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Wait until the connector has opened the request's own connection."""
        async with asyncio.timeout(self.patience):
            while not awaited.done():
                await asyncio.wait({awaited}, timeout=0.1)
                if link.writer.transport.is_closing():
                    raise Cut("the connection ended")
        pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] = awaited.result()
        return pair
