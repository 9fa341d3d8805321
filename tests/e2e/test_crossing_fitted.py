"""A request is fitted to a model that knows less: a schema that it cannot be strict about, an
effort that it lacks, sampling that it refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anthropic
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    OLLAMA,
    OPENAI,
    RESPONSES,
    World,
    chat,
    says,
    then,
    world,
)
from tests.e2e.harness import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENAIS = (OPENAI, RESPONSES)
# a model that is known to take sampling
OLDER: Config = {
    "to-anthropic": {"targets": [{"backend": ANTHROPIC, "model": "claude-sonnet-4-5"}]}
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("fitted"), lambda _: OLDER) as standing:
        yield standing


class Place(BaseModel):
    city: str
    note: str | None = None


@pytest.mark.parametrize("backend", OPENAIS)
async def test_a_schema_with_an_optional_field(world: World, backend: str) -> None:
    before = len(world.backends[backend].requests)
    async with anthropic.AsyncAnthropic(
        base_url=world.sidecar.base_url, api_key="any", max_retries=0
    ) as client:
        answer = await client.messages.parse(
            model=f"to-{backend}",
            max_tokens=100,
            messages=[{"role": "user", "content": "Where?"}],
            output_format=Place,
        )
    assert isinstance(answer.parsed_output, Place)
    (seen,) = world.backends[backend].requests[before:]
    assert b'"strict":false' in seen.body


def refusal(param: str, message: str) -> Mapping[str, object]:
    """As both of OpenAI's dialects word it."""
    kind = "invalid_request_error"
    return {
        "error": {"message": message, "type": kind, "param": param, "code": "unsupported_value"}
    }


EFFORT = (
    "Unsupported value: '{}' does not support 'max' with this model. "
    "Supported values are: 'none', 'low', 'medium', and 'high'."
)
MOST: Config = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("backend", OPENAIS)
async def test_an_effort_that_the_model_lacks_is_lowered(
    world: World, backend: str, stream: bool
) -> None:
    fake = world.backends[backend]
    before = len(fake.requests)
    param = "reasoning_effort" if backend == OPENAI else "reasoning.effort"
    then(fake, says(400, refusal(param, EFFORT.format(param))))
    got = await world.ask(ANTHROPIC, f"to-{backend}", chat(ANTHROPIC, stream=stream) | MOST)
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    assert got.headers["x-sidecar-losses"] == "thinking"
    bodies: list[Any] = [seen.json for seen in fake.requests[before:]]
    told = [one.get("reasoning_effort") or one["reasoning"]["effort"] for one in bodies]
    assert told == ["max", "high"]


SAMPLING: Mapping[str, str] = {
    OPENAI: "Unsupported value: 'temperature' does not support 0.5 with this model. "
    "Only the default (1) value is supported.",
    RESPONSES: "Unsupported parameter: 'temperature' is not supported with this model.",
    ANTHROPIC: "`temperature` is deprecated for this model.",
}


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("backend", SAMPLING)
async def test_sampling_that_the_model_refuses_is_left_out(
    world: World, backend: str, stream: bool
) -> None:
    fake = world.backends[backend]
    before = len(fake.requests)
    then(fake, says(400, refusal("temperature", SAMPLING[backend])))
    body = chat(OLLAMA, stream=stream, options={"temperature": 0.5})
    got = await world.ask(OLLAMA, f"to-{backend}", body)
    assert (got.status, got.headers["x-sidecar-attempts"]) == (200, "2")
    assert got.headers["x-sidecar-losses"] == "temperature"
    assert ["temperature" in seen.json for seen in fake.requests[before:]] == [True, False]


@pytest.mark.parametrize("backend", SAMPLING)
async def test_a_relay_passes_on_that_its_sampling_is_refused(world: World, backend: str) -> None:
    fake = world.backends[backend]
    before = len(fake.requests)
    then(fake, says(400, refusal("temperature", SAMPLING[backend])))
    got = await world.ask(backend, f"to-{backend}", chat(backend, temperature=0.5))
    assert (got.status, got.message) == (400, SAMPLING[backend])
    assert len(fake.requests) == before + 1
