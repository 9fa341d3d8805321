"""The door for strangers, asked over a real socket: what the tunnel asks of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import httpx
from aiohttp.test_utils import RawTestServer

from sidecar.app import Sidecar
from sidecar.config.snapshot import Listener, Public
from sidecar.dataplane import public as module
from sidecar.policy.rate import ClientBounds
from tests.sidecar.examples import backend, route, snapshot

NONE = ClientBounds()
SECRET, CONNECTOR = "/0123456789abcdef/", "3f0e"
PUBLIC = Public(Listener(("127.0.0.1",), 14402), (), None, NONE, NONE)


def never() -> NoReturn:
    raise AssertionError("nothing is loaded here")


def probe(path: str, connector: str | None) -> bytes | None:
    """Knows one path."""
    if path != f"{SECRET}good":
        return None
    return b'{"connector": "%s"}' % (connector or "").encode()


@asynccontextmanager
async def tunnelled() -> AsyncIterator[httpx.AsyncClient]:
    program = Sidecar(never, probe=probe)
    served = snapshot([backend("home")], [route("chat", "home")], public=PUBLIC)
    program.instruments.adopt(served)
    program.store.reconcile(served)
    program.current.swap(served)
    handle = partial(program.data.handle, door=program.public)
    async with RawTestServer(handle) as server:
        url = str(server.make_url(""))
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client
    program.instruments.logs.close()


async def test_a_probe_is_answered_and_never_kept() -> None:
    async with tunnelled() as client:
        got = await client.get(f"{SECRET}good", headers={"cf-warp-tag-id": CONNECTOR})
        assert (got.status_code, got.json()) == (200, {"connector": CONNECTOR})
        assert got.headers["cache-control"] == "no-store"
        assert got.headers["content-type"] == "application/json"


async def test_any_other_probe_is_any_other_path() -> None:
    async with tunnelled() as client:
        told = []
        for method, path in (
            ("GET", "/nowhere"),
            ("GET", f"{SECRET}wrong"),
            ("GET", f"{SECRET}good/"),
            ("GET", f"{SECRET}good?x"),
            ("GET", SECRET),
            ("POST", f"{SECRET}good"),
            ("GET", f"{SECRET}%67ood"),
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
        asked = [(await client.get(f"{SECRET}good")).status_code for _ in range(often + 20)]
        assert asked[:often] == [200] * often
        assert 404 in asked[often:]


async def test_where_no_tunnel_asks_nothing_answers() -> None:
    assert module.no_probe(f"{SECRET}good", CONNECTOR) is None
