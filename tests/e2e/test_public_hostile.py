"""Whoever means harm on the public listener gets nothing, learns nothing and slows nobody."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import HANG, Got, chat, rude, status_of
from tests.e2e.crossing import ANTHROPIC, DIALECTS, OLLAMA, PATHS
from tests.e2e.crossing import chat as chat_of
from tests.e2e.harness import Config
from tests.e2e.smuggling import corpus
from tests.e2e.strangers import LAPTOP, PHONE, Public, canaries, everything, offered
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.sidecar.control.test_access import (
    AUDIENCE,
    CURVE,
    OTHER,
    SERVICE,
    TEAM,
    Certs,
    forged,
    token,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/chat/completions"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: llm.example.com\r\nContent-Type: application/json\r\n"
KEYED = f"{HEAD}Authorization: Bearer {LAPTOP}\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p", models=("canary-model-7b", "canary-hidden")) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Public]:
    config = offered(backend)
    routes = config["routes"]
    assert isinstance(routes, dict)
    relayed: Config = {"relay": True, "public": True, "targets": [{"backend": "canary-backend"}]}
    routes["rest"] = relayed
    async with Public(tmp_path_factory.mktemp("hostile"), config) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(backend: Backend) -> None:
    backend.requests.clear()
    backend.others.clear()


def learns_nothing(raw: bytes, backend: Backend) -> None:
    told = raw.decode("utf-8", "replace")
    assert [
        one for one in (*canaries(backend), "x-sidecar", "attempts") if one in told.lower()
    ] == []


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_a_good_key_there_is_a_401_in_the_clients_dialect(
    sidecar: Public, backend: Backend, dialect: str
) -> None:
    seen = set()
    for model in ("chat", "hidden", "nobodys"):
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Bearer {LAPTOP}x"},
            {"authorization": f"Bearer {LAPTOP[:-1]}"},
            {"authorization": f"Basic {LAPTOP}"},
            {"authorization": f"Bearer {LAPTOP}", "x-api-key": PHONE},
            {"x-api-key": "wrong"},
            {"api-key": LAPTOP},
            {"cookie": f"key={LAPTOP}"},
        ):
            body = {**chat_of(dialect), "model": model}
            path = f"{PATHS[dialect]}?key={LAPTOP}&api_key={LAPTOP}"
            got = await sidecar.visit(body, path, key=None, headers=headers)
            assert (got.status, got.headers["www-authenticate"]) == (401, "Bearer")
            learns_nothing(everything(got).encode(), backend)
            seen.add(got.raw.decode().replace(got.headers["x-request-id"], "ID"))
    assert len(seen) == 1, "one answer, whatever is wrong and whatever is asked for"
    error = json.loads(seen.pop())
    if dialect == ANTHROPIC:
        assert error["error"]["type"] == "authentication_error"
    elif dialect == OLLAMA:
        assert isinstance(error["error"], str)
    else:
        assert error["error"]["code"] == "unauthorized"
    assert not backend.requests


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_good_key_is_good_in_either_header(sidecar: Public, header: str) -> None:
    value = f"Bearer {LAPTOP}" if header == "authorization" else LAPTOP
    assert (await sidecar.visit(chat(), key=None, headers={header: value})).status == 200


async def test_refusals_are_counted_by_reason_and_logged_with_it(sidecar: Public) -> None:
    before, here = await sidecar.metrics(), {"cf-connecting-ip": "192.0.2.77"}
    asked = [
        ("no_key", await sidecar.visit(chat(), key=None, headers=here)),
        ("bad_key", await sidecar.visit(chat(), key="wrong", headers=here)),
        ("path", await sidecar.visit(chat(), "/nowhere", headers=here)),
    ]
    after = await sidecar.metrics()
    for reason, got in asked:
        name = "public_rejected_total"
        assert after.value(name, reason=reason) == before.value(name, reason=reason) + 1
        line = await sidecar.request_line(got.headers["x-request-id"])
        assert line.get("refused") == (None if reason == "path" else reason)
        assert line["source"] == "192.0.2.77"
        assert "wrong" not in json.dumps(line)


async def test_a_scanner_does_not_fill_the_log(backend: Backend, tmp_path: Path) -> None:
    scanner, guest = {"cf-connecting-ip": "192.0.2.1"}, {"cf-connecting-ip": "192.0.2.2"}
    async with Public(tmp_path, offered(backend)) as sidecar:
        for number in range(100):
            got = await sidecar.visit(chat(), f"/{number}.php", key=None, headers=scanner)
            assert got.status == 404
        for _ in range(20):
            assert (await sidecar.visit(chat(), key="wrong", headers=scanner)).status == 401
        for _ in range(10):
            assert (await sidecar.visit(chat(), headers=guest)).status == 200
        counted = await sidecar.metrics()
        assert counted.value("public_rejected_total", reason="path") == 100
        sidecar.signal(signal.SIGTERM)
        assert await sidecar.exit_code() == 0
        lines = [line for line in sidecar.log if "source" in line]
        of_scanner = [line for line in lines if line["source"] == "192.0.2.1"]
        assert len(of_scanner) <= 10, "a few requests, and how many came behind them"
        more = [line for line in of_scanner if "by" in line]
        assert (
            sum(1 for line in of_scanner if "attempts" in line)
            + sum(line["requests"] for line in more if isinstance(line["requests"], int))
            == 120
        )
        assert {"404", "bad_key"} == {
            reason for line in more if isinstance(line["by"], dict) for reason in line["by"]
        }
        assert len([line for line in lines if line["source"] == "192.0.2.2"]) == 10


async def test_what_fails_too_often_is_told_to_come_back(backend: Backend, tmp_path: Path) -> None:
    limits = {"per_source": {"requests": "none", "failures": "3/min"}}
    async with Public(tmp_path, offered(backend), {"limits": limits}) as sidecar:
        bad, good = {"cf-connecting-ip": "192.0.2.1"}, {"cf-connecting-ip": "192.0.2.2"}
        told = [(await sidecar.visit(chat(), key="wrong", headers=bad)).status for _ in range(3)]
        assert told == [401] * 3
        for key in ("wrong", None, LAPTOP):
            late = await sidecar.visit(chat(), key=key, headers=bad)
            assert late.status == 429, "also with a good key: it is not looked at"
            assert 1 <= int(late.headers["retry-after"]) <= 20
        assert (await sidecar.visit(chat(), headers=good)).status == 200
        metrics = await sidecar.metrics()
        assert metrics.value("public_rejected_total", reason="rate") == 3
        assert metrics.value("public_rejected_total", reason="bad_key") == 3


# --- paths ---------------------------------------------------------------------------------------

ELSEWHERE = [
    "/", "/health", "/status", "/metrics", "/livez", "/readyz", "/startupz", "/reload", "/admin",
    "/api/delete", "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/ps",
    "/api/embeddings",
    "/api/blobs/sha256:0", "/api/blobs", "/api", "/api/", "/v1", "/v1/", "/v1/files",
    "/v1/responses/resp_1", "/v1/conversations", "/v1/chat/completions/chatcmpl-1", "/v1/models/",
    "/v1/models/..", "/v1/models/../chat/completions", "/v1/models/%2e%2e/x", "/v1/models//x",
    "/v1/models/x/", "/v1/models/.x", "/v1/models/x%2fy", "/v1/images/generations",
    "/%76%31/chat/completions", "/v1/chat/%63ompletions", "/v1%2fchat%2fcompletions",
    "/v1/chat/completions/", "//v1/chat/completions", "/v1//chat/completions",
    "/v1/./chat/completions", "/v1/x/../chat/completions", "/v1/%2e/chat/completions",
    "/V1/chat/completions", "/v1/Chat/Completions", "/v1/chat/completions;x=1",
    "/v1/chat/completions%00", "/v1/chat/completions%20", "/v1/chat/completions.json",
    "/v1\\chat\\completions", "/v1/chat/completions%3fx", "/%61pi/delete", "/api/%64elete",
    "/api/chat/../delete", "/api/tags/", "/API/tags", "/api//tags", "/x/api/tags",
    "/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef",
]  # fmt: skip


async def raw_answer(sidecar: Public, method: str, target: str, *lines: str) -> bytes:
    head = [f"{method} {target} HTTP/1.1", "Host: llm.example.com", "X-Request-Id: the-id", *lines]
    return await rude(sidecar.public_port, "\r\n".join([*head, "", ""]).encode())


def without_date(raw: bytes) -> bytes:
    lines = raw.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"date:"))


async def test_whatever_is_not_on_the_list_is_the_same_404(
    sidecar: Public, backend: Backend
) -> None:
    whole = f"http://llm.example.com{PATH}"
    asked = [
        *itertools.product(("GET", "POST", "DELETE"), [*ELSEWHERE, whole]),
        ("GET", PATH), ("PUT", PATH), ("DELETE", PATH), ("PATCH", PATH), ("OPTIONS", PATH),
        ("POST", "/v1/models"), ("DELETE", "/v1/models/chat"), ("POST", "/api/tags"),
        ("POST", "/api/version"), ("GET", "/api/chat"), ("GET", "/api/show"),
        ("GET", "/v1/messages"), ("OPTIONS", "*"),
    ]  # fmt: skip
    key = f"Authorization: Bearer {LAPTOP}"
    seen: dict[bytes, list[str]] = {}
    for method, target in asked:
        for lines in ((key,), (), (key, "anthropic-version: 2023-06-01", "Accept-Encoding: gzip")):
            raw = await raw_answer(sidecar, method, target, *lines)
            assert status_of(raw) == 404, (method, target)
            seen.setdefault(without_date(raw), []).append(f"{method} {target}")
    for path in ("/v1/messages", "/v1/models", "/health"):
        bare = await sidecar.visit(path=path, method="HEAD")
        assert (bare.status, bare.raw) == (404, b"")
    assert len(seen) == 1, [asked[:3] for asked in seen.values()]
    learns_nothing(next(iter(seen)), backend)
    assert not backend.requests
    assert not [one for one in backend.others if one.method != "GET"]


async def test_without_a_key_the_list_is_all_that_shows(sidecar: Public) -> None:
    for method, path in (
        ("GET", "/v1/models"), ("GET", "/v1/models/chat"), ("GET", "/v1/models/nobodys"),
        ("GET", "/api/tags"), ("GET", "/api/version"), ("POST", "/api/show"),
        ("POST", "/v1/messages/count_tokens"), ("POST", "/api/generate"),
    ):  # fmt: skip
        assert status_of(await raw_answer(sidecar, method, path)) == 401, path


# --- Cloudflare Access ---------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Public]:
    """A sidecar that wants a token of Access, and no key."""
    async with Certs().serving() as certs:
        access = {"team": "acme", "audience": AUDIENCE, "certs_url": certs.url}
        section: Config = {"keys": None, "access": access}
        # a line for each request, also for those behind the first few of a minute
        config = {**offered(backend), "log": {"level": "debug", "format": "json"}}
        async with Public(tmp_path_factory.mktemp("access"), config, section) as running:
            yield running


async def with_tokens(sidecar: Public, *tokens: str, key: str | None = None) -> Got:
    told = [("content-type", "application/json")]
    told += [("cf-access-jwt-assertion", one) for one in tokens]
    told += [] if key is None else [("x-api-key", key)]
    lines = "".join(f"{name}: {value}\r\n" for name, value in told)
    body = json.dumps(chat()).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: llm.example.com\r\n{lines}"
    length = f"content-length: {len(body)}\r\n\r\n"
    return await _got(sidecar, head.encode() + length.encode() + body)


async def _got(sidecar: Public, data: bytes) -> Got:
    raw = await rude(sidecar.public_port, data)
    head, _, body = raw.partition(b"\r\n\r\n")
    from multidict import CIMultiDict, CIMultiDictProxy

    pairs = [line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = CIMultiDict([(name, value) for name, value in pairs])
    return Got(status_of(raw), CIMultiDictProxy(headers), body, 0.0)


def past(**changes: Any) -> dict[str, Any]:
    now = int(time.time())  # noqa: TID251  # tokens live by the clock on the wall
    return {"iat": now - 7200, "nbf": now - 7200, "exp": now - 3600, **changes}


async def test_a_good_token_comes_in_and_is_named(team: Public) -> None:
    for one, name in (
        (token(), "anna@example.com"),
        (token(CURVE, "curve", "ES256"), "anna@example.com"),
        (token(**SERVICE), "service token e3.access"),
    ):
        got = await with_tokens(team, one)
        assert (got.status, got.text) == (200, text_of("p"))
        line = await team.request_line(got.headers["x-request-id"])
        assert line["client"] == line["visitor"] == name
        assert one not in team.output


async def test_no_other_token_comes_in(team: Public, backend: Backend) -> None:
    bad: dict[str, Sequence[str]] = {
        "there is none": (),
        "there are 2 tokens": (token(), token()),
        "it has expired": (token(**past()),),
        "its algorithm is not allowed": (forged({"alg": "none", "kid": "one"}),),
        "its signature is wrong": (token(OTHER),),
        "its key is not the team's": (token(OTHER, "other"),),
        "it is for another application": (token(aud=["other"]),),
        "it is of another team": (token(iss=TEAM.replace("acme", "evil")),),
        "it is malformed": ("nonsense",),
    }
    seen = set()
    for why, tokens in bad.items():
        got = await with_tokens(team, *tokens)
        assert got.status == 401, why
        learns_nothing(everything(got).encode(), backend)
        seen.add(got.raw.decode().replace(got.headers["x-request-id"], "ID"))
        line = await team.request_line(got.headers["x-request-id"])
        assert line["refused"] == f"bad_token: {why}"
    assert len(seen) == 1
    assert not backend.requests
    assert (await with_tokens(team, key=LAPTOP)).status == 401
    metrics = await team.metrics()
    assert metrics.value("public_rejected_total", reason="bad_token") == len(bad) + 1
    cookie = await team.visit(chat(), key=None, headers={"cookie": f"CF_Authorization={token()}"})
    assert cookie.status == 401
    reached = [json.dumps(seen.headers) for seen in backend.requests]
    assert reached == []


async def test_with_both_both_are_needed(team: Public, backend: Backend) -> None:
    usual = dict(team.public or {})
    team.public = {**usual, "keys": {"file": "keys.txt"}}
    await team.reload(offered(backend))
    assert (await with_tokens(team, token())).status == 401
    assert (await with_tokens(team, key=LAPTOP)).status == 401
    assert (await with_tokens(team, token(**past()), key=LAPTOP)).status == 401
    got = await with_tokens(team, token(), key=LAPTOP)
    assert got.status == 200
    line = await team.request_line(got.headers["x-request-id"])
    assert (line["client"], line["visitor"]) == ("laptop", "anna@example.com")
    assert LAPTOP not in json.dumps(backend.requests[-1].headers)
    assert "jwt" not in json.dumps(backend.requests[-1].headers).lower()
    team.public = usual
    await team.reload(offered(backend))


async def test_a_team_whose_keys_cannot_be_had_lets_nobody_in(
    backend: Backend, tmp_path: Path
) -> None:
    access = {"team": "acme", "audience": AUDIENCE, "certs_url": "http://127.0.0.1:1/certs"}
    async with Public(tmp_path, offered(backend), {"keys": None, "access": access}) as sidecar:
        assert (await with_tokens(sidecar, token())).status == 401
        assert not backend.requests


# --- requests that are no requests -------------------------------------------------------------


def keyed(data: bytes) -> bytes:
    """The same request with a good key."""
    return data.replace(b"Host: localhost", b"Host: localhost\r\nX-Api-Key: " + LAPTOP.encode())


async def to_the_end(sidecar: Public, data: bytes) -> bytes:
    """What comes until the other side closes, for who says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.public_port)
    raw = b""
    try:
        writer.write(data)
        async with asyncio.timeout(HANG):
            while piece := await reader.read(65536):
                raw += piece
    except ConnectionError:
        pass  # a reset is an end too
    finally:
        writer.close()
    return raw


async def test_what_is_ambiguous_reaches_nobody(sidecar: Public, backend: Backend) -> None:
    told = {}
    for case in corpus.REFUSED:
        for data in (keyed(case.data), case.data):
            told[case.name] = await to_the_end(sidecar, data + keyed(corpus.NEXT))
            assert status_of(told[case.name]) in {400, 401, 404, 413}, case.name
            learns_nothing(told[case.name], backend)
            if data is not case.data:
                assert told[case.name].lower().count(b"x-request-id: ") == 1, case.name
    assert not backend.requests


async def test_what_has_one_meaning_is_one_request(sidecar: Public, backend: Backend) -> None:
    elsewhere = {"fragment", "whole address"}  # another path than any on the list
    for case in corpus.TAKEN:
        data = keyed(case.data).replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nConnection: close\r\n", 1)
        if b"Connection: upgrade" in data or b"Connection: content-length" in data:
            data = keyed(case.data)
        raw = await rude(sidecar.public_port, data)
        assert status_of(raw) == (404 if case.name in elsewhere else 200), case.name
    assert len(backend.requests) == len(corpus.TAKEN) - len(elsewhere)


# --- slow ones, and many -------------------------------------------------------------------------


class Hurried(Public):
    """The same program, with little patience for heads."""

    program = "tests.e2e.impatient"


async def test_heads_that_drip_are_closed_and_hold_nobody_up(
    backend: Backend, tmp_path: Path
) -> None:
    bounds = {"listener.HEAD_WITHIN": 1.0, "listener.TICK": 0.1}
    env = {"BOUNDS": json.dumps(bounds)}
    async with Hurried(tmp_path, offered(backend), env=env) as sidecar:
        slow = [await asyncio.open_connection("127.0.0.1", sidecar.public_port) for _ in range(100)]
        for _, writer in slow:
            writer.write(HEAD[:40].encode())
        for _ in range(20):
            assert (await sidecar.visit(chat())).status == 200
        async with asyncio.timeout(HANG):
            ends = [await reader.read() for reader, _ in slow]
        for (_, writer), end in zip(slow, ends, strict=True):
            writer.close()
            assert status_of(end) == 408
            learns_nothing(end, backend)
        assert len(backend.requests) == 20


async def test_the_body_of_who_is_unknown_is_not_waited_for(
    sidecar: Public, backend: Backend
) -> None:
    async def ask(head: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.public_port)
        writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b'{"model"')
        async with asyncio.timeout(HANG):
            raw = await reader.read()  # and the other side closes
        writer.close()
        return raw

    elsewhere, goes_on = HEAD.replace(PATH, "/api/delete"), "Expect: 100-continue\r\n"
    heads = (HEAD, HEAD + goes_on, elsewhere, elsewhere + goes_on)
    answers = await asyncio.gather(*map(ask, heads))
    assert [status_of(raw) for raw in answers] == [401, 401, 404, 404]
    for raw in answers:
        assert b"\r\nconnection: close" in raw.lower()
        assert b"100 Continue" not in raw
    assert not backend.requests


WRONG = 10_000
CONNECTIONS = 20


class Attack:
    """Wrong keys: half of them from one source, half of them each from its own."""

    def __init__(self, port: int) -> None:
        self.told: dict[int, int] = {}  # how often by status
        self.under_way = asyncio.Event()
        self._port = port
        self._body = json.dumps(chat()).encode()

    async def run(self, place: int) -> None:
        """One connection's share."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for number in range(WRONG // CONNECTIONS):
            writer.write(self._request(place * WRONG + number) + self._body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(size))
            status = status_of(answer)
            self.told[status] = self.told.get(status, 0) + 1
            if sum(self.told.values()) == CONNECTIONS * 2:
                self.under_way.set()
        writer.close()

    def _request(self, number: int) -> bytes:
        other = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        source = "203.0.113.1" if number % 2 else other
        told = f"X-Api-Key: wrong-{number}\r\nCf-Connecting-Ip: {source}\r\n"
        return f"{HEAD}{told}Content-Length: {len(self._body)}\r\n\r\n".encode()


async def test_ten_thousand_wrong_keys_get_nothing_and_slow_nobody(
    backend: Backend, tmp_path: Path
) -> None:
    limits = {
        "per_key": {"requests": "none"},
        "per_source": {"requests": "none", "failures": "10/min"},
    }
    config = {**offered(backend), "log": {"level": "warning", "format": "json"}}
    async with Public(tmp_path, config, {"limits": limits}) as sidecar:
        attack, done = Attack(sidecar.public_port), asyncio.Event()

        async def go_about() -> int:
            await attack.under_way.wait()
            count = 0
            while not done.is_set():
                got = await sidecar.visit(chat(), headers={"cf-connecting-ip": "198.51.100.1"})
                assert (got.status, got.text) == (200, text_of("p"))
                count += 1
            return count

        async with asyncio.timeout(3 * HANG), asyncio.TaskGroup() as group:
            good = group.create_task(go_about())
            places = range(CONNECTIONS)
            await asyncio.wait([group.create_task(attack.run(place)) for place in places])
            done.set()
        told = attack.told
        assert told[401] + told[429] == WRONG and len(told) == 2
        assert told[429] >= WRONG // 2 - CONNECTIONS - 10
        assert good.result() >= 20, "a good client was served all the while"
        assert len(backend.requests) == good.result()
        metrics = await sidecar.metrics()
        assert metrics.value("public_rejected_total", reason="bad_key") == told[401]
        assert metrics.value("public_rejected_total", reason="rate") == told[429]
