"""Who may come in, and which headers cross: browsers, tunnels, names, credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.client import Got, chat, rude, status_of
from tests.e2e.harness import Config, Sidecar, chain, has_ipv6
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "sk-configured-0123456789abcdef"
TUNNEL_HEADERS = ["cf-ray", "cf-connecting-ip", "cf-warp-tag-id"]
OWN_NAMES = [
    "localhost",
    "LOCALHOST:{port}",
    "127.0.0.1",
    "127.0.0.1:{port}",
    "[::1]",
    "[::1]:{port}",
    "llm.internal",
    "LLM.internal:{port}",
    "localhost:9",
]
ADMIN_PATHS = ["/metrics", "/status", "/health"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(
    backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Sidecar]:
    config: Config = {
        **chain(backend, backends={"p": {"auth": {"bearer": {"env": "THE_KEY"}}}}),
        "hosts": ["llm.internal"],
    }
    folder = tmp_path_factory.mktemp("doors")
    async with Sidecar(folder, config, env={"THE_KEY": KEY}) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(backend: Backend) -> None:
    backend.requests.clear()
    backend.rest = b.well()


async def ask(sidecar: Sidecar, **headers: str) -> Got:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return await sidecar.ask(chat(), headers=told)


# --- a web page in the owner's browser ---------------------------------------------------------


async def test_a_plain_post_of_a_web_page_gets_nothing(sidecar: Sidecar, backend: Backend) -> None:
    """What a form or a simple fetch can send without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        got = await ask(sidecar, content_type=kind, origin="https://evil.example")
        assert got.status in {403, 415}
        assert "access-control-allow-origin" not in got.headers
        assert (await ask(sidecar, content_type=kind)).status == 415
    assert not backend.requests


async def test_a_preflighted_post_gets_nothing(sidecar: Sidecar, backend: Backend) -> None:
    asks = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = await sidecar.ask(method="OPTIONS", headers=asks)
    assert preflight.status >= 400
    assert not [name for name in preflight.headers if name.lower().startswith("access-control")]
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{sidecar.data_port + 1}"):
        got = await ask(sidecar, origin=origin)
        assert (got.status, got.code) == (403, "forbidden_origin"), origin
        assert "access-control-allow-origin" not in got.headers
    assert not backend.requests


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:14400", "localhost.evil.example", "127.0.0.1.evil.example", "*"],
)
async def test_dns_rebinding_gets_nothing(sidecar: Sidecar, backend: Backend, host: str) -> None:
    got = await ask(sidecar, host=host)
    assert (got.status, got.code) == (403, "forbidden_host")
    for path in ADMIN_PATHS:
        assert (await sidecar.admin(path, {"host": host})).status == 403
    assert not backend.requests


async def test_a_request_without_host_gets_nothing(sidecar: Sidecar, backend: Backend) -> None:
    for port in (sidecar.data_port, sidecar.admin_port):
        answer = await rude(port, b"GET /health HTTP/1.1\r\n\r\n")
        assert status_of(answer) in {400, 403}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_fetch_from_another_site_gets_nothing(
    sidecar: Sidecar, backend: Backend, site: str
) -> None:
    assert (await ask(sidecar, sec_fetch_site=site)).status == 403
    got = await sidecar.get("/v1/models", {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"})
    assert got.status == 403
    assert not backend.requests


async def test_the_admin_listener_refuses_web_pages_too(sidecar: Sidecar) -> None:
    for path in ADMIN_PATHS:
        got = await sidecar.admin(path, {"origin": "https://evil.example"})
        assert got.status == 403
        assert (await sidecar.admin(path, {"sec-fetch-site": "cross-site"})).status == 403


async def test_the_admin_listener_changes_nothing(sidecar: Sidecar) -> None:
    for path in ("/reload", "/status", "/metrics", "/quit"):
        answer = await rude(
            sidecar.admin_port,
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode(),
        )
        assert status_of(answer) in {404, 405}


# --- tunnels and names -----------------------------------------------------------------------


@pytest.mark.parametrize("header", TUNNEL_HEADERS)
async def test_what_comes_through_a_tunnel_stays_out(
    sidecar: Sidecar, backend: Backend, header: str
) -> None:
    got = await sidecar.ask(chat(), headers={header: "8f1"})
    assert (got.status, got.code) == (403, "forbidden_tunnel")
    for path in ADMIN_PATHS:
        assert (await sidecar.admin(path, {header: "8f1"})).status == 403
    assert (await sidecar.get("/health", {header: "8f1"})).status == 403
    assert not backend.requests


@pytest.mark.parametrize("host", OWN_NAMES)
async def test_own_names_may_come_in(sidecar: Sidecar, host: str) -> None:
    assert (await ask(sidecar, host=host.format(port=sidecar.data_port))).status == 200
    named = {"host": host.format(port=sidecar.admin_port)}
    assert (await sidecar.admin("/health", named)).status == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_both_loopback_addresses_listen(sidecar: Sidecar) -> None:
    request = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for host in ("127.0.0.1", "::1"):
        assert status_of(await rude(sidecar.data_port, request, host=host)) == 200


# --- headers, there and back -----------------------------------------------------------------


async def test_what_reaches_the_backend(sidecar: Sidecar, backend: Backend) -> None:
    passes = {
        "x-custom": "one",
        "openai-organization": "org",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=1",
        "idempotency-key": "k",
        "x-stainless-lang": "python",
    }
    stays = {
        "authorization": "Bearer client-secret",
        "api-key": "client-secret",
        "x-api-key": "client-secret",
        "x-goog-api-key": "client-secret",
        "proxy-authorization": "Basic client-secret",
        "cookie": "session=client-secret",
        "cf-access-token": "client-secret",
        "cf-anything": "1",
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-host": "h",
        "x-forwarded-proto": "https",
        "forwarded": "for=10.0.0.1",
        "x-real-ip": "10.0.0.1",
        "connection": "keep-alive, x-hop",
        "x-hop": "1",
        "keep-alive": "1",
        "te": "trailers",
        "x-sidecar-backend": "p",
    }
    got = await sidecar.ask(chat(), headers={**passes, **stays})
    assert got.status == 200
    seen = backend.requests[0]
    for name, value in passes.items():
        assert seen.header(name) == value, name
    for name in stays.keys() - {"authorization", "connection"}:
        assert seen.header(name) is None, name
    assert seen.header("authorization") == f"Bearer {KEY}"
    assert seen.header("host") == f"127.0.0.1:{backend.port}"
    assert "client-secret" not in repr(seen.headers)
    assert "x-hop" not in repr(seen.headers)


async def test_what_reaches_the_client(sidecar: Sidecar, backend: Backend) -> None:
    passes = {
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-tokens": "6m0s",
        "openai-processing-ms": "12",
    }
    stays = {
        "set-cookie": "a=b",
        "x-hop": "1",
        "access-control-allow-origin": "*",
        "connection": "keep-alive, x-hop",
        "server": "fake",
    }
    backend.rest = b.well(headers=[*passes.items(), *stays.items(), ("x-request-id", "theirs")])
    for stream in (True, False):
        got = await sidecar.ask(chat(stream=stream), headers={"x-request-id": "mine-1"})
        for name, value in passes.items():
            assert got.headers.get(name) == value, name
        for name in ("set-cookie", "x-hop", "access-control-allow-origin"):
            assert name not in got.headers
        assert got.headers["x-request-id"] == "mine-1"
        assert got.headers["x-sidecar-backend"] == "p"
        assert got.headers["x-sidecar-attempts"] == "1"


async def test_errors_keep_their_telling_headers(sidecar: Sidecar, backend: Backend) -> None:
    headers = [("retry-after", "60"), ("x-ratelimit-limit-requests", "5"), ("set-cookie", "a=b")]
    backend.rest = b.status(422, headers=headers)
    got = await sidecar.ask(chat())
    assert (got.status, got.headers.get("retry-after")) == (422, "60")
    assert got.headers["x-ratelimit-limit-requests"] == "5"
    assert "set-cookie" not in got.headers


# --- credentials -------------------------------------------------------------------------------


async def auth(tmp_path: Path, auth_config: Config, *keys: str) -> list[str | None]:
    """What each of these client keys becomes at the backend."""
    (tmp_path / "key").write_text(f"{KEY}-file\n")
    p = Backend("p")
    async with p:
        config = chain(p, backends={"p": {"auth": auth_config}})
        async with Sidecar(tmp_path, config, env={"THE_KEY": KEY}) as sidecar:
            for key in keys:
                told = {"authorization": f"Bearer {key}"} if key else {}
                assert (await sidecar.ask(chat(), headers=told)).status == 200
    return [seen.header("authorization") or seen.header("x-api-key") for seen in p.requests]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"bearer": {"env": "THE_KEY"}}, [f"Bearer {KEY}"] * 3),
        ({"bearer": {"file": "key"}}, [f"Bearer {KEY}-file"] * 3),
        ({"header": {"name": "x-api-key", "value": {"env": "THE_KEY"}}}, [KEY] * 3),
        (
            {"forward": {"replace": ["sk-ant-*"], "else": {"env": "THE_KEY"}}},
            ["Bearer client", f"Bearer {KEY}", f"Bearer {KEY}"],
        ),
        ({"forward": {}}, ["Bearer client", "Bearer sk-ant-1", None]),
    ],
    ids=["env", "file", "header", "forward-else", "forward"],
)
async def test_credentials(tmp_path: Path, config: Config, expected: list[str | None]) -> None:
    assert await auth(tmp_path, config, "client", "sk-ant-1", "") == expected


async def test_a_refused_forwarded_key_is_the_clients_own_error(tmp_path: Path) -> None:
    """Row 25: never the operator's key instead, on this backend or another."""
    p, f = Backend("p", rest=b.status(401, "bad key", "invalid_api_key")), Backend("f")
    forward: Config = {"auth": {"forward": {"else": {"env": "THE_KEY"}}}}
    configured: Config = {"auth": {"bearer": {"env": "THE_KEY"}}}
    async with p, f:
        config = chain(p, f, backends={"p": forward, "f": configured})
        async with Sidecar(tmp_path, config, env={"THE_KEY": KEY}) as sidecar:
            got = await sidecar.ask(chat(), headers={"authorization": "Bearer client"})
            assert (got.status, got.code) == (401, "invalid_api_key")
            assert (len(p.requests), len(f.requests)) == (1, 0)
            got = await sidecar.ask(chat())
            assert got.text == text_of("f"), "without a key of the client it is the operator's"


async def test_a_query_credential_is_added_and_never_shown(tmp_path: Path) -> None:
    p = Backend("p")
    async with p:
        query: Config = {"auth": {"query": {"name": "key", "value": {"env": "THE_KEY"}}}}
        config = chain(p, backends={"p": query})
        async with Sidecar(tmp_path, config, env={"THE_KEY": KEY}) as sidecar:
            assert (await sidecar.ask(chat())).status == 200
            assert p.requests[0].target.endswith(f"?key={KEY}")
            p.rest = b.reset
            got = await sidecar.ask(chat())
            assert KEY not in got.raw.decode() + sidecar.output
