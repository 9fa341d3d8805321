"""No request is ever read as another one, or as two, whatever stands in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.client import HANG, chat, status_of
from tests.e2e.harness import Sidecar, with_relay
from tests.e2e.smuggling.corpus import (
    BODY,
    EVIL,
    LENGTH,
    LINE,
    NEXT,
    PATH,
    REFUSED,
    TAKEN,
    Case,
    request,
)
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = (PATH, b"/v1/files")  # parsed here; relayed as it comes
IN_FULL = BODY.replace(b'"chat"', b'"model-p"')  # what a backend gets of the parsed one
REFUSALS = {400, 413}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sidecar]:
    async with Sidecar(tmp_path_factory.mktemp("smuggling"), with_relay(backend)) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_is_asked(backend: Backend) -> None:
    backend.requests.clear()
    backend.others.clear()


async def to_the_end(sidecar: Sidecar, *pieces: bytes, until: bytes | None = None) -> bytes:
    """What comes for these pieces until the sidecar closes, or has said `until` so often."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
    raw = bytearray()
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(HANG):
            while piece := await reader.read(65536):
                raw += piece
                if until is not None and raw.count(until) == 2:
                    break
    except ConnectionError:
        pass  # a reset is an end too
    finally:
        writer.close()
    return bytes(raw)


def cases(which: tuple[Case, ...]) -> list[object]:
    return [
        pytest.param(case, path, id=f"{case.name}-{path.decode()}")
        for case in which
        for path in PATHS
    ]


async def others_are_answered(sidecar: Sidecar, backend: Backend) -> None:
    before = len(backend.requests)
    got = await sidecar.ask(chat())
    assert (got.status, got.text) == (200, text_of("p"))
    assert len(backend.requests) == before + 1


@pytest.mark.parametrize(("case", "path"), cases(REFUSED))
async def test_what_is_ambiguous_is_refused_and_the_connection_closed(
    sidecar: Sidecar, backend: Backend, case: Case, path: bytes
) -> None:
    data = case.data.replace(PATH, path) + NEXT
    answer = await to_the_end(sidecar, data)
    assert status_of(answer) in REFUSALS, answer
    assert answer.count(b"\r\nx-request-id:") + answer.count(b"\r\nX-Request-ID:") == 1
    assert not [seen.body for seen in backend.requests]
    assert not [seen for seen in backend.others if seen.method != "GET"]
    await others_are_answered(sidecar, backend)


@pytest.mark.parametrize(("case", "path"), cases(TAKEN))
async def test_what_has_one_meaning_only_is_one_request(
    sidecar: Sidecar, backend: Backend, case: Case, path: bytes
) -> None:
    assert case.why
    data = case.data.replace(PATH, path) + NEXT
    answer = await to_the_end(sidecar, data, until=b"HTTP/1.1 200")
    assert status_of(answer) == 200
    first = BODY if path != PATH else IN_FULL
    second = [] if case.closes else [EVIL.replace(b'"chat"', b'"model-p"')]
    if second:
        await backend.seen(2)
    assert backend.bodies == [first, *second]
    assert backend.requests[0].path == path.decode()
    await others_are_answered(sidecar, backend)


async def in_pieces(sidecar: Sidecar, data: bytes, until: bytes | None = None) -> bytes:
    """The same in pieces of seven bytes, each of which comes alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
    raw = bytearray()

    async def write() -> None:
        with contextlib.suppress(ConnectionError):  # it has heard enough
            for at in range(0, len(data), 7):
                writer.write(data[at : at + 7])
                await writer.drain()
                await asyncio.sleep(0.001)

    async with asyncio.timeout(2 * HANG), asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        try:
            while piece := await reader.read(65536):
                raw += piece
                if until is not None and until in raw:
                    break
        except ConnectionError:
            pass  # a reset is an end too
        writing.cancel()
        writer.close()
    return bytes(raw)


async def all_in_pieces(
    sidecar: Sidecar, which: tuple[Case, ...], tail: bytes, until: bytes | None = None
) -> dict[str, bytes]:
    """What comes for each, twenty at a time."""
    turn, told = asyncio.Semaphore(20), {}

    async def one(case: Case, path: bytes) -> None:
        async with turn:
            data = case.data.replace(PATH, path) + tail
            told[f"{case.name} {path!r}"] = await in_pieces(sidecar, data, until)

    async with asyncio.TaskGroup() as group:
        for case in which:
            for path in PATHS:
                group.create_task(one(case, path))
    return told


async def test_what_is_ambiguous_is_refused_in_pieces_too(
    sidecar: Sidecar, backend: Backend
) -> None:
    told = await all_in_pieces(sidecar, REFUSED, NEXT)
    wrong = {name: raw for name, raw in told.items() if b" 200 " in raw.split(b"\r\n")[0]}
    assert sorted(wrong) == []
    assert not backend.requests
    await others_are_answered(sidecar, backend)


async def test_what_has_one_meaning_only_is_one_request_in_pieces_too(
    sidecar: Sidecar, backend: Backend
) -> None:
    small = tuple(case for case in TAKEN if len(case.data) < 1000)
    told = await all_in_pieces(sidecar, small, b"", until=b"HTTP/1.1 200")
    assert {name: raw for name, raw in told.items() if status_of(raw) != 200} == {}
    assert sorted(backend.bodies) == sorted([BODY, IN_FULL] * len(small))


async def test_http_1_0_is_answered_and_the_connection_closed(
    sidecar: Sidecar, backend: Backend
) -> None:
    data = request(LENGTH, first=LINE[:-1] + b"0")
    answer = await to_the_end(sidecar, data)
    assert (status_of(answer), backend.bodies) == (200, [IN_FULL])
    backend.requests.clear()
    assert status_of(await to_the_end(sidecar, data + NEXT)) == 400, "it cannot have a next one"
    assert not backend.requests
