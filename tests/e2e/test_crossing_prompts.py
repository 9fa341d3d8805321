"""The endpoints for a single prompt, `/v1/completions` and `/api/generate`, on other dialects."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import ollama
import openai
import pytest
import pytest_asyncio

from tests.e2e.client import HANG
from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    OLLAMA,
    OPENAI,
    RESPONSES,
    Fakes,
    World,
    model_of,
    route,
    world,
)
from tests.e2e.harness import Config
from tests.e2e.matrix.scenarios import DOT, PLACE
from tests.fakes.strict import model

pytestmark = pytest.mark.asyncio(loop_scope="module")


def scenarios(fakes: Fakes) -> Config:
    """Routes `<scenario>-<dialect>`."""
    return {
        f"{scenario}-{name}": route(fake, scenarios=[scenario], retry={"attempts": 0})
        for name, fake in fakes.items()
        for scenario in ("thinking", "breaks", "error-500")
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("prompts"), scenarios) as standing:
        yield standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def completions(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    address = world.sidecar.base_url + "/v1"
    async with openai.AsyncOpenAI(base_url=address, api_key="k", max_retries=0) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generating(world: World) -> AsyncIterator[ollama.AsyncClient]:
    client = ollama.AsyncClient(world.sidecar.base_url)
    yield client
    await client.close()  # type: ignore[no-untyped-call]


# --- /v1/completions -------------------------------------------------------------------------


@pytest.mark.parametrize("to", [RESPONSES, ANTHROPIC, OLLAMA])
async def test_a_completion(world: World, completions: openai.AsyncOpenAI, to: str) -> None:
    told = await completions.completions.create(model=f"to-{to}", prompt="hi", max_tokens=99)
    assert told.object == "text_completion"
    assert told.model == model_of(world.backends[to])
    [choice] = told.choices
    assert (choice.text, choice.finish_reason) == (model.usual(to, "", "hi"), "stop")
    assert told.usage is not None
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (100, 20)


@pytest.mark.parametrize("to", [RESPONSES, ANTHROPIC, OLLAMA])
async def test_a_streamed_completion(completions: openai.AsyncOpenAI, to: str) -> None:
    chunks = [
        chunk
        async for chunk in await completions.completions.create(
            model=f"to-{to}", prompt="hi", stream=True, stream_options={"include_usage": True}
        )
    ]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.text for choice in choices) == model.usual(to, "", "hi")
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20


@pytest.mark.parametrize("to", [RESPONSES, ANTHROPIC, OLLAMA])
async def test_a_completion_fails(completions: openai.AsyncOpenAI, to: str) -> None:
    for stream in BOTH:
        with pytest.raises(openai.InternalServerError, match="fails as it was told"):
            await completions.completions.create(
                model=f"error-500-{to}", prompt="hi", stream=stream
            )


@pytest.mark.parametrize("to", [RESPONSES, ANTHROPIC, OLLAMA])
async def test_a_completion_breaks(world: World, completions: openai.AsyncOpenAI, to: str) -> None:
    fake = world.backends[to]
    fake.go_on = asyncio.Event()
    heard = ""
    stream = await completions.completions.create(model=f"breaks-{to}", prompt="hi", stream=True)
    with pytest.raises(openai.APIError) as caught:
        async with asyncio.timeout(HANG):
            async for chunk in stream:
                heard += "".join(choice.text for choice in chunk.choices)
                assert not any(choice.finish_reason for choice in chunk.choices)
                fake.go_on.set()
    assert type(caught.value) is openai.APIError
    assert heard
    assert model.usual(to, "", "hi").startswith(heard)


# --- /api/generate ---------------------------------------------------------------------------

FOREIGN = [OPENAI, RESPONSES, ANTHROPIC]


@pytest.mark.parametrize("to", FOREIGN)
async def test_generate(world: World, generating: ollama.AsyncClient, to: str) -> None:
    told = await generating.generate(f"to-{to}", "hi", system="a tester")
    assert told.response == model.usual(to, "a tester", "hi")
    assert told.model == model_of(world.backends[to])
    assert (told.done, told.done_reason) == (True, "stop")
    assert (told.prompt_eval_count, told.eval_count) == (100, 20)


@pytest.mark.parametrize("to", FOREIGN)
async def test_generate_streamed(generating: ollama.AsyncClient, to: str) -> None:
    parts = [part async for part in await generating.generate(f"to-{to}", "hi", stream=True)]
    assert "".join(part.response or "" for part in parts) == model.usual(to, "", "hi")
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("stop", 20)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", {"prompt": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
    ],
)
async def test_ollamas_clients_get_a_stream_unless_they_say_otherwise(
    world: World, path: str, body: Config
) -> None:
    got = await world.sidecar.ask({"model": "to-anthropic", **body}, path)
    assert got.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in got.raw.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert world.backends[ANTHROPIC].requests[-1].streamed


@pytest.mark.parametrize("to", FOREIGN)
async def test_generate_with_all_that_it_takes(generating: ollama.AsyncClient, to: str) -> None:
    image = base64.b64encode(DOT).decode()
    told = await generating.generate(f"to-{to}", "What is it?", images=[image])
    assert told.response == f"{to} sees image/png of {len(DOT)} bytes"
    told = await generating.generate(f"to-{to}", "Where?", format=PLACE)
    assert json.loads(str(told.response)) == model.sample(PLACE)
    told = await generating.generate(f"thinking-{to}", "hi", think=True)
    assert (told.thinking, told.response) == (model.THOUGHT, model.usual(to, "", "hi"))


@pytest.mark.parametrize("to", FOREIGN)
async def test_generate_breaks(world: World, generating: ollama.AsyncClient, to: str) -> None:
    fake = world.backends[to]
    fake.go_on = asyncio.Event()
    heard = ""
    with pytest.raises(ollama.ResponseError):
        async with asyncio.timeout(HANG):
            async for part in await generating.generate(f"breaks-{to}", "hi", stream=True):
                heard += part.response or ""
                assert not part.done
                fake.go_on.set()
    assert heard
    assert model.usual(to, "", "hi").startswith(heard)
