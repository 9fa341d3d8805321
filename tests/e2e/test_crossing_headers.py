"""Headers on their way into another dialect: what one vendor's clients say stays with that vendor,
and a key goes where its backend looks for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
import pytest_asyncio

from tests.e2e.crossing import (
    ANTHROPIC,
    DIALECTS,
    OLLAMA,
    OPENAI,
    PATHS,
    RESPONSES,
    Fakes,
    World,
    backend,
    chat,
    says,
    then,
    world,
)
from tests.e2e.harness import Config
from tests.fakes.seen import Seen
from tests.fakes.strict.backend import KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "client-secret"
ANTHROPICS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "context-1m-2025-08-07",
    "anthropic-dangerous-direct-browser-access": "true",
}
OPENAIS = {"openai-organization": "org-1", "openai-project": "p-1", "openai-beta": "x=1"}
OWN: Mapping[str, Mapping[str, str]] = {
    OPENAI: OPENAIS,
    RESPONSES: OPENAIS,
    ANTHROPIC: ANTHROPICS,
    OLLAMA: {},
}
CREDENTIALS = {
    "authorization": f"Bearer {SECRET}",
    "x-api-key": SECRET,
    "api-key": SECRET,
    "x-goog-api-key": SECRET,
    "cookie": f"a={SECRET}",
}
PASSES = {"x-custom": "1", "user-agent": "a-client/1.0", "traceparent": "00-0af7-b7ad-01"}


def forwarding(fakes: Fakes) -> Config:
    """Backends that get the client's own key, wherever the client put it."""
    return {f"forward-{name}": backend(fakes[name], auth={"forward": {}}) for name in fakes}


def to_forwarding(fakes: Fakes) -> Config:
    return {
        f"forward-{name}": {
            "targets": [{"backend": f"forward-{name}", "model": "m"}],
            "retry": {"attempts": 0},
        }
        for name in fakes
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("headers")
    async with world(folder, to_forwarding, forwarding) as standing:
        yield standing


def starting(seen: Seen, *starts: str) -> set[str]:
    return {name for name in seen.header_names if name.startswith(starts)}


def keys(seen: Seen) -> Mapping[str, str]:
    """The headers in which a key may be."""
    return {
        name.lower(): value
        for name, value in seen.headers
        if name.lower() in ("authorization", "x-api-key", "api-key", "x-goog-api-key")
    }


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_what_reaches_a_backend(world: World, client: str, to: str) -> None:
    headers = {**ANTHROPICS, **OPENAIS, **CREDENTIALS, **PASSES}
    path = f"{PATHS[client]}?beta=true"
    body = {**chat(client), "model": f"to-{to}"}
    got = await world.sidecar.ask(body, path, headers=headers)
    assert got.status == 200, got.raw
    seen = world.backends[to].requests[-1]
    for name, value in PASSES.items():
        assert seen.header(name) == value
    assert SECRET not in repr(seen.headers)
    assert keys(seen) == {
        ANTHROPIC: {"x-api-key": KEY},
        OLLAMA: {},
    }.get(to, {"authorization": f"Bearer {KEY}"})
    if client != to:
        assert starting(seen, "anthropic-", "openai-") == OWN[to].keys()
        assert seen.target == seen.path, "a query of another dialect"
    assert seen.header("content-type") == "application/json"


@pytest.mark.parametrize("client", DIALECTS)
async def test_anthropics_version_is_said_where_nobody_said_it(world: World, client: str) -> None:
    assert (await world.ask(client, "to-anthropic", chat(client))).status == 200
    seen = world.backends[ANTHROPIC].requests[-1]
    assert seen.header("anthropic-version") == "2023-06-01"
    assert starting(seen, "anthropic-") == {"anthropic-version"}


BROUGHT = {
    OPENAI: ("authorization", f"Bearer {SECRET}"),
    RESPONSES: ("authorization", f"Bearer {SECRET}"),
    ANTHROPIC: ("x-api-key", SECRET),
    OLLAMA: ("authorization", f"Bearer {SECRET}"),
}


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_forwarded_key_goes_where_the_backend_looks(
    world: World, client: str, to: str
) -> None:
    then(world.backends[to], says(400, {"error": "enough"}))
    name, value = BROUGHT[client]
    await world.ask(client, f"forward-{to}", chat(client), {name: value})
    placed = BROUGHT[to]
    assert keys(world.backends[to].requests[-1]) == {placed[0]: placed[1]}


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_forwarded_key_that_is_refused_is_the_clients_error(
    world: World, client: str
) -> None:
    for to in DIALECTS:
        fake = world.backends[to]
        then(fake, says(401, fake.vendor.error(401, "no such key")))
        name, value = BROUGHT[client]
        got = await world.ask(client, f"forward-{to}", chat(client), {name: value})
        assert got.status == 401
        assert b"no such key" in got.raw
