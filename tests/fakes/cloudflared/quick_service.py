"""A stand-in for the service that hands out quick tunnels, over plain HTTP on loopback."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import TracebackType
from typing import Literal

from tests.fakes import listening
from tests.fakes.cloudflared.credentials import Tunnel
from tests.fakes.cloudflared.edge import Edge

LIMITED = (
    "<!DOCTYPE html><html><head><title>Access denied | api.trycloudflare.com used Cloudflare to "
    "restrict access</title></head><body>Error 1015 You are being rate limited</body></html>"
)
BROKEN = '{"success":false,"result":null,"errors":[{"code":1101,"message":"internal error"}]}'

Mood = Literal["well", "limited", "broken", "garbage", "slow"]


class QuickService:
    """`async with QuickService(edge) as service:`; its tunnels are known to the edge.

    `mood` is what the next requests meet; "slow" answers well after `delay` seconds. Where it is to
    refuse connections, leave its block or do not enter it: `url` is the same before and after.
    """

    def __init__(self, edge: Edge, port: int = 0) -> None:
        self.edge = edge
        self.mood: Mood = "well"
        self.delay = 15.0
        self.handed: list[str] = []  # the names
        self.requests = 0
        self.port = port
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> QuickService:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        await listening.close(self._server)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            if self.mood == "slow":
                await asyncio.sleep(self.delay)
            status, kind, text = self._answer()
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
            )
            writer.write((head + text).encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # whoever asked has left
        finally:
            writer.close()

    def _answer(self) -> tuple[str, str, str]:
        if self.mood == "limited":
            return "429 Too Many Requests", "text/html", LIMITED
        if self.mood == "broken":
            return "500 Internal Server Error", "application/json", BROKEN
        if self.mood == "garbage":
            return "200 OK", "application/json", "this is no JSON"
        tunnel = Tunnel.new()
        name = f"words-{uuid.uuid4().hex[:8]}-made-up.trycloudflare.com"
        self.edge.secrets[tunnel.tunnel_id] = {tunnel.secret}
        self.edge.hostnames[name] = tunnel.tunnel_id
        self.handed.append(name)
        result = {
            "id": tunnel.tunnel_id,
            "name": f"qt-{tunnel.tunnel_id}",
            "hostname": name,
            "account_tag": tunnel.account,
            "secret": tunnel.secret,
        }
        return (
            "200 OK",
            "application/json",
            json.dumps({"success": True, "result": result, "errors": []}),
        )
