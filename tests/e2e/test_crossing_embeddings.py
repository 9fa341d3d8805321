"""Embeddings between OpenAI and Ollama: both shapes, in batches, and never of another model."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.client import Got
from tests.e2e.crossing import (
    ANTHROPIC,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Fakes,
    World,
    backend,
    fault,
    says,
    then,
    world,
)
from tests.e2e.harness import Config
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMBEDDINGS, EMBED, LEGACY = "/v1/embeddings", "/api/embed", "/api/embeddings"
PATHS = {OPENAI: EMBEDDINGS, OLLAMA: EMBED}
TEXTS = ["a", "bb", "ccc", "dddd", "eeeee"]


def vector(text: object) -> list[float]:
    """A vector that tells its text from others, of values that single precision holds exactly."""
    return [len(str(text)) + 0.5, -0.25, 2.0]


def embed(seen: Seen) -> b.Steps:
    """Seven tokens for each request; OpenAI's answer comes in the wrong order, with an index."""
    asked = seen.json.get("input", seen.json.get("prompt"))
    texts = asked if isinstance(asked, list) else [asked]
    made = [vector(text) for text in texts]
    match seen.path:
        case "/v1/embeddings":
            data = [
                {"object": "embedding", "index": place, "embedding": each}
                for place, each in enumerate(made)
            ]
            usage = {"prompt_tokens": 7, "total_tokens": 7}
            told: Config = {"object": "list", "data": data[::-1], "usage": usage}
        case "/api/embed":
            told = {"embeddings": made, "prompt_eval_count": 7}
        case _:
            told = {"embedding": made[0]}
    return b.whole(200, json.dumps({"model": seen.model, **told}).encode())


def targets(*told: tuple[str, str]) -> Config:
    found = [{"backend": name, "model": model} for name, model in told]
    return {"targets": found, "retry": {"attempts": 0}}


def routes(fakes: Fakes) -> Config:
    for name in (OPENAI, OLLAMA):
        fakes[name].rest = embed
    return {
        "pairs-openai": targets(("openai-by-two", "e")),
        "pairs-ollama": targets(("ollama-by-two", "e")),
        "same": targets((OPENAI, "e"), (OLLAMA, "e")),
        "different": targets((OPENAI, "e"), (OLLAMA, "another")),
        "speechless-first": targets((ANTHROPIC, "e"), (OLLAMA, "e")),
    }


def by_two(fakes: Fakes) -> Config:
    return {f"{name}-by-two": backend(fakes[name], batch=2) for name in (OPENAI, OLLAMA)}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("embeddings"), routes, by_two) as standing:
        yield standing


@pytest.fixture(autouse=True)
def themselves(world: World) -> None:
    """Each test begins with backends that have seen nothing and have no script."""
    for fake in world.backends.values():
        fake.script = []
        fake.requests.clear()


async def ask(world: World, path: str, model: str, **more: object) -> Got:
    return await world.sidecar.ask({"model": model, **more}, path)


def vectors(got: Got) -> Sequence[Sequence[float]]:
    """The vectors in an answer of any shape."""
    assert got.status == 200, got.raw
    told: Any = got.json
    if "embedding" in told:
        return [told["embedding"]]
    if "embeddings" in told:
        return list(told["embeddings"])
    assert [one["index"] for one in told["data"]] == list(range(len(told["data"])))
    return [_plain(one["embedding"]) for one in told["data"]]


def _plain(told: Any) -> Sequence[float]:
    if isinstance(told, list):
        return told
    raw = base64.b64decode(told)
    return struct.unpack(f"<{len(raw) // 4}f", raw)


@pytest.mark.parametrize("form", [None, "float", "base64"])
@pytest.mark.parametrize("input", ["bb", ["bb"], TEXTS])
async def test_openai_on_ollama(world: World, input: str | list[str], form: str | None) -> None:
    more = {} if form is None else {"encoding_format": form}
    got = await ask(world, EMBEDDINGS, "to-ollama", input=input, dimensions=3, **more)
    texts = [input] if isinstance(input, str) else input
    assert [list(each) for each in vectors(got)] == [vector(text) for text in texts]
    data: Any = got.json["data"]
    assert isinstance(data[0]["embedding"], str) is (form == "base64")
    assert got.json["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    [seen] = world.backends[OLLAMA].requests
    assert seen.path == EMBED
    assert (seen.json["input"], seen.json["dimensions"]) == (input, 3)
    assert seen.json["truncate"] is False, "a text that is cut is another text"


@pytest.mark.parametrize("input", ["bb", ["bb"], TEXTS])
async def test_ollama_on_openai(world: World, input: str | list[str]) -> None:
    got = await ask(world, EMBED, "to-openai", input=input, dimensions=3)
    texts = [input] if isinstance(input, str) else input
    assert [list(each) for each in vectors(got)] == [vector(text) for text in texts]
    assert got.json["prompt_eval_count"] == 7
    [seen] = world.backends[OPENAI].requests
    assert (seen.path, seen.json["input"], seen.json["dimensions"]) == (EMBEDDINGS, input, 3)


@pytest.mark.parametrize("to", [OPENAI, OLLAMA])
async def test_the_older_endpoint_of_ollama(world: World, to: str) -> None:
    got = await ask(world, LEGACY, f"to-{to}", prompt="bb")
    assert got.json["embedding"] == vector("bb")


@pytest.mark.parametrize(
    ("path", "body"),
    [(EMBED, {"input": []}), (EMBED, {"input": ""}), (LEGACY, {"prompt": ""})],
)
async def test_nothing_to_embed(world: World, path: str, body: Config) -> None:
    got = await ask(world, path, "to-openai", **body)
    code, message = fault(OLLAMA, got)
    assert (got.status, code) == (400, "cannot_translate")
    assert "no text to embed" in message
    assert not world.backends[OPENAI].requests


@pytest.mark.parametrize("to", [OPENAI, OLLAMA])
async def test_the_official_clients(world: World, to: str) -> None:
    """OpenAI's asks for base64 unless told otherwise."""

    def place(one: Any) -> int:  # relayed vectors come as their backend sent them
        return int(one.index)

    address, expected = world.sidecar.base_url, [vector(text) for text in TEXTS]
    async with openai.AsyncOpenAI(base_url=address + "/v1", api_key="k", max_retries=0) as client:
        listed = await client.embeddings.create(model=f"to-{to}", input=TEXTS)
        assert [one.embedding for one in sorted(listed.data, key=place)] == expected
    other = ollama.AsyncClient(address)
    try:
        told = await other.embed(f"to-{to}", TEXTS)
        assert [list(each) for each in told.embeddings] == expected
        one = await other.embeddings(f"to-{to}", "bb")
        assert list(one.embedding) == vector("bb")
    finally:
        await other.close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("to", [OPENAI, OLLAMA])
@pytest.mark.parametrize("client", [OPENAI, OLLAMA])
async def test_batches_are_merged_in_order(world: World, client: str, to: str) -> None:
    got = await ask(world, PATHS[client], f"pairs-{to}", input=TEXTS)
    assert [list(each) for each in vectors(got)] == [vector(text) for text in TEXTS]
    asked = [seen.json["input"] for seen in world.backends[to].requests]
    assert asked == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]
    if client == OPENAI:
        assert got.json["usage"] == {"prompt_tokens": 21, "total_tokens": 21}
    else:
        assert got.json["prompt_eval_count"] == 21


async def test_a_batch_that_fails_fails_the_whole(world: World) -> None:
    then(world.backends[OLLAMA], embed, says(500, {"error": "out of memory"}))
    got = await ask(world, EMBEDDINGS, "pairs-ollama", input=TEXTS)
    assert got.status == 500
    assert "out of memory" in got.message


async def test_a_batch_with_too_few_vectors_is_never_merged(world: World) -> None:
    then(world.backends[OLLAMA], embed, says(200, {"model": "e", "embeddings": [vector("x")]}))
    got = await ask(world, EMBEDDINGS, "pairs-ollama", input=TEXTS)
    assert got.status == 502
    assert "1 vectors for 2 inputs" in got.message


@pytest.mark.parametrize("client", [OPENAI, OLLAMA])
async def test_the_same_model_may_answer_elsewhere(world: World, client: str) -> None:
    then(world.backends[OPENAI], says(500, answers.error("no")))
    got = await ask(world, PATHS[client], "same", input=TEXTS)
    assert [list(each) for each in vectors(got)] == [vector(text) for text in TEXTS]
    assert got.headers["x-sidecar-backend"] == OLLAMA


@pytest.mark.parametrize("client", [OPENAI, OLLAMA])
async def test_another_model_never_answers(world: World, client: str) -> None:
    """Its vectors would lie in another space."""
    then(world.backends[OPENAI], says(500, answers.error("no")))
    got = await ask(world, PATHS[client], "different", input=TEXTS)
    assert got.status == 500
    fault(client, got)
    assert not world.backends[OLLAMA].requests


@pytest.mark.parametrize("client", [OPENAI, OLLAMA])
async def test_a_target_without_embeddings_is_passed_by(world: World, client: str) -> None:
    got = await ask(world, PATHS[client], "speechless-first", input=TEXTS)
    assert len(vectors(got)) == len(TEXTS)
    assert not world.backends[ANTHROPIC].requests


@pytest.mark.parametrize("to", [ANTHROPIC, RESPONSES])
@pytest.mark.parametrize("client", [OPENAI, OLLAMA])
async def test_dialects_without_embeddings_refuse(world: World, client: str, to: str) -> None:
    got = await ask(world, PATHS[client], f"to-{to}", input="a")
    assert got.status == 400
    assert "has no embeddings" in fault(client, got)[1]
    assert not world.backends[to].requests


@pytest.mark.parametrize("input", [[1, 2], [[1, 2], [3]]])
async def test_tokens_do_not_cross(world: World, input: object) -> None:
    got = await ask(world, EMBEDDINGS, "to-ollama", input=input)
    assert got.status == 400
    assert "`input`" in got.message
    assert not world.backends[OLLAMA].requests
    assert (await ask(world, EMBEDDINGS, "to-openai", input=input)).status == 200
