"""What a client gets, read without the sidecar's own code; raw sockets for rude clients."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

HANG = 30.0  # seconds after which a test calls an answer missing


def chat(model: str = "chat", *, stream: bool = False, **more: object) -> dict[str, object]:
    """A small chat request."""
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    if stream:
        body["stream"] = True
    return {**body, **more}


@dataclass
class Got:
    """An answer, to its end. `broken` says how the connection ended when not in good order."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes
    seconds: float
    broken: Exception | None = None
    events: list[dict[str, object]] = field(default_factory=list)
    done: bool = False

    def __post_init__(self) -> None:
        if self.is_stream:
            for line in self.raw.replace(b"\r\n", b"\n").split(b"\n"):
                self._line(line)

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.done = True
            return
        event = json.loads(data)  # a client would stumble over anything that is not JSON
        assert isinstance(event, dict)
        assert not self.done, "an event after [DONE]"
        self.events.append(event)

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def json(self) -> dict[str, object]:
        value = json.loads(self.raw)
        assert isinstance(value, dict)
        return value

    @property
    def error(self) -> dict[str, object] | None:
        """The error object: of the body, or of the stream's error event."""
        for holder in self.events if self.is_stream else [self.json]:
            error = holder.get("error")
            if isinstance(error, dict):
                return error
        return None

    @property
    def message(self) -> str:
        return str((self.error or {}).get("message", ""))

    @property
    def code(self) -> object:
        return (self.error or {}).get("code")

    def _choices(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for holder in self.events if self.is_stream else [self.json]:
            choices = holder.get("choices")
            if isinstance(choices, list):
                found += choices
        return found

    @property
    def text(self) -> str:
        parts = [choice.get("delta") or choice.get("message") or {} for choice in self._choices()]
        return "".join(part.get("content") or "" for part in parts if isinstance(part, dict))

    @property
    def finish(self) -> object:
        reasons = [choice.get("finish_reason") for choice in self._choices()]
        return next((reason for reason in reasons if reason), None)

    @property
    def usage(self) -> object:
        holders = self.events if self.is_stream else [self.json]
        return next((each["usage"] for each in holders if each.get("usage")), None)

    @property
    def models(self) -> set[object]:
        """Every model name that the answer bears."""
        holders = self.events if self.is_stream else [self.json]
        return {each["model"] for each in holders if "model" in each}


async def fetch(
    http: aiohttp.ClientSession,
    url: str,
    *,
    method: str = "POST",
    body: object = None,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Got:
    """One request, read to its end within the hang limit; a broken end is part of what is got."""
    sent: CIMultiDict[str] = CIMultiDict(headers or {})
    if body is not None:
        data = json.dumps(body).encode()
    if data is not None and "content-type" not in sent:
        sent["content-type"] = "application/json"
    start = time.monotonic()
    async with (
        asyncio.timeout(HANG),
        http.request(
            method,
            url,
            data=io.BytesIO(data) if data else data,
            headers=sent,
            allow_redirects=False,
        ) as reply,
    ):
        return await read(reply, start)


async def read(
    reply: aiohttp.ClientResponse, start: float, heard: asyncio.Event | None = None
) -> Got:
    """The answer to its end; `start` is when it was asked for, in monotonic seconds.

    `heard` is set when the first of its body has come.
    """
    raw, broken = bytearray(), None
    try:
        async for part in reply.content.iter_any():
            raw += part
            if heard is not None:
                heard.set()
    except aiohttp.ClientError as error:
        broken = error
    return Got(reply.status, reply.headers, bytes(raw), time.monotonic() - start, broken)


async def rude(port: int, data: bytes, *, host: str = "127.0.0.1", finish: bool = False) -> bytes:
    """Write bytes to a socket and read until the other side has answered and closed, or is quiet.

    Gives what came. `finish` says that no more will be written (half close).
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        await writer.drain()
        if finish:
            writer.write_eof()
        async with asyncio.timeout(HANG):
            return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """A whole answer: to its content-length, or to the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as short:
        return short.partial
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head + await reader.read()


def status_of(answer: bytes) -> int:
    """The status code of a raw answer."""
    return int(answer.split(b" ", 2)[1])
