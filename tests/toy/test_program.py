"""A fifth dialect is one folder and one line: the real program speaks the toy, either side."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.crossing import ANTHROPIC, DIALECTS, ENV, OPENAI, PATHS, backend, chat, strict
from tests.e2e.harness import Config, Sidecar

WORDS = "Grüezi mitenand"
_WHOLE = {
    "id": "toy-1",
    "model": "teddy",
    "say": [{"think": "hm"}, {"text": WORDS}],
    "ended": "end",
    "until": None,
    "spent": [5, 7],
}
_LINES = (
    'hello: {"id": "toy-1", "model": "teddy"}',
    'think: "hm"',
    "next: null",
    'text: "Grüezi "',
    'text: "mitenand"',
    "next: null",
    "spent: [5, 7]",
    'bye: {"ended": "end"}',
)


class ToySidecar(Sidecar):
    """The program with the toy in its registry."""

    program = "tests.toy.launch"


@asynccontextmanager
async def toy_backend() -> AsyncIterator[tuple[str, list[dict[str, object]]]]:
    """A backend that speaks the toy: its base URL, and the requests that it saw."""
    seen: list[dict[str, object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        sizes = [
            line.split(":")[1] for line in head.lower().splitlines() if "content-length" in line
        ]
        body = json.loads(await reader.readexactly(int(sizes[0]))) if sizes else {}
        told, kind = json.dumps(_WHOLE), "application/json"
        if head.startswith("GET"):
            told = json.dumps({"models": [{"name": "teddy"}]})
        else:
            seen.append({"path": head.split()[1], **body})
            if body.get("stream"):
                told, kind = "".join(line + "\n" for line in _LINES), "application/x-toy"
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode()
        )
        writer.write(told.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/toy", seen


def routed(target: Config) -> Config:
    """One backend behind the model `chat`."""
    return {
        "backends": {"one": target},
        "routes": {"chat": {"models": ["chat"], "targets": [{"backend": "one", "model": "teddy"}]}},
    }


def asking(*, stream: bool) -> dict[str, object]:
    turns = [
        {"by": "rules", "say": [{"text": "Be kind."}]},
        {"by": "user", "say": [{"text": "hi"}]},
    ]
    return {"model": "chat", "stream": stream, "turns": turns}


def said(raw: bytes, *, stream: bool) -> tuple[str, str]:
    """The words of the toy's answer, and how it ended."""
    if not stream:
        body = json.loads(raw)
        return "".join(piece.get("text", "") for piece in body["say"]), body["ended"]
    lines = [line.split(": ", 1) for line in raw.decode().splitlines()]
    text = "".join(json.loads(value) for key, value in lines if key == "text")
    (end,) = [json.loads(value) for key, value in lines if key == "bye"]
    assert lines[0][0] == "hello" and lines[-1][0] == "bye"
    return text, end["ended"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_of_the_toy_asks_every_backend(tmp_path: Path, dialect: str) -> None:
    async with strict(dialect) as fake:
        config = routed(backend(fake))
        config["routes"]["chat"]["targets"] = [  # type: ignore[index]
            {"backend": "one", "model": f"{fake.vendor.family}:text"}
        ]
        async with ToySidecar(tmp_path, config, env=ENV) as sidecar:
            for stream in (False, True):
                got = await sidecar.ask(asking(stream=stream), "/toy/talk")
                assert got.status == 200, got.raw
                assert got.headers["content-type"] == (
                    "application/x-toy" if stream else "application/json"
                )
                text, ended = said(got.raw, stream=stream)
                assert "heard «hi» as «Be kind.»" in text and "Grüezi" in text
                assert ended == "end"


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC])
async def test_a_backend_of_the_toy_answers_other_clients(tmp_path: Path, dialect: str) -> None:
    async with toy_backend() as (url, seen):
        config = routed({"dialect": "toy", "base_url": url})
        async with ToySidecar(tmp_path, config) as sidecar:
            for stream in (False, True):
                got = await sidecar.ask(chat(dialect, stream=stream), PATHS[dialect])
                assert got.status == 200, got.raw
                told = json.dumps(got.events if stream else got.json, ensure_ascii=False)
                assert "Grüezi " in told and "mitenand" in told and "teddy" in told
                assert seen[-1]["path"] == "/toy/talk" and seen[-1]["stream"] is stream
                assert seen[-1]["turns"] == [{"by": "user", "say": [{"text": "hi"}]}]


async def test_between_equal_toys_the_very_bytes_pass(tmp_path: Path) -> None:
    async with toy_backend() as (url, seen):
        config = routed({"dialect": "toy", "base_url": url})
        async with ToySidecar(tmp_path, config) as sidecar:
            got = await sidecar.ask({**asking(stream=True), "odd": [1.10]}, "/toy/talk")
            assert got.raw.decode() == "".join(line + "\n" for line in _LINES)
            assert seen[-1]["odd"] == [1.10] and seen[-1]["model"] == "teddy"
            listed = await sidecar.get("/toy/models")
            assert {"name": "chat", "model": "chat"} in listed.json["models"]  # type: ignore[operator]
            wrong = await sidecar.ask({"model": "chat"}, "/toy/talk")
            assert wrong.status == 400 and wrong.json["kind"] == "bad_request"
