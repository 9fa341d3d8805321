"""The door for strangers, asked over a real socket: what the tunnel asks of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import httpx
from aiohttp.test_utils import RawTestServer

from sidecar.app import Sidecar
from sidecar.config.secret import Secret
from sidecar.config.snapshot import Listener, Public
from sidecar.dataplane import public as module
from sidecar.policy.rate import ClientBounds
from tests.sidecar.examples import backend, route, snapshot
from tunnel.proof import Proof

NONE = ClientBounds()
PROOF = Proof.of(b"open sesame")
SECRET, NONCE, CONNECTOR = PROOF.path, "0" * 32, "3f0e"
PUBLIC = Public(
    Listener(("127.0.0.1",), 14402), (), None, NONE, NONE, probe_secret=Secret("open sesame", "x")
)


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
