"""Bad input: an error in the client's dialect says what is wrong before any backend is called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.client import HANG, Got, chat, rude, status_of
from tests.e2e.harness import Config, Sidecar, chain
from tests.fakes.backend import Backend

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"
KIB, MB = 1024, 1_000_000
HI = {"role": "user", "content": "hi"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sidecar]:
    config: Config = {
        **chain(backend, models=["chat", "Fast-One"]),
        "limits": {"body": "10MB", "messages": 1000, "content": "5MB", "header": "64KB"},
    }
    async with Sidecar(tmp_path_factory.mktemp("bad"), config) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_is_asked(backend: Backend) -> None:
    """Each test begins with a backend that has seen nothing."""
    backend.requests.clear()


def complains(got: Got, status: int, code: str, *words: str) -> None:
    """An error in the dialect, with a code, a sentence that says these words, and an id."""
    assert (got.status, got.code) == (status, code), got.raw[:1000]
    assert set(got.error or {}) >= {"message", "type", "param", "code"}
    for word in words:
        assert word.lower() in got.message.lower(), got.message
    assert got.headers["x-request-id"]


BODIES = [
    pytest.param(b"", 400, "invalid_json", (), id="nothing"),
    pytest.param(b"{'model': 1}", 400, "invalid_json", ("json",), id="python"),
    pytest.param(b'{"model": "chat", ', 400, "invalid_json", (), id="half"),
    pytest.param(b'{"model": "chat"} x', 400, "invalid_json", (), id="and-more"),
    pytest.param(b'{"model": "\xff\xfe"}', 400, "invalid_json", (), id="not-utf-8"),
    pytest.param(b"[1, 2]", 400, "not_an_object", ("object",), id="array"),
    pytest.param(b'"chat"', 400, "not_an_object", ("object",), id="string"),
    pytest.param(b"null", 400, "not_an_object", ("object",), id="null"),
    pytest.param(b'{"model": "chat"}', 400, "empty_messages", ("messages",), id="no-messages"),
    pytest.param(
        b'{"model": "chat", "messages": []}', 400, "empty_messages", ("messages",), id="empty"
    ),
    pytest.param(
        json.dumps(chat(messages=[HI] * 1001)).encode(),
        400,
        "too_many_messages",
        ("1000", "1001"),
        id="1001-messages",
    ),
    pytest.param(
        json.dumps(chat(messages=[{"role": "user", "content": "x" * (5 * MB + 1)}])).encode(),
        413,
        "content_too_large",
        ("content",),
        id="long-content",
    ),
    pytest.param(
        json.dumps(chat(messages=[{"role": "user", "content": "x" * MB}] * 6)).encode(),
        413,
        "content_too_large",
        ("content",),
        id="long-contents",
    ),
    pytest.param(
        json.dumps(chat(padding="x" * 11 * MB)).encode(),
        413,
        "request_too_large",
        ("10",),
        id="long-body",
    ),
    pytest.param(
        json.dumps({"messages": [HI]}).encode(), 400, "missing_model", ("model",), id="no-model"
    ),
]


@pytest.mark.parametrize(("data", "status", "code", "words"), BODIES)
async def test_bodies(
    sidecar: Sidecar, backend: Backend, data: bytes, status: int, code: str, words: tuple[str, ...]
) -> None:
    complains(await sidecar.ask(data=data), status, code, *words)
    assert not backend.requests


@pytest.mark.parametrize(
    "body",
    [
        chat(messages="hi"),
        chat(messages=[17]),
        {**chat(), "model": 17},
        {**chat(), "stream": "yes"},
    ],
)
async def test_fields_of_a_wrong_type_are_named_or_left_to_the_backend(
    sidecar: Sidecar, body: dict[str, object]
) -> None:
    got = await sidecar.ask(body)
    assert got.status in {200, 400}
    if got.status == 400:
        assert any(name in got.message for name in ("messages", "model", "stream"))


async def test_the_limits_themselves_are_allowed(sidecar: Sidecar, backend: Backend) -> None:
    assert (await sidecar.ask(chat(messages=[HI] * 1000))).status == 200
    content = "x" * (5 * MB - 10)
    assert (await sidecar.ask(chat(messages=[{"role": "user", "content": content}]))).status == 200
    assert (await sidecar.ask(chat(padding="x" * (9 * MB)))).status == 200
    assert len(backend.requests) == 3


@pytest.mark.parametrize("asked", ["chta", "fast-on", "nothing-like-it"])
async def test_an_unknown_model_gets_the_nearest_names(
    sidecar: Sidecar, backend: Backend, asked: str
) -> None:
    got = await sidecar.ask(chat(asked))
    nearest = {"chta": "chat", "fast-on": "Fast-One"}.get(asked, "chat")
    complains(got, 404, "model_not_found", asked, nearest)
    assert not backend.requests


@pytest.mark.parametrize("asked", ["CHAT", "fast-one", "FAST-ONE"])
async def test_names_match_without_regard_to_case(sidecar: Sidecar, asked: str) -> None:
    assert (await sidecar.ask(chat(asked))).status == 200


async def test_an_unknown_backend_is_refused(sidecar: Sidecar, backend: Backend) -> None:
    got = await sidecar.ask(chat(), headers={"x-sidecar-backend": "q"})
    complains(got, got.status, "unknown_backend", "q", "p")
    assert 400 <= got.status < 500
    assert not backend.requests


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/chat/completion", 404, "unknown_path"),
        ("POST", "/chat", 404, "unknown_path"),
        ("GET", "/metrics", 404, "unknown_path"),
        ("POST", "/v1/../metrics", 404, "unknown_path"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("PUT", CHAT, 405, "method_not_allowed"),
        ("DELETE", CHAT, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_paths_and_methods(
    sidecar: Sidecar, backend: Backend, method: str, path: str, status: int, code: str
) -> None:
    got = await sidecar.ask(chat(), path, method=method)
    complains(got, status, code)
    if status == 405:
        assert got.headers["allow"]
    assert not backend.requests


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
async def test_the_content_type_must_be_json(sidecar: Sidecar, backend: Backend, kind: str) -> None:
    got = await sidecar.ask(chat(), headers={"content-type": kind})
    complains(got, 415, "unsupported_media_type", "application/json")
    assert not backend.requests


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_be_spelled_as_one_likes(sidecar: Sidecar, kind: str) -> None:
    assert (await sidecar.ask(chat(), headers={"content-type": kind})).status == 200


@pytest.mark.parametrize("size", [70 * KIB, 400 * KIB])
async def test_a_header_too_large(sidecar: Sidecar, backend: Backend, size: int) -> None:
    head = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-big: {'a' * size}\r\n\r\n"
    answer = await rude(sidecar.data_port, head.encode())
    assert status_of(answer) == 431
    assert b'"headers_too_large"' in answer
    assert not backend.requests


async def test_many_headers_too_large_together(sidecar: Sidecar) -> None:
    lines = "".join(f"x-{number}: {'a' * 1000}\r\n" for number in range(100))
    answer = await rude(
        sidecar.data_port, f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    )
    assert status_of(answer) == 431


async def test_too_many_headers(sidecar: Sidecar, backend: Backend) -> None:
    lines = "".join(f"a{number}: \r\n" for number in range(1000))  # with Host one more
    data = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    answer = await rude(sidecar.data_port, data)
    assert status_of(answer) == 431
    assert b'"headers_too_large"' in answer
    assert b"1000 header fields" in answer
    assert not backend.requests


async def test_an_address_of_a_megabyte(sidecar: Sidecar, backend: Backend) -> None:
    before = sidecar.rss
    data = b"GET /v1/models?" + b"a" * MB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await rude(sidecar.data_port, data)
    assert status_of(answer) == 431
    assert b"address" in answer
    assert sidecar.rss - before < 50 * MB
    assert not backend.requests


DEEP = 100_000
BOMBS = {
    "arrays": b"[" * DEEP + b"]" * DEEP,
    "arrays without an end": b"[" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "number of 100,000 digits": b"9" * DEEP,
    "exponent": b"1e" + b"9" * 100,
    "NaN": b"NaN",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses", "/api/chat"])
async def test_json_that_is_a_bomb_costs_nothing(
    sidecar: Sidecar, backend: Backend, path: str, bomb: bytes
) -> None:
    await sidecar.ask(chat())
    backend.requests.clear()
    before = sidecar.rss
    body = b'{"model":"chat","messages":[{"role":"user","content":"hi"}],"temperature":%b}' % bomb
    got = await sidecar.ask(data=body, path=path)
    assert got.status == 400
    assert b"invalid_json" in got.raw
    assert got.seconds < 5
    assert sidecar.rss - before < 50 * MB
    assert not backend.requests


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_400_and_no_more(
    sidecar: Sidecar, backend: Backend, junk: bytes
) -> None:
    assert status_of(await rude(sidecar.data_port, junk)) == 400
    assert (await sidecar.ask(chat())).status == 200
    assert len(backend.requests) == 1


# --- refused while reading, not after --------------------------------------------------------


def head(*lines: str) -> bytes:
    fixed = [f"POST {CHAT} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*fixed, *lines, "", ""]).encode()


async def test_a_huge_content_length_is_refused_before_the_body(
    sidecar: Sidecar, backend: Backend
) -> None:
    answer = await rude(sidecar.data_port, head("Content-Length: 50000000000") + b'{"model')
    assert status_of(answer) == 413
    assert b'"request_too_large"' in answer
    assert not backend.requests


async def test_expect_100_continue_gets_the_413_instead(sidecar: Sidecar) -> None:
    lines = ("Content-Length: 50000000", "Expect: 100-continue")
    assert status_of(await rude(sidecar.data_port, head(*lines))) == 413


async def test_an_endless_body_is_refused_while_it_comes(
    sidecar: Sidecar, backend: Backend
) -> None:
    before = sidecar.rss
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
    writer.write(head("Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"

    async def write() -> int:
        count = 0
        try:
            while True:
                writer.write(piece)
                await writer.drain()
                count += 1
        except OSError:
            return count

    async with asyncio.timeout(HANG), asyncio.TaskGroup() as group:
        writing = group.create_task(write())
        answer = await reader.read(65536)
        writing.cancel()
        writer.close()
    assert status_of(answer) == 413
    assert not backend.requests
    assert sidecar.rss - before < 100 * MB


async def test_a_body_that_never_comes_holds_nothing_up(sidecar: Sidecar) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
    writer.write(head("Content-Length: 1000") + b"{")
    await writer.drain()
    assert (await sidecar.ask(chat())).status == 200
    writer.close()
    await sidecar.idle()


async def test_refusals_are_counted(sidecar: Sidecar) -> None:
    before = await sidecar.metrics()
    await sidecar.ask(chat("no-such-model-anywhere"))
    await sidecar.ask(data=b"{")
    await sidecar.until_metric(
        lambda now: (
            now.value("rejected_requests_total", reason="unknown_model")
            == before.value("rejected_requests_total", reason="unknown_model") + 1
            and now.value("rejected_requests_total", reason="invalid")
            == before.value("rejected_requests_total", reason="invalid") + 1
        ),
        "both refusals are counted",
    )
