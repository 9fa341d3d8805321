"""Bad input in each dialect but the first: an error in its shape, before any backend is called."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.e2e.crossing import (
    ANTHROPIC,
    DIALECTS,
    OLLAMA,
    PATHS,
    RESPONSES,
    World,
    chat,
    fault,
    world,
)
from tests.e2e.harness import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = (RESPONSES, ANTHROPIC, OLLAMA)
HI = {"role": "user", "content": "hi"}
LIMITS = {"messages": 10, "content": "20KB", "body": "100KB"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("bad"), limits=LIMITS) as standing:
        yield standing


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nobody_is_asked(world: World) -> AsyncIterator[None]:
    before = [len(fake.requests) for fake in world.backends.values()]
    yield
    assert [len(fake.requests) for fake in world.backends.values()] == before


# --- bodies ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrong:
    """A body that is wrong in the same way in every dialect; the error says these words."""

    name: str
    data: bytes
    words: tuple[str, ...]
    status: int = 400


def raw(body: object) -> bytes:
    return json.dumps(body).encode()


BODIES = [
    Wrong("nothing", b"", ("empty",)),
    Wrong("no JSON", b"{'model': 1}", ("not JSON",)),
    Wrong("half", b'{"model": "to-openai", ', ("not JSON",)),
    Wrong("no UTF-8", b'{"model": "\xff"}', ("not JSON",)),
    Wrong("a list", b"[1]", ("object",)),
    Wrong("null", b"null", ("object",)),
    Wrong("long body", raw({"model": "to-openai", "padding": "x" * 200_000}), ("100000",), 413),
]


@pytest.mark.parametrize("client", NEW)
@pytest.mark.parametrize("wrong", BODIES, ids=lambda wrong: wrong.name)
async def test_bodies(world: World, client: str, wrong: Wrong) -> None:
    got = await world.sidecar.ask(path=PATHS[client], data=wrong.data)
    _, told = fault(client, got)
    assert got.status == wrong.status
    for word in wrong.words:
        assert word in told


# --- fields ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """A field of a wrong type, in a request that has to cross; the error names its place."""

    client: str
    fields: Config
    place: str
    status: int = 400

    @property
    def id(self) -> str:
        return f"{self.client}:{self.place}:{json.dumps(self.fields)[:30]}"


def turn(*content: object) -> Config:
    return {"messages": [{"role": "user", "content": list(content)}]}


def items(*content: object) -> Config:
    return {"input": [{"role": "user", "content": list(content)}]}


LONG = "x" * 21_000
FIELDS = [
    *[Field(client, {"model": 17}, "model") for client in NEW],
    *[Field(client, {"stream": "yes"}, "stream") for client in NEW],
    # Anthropic
    Field(ANTHROPIC, {"messages": "hi"}, "messages"),
    Field(ANTHROPIC, {"messages": []}, "messages"),
    Field(ANTHROPIC, {"messages": None}, "messages"),
    Field(ANTHROPIC, {"messages": [HI] * 11}, "messages"),
    Field(ANTHROPIC, {"messages": [17]}, "messages[0]"),
    Field(ANTHROPIC, {"messages": [{"role": "user", "content": LONG}]}, "messages", 413),
    Field(ANTHROPIC, {"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role"),
    Field(ANTHROPIC, {"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
    Field(ANTHROPIC, turn({"type": "text", "text": 3}), "messages[0].content[0].text"),
    Field(ANTHROPIC, turn("hi"), "messages[0].content[0]"),
    Field(ANTHROPIC, {"max_tokens": "many"}, "max_tokens"),
    Field(ANTHROPIC, {"temperature": "hot"}, "temperature"),
    Field(ANTHROPIC, {"system": 3}, "system"),
    Field(ANTHROPIC, {"tools": {}}, "tools"),
    Field(ANTHROPIC, {"tools": [{"name": 3, "input_schema": {}}]}, "tools[0].name"),
    Field(ANTHROPIC, {"stop_sequences": [3]}, "stop_sequences[0]"),
    Field(ANTHROPIC, {"thinking": "yes"}, "thinking"),
    # Responses
    Field(RESPONSES, {"input": []}, "input"),
    Field(RESPONSES, {"input": ""}, "input"),
    Field(RESPONSES, {"input": 3}, "input"),
    Field(RESPONSES, {"input": ["hi"]}, "input[0]"),
    Field(RESPONSES, {"input": [HI] * 11}, "input"),
    Field(RESPONSES, {"input": LONG}, "input", 413),
    Field(RESPONSES, {"input": [{"role": "king", "content": "hi"}]}, "input[0].role"),
    Field(RESPONSES, items({"type": "input_text", "text": 3}), "input[0].content[0].text"),
    Field(RESPONSES, {"instructions": 3}, "instructions"),
    Field(RESPONSES, {"tools": [3]}, "tools[0]"),
    Field(RESPONSES, {"max_output_tokens": "many"}, "max_output_tokens"),
    Field(RESPONSES, {"reasoning": "high"}, "reasoning"),
    Field(RESPONSES, {"text": "json"}, "text"),
    # Ollama
    Field(OLLAMA, {"messages": "hi"}, "messages"),
    Field(OLLAMA, {"messages": [HI] * 11}, "messages"),
    Field(OLLAMA, {"messages": [17]}, "messages[0]"),
    Field(OLLAMA, {"messages": [{"role": "user", "content": LONG}]}, "messages", 413),
    Field(OLLAMA, {"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
    Field(OLLAMA, {"messages": [{**HI, "images": "x"}]}, "messages[0].images"),
    Field(OLLAMA, {"options": 3}, "options"),
    Field(OLLAMA, {"options": {"temperature": "hot"}}, "options.temperature"),
    Field(OLLAMA, {"tools": {}}, "tools"),
    Field(OLLAMA, {"format": 3}, "format"),
    Field(OLLAMA, {"think": 3}, "think"),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.id)
async def test_fields(world: World, field: Field) -> None:
    client = field.client
    body = {**chat(client), "model": "to-openai", **field.fields}
    got = await world.sidecar.ask(body, PATHS[client])
    assert got.status == field.status, got.raw
    _, told = fault(client, got)
    assert f"`{field.place}" in told


# --- doors -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """A request that is refused whatever its body says."""

    method: str
    path: str
    dialect: str
    status: int
    headers: Config


GET = ("GET", "PUT", "DELETE")
TEXT: Config = {"content-type": "text/plain"}
OPEN_PATHS = {
    "/v1/messages": ANTHROPIC,
    "/v1/messages/count_tokens": ANTHROPIC,
    "/v1/responses": RESPONSES,
    "/v1/responses/input_tokens": RESPONSES,
    "/api/chat": OLLAMA,
    "/api/generate": OLLAMA,
    "/api/embed": OLLAMA,
    "/api/embeddings": OLLAMA,
    "/api/show": OLLAMA,
}
DOORS = [
    *[Door(each, path, of, 405, {}) for path, of in OPEN_PATHS.items() for each in GET],
    *[Door("POST", path, of, 415, TEXT) for path, of in OPEN_PATHS.items()],
    *[
        Door("POST", path, of, 403, {"origin": "https://evil.example"})
        for path, of in OPEN_PATHS.items()
    ],
    *[Door("POST", path, OLLAMA, 405, {}) for path in ("/api/tags", "/api/ps", "/api/version")],
    Door("POST", "/", OLLAMA, 405, {}),
    Door("POST", "/api/nothing", OLLAMA, 404, {}),
    Door("POST", "/v1/messages/batches", ANTHROPIC, 404, {}),
    Door("GET", "/v1/responses/resp_1", RESPONSES, 400, {}),
    Door("POST", "/v1/responses/compact", RESPONSES, 400, {}),
]


@pytest.mark.parametrize("door", DOORS, ids=lambda d: f"{d.method}-{d.path}-{d.status}")
async def test_doors(world: World, door: Door) -> None:
    headers = {name: str(value) for name, value in door.headers.items()}
    body = {**chat(door.dialect), "model": "to-openai"}
    got = await world.sidecar.ask(body, door.path, method=door.method, headers=headers)
    assert got.status == door.status
    assert fault(door.dialect, got)[1]
    if door.status == 405:
        assert got.headers["allow"] == ("POST" if door.path in OPEN_PATHS else "GET")


@pytest.mark.parametrize("client", DIALECTS)
async def test_a_model_that_nobody_has(world: World, client: str) -> None:
    got = await world.ask(client, "to-opnai", chat(client))
    assert got.status == 404
    kind, told = fault(client, got)
    assert "'to-openai'" in told
    assert kind == {ANTHROPIC: "not_found_error", OLLAMA: "model_not_found"}.get(
        client, "invalid_request_error"
    )
