"""Counting tokens without an answer: by the backend that can, else by an estimate that learns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from openai.types.responses.input_token_count_response import InputTokenCountResponse

from tests.e2e.client import Got
from tests.e2e.crossing import (
    ANTHROPIC,
    DIALECTS,
    OLLAMA,
    OPENAI,
    RESPONSES,
    World,
    chat,
    fault,
    says,
    then,
    world,
)
from tests.e2e.harness import Config, until
from tests.fakes import behaviours as b
from tests.fakes.strict import model

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = "/v1/messages/count_tokens"
INPUT_TOKENS = "/v1/responses/input_tokens"
LONG = "Wer reitet so spät durch Nacht und Wind? " * 100


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("counts")) as standing:
        yield standing


async def counted(world: World, to: str, text: str = "hi", **more: Any) -> Got:
    body = chat(ANTHROPIC, text, **more)
    del body["max_tokens"], body["stream"]
    return await world.sidecar.ask({**body, "model": f"to-{to}"}, COUNT + "?beta=true")


async def estimated(world: World, to: str, text: str = "hi", **more: Any) -> int:
    """The estimate, which says that it is one."""
    got = await counted(world, to, text, **more)
    assert (got.status, got.headers["x-sidecar-estimated"]) == (200, "true")
    assert set(got.json) == {"input_tokens"}
    tokens = got.json["input_tokens"]
    assert isinstance(tokens, int)
    return tokens


async def test_a_backend_of_another_dialect_that_counts_is_asked(world: World) -> None:
    fake = world.backends[RESPONSES]
    then(fake, says(200, {"object": "response.input_tokens", "input_tokens": 42}))
    got = await counted(world, RESPONSES, system="s")
    assert (got.status, got.json) == (200, {"input_tokens": 42})
    assert "x-sidecar-estimated" not in got.headers
    seen = fake.requests[-1]
    assert (seen.path, seen.model) == ("/v1/responses/input_tokens", "gpt-5.1:text")
    assert {"instructions", "input"} <= set(seen.json)
    assert not {"stream", "max_output_tokens", "store"} & set(seen.json)


async def test_a_backend_that_counts_is_asked(world: World) -> None:
    fake = world.backends[ANTHROPIC]
    then(fake, says(200, {"input_tokens": 42}))
    got = await counted(world, ANTHROPIC)
    assert (got.status, got.json) == (200, {"input_tokens": 42})
    assert "x-sidecar-estimated" not in got.headers
    seen = fake.requests[-1]
    assert (seen.path, seen.model) == (COUNT, "claude-opus-4-8:text")


async def test_a_client_of_responses_counts_at_its_own_backend(world: World) -> None:
    fake = world.backends[RESPONSES]
    told = b'{"object": "response.input_tokens", "input_tokens": 42}'
    then(fake, says(200, json.loads(told)))
    got = await world.sidecar.ask({"model": f"to-{RESPONSES}", "input": "hi"}, INPUT_TOKENS)
    assert (got.status, got.raw) == (200, told)
    seen = fake.requests[-1]
    assert (seen.path, seen.json) == (INPUT_TOKENS, {"model": "gpt-5.1:text", "input": "hi"})


async def test_a_client_of_responses_counts_at_another_backend(world: World) -> None:
    fake = world.backends[ANTHROPIC]
    then(fake, says(200, {"input_tokens": 42}))
    body = {"model": f"to-{ANTHROPIC}", "input": "hi", "instructions": "s"}
    got = await world.sidecar.ask(body, INPUT_TOKENS)
    assert (got.status, got.json) == (200, {"object": "response.input_tokens", "input_tokens": 42})
    seen = fake.requests[-1]
    assert (seen.path, set(seen.json)) == (COUNT, {"model", "messages", "system"})


@pytest.mark.parametrize("to", [OPENAI, OLLAMA])
async def test_a_client_of_responses_gets_an_estimate(world: World, to: str) -> None:
    got = await world.sidecar.ask({"model": f"to-{to}", "input": LONG}, INPUT_TOKENS)
    assert (got.status, got.headers["x-sidecar-estimated"]) == (200, "true")
    told = InputTokenCountResponse.model_validate(got.json)
    assert (told.object, told.input_tokens > 0) == ("response.input_tokens", True)


@pytest.mark.parametrize("to", DIALECTS)
async def test_the_official_client_of_responses(world: World, to: str) -> None:
    address = f"{world.sidecar.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=address, api_key="k", max_retries=0) as client:
        told = await client.responses.input_tokens.count(model=f"to-{to}", input="hi")
    assert told.input_tokens > 0


@pytest.mark.parametrize("to", DIALECTS)
async def test_the_official_client(world: World, to: str) -> None:
    address = world.sidecar.base_url
    async with anthropic.AsyncAnthropic(base_url=address, api_key="k", max_retries=0) as client:
        question: Any = {"role": "user", "content": "hi"}
        told = await client.messages.count_tokens(model=f"to-{to}", messages=[question])
    assert told.input_tokens > 0


@pytest.mark.parametrize(
    "trouble",
    [
        says(404, {"detail": "Not Found"}),
        says(500, {"type": "error", "error": {"type": "api_error", "message": "no"}}),
        says(200, {"tokens": 1}),
        b.hang_up,
    ],
    ids=["404", "500", "no-count", "hang-up"],
)
async def test_a_backend_that_cannot_count_is_no_trouble(
    world: World, trouble: b.Behaviour
) -> None:
    then(world.backends[ANTHROPIC], *[trouble] * 4)
    assert await estimated(world, ANTHROPIC) > 0
    world.backends[ANTHROPIC].script = []


async def test_what_a_backend_calls_wrong_is_wrong(world: World) -> None:
    fake = world.backends[ANTHROPIC]
    then(fake, says(400, fake.vendor.error(400, "messages.0: no")))
    got = await counted(world, ANTHROPIC)
    assert got.status == 400
    assert fault(ANTHROPIC, got) == ("invalid_request_error", "messages.0: no")


@pytest.mark.parametrize("to", [OPENAI, RESPONSES, OLLAMA])
async def test_the_estimate_learns_from_answers(world: World, to: str) -> None:
    """The fakes call every request 100 tokens; one answer moves the estimate, and not too far."""
    before = await estimated(world, to, LONG)
    assert (await world.ask(ANTHROPIC, f"to-{to}", chat(ANTHROPIC, LONG))).status == 200

    async def has_fallen() -> bool:
        return await estimated(world, to, LONG) < before

    await until(has_fallen, "the estimate has moved towards what was told")
    assert await estimated(world, to, LONG) > model.INPUT


IMAGE: Config = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K" * 20_000},
}
CALL: Config = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": LONG}}
RESULT: Config = {"type": "tool_result", "tool_use_id": "toolu_1", "content": LONG}
THOUGHT: Config = {"type": "thinking", "thinking": LONG, "signature": "x" * 4000}


@pytest.mark.parametrize(
    ("more", "least", "most"),
    [
        ({"system": LONG}, 500, 2000),
        ({"tools": [{"name": "t", "description": LONG, "input_schema": {}}]}, 500, 2000),
        ({"messages": [{"role": "assistant", "content": [CALL]}]}, 500, 2000),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, 500, 2000),
        ({"messages": [{"role": "assistant", "content": [THOUGHT]}]}, 500, 2000),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, 1000, 2000),
    ],
    ids=["system", "tools", "call", "result", "thinking", "image"],
)
async def test_everything_that_a_model_reads_counts(
    world: World, more: dict[str, Any], least: int, most: int
) -> None:
    """In tokens of some four bytes; a signature and the letters of an image are not read."""
    assert least < await estimated(world, OLLAMA, **more) < most
