"""A conversation that changes its backend in the middle: what the first one has thought and called
goes to another vendor, by the hand of the official clients.

Turn 1 thinks and calls a tool; turn 2 brings the result to another backend, with the history as the
SDK gives it; turn 3 comes back to the first one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from itertools import permutations

import pytest
import pytest_asyncio

from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    DIALECTS,
    OLLAMA,
    RESPONSES,
    Fakes,
    World,
    model_of,
    route,
    world,
)
from tests.e2e.harness import Config
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.scenarios import ROLE, WEATHER
from tests.e2e.matrix.talk import Ask, Client, Earlier, Stop
from tests.fakes.strict import model

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAIRS = [*permutations(DIALECTS, 2)]


def thinkers(fakes: Fakes) -> Config:
    """Routes `think-<dialect>`, to models that can."""
    return {f"think-{name}": route(fake, scenarios=["thinking"]) for name, fake in fakes.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("switch"), thinkers) as standing:
        yield standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(world: World) -> AsyncIterator[Mapping[str, Client]]:
    async with AsyncExitStack() as stack:
        made = {name: make(world.sidecar.base_url, "any") for name, make in CLIENTS.items()}
        for client in made.values():
            stack.push_async_callback(client.close)
        yield made


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_another_backend_goes_on(
    world: World,
    clients: Mapping[str, Client],
    dialect: str,
    first: str,
    second: str,
    stream: bool,
) -> None:
    client, fake = clients[dialect], world.backends[second]
    proof = model.signature(first, model.THOUGHT)
    ask = Ask(f"think-{first}", stream, "How is it?", ROLE, [WEATHER], thinks=True)
    answer = await client.ask(ask)
    assert (answer.thinking, answer.stop) == (model.THOUGHT, Stop.TOOLS)
    (call,) = answer.calls
    before = len(fake.requests)

    history = Earlier(ask, answer, {call.id: "21 °C"})
    again = Ask(f"think-{second}", stream, tools=[WEATHER], thinks=True, before=history)
    then = await client.ask(again)

    assert then.model == model_of(fake, "thinking")
    assert (then.text, then.stop) == (f"{second} got weather: 21 °C", Stop.END)
    (seen,) = fake.requests[before:]  # nothing was refused
    assert ROLE in seen.body.decode()
    assert proof not in seen.body.decode()
    assert "llm-sidecar." not in seen.body.decode()

    fake = world.backends[first]
    before = len(fake.requests)
    back = Ask(
        ask.model, stream, "And you?", thinks=True, tools=[WEATHER], before=Earlier(again, then)
    )
    assert (await client.ask(back)).model == model_of(fake, "thinking")
    (seen,) = fake.requests[before:]
    if first in (ANTHROPIC, RESPONSES):  # who signed its thinking has it again
        assert (proof in seen.body.decode()) is (dialect != OLLAMA)
    assert "llm-sidecar." not in seen.body.decode()
