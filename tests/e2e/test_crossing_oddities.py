"""Backends that are off their dialect, before clients of every dialect: relayed and crossing.

A client gets what was meant, or an error that it understands; never a stream that it stumbles over,
and never an end that looks clean where there was none. The clients are the official ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.e2e.crossing import BOTH, DIALECTS, ENV, backend, strict
from tests.e2e.harness import Config, Sidecar
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Ask, Client, Failed, Stop, Tool, Why
from tests.fakes import behaviours as b
from tests.fakes.odd.everything import ODDITIES
from tests.fakes.odd.oddity import Odd
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

BY_MODEL = {f"{dialect}/{odd.name}": odd for dialect in ODDITIES for odd in ODDITIES[dialect]}
TOOLS = [
    Tool(name, "A tool.", {"type": "object", "properties": {}}) for name in ("weather", "clock")
]


def play(seen: Seen) -> b.Steps:
    """The model's name picks what a backend does."""
    return BY_MODEL[seen.model].steps()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mapping[str, Client]]:
    """Every client of one sidecar, before an odd backend of each dialect."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(strict(dialect)) for dialect in DIALECTS]
        for fake in fakes:
            fake.rest = play
        config: Config = {
            "backends": {fake.name: backend(fake) for fake in fakes},
            "routes": {
                fake.name: {
                    "models": [f"{fake.name}/*"],
                    "targets": [{"backend": fake.name}],
                    "retry": {"attempts": 0},
                }
                for fake in fakes
            },
        }
        sidecar = Sidecar(tmp_path_factory.mktemp("odd"), config, env=ENV)
        await stack.enter_async_context(sidecar)
        made = {name: make(sidecar.base_url, "k") for name, make in CLIENTS.items()}
        for client in made.values():
            stack.push_async_callback(client.close)
        yield made


CASES = [
    pytest.param(client, model, odd, id=f"{client}-on-{model}")
    for client in DIALECTS
    for model, odd in BY_MODEL.items()
    if not (odd.stays and model.startswith(f"{client}/"))
]


@pytest.mark.parametrize("stream", BOTH, ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "model", "odd"), CASES)
async def test_oddity(
    clients: Mapping[str, Client], client: str, model: str, odd: Odd, stream: bool
) -> None:
    ask = Ask(model, stream, "hi", tools=TOOLS if odd.calls else ())
    if odd.fails or (odd.fails_whole and not stream):
        with pytest.raises(Failed) as caught:
            await clients[client].ask(ask)
        failed = caught.value
        assert stream or failed.why is Why.SERVER, failed
        # what comes together with an error is not told: another backend could still answer
        assert failed.why is (Why.IN_STREAM if failed.heard else Why.SERVER), failed
        assert odd.text.startswith(failed.heard)
        return
    answer = await clients[client].ask(ask)
    assert answer.text == odd.text
    assert [(call.name, call.arguments) for call in answer.calls] == list(odd.calls)
    assert len({call.id for call in answer.calls}) == len(odd.calls)
    if not model.startswith(f"{client}/"):  # between equal dialects the backend's word stands
        assert answer.stop is (Stop.TOOLS if odd.calls else Stop.END)
