"""The fake backend does what its script says, seen through an ordinary HTTP client."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend, refusing_port
from tests.fakes.certificates import Authority

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}


async def post(
    backend: Backend, body: object, path: str = "/chat/completions", **more: object
) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(backend.base_url + path, json=body, **more) as reply,  # type: ignore[arg-type]
    ):
        return reply.status, await reply.read()


def said(raw: bytes) -> str:
    """The text of a streamed answer."""
    text = ""
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data: {"):
            choices = json.loads(line[6:]).get("choices") or [{"delta": {}}]
            text += choices[0]["delta"].get("content") or ""
    return text


@pytest.mark.parametrize(
    "behaviour",
    [b.well(), b.in_pieces(1), b.in_pieces(7), b.crlf, b.zipped, b.no_done(b.Send(b.END))],
    ids=["well", "bytes", "sevens", "crlf", "gzip", "no_done"],
)
async def test_a_right_stream_is_the_same_text_in_every_dress(behaviour: b.Behaviour) -> None:
    async with Backend("p", behaviour) as backend:
        status, raw = await post(backend, STREAM)
    assert (status, said(raw)) == (200, answers.text_of("p"))


async def test_the_script_is_played_in_order_and_then_the_rest() -> None:
    async with Backend("p", b.status(500), b.rate_limited("2"), rest=b.well(["ok"])) as backend:
        statuses = [(await post(backend, CHAT))[0] for _ in range(4)]
        assert statuses == [500, 429, 200, 200]
        first = backend.requests[0]
        assert (first.method, first.path, first.model) == ("POST", "/v1/chat/completions", "m")
        assert first.header("Content-Type") == "application/json"
        assert first.at <= backend.requests[1].at <= time.monotonic()


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (b.reset, aiohttp.ClientConnectionError),
        (b.hang_up, aiohttp.ServerDisconnectedError),
        (b.cut(b.Reset()), aiohttp.ClientError),
        (b.cut(b.Close(), half=True), aiohttp.ClientPayloadError),
        (b.cut_whole(b.Close()), aiohttp.ClientPayloadError),
        (b.endless_header, aiohttp.ClientError),
    ],
)
async def test_broken_connections_break(behaviour: b.Behaviour, expected: type[Exception]) -> None:
    async with Backend("p", behaviour) as backend:
        with pytest.raises(expected):
            await post(backend, STREAM)


async def test_a_reused_connection_can_be_dead() -> None:
    async with Backend("p", rest=b.dead_when_reused) as backend, aiohttp.ClientSession() as client:
        async with client.post(backend.base_url + "/chat/completions", json=CHAT) as reply:
            assert reply.status == 200
            await reply.read()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post(backend.base_url + "/chat/completions", json=CHAT)
        assert [seen.nth_on_connection for seen in backend.requests] == [0, 1]


@pytest.mark.parametrize("behaviour", [b.silent, b.opened(b.Silence()), b.cut(b.Silence())])
async def test_it_notices_when_the_client_leaves(behaviour: b.Behaviour) -> None:
    async with Backend("p", behaviour) as backend:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(post(backend, STREAM))
            seen = await backend.seen()
            assert not seen.left.is_set()
            call.cancel()
            await asyncio.wait_for(seen.left.wait(), 10)
        assert not seen.answered.is_set()


async def test_it_notices_a_client_that_leaves_while_it_writes_for_ever() -> None:
    async with Backend("p", b.endless_body) as backend:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(post(backend, STREAM))
            seen = await backend.seen()
            call.cancel()
            await asyncio.wait_for(seen.left.wait(), 10)
        assert seen.sent > 0


@pytest.mark.parametrize(
    ("asked", "setting", "expected"),
    [
        (False, "on_request", False),
        (True, "on_request", True),
        (False, "always", True),
        (True, "never", False),
    ],
)
async def test_usage_in_streams(
    asked: bool, setting: answers.UsageInStream, expected: bool
) -> None:
    body = {**STREAM, **({"stream_options": {"include_usage": True}} if asked else {})}
    async with Backend("p", b.well(usage=setting)) as backend:
        _, raw = await post(backend, body)
    assert (b'"completion_tokens": 60' in raw) is expected


async def test_tools_embeddings_completions_and_models() -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {}}}
    async with Backend("p", models=("a", "b")) as backend:
        _, raw = await post(backend, {**CHAT, "tools": [tool]})
        assert json.loads(raw)["choices"][0]["finish_reason"] == "tool_calls"
        _, raw = await post(backend, {"model": "e", "input": ["x", "y"]}, "/embeddings")
        assert json.loads(raw)["data"][1]["embedding"] == answers.vector(1)
        _, raw = await post(backend, {"model": "m", "prompt": "x"}, "/completions")
        assert json.loads(raw)["choices"][0]["text"] == answers.text_of("p")
        async with (
            aiohttp.ClientSession() as client,
            client.get(backend.base_url + "/models") as reply,
        ):
            assert [each["id"] for each in (await reply.json())["data"]] == ["a", "b"]
        assert len(backend.requests) == 3


async def test_tls_good_and_expired(tmp_path: Path) -> None:
    authority = Authority()
    trust = ssl.create_default_context(cafile=str(authority.write_bundle(tmp_path)))
    async with Backend("p", tls=authority.server()) as backend:
        status, _ = await post(backend, CHAT, ssl=trust)
        assert status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="verify"):
            await post(backend, CHAT)
    async with Backend("p", tls=authority.server(expired=True)) as backend:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
            await post(backend, CHAT, ssl=trust)


async def test_a_port_that_refuses() -> None:
    with refusing_port() as port:
        backend = Backend("p")
        backend.port = port
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(backend, CHAT)
