"""The door for strangers, asked over a real socket: what the tunnel asks of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import httpx
import pytest
from aiohttp.test_utils import RawTestServer, make_mocked_request

from sidecar.app import Sidecar
from sidecar.config.secret import Secret
from sidecar.config.snapshot import Listener, Public
from sidecar.dataplane import public as module
from sidecar.dataplane.answer import Answer
from sidecar.policy.clients import ClientKey, digest
from sidecar.policy.rate import ClientBounds
from sidecar.telemetry.recorder import RequestNote
from tests.sidecar.examples import backend, route, snapshot
from tunnel.proof import Proof

NONE = ClientBounds()
PROOF = Proof.of(b"open sesame")
SECRET, NONCE, CONNECTOR = PROOF.path, "0" * 32, "3f0e"
PLACE = Listener(("127.0.0.1",), 14402)
PUBLIC = Public(
    PLACE,
    (ClientKey("laptop", digest("the key")),),
    None,
    NONE,
    NONE,
    probe_secret=Secret("open sesame", "x"),
)
OPEN = Public(PLACE, None, None, NONE, NONE)


def never() -> NoReturn:
    raise AssertionError("nothing is loaded here")


@asynccontextmanager
async def tunnelled() -> AsyncIterator[httpx.AsyncClient]:
    program = Sidecar(never)
    served = snapshot([backend("home")], [route("chat", "home")], public=PUBLIC)
    program.instruments.adopt(served)
    program.store.reconcile(served)
    program.current.swap(served)
    program.expose(served)
    handle = partial(program.data.handle, door=program.public)
    async with RawTestServer(handle) as server:
        url = str(server.make_url(""))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
    program.instruments.logs.close()


async def test_a_probe_is_answered_and_never_kept() -> None:
    async with tunnelled() as client:
        got = await client.get(f"{SECRET}{NONCE}", headers={"cf-warp-tag-id": CONNECTOR})
        assert got.status_code == 200
        proven = PROOF.check(NONCE, got.content)
        assert proven is not None
        assert proven[1] == CONNECTOR
        assert got.headers["cache-control"] == "no-store"
        assert got.headers["content-type"] == "application/json"


async def test_any_other_probe_is_any_other_path() -> None:
    async with tunnelled() as client:
        told = []
        for method, path in (
            ("GET", "/nowhere"),
            ("GET", f"{SECRET}wrong"),
            ("GET", f"{SECRET}{NONCE}/"),
            ("GET", f"{SECRET}{NONCE}?x"),
            ("GET", SECRET),
            ("POST", f"{SECRET}{NONCE}"),
            ("GET", f"{SECRET}%30{NONCE[1:]}"),
        ):
            headers = {"x-request-id": "id", "cf-warp-tag-id": CONNECTOR}
            got = await client.request(method, path, headers=headers)
            named = {name: value for name, value in got.headers.items() if name != "date"}
            told.append((got.status_code, got.content, named))
        assert told[0][0] == 404
        assert all(one == told[0] for one in told)


async def test_probes_are_limited() -> None:
    often = int((module.PROBES.requests or 0) * 60)
    async with tunnelled() as client:
        asked = [(await client.get(f"{SECRET}{NONCE}")).status_code for _ in range(often + 20)]
        assert asked[:often] == [200] * often
        assert 404 in asked[often:]


@pytest.mark.parametrize(
    ("public", "headers", "peer"),
    [
        (PUBLIC, {"x-api-key": "the key", "cf-connecting-ip": "192.0.2.1"}, "client laptop"),
        (OPEN, {"x-api-key": "the key", "cf-connecting-ip": "192.0.2.1"}, "192.0.2.1"),
        (OPEN, {"cf-connecting-ip": "2001:db8::1"}, "2001:db8::/64"),
    ],
)
async def test_a_stranger_takes_turns_by_name_or_source_and_has_no_key_for_others(
    public: Public, headers: dict[str, str], peer: str
) -> None:
    program = Sidecar(never)
    served = snapshot([backend("home")], [route("chat", "home")], public=public)
    told = {"host": "llm.example.com", "content-type": "application/json", **headers}
    told |= {"origin": "https://x.example", "x-sidecar-backend": "home"}
    http = make_mocked_request("POST", "/v1/chat/completions", told)
    program.current.swap(served)
    asked, note = program.public.find(http), RequestNote("id")
    answer = Answer(http, asked.dialect, "id", lambda: None)
    guest = await program.public.admit(http, asked, answer, note, served)
    assert guest is not None
    assert (guest.key, guest.backend, guest.peer) == (None, None, peer)
    assert "origin" not in {name.lower() for name, _ in guest.headers}
    program.instruments.logs.close()
