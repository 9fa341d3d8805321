"""The request through the public name, against servers that are good, bad and none."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.backend import refusing_port
from tests.fakes.certificates import Authority
from tests.tunnel import doors
from tests.tunnel.doors import Answer, door, http, raw
from tests.tunnel.stand import CONNECTOR
from tunnel.events import Sighting
from tunnel.probe import look, look_local, reachable
from tunnel.proof import Proof
from tunnel.settings import Probe

PROOF = Proof.of(b"secret")
NONCE = "00112233445566778899aabbccddeeff"
NAME = "llm.example.com"
PATIENT = Probe(timeout=20.0)


def proves(connector: str | None = CONNECTOR, proof: Proof = PROOF, status: int = 200) -> Answer:
    """Answer a probe as the public listener does."""

    async def play(head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ")[1].decode()
        body = proof.answer(path, "home-1", connector)
        writer.write(http(404, b"") if body is None else http(status, body))

    return play


async def seen(answer: Answer, probe: Probe = PATIENT) -> Sighting:
    async with door(answer) as port:
        found = await look(f"http://127.0.0.1:{port}", probe, PROOF, NONCE)
    assert PROOF.path not in found.detail
    return found


@pytest.mark.parametrize("connector", [CONNECTOR, None])
async def test_a_good_proof(connector: str | None) -> None:
    found = await seen(proves(connector))
    assert found == Sighting(200, proven=True, connector=connector, replica="home-1")


GATEWAY = "cf-cloudflared-response-meta: "


@pytest.mark.parametrize(
    ("answer", "status", "more"),
    [
        (proves(proof=Proof.of(b"another")), 404, {"detail": "HTTP 404"}),
        (proves(status=201), 201, {"detail": "HTTP 201"}),
        (raw(http(200, b"<html>")), 200, {"detail": "HTTP 200 without a good proof"}),
        (raw(http(200, b"{}" + b" " * 100_000)), 200, {"detail": "HTTP 200 without a good proof"}),
        (
            raw(http(530, b"error code: 1033", "server: cloudflare")),
            530,
            {"detail": "HTTP 530, error code 1033"},
        ),
        (
            raw(http(530, b'<span class="code">1016</span>')),
            530,
            {"detail": "HTTP 530, error code 1016"},
        ),
        (
            raw(http(502, b"", GATEWAY + '{"src":"cloudflared"}')),
            502,
            {"from_cloudflared": True, "detail": "HTTP 502"},
        ),
        (raw(http(502, b"", GATEWAY + '{"src":"origin"}')), 502, {"detail": "HTTP 502"}),
        (raw(http(502, b"", GATEWAY + "{")), 502, {"detail": "HTTP 502"}),
        (raw(http(502, b"bad gateway")), 502, {"detail": "HTTP 502"}),
        (raw(http(502, b"")), 502, {"from_cloudflared": True, "detail": "HTTP 502"}),
        (raw(http(524, b"error code: 524")), 524, {"detail": "HTTP 524, error code 524"}),
        (raw(http(429, b"error code: 1015")), 429, {"detail": "HTTP 429, error code 1015"}),
        (
            raw(http(302, b"", "Location: https://team.cloudflareaccess.com/x?secret")),
            302,
            {"is_policy": True, "detail": "HTTP 302"},
        ),
        (
            raw(http(403, b"", 'www-authenticate: Cloudflare-Access resource="x"')),
            403,
            {"is_policy": True, "detail": "HTTP 403"},
        ),
        (
            raw(http(403, b"<html>Just a moment", "cf-mitigated: challenge")),
            403,
            {"is_policy": True, "detail": "HTTP 403"},
        ),
        (raw(http(403, b"")), 403, {"detail": "HTTP 403"}),
    ],
)
async def test_other_answers(answer: Answer, status: int, more: Mapping[str, object]) -> None:
    found = await seen(answer)
    assert found == replace(Sighting(status), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (raw(b""), "broken"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"), "broken"),
        (raw(b"SSH-2.0-x\r\n"), "broken"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000), "broken"),
        (doors.silence, "timeout"),
    ],
)
async def test_no_answer(answer: Answer, error: str) -> None:
    patience = 0.5 if answer is doors.silence else 20.0
    found = await seen(answer, Probe(timeout=patience))
    assert (found.status, found.error, found.proven) == (None, error, False)
    assert found.detail.startswith("127.0.0.1: ")


async def test_a_body_without_end_is_left_alone() -> None:
    found = await seen(doors.without_end)
    assert (found.status, found.proven) == (200, False)


async def test_a_body_that_drips_takes_no_longer_than_allowed() -> None:
    began = time.monotonic()
    found = await seen(doors.drops, Probe(timeout=0.5))
    assert (found.status, found.error) == (None, "timeout")
    assert time.monotonic() - began < 2.5


async def test_nobody_there() -> None:
    with refusing_port() as closed:
        found = await look(f"http://127.0.0.1:{closed}", PATIENT, PROOF, NONCE)
    assert (found.status, found.error, found.detail) == (
        None, "connect", "127.0.0.1: Connection refused",
    )  # fmt: skip


@pytest.mark.parametrize("url", ["http://llm.example.com", "http://10.0.0.1", "llm.example.com"])
async def test_a_public_name_is_asked_by_https_alone(url: str) -> None:
    found = await look(url, PATIENT, PROOF, NONCE)
    assert (found.status, found.error) == (None, "tls")


async def test_a_name_that_does_not_resolve() -> None:
    found = await look("https://nothing.invalid", PATIENT, PROOF, NONCE)
    assert (found.error, found.detail) == ("dns", "nothing.invalid: the name does not resolve")


# -- by TLS, at another address


class Edge:
    """What an edge is asked for: the name in the hello, and the head of the request."""

    def __init__(self, authority: Authority, name: str = NAME, *, expired: bool = False) -> None:
        self.names: list[str | None] = []
        self.heads: list[str] = []
        self.tls = authority.server(name, expired=expired)
        self.tls.sni_callback = lambda _, name, __: self.names.append(name)

    async def play(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        self.heads.append(head.decode())
        await proves()(head, writer)


@pytest.fixture
def authority() -> Authority:
    return Authority()


async def through(edge: Edge, ca: str | None, url: str = f"https://{NAME}") -> Sighting:
    async with door(edge.play, edge.tls) as port:
        probe = Probe(
            timeout=20.0, connect=("localhost", port), ca=ca,
            headers={"CF-Access-Client-Id": "id.access", "CF-Access-Client-Secret": "hidden"},
        )  # fmt: skip
        return await look(url, probe, PROOF, NONCE)


async def test_the_public_name_stays_the_name(authority: Authority, tmp_path: Path) -> None:
    ca = authority.write_bundle(tmp_path).read_text()
    edge = Edge(authority)
    for _ in range(2):
        found = await through(edge, ca)
        assert (found.status, found.proven, found.connector) == (200, True, CONNECTOR)
    assert edge.names == [NAME, NAME]  # a new connection each time
    head = edge.heads[0]
    assert head.startswith(f"GET {PROOF.path}{NONCE} HTTP/1.1\r\n")
    assert f"\r\nHost: {NAME}\r\n" in head
    assert "\r\nCF-Access-Client-Secret: hidden\r\n" in head
    assert re.search(r"(?i)\r\naccept-encoding: identity\r\n", head)
    assert (await through(edge, ca, f"https://{NAME}/")).proven


@pytest.mark.parametrize("case", ["unknown authority", "another name", "expired", "no TLS"])
async def test_certificates_are_looked_at(authority: Authority, tmp_path: Path, case: str) -> None:
    ca: str | None = authority.write_bundle(tmp_path).read_text()
    edge = Edge(authority)
    match case:
        case "unknown authority":
            ca = None
        case "another name":
            edge = Edge(authority, "other.example.com")
        case "expired":
            edge = Edge(authority, expired=True)
        case _:
            async with door(raw(b"HTTP/1.1 400 Bad\r\n\r\n")) as port:
                probe = Probe(timeout=1.0, connect=("127.0.0.1", port), ca=ca)
                found = await look(f"https://{NAME}", probe, PROOF, NONCE)
                assert found.error in ("tls", "connect")
            return
    found = await through(edge, ca)
    assert (found.status, found.error, edge.heads) == (None, "tls", [])
    assert "certificate is not good" in found.detail


async def test_a_server_that_never_greets_is_not_reached(authority: Authority) -> None:
    async with door(doors.silence) as port:
        probe = Probe(timeout=1.0, connect=("127.0.0.1", port))
        found = await look(f"https://{NAME}", probe, PROOF, NONCE)
    assert (found.status, found.error) == (None, "connect")


async def test_an_authority_that_is_none() -> None:
    found = await look(f"https://{NAME}", replace(PATIENT, ca="no PEM"), PROOF, NONCE)
    assert (found.status, found.error) == (None, "tls")


# -- the origin, and elsewhere


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        (proves(None), True),
        (proves(proof=Proof.of(b"another")), False),
        (proves(status=503), False),
        (raw(b""), False),
        (raw(http(302, b"", "Location: /")), False),
    ],
)
async def test_the_origin_on_loopback(answer: Answer, good: bool) -> None:
    async with door(answer) as port:
        assert await look_local(f"http://127.0.0.1:{port}", PROOF, NONCE) is good


async def test_an_origin_that_is_down() -> None:
    with refusing_port() as closed:
        assert await look_local(f"http://127.0.0.1:{closed}", PROOF, NONCE) is False


async def test_whether_anything_is_reachable() -> None:
    fails, deaf = door(raw(http(500, b""))), door(raw(b"SSH-2.0-x\r\n"))
    with refusing_port() as closed:
        async with fails as port, deaf as ssh:
            assert await reachable([]) is None
            assert await reachable([f"http://127.0.0.1:{port}"]) is True
            assert await reachable([f"127.0.0.1:{ssh}"]) is True
            assert await reachable([f"127.0.0.1:{closed}", f"http://127.0.0.1:{port}"]) is True
            assert await reachable([f"127.0.0.1:{closed}"]) is False
            useless = [f"http://127.0.0.1:{ssh}", "nonsense", "https://no.invalid"]
            assert await reachable(useless) is False


async def test_one_that_is_reachable_is_enough() -> None:
    loop = asyncio.get_running_loop()
    async with door(doors.silence) as slow, door(raw(http(200, b""))) as port:
        began = loop.time()
        targets = [f"http://127.0.0.1:{slow}", f"http://127.0.0.1:{port}"]
        assert await reachable(targets) is True
        assert loop.time() - began < 4.0  # a silent one alone would take five
