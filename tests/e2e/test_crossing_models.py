"""The pages of models, in the shape of whoever asks, and the verbs that would change models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.client import Got, rude, status_of
from tests.e2e.crossing import (
    ANTHROPIC,
    ENV,
    OLLAMA,
    OPENAI,
    Fakes,
    World,
    backend,
    fault,
    model_of,
    says,
    strict,
    world,
)
from tests.e2e.harness import Config, Sidecar, two_free_ports, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERSION = {"anthropic-version": "2023-06-01"}
ROUTES = ["to-openai", "to-openai-responses", "to-anthropic", "to-ollama"]
TAGGED = [f"{name}:latest" for name in ROUTES]  # as Ollama's clients know them
TOLD, FOUND = 9999, 32768  # tokens: by the configuration, by Ollama of its own accord


def with_context(fakes: Fakes) -> Config:
    """What a backend does not tell stands in the configuration."""
    fake = fakes[OPENAI]
    return {OPENAI: backend(fake, context={model_of(fake): TOLD})}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("models"), backends=with_context) as standing:

        async def has_asked() -> bool:
            got: Any = (await standing.sidecar.get("/v1/models/to-ollama")).json
            return bool(got.get("context_length") == FOUND)

        await until(has_asked, "the catalogue knows Ollama's models")
        yield standing


# --- lists -----------------------------------------------------------------------------------


async def test_models_for_openais_clients(world: World) -> None:
    page: Any = (await world.sidecar.get("/v1/models")).json
    assert page["object"] == "list"
    assert [one["id"] for one in page["data"]] == ROUTES
    assert {one["object"] for one in page["data"]} == {"model"}
    context = {one["id"]: one.get("context_length") for one in page["data"]}
    assert (context["to-openai"], context["to-ollama"]) == (TOLD, FOUND)
    assert "context_length" not in page["data"][2], "of what is not known nothing is said"


async def test_models_for_anthropics_clients(world: World) -> None:
    page: Any = (await world.sidecar.get("/v1/models", VERSION)).json
    assert [one["id"] for one in page["data"]] == ROUTES
    assert {one["type"] for one in page["data"]} == {"model"}
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, ROUTES[0], ROUTES[-1])
    assert page["data"][0]["max_input_tokens"] == TOLD


@pytest.mark.parametrize("name", ["to-ollama", "TO-Ollama"])
async def test_one_model(world: World, name: str) -> None:
    told = (await world.sidecar.get(f"/v1/models/{name}")).json
    assert (told["id"], told["object"], told["context_length"]) == ("to-ollama", "model", FOUND)
    told = (await world.sidecar.get(f"/v1/models/{name}", VERSION)).json
    assert (told["id"], told["type"], told["max_input_tokens"]) == ("to-ollama", "model", FOUND)


async def test_a_model_that_nobody_has(world: World) -> None:
    for dialect, headers in ((OPENAI, {}), (ANTHROPIC, VERSION)):
        got = await world.sidecar.get("/v1/models/to-ollma", headers)
        assert got.status == 404
        assert "'to-ollama'" in fault(dialect, got)[1]
    got = await world.sidecar.ask({"model": "to-ollma"}, "/api/show")
    assert got.status == 404
    assert "'to-ollama'" in fault(OLLAMA, got)[1]


async def test_tags(world: World) -> None:
    page: Any = (await world.sidecar.get("/api/tags")).json
    models = {one["name"]: one for one in page["models"]}
    assert list(models) == TAGGED
    for name, one in models.items():
        assert one["model"] == name
        assert {"modified_at", "size", "digest", "details", "capabilities"} <= set(one)
    assert models["to-openai:latest"]["capabilities"] == ["completion", "tools"]
    assert models["to-ollama:latest"]["capabilities"] == ["completion", "tools", "vision"]
    assert models["to-ollama:latest"]["details"]["parameter_size"] == "8.0B"


async def test_show_made_up(world: World) -> None:
    """Of a model behind another dialect: what is known, where clients look for it."""
    for asked in ({"model": "to-openai"}, {"name": "to-openai"}):
        told: Any = (await world.sidecar.ask(asked, "/api/show")).json
        family = told["model_info"]["general.architecture"]
        assert told["model_info"][f"{family}.context_length"] == TOLD
        assert told["capabilities"] == ["completion", "tools"]
        assert {"details", "template", "parameters", "modelfile"} <= set(told)


async def test_show_of_an_ollama_backend_is_its_own(world: World) -> None:
    fake = world.backends[OLLAMA]
    told: Any = (await world.sidecar.ask({"model": "to-ollama"}, "/api/show")).json
    seen = [one for one in fake.others if one.path == "/api/show"][-1]
    assert told == fake.vendor.lookups["/api/show"](seen)
    assert seen.model == model_of(fake)


async def test_small_pages(world: World) -> None:
    assert (await world.sidecar.get("/api/ps")).json == {"models": []}
    version = str((await world.sidecar.get("/api/version")).json["version"])
    assert tuple(map(int, version.split("."))) >= (0, 14, 0), "older servers are refused"
    got = await world.sidecar.get("/")
    assert (got.status, got.raw) == (200, b"Ollama is running")
    assert got.headers["content-type"].startswith("text/plain")
    for path in ("/", "/api/version", "/api/tags", "/v1/models"):
        got = await world.sidecar.ask(path=path, method="HEAD")
        assert (got.status, got.raw) == (200, b"")


async def test_the_official_clients_understand_them(world: World) -> None:
    address = world.sidecar.base_url
    async with openai.AsyncOpenAI(base_url=address + "/v1", api_key="k") as client:
        assert [one.id async for one in client.models.list()] == ROUTES
        assert (await client.models.retrieve("to-openai")).id == "to-openai"
    async with anthropic.AsyncAnthropic(base_url=address, api_key="k") as other:
        assert [one.id async for one in other.models.list()] == ROUTES
        assert (await other.models.retrieve("to-openai")).id == "to-openai"
    third = ollama.AsyncClient(address)
    try:
        assert [one.model for one in (await third.list()).models] == TAGGED
        shown = await third.show(TAGGED[0])
        assert shown.capabilities == ["completion", "tools"]
        assert (await third.ps()).models == []
    finally:
        await third.close()  # type: ignore[no-untyped-call]


# --- verbs that change models ----------------------------------------------------------------

VERBS = [
    ("POST", "/api/pull", b'{"model": "llama3"}'),
    ("POST", "/api/push", b'{"model": "llama3"}'),
    ("POST", "/api/create", b'{"model": "mine", "from": "llama3"}'),
    ("POST", "/api/copy", b'{"source": "a", "destination": "b"}'),
    ("DELETE", "/api/delete", b'{"model": "llama3"}'),
    ("POST", "/api/blobs/sha256:29fd", b"\x00\x01 no JSON"),
    ("HEAD", "/api/blobs/sha256:29fd", None),
]
NAMES = [f"{method}-{path.split('/')[2]}" for method, path, _ in VERBS]


@pytest.mark.parametrize(("method", "path", "data"), VERBS, ids=NAMES)
async def test_models_are_not_changed(
    world: World, method: str, path: str, data: bytes | None
) -> None:
    fake = world.backends[OLLAMA]
    before = len(fake.requests)
    got: Got = await world.sidecar.ask(path=path, method=method, data=data)
    assert got.status == 403
    if method != "HEAD":
        assert fault(OLLAMA, got)[0] == "managing_not_allowed"
        assert "listeners.data.manage" in got.json["error"]  # type: ignore[operator]
    assert len(fake.requests) == before
    assert path not in [seen.path for seen in fake.others]


async def test_a_listener_may_let_them_through_to_one_backend(tmp_path: Path) -> None:
    ports = two_free_ports()
    async with strict(OPENAI) as other, strict(OLLAMA) as fake:
        fake.rest = says(200, {"status": "success"})
        config: Config = {
            "listeners": {
                "data": {"port": ports[0], "manage": OLLAMA},
                "admin": {"port": ports[1]},
            },
            "backends": {OPENAI: backend(other), OLLAMA: backend(fake)},
            "routes": {"chat": {"targets": [{"backend": OPENAI}]}},
        }
        async with Sidecar(tmp_path, config, env=ENV, ports=ports) as sidecar:
            for method, path, data in VERBS[:-1]:
                got = await sidecar.ask(path=path, method=method, data=data)
                sent = fake.requests if method == "POST" else fake.others
                seen = [one for one in sent if one.path == path][-1]
                assert (seen.method, seen.body) == (method, data)
                if method == "POST":
                    assert (got.status, got.json) == (200, {"status": "success"})
            climbing = b"POST /api/blobs/../../v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert status_of(await rude(sidecar.data_port, climbing)) == 404
        assert not other.requests
