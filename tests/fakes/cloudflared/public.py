"""The entry for visitors: HTTPS under public names, in front of a stand-in edge.

It adds and overwrites headers as Cloudflare does, and answers by itself where no tunnel does: 530
with error 1033, 502, 524. `instead` is given in place of everything: an Access page, a challenge.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import trustme
from aiohttp import web
from multidict import CIMultiDict

from tests.fakes import listening
from tests.fakes.cloudflared.edge import Edge
from tests.fakes.cloudflared.links import Cut, NoTunnel, Stream

NAME = "llm.example.com"
NAMES = (NAME, "*.trycloudflare.com", "other.example.com", "localhost", "127.0.0.1")
VISITOR = "203.0.113.7"
READ_TIMEOUT = 125.0
OWN = ("cf-connecting-ip", "cf-ray", "cf-visitor", "cf-ipcountry", "cf-warp-tag-id", "cdn-loop")
HOP = ("connection", "keep-alive", "transfer-encoding", "upgrade", "te", "proxy-connection")
BODILESS = (204, 304)


@dataclass(frozen=True)
class Instead:
    """An answer of Cloudflare's own."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class Certificates:
    """An authority, and a context for the public names."""

    def __init__(self) -> None:
        authority = trustme.CA()
        self.pem = authority.cert_pem.bytes().decode()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*NAMES).configure_cert(self.context)


class Public:
    """`async with Public(edge, certificates) as public:`; without certificates plain HTTP."""

    def __init__(self, edge: Edge, certificates: Certificates | None = None) -> None:
        self.edge = edge
        self.instead: Instead | None = None
        self.adds: dict[str, str] = {}  # headers for the origin, such as an Access token
        self.read_timeout = READ_TIMEOUT
        self.visitor = VISITOR
        self.port = 0
        self._tls = None if certificates is None else certificates.context
        self._server = web.Server(
            self._answer, handler_cancellation=True, auto_decompress=False, access_log=None
        )
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Public:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._server, "127.0.0.1", self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        await listening.close(self._listener)
        await self._server.shutdown(0.1)

    @property
    def connect(self) -> tuple[str, int]:
        """What is dialled in place of the public name."""
        return "127.0.0.1", self.port

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        ray = f"{os.urandom(8).hex()}-FRA"
        if self.instead is not None:
            told = self.instead
            return web.Response(status=told.status, text=told.body, headers=told.headers)
        try:
            async with self.edge.stream(self._head(request, ray)) as stream:
                return await self._carry(request, stream, ray)
        except NoTunnel:
            return _page(530, "error code: 1033", ray)
        except (Cut, TimeoutError):
            return _page(502, "error code: 502", ray)

    def _head(self, request: web.BaseRequest, ray: str) -> dict[str, Any]:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.raw_headers
            if name.decode("latin-1").lower()
            not in (*OWN, *HOP, "host", "x-forwarded-proto", "expect")
        ]
        before = [value for name, value in headers if name.lower() == "x-forwarded-for"]
        headers = [each for each in headers if each[0].lower() != "x-forwarded-for"]
        headers += [
            ("X-Forwarded-For", ",".join([*before, self.visitor])),
            ("X-Forwarded-Proto", "https"),
            ("Cf-Connecting-Ip", self.visitor),
            ("Cf-Ray", ray),
            ("Cf-Visitor", '{"scheme":"https"}'),
            ("Cf-Ipcountry", "DE"),
            ("Cdn-Loop", "cloudflare; loops=1"),
            *self.adds.items(),
        ]
        return {
            "method": request.method,
            "host": request.headers.get("host", "").partition(":")[0],
            "path": request.raw_path,
            "headers": headers,
            "body": request.body_exists,
        }

    async def _carry(
        self, request: web.BaseRequest, stream: Stream, ray: str
    ) -> web.StreamResponse:
        if request.headers.get("expect", "").lower() == "100-continue" and request.transport:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with _beside(_upload(request, stream)):
            try:
                async with asyncio.timeout(self.read_timeout):
                    told = await stream.head()
            except TimeoutError:
                return _page(524, "error code: 524", ray)
            if told["source"] == "cloudflared":
                await _read_all(stream)
                return _page(told["status"], f"error code: {told['status']}", ray)
            return await self._relay(request, stream, told, ray)

    async def _relay(
        self, request: web.BaseRequest, stream: Stream, told: dict[str, Any], ray: str
    ) -> web.StreamResponse:
        headers = CIMultiDict((name, value) for name, value in told["headers"])
        headers.popall("server", None)
        headers.update({"Server": "cloudflare", "Cf-Ray": ray})
        answer = web.StreamResponse(status=told["status"], headers=headers)
        bodiless = request.method == "HEAD" or told["status"] in BODILESS
        if "content-length" not in headers and not bodiless:
            answer.enable_chunked_encoding()
        await answer.prepare(request)
        pieces = stream.pieces()
        try:
            while True:
                async with asyncio.timeout(self.read_timeout):
                    piece = await anext(pieces, b"")
                if not piece:
                    break
                await answer.write(piece)
        except (TimeoutError, asyncio.IncompleteReadError, Cut):
            if request.transport is not None:
                request.transport.abort()
            return answer
        except ConnectionError:
            return answer  # the visitor has left
        await answer.write_eof()
        return answer


def _page(status: int, text: str, ray: str) -> web.Response:
    headers = {"Server": "cloudflare", "Cf-Ray": ray, "Cache-Control": "no-store"}
    return web.Response(status=status, text=text, headers=headers)


async def _read_all(stream: Stream) -> None:
    async for _ in stream.pieces():
        pass


async def _upload(request: web.BaseRequest, stream: Stream) -> None:
    """Bring the body; where the other side does not want it, the answer says why."""
    with contextlib.suppress(ConnectionError, web.HTTPException):
        async for piece in request.content.iter_any():
            await stream.send(piece)
        await stream.send(b"")


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    """Do it beside the block, and no longer than that."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
