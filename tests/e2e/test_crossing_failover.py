"""A chain of two dialects before clients of every dialect: whom a client hears, and what of errors.

The clients are the official ones, and their exceptions are the measure of an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import HANG
from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    DIALECTS,
    ENV,
    OLLAMA,
    OPENAI,
    PATHS,
    RESPONSES,
    Fakes,
    World,
    backend,
    chat,
    model_of,
    route,
    says,
    strict,
    then,
    world,
)
from tests.e2e.harness import Config, Sidecar
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Ask, Client, Failed
from tests.fakes import behaviours as b
from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.backend import StrictBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAULTS = ("error-500", "error-429", "hangs-up")


def hanging_up(fake: StrictBackend) -> b.Behaviour:
    """As it is, but the scenario `hangs-up` ends every answer before its content."""

    def play(seen: Seen) -> b.Steps:
        steps = usual(seen)
        if model.scenario(seen.model) != "hangs-up":
            return steps
        if len(steps) == 1:  # a whole answer, but for its last byte
            assert isinstance(steps[0], b.Send)
            return (b.Send(steps[0].data[:-1]), b.Close())
        # the head, and the frame that says nothing yet; Ollama's streams begin with content
        return (*steps[: 1 if fake.name == OLLAMA else 2], b.Close())

    usual = fake.rest
    return play


def chains(fakes: Fakes) -> Config:
    """Routes `<first>--<fault>--<second>` for chains, `<backend>--<status>` for one alone."""
    routes: Config = {}
    for first, second in permutations(fakes.values(), 2):
        for fault in (*FAULTS, "cut", "breaks"):
            name = f"{first.name}--{fault}--{second.name}"
            routes[name] = route(
                first, second, scenarios=[fault], retry={"attempts": 0}, recover=["fail"]
            )
    for fake in fakes.values():
        fake.rest = hanging_up(fake)
        for status in ERRORS_TOLD:
            name, scenario = f"{fake.name}--{status}", f"error-{status}"
            routes[name] = route(fake, scenarios=[scenario], retry={"attempts": 0})
    return routes


@dataclass(frozen=True)
class Stage:
    """A world, and the official clients before it."""

    world: World
    clients: Mapping[str, Client]

    @property
    def backends(self) -> Fakes:
        return self.world.backends


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("failover")
        standing = await stack.enter_async_context(world(folder, chains))
        address = standing.sidecar.base_url
        clients = {name: make(address, "k") for name, make in CLIENTS.items()}
        for client in clients.values():
            stack.push_async_callback(client.close)
        yield Stage(standing, clients)


PAIRS = list(permutations(DIALECTS, 2))
NAMES = [f"{first}-then-{second}" for first, second in PAIRS]


# --- before the first content ----------------------------------------------------------------


@pytest.mark.parametrize("stream", BOTH, ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=NAMES)
@pytest.mark.parametrize("client", DIALECTS)
async def test_another_dialect_answers(
    stage: Stage, client: str, first: str, second: str, fault: str, stream: bool
) -> None:
    asked = len(stage.backends[first].requests)
    ask = Ask(f"{first}--{fault}--{second}", stream, "hi", system="a tester")
    answer = await stage.clients[client].ask(ask)
    assert answer.text == model.usual(second, "a tester", "hi")
    assert answer.model == model_of(stage.backends[second])
    assert len(stage.backends[first].requests) == asked + 1


# --- behind it -------------------------------------------------------------------------------

# what ends a stream in good order, and what tells of an error in it
CLEAN_ENDS = {
    OPENAI: (b"[DONE]", b'"finish_reason":"stop"'),
    RESPONSES: (b"response.completed", b"response.incomplete"),
    ANTHROPIC: (b"message_stop", b"message_delta"),
    OLLAMA: (b'"done":true', b'"done": true'),
}
ERRORS = {
    OPENAI: b'data: {"error":',
    RESPONSES: b"event: response.failed\n",
    ANTHROPIC: b"event: error\n",
    OLLAMA: b'{"error":',
}


@pytest.mark.parametrize("fault", ["cut", "breaks"])
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=NAMES)
@pytest.mark.parametrize("client", DIALECTS)
async def test_a_break_in_mid_stream_is_an_error_of_the_clients_dialect(
    stage: Stage, client: str, first: str, second: str, fault: str
) -> None:
    fake = stage.backends[first]
    fake.go_on = asyncio.Event()
    asked = len(stage.backends[second].requests)
    body = {**chat(client, stream=True), "model": f"{first}--{fault}--{second}"}
    url, told = stage.world.sidecar.base_url + PATHS[client], {"content-type": "application/json"}
    async with (
        asyncio.timeout(HANG),
        stage.world.sidecar.http.post(url, data=json.dumps(body).encode(), headers=told) as reply,
    ):
        raw = await reply.content.readany()
        assert reply.status == 200
        fake.go_on.set()
        raw += await reply.content.read()
    assert b"heard" in raw
    frames = raw.rstrip(b"\n").split(b"\n" if client == OLLAMA else b"\n\n")
    assert frames[-1].startswith(ERRORS[client])
    for mark in CLEAN_ENDS[client]:
        assert mark not in raw
    assert len(stage.backends[second].requests) == asked, "its answer would be mixed in"


# --- what the exceptions of the clients say --------------------------------------------------


@dataclass(frozen=True)
class Told:
    """An error as the official clients show it.

    `openai` and `anthropic` are the exception and the type of the error, as the vendors have them;
    Ollama's client has one exception, with the status.
    """

    status: int
    openai: tuple[str, str]
    anthropic: tuple[str, str]


BAD, SERVER = "invalid_request_error", "InternalServerError"
# a key of ours that is refused is no fault of the client
KEY_REFUSED = Told(502, (SERVER, "server_error"), (SERVER, "api_error"))
ERRORS_TOLD = {
    "400": Told(400, ("BadRequestError", BAD), ("BadRequestError", BAD)),
    "401": KEY_REFUSED,
    "403": KEY_REFUSED,
    "404": Told(404, ("NotFoundError", BAD), ("NotFoundError", "not_found_error")),
    "413": Told(413, ("APIStatusError", BAD), ("ContentTooLargeError", "request_too_large")),
    "422": Told(422, ("UnprocessableEntityError", BAD), ("UnprocessableEntityError", BAD)),
    "429": Told(
        429, ("RateLimitError", "rate_limit_error"), ("RateLimitError", "rate_limit_error")
    ),
    "500": Told(500, (SERVER, "server_error"), (SERVER, "api_error")),
    "503": Told(503, (SERVER, "server_error"), ("ServiceUnavailableError", "overloaded_error")),
    "529": Told(529, (SERVER, "server_error"), ("OverloadedError", "overloaded_error")),
}


@pytest.mark.parametrize("status", ERRORS_TOLD)
@pytest.mark.parametrize(("client", "other"), list(product(DIALECTS, DIALECTS)))
async def test_errors(stage: Stage, client: str, other: str, status: str) -> None:
    with pytest.raises(Failed) as caught:
        await stage.clients[client].ask(Ask(f"{other}--{status}", stream=True, text="hi"))
    error: Any = caught.value.cause
    told = ERRORS_TOLD[status]
    assert error.status_code == told.status
    assert f"fails as it was told: {status}" in str(error)
    if client == OLLAMA:
        assert type(error).__name__ == "ResponseError"
        return
    exception, kind = told.anthropic if client == ANTHROPIC else told.openai
    assert type(error).__name__ == exception
    if client != other:  # between equal dialects these are the backend's own words
        assert (error.body["error"] if client == ANTHROPIC else error.body)["type"] == kind


TOO_LONG = {
    OPENAI: "This model's maximum context length is 8192 tokens.",
    RESPONSES: "Your input exceeds the context window of this model.",
    ANTHROPIC: "prompt is too long: 9000 tokens > 8192 maximum",
    OLLAMA: "the request exceeds the available context size",
}


@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_what_is_too_long_is_told_as_agents_look_for_it(
    stage: Stage, client: str, other: str
) -> None:
    fake = stage.backends[other]
    then(fake, says(400, fake.vendor.error(400, TOO_LONG[other])))
    got = await stage.world.ask(client, f"to-{other}", chat(client))
    assert got.status == 400
    if client == ANTHROPIC:
        assert got.json["error"]["type"] == BAD  # type: ignore[index]
        assert "prompt is too long" in got.message
    else:
        code = got.json["code"] if client == OLLAMA else got.code
        assert code == "context_length_exceeded"


# --- when to come back -----------------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """An error answer of the only backend, and what the client is told of coming back."""

    status: int
    headers: Config
    retry_after: str | None
    should_retry: str | None


BACK = {
    "limited": Answered(429, {"retry-after": "7"}, "7", None),
    "limited for ms": Answered(429, {"retry-after-ms": "1500"}, "2", None),
    "limited, and says so": Answered(
        429, {"retry-after": "7", "x-should-retry": "true"}, "7", "true"
    ),
    "overloaded": Answered(503, {"retry-after": "3"}, "3", "false"),
    "failed": Answered(500, {}, None, "false"),
    "failed, and says retry": Answered(500, {"x-should-retry": "true"}, None, "false"),
    "refused": Answered(400, {}, None, "false"),
}


async def test_when_to_come_back(tmp_path: Path) -> None:
    """In every dialect alike; each backend is of its own, for some are to rest."""
    pairs = list(product(DIALECTS, DIALECTS, BACK))
    async with AsyncExitStack() as stack:
        fakes = {name: await stack.enter_async_context(strict(name)) for name in DIALECTS}
        backends: Config = {}
        routes: Config = {}
        for number, (_, other, _) in enumerate(pairs):
            backends[f"b{number}"] = backend(fakes[other])
            target = {"backend": f"b{number}", "model": "m"}
            routes[f"r{number}"] = {"targets": [target], "retry": {"attempts": 0}}
        config: Config = {"backends": backends, "routes": routes}
        sidecar = await stack.enter_async_context(Sidecar(tmp_path, config, env=ENV))
        for number, (client, other, kind) in enumerate(pairs):
            told, fake = BACK[kind], fakes[other]
            error = json.dumps(fake.vendor.error(told.status, "no")).encode()
            headers = [(name, str(value)) for name, value in told.headers.items()]
            steps = b.whole(told.status, error, headers=headers)
            fake.rest = partial(_played, steps)
            got = await sidecar.ask({**chat(client), "model": f"r{number}"}, PATHS[client])
            assert got.status == told.status
            assert got.headers.get("retry-after") == told.retry_after, (client, other, kind)
            assert got.headers.get("x-should-retry") == told.should_retry, (client, other, kind)


def _played(steps: b.Steps, seen: Seen) -> b.Steps:
    return steps
