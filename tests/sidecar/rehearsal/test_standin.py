"""What a stand-in does on its connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from sidecar.dialects import DIALECTS
from sidecar.rehearsal import misdeeds as m
from sidecar.rehearsal.standin import Behaviour, StandIn
from sidecar.rehearsal.steps import End, Pause, Send
from sidecar.rehearsal.voice import Voice
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}'


def post(body: bytes = BODY) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


@asynccontextmanager
async def standin(*script: Behaviour, dialect: Dialect = DIALECTS[0]) -> AsyncIterator[StandIn]:
    now = asyncio.get_running_loop().time
    async with StandIn("p", Voice(dialect, "a", 7), script, now) as one:
        yield one


async def read(one: StandIn, *requests: bytes, end: bool = True) -> bytes:
    """What comes on one connection; raises ConnectionResetError."""
    reader, writer = await asyncio.open_connection(*one.address)
    try:
        writer.writelines(requests)
        if end:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


async def test_the_last_behaviour_goes_on() -> None:
    async with standin(m.DOWN, m.well) as one:
        answers = [await read(one, post()) for _ in range(3)]
    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"503", b"200", b"200"]
    assert [asked.model for asked in one.asked] == ["m"] * 3


async def test_a_connection_lives_on() -> None:
    async with standin(m.dies_when_reused) as one:
        with pytest.raises(ConnectionResetError):
            await read(one, post(), post())
        assert [(asked.connection, asked.before) for asked in one.asked] == [(1, 0), (1, 1)]


async def test_without_a_script_it_refuses() -> None:
    async with standin() as one:
        with pytest.raises(ConnectionRefusedError):
            await read(one, post())


@pytest.mark.parametrize("steps", [[End.SILENCE], [Pause(60)], [Send(b"x"), End.SILENCE]])
async def test_it_notices_who_leaves(steps: Sequence[End | Pause | Send]) -> None:
    async with standin(m.only(*steps)) as one:
        await read(one, post())
        async with asyncio.timeout(30):
            while not one.left:  # noqa: ASYNC110  # it is another task's to notice
                await asyncio.sleep(0.01)
    assert len(one.left) == 1


async def test_a_handshake_is_no_request() -> None:
    async with standin(m.well) as one:
        assert (await read(one, b"\x16\x03\x01", end=False)).startswith(b"HTTP/1.1 400")
        assert one.asked == []


@pytest.mark.parametrize("dialect", DIALECTS, ids=[one.name for one in DIALECTS])
async def test_it_tells_its_models_and_that_is_no_part_of_the_script(dialect: Dialect) -> None:
    path = dialect.base_prefix + dialect.backend_paths[Operation.MODELS]
    async with standin(m.DOWN, m.well, dialect=dialect) as one:
        raw = await read(one, f"GET {path} HTTP/1.1\r\n\r\n".encode())
        head, _, body = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        dialect.decode_models(json.loads(body))
        assert (await read(one, b"HEAD / HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")
        assert one.asked == []


async def test_in_an_outage_it_tells_nothing() -> None:
    async with standin(m.Outage(1e9)) as one:
        assert (await read(one, b"GET /v1/models HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 503")
