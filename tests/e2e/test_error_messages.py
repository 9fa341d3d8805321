"""What clients of every dialect are told when nothing is left to try: people, machines, agents.

The exceptions of the official clients are the measure for people.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.client import HANG, Got
from tests.e2e.crossing import (
    ANTHROPIC,
    BOTH,
    DIALECTS,
    OLLAMA,
    OPENAI,
    PATHS,
    RESPONSES,
    Fakes,
    World,
    chat,
    model_of,
    route,
    says,
    then,
    world,
)
from tests.e2e.harness import NEVER_EJECTED, Config, Sidecar, chain, free_port
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Ask, Client, Failed
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen
from tests.fakes.strict.backend import KEY, StrictBackend

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODY = free_port()  # where nothing listens
NO_RETRY: Config = {"attempts": 0}
PAIRS = list(product(DIALECTS, DIALECTS))
BOUND = {
    OPENAI: "max_tokens",
    RESPONSES: "max_output_tokens",
    ANTHROPIC: "max_tokens",
    OLLAMA: "num_predict",
}


def routes(fakes: Fakes) -> Config:
    """`down-then-<dialect>`: a backend where nothing listens, and that one behind it."""
    found: Config = {
        f"down-then-{name}": {
            "targets": [{"backend": "down", "model": "m"}, {"backend": name, "model": "m"}],
            "retry": NO_RETRY,
        }
        for name in fakes
    }
    return {
        **found,
        **{
            f"{name}--cut": route(fake, scenarios=["cut"], retry=NO_RETRY)
            for name, fake in fakes.items()
        },
        **{
            f"well-{name}": {
                "targets": [
                    {"backend": "down", "model": "m"},
                    {"backend": name, "model": model_of(fake)},
                ],
                "retry": NO_RETRY,
            }
            for name, fake in fakes.items()
        },
        **{
            f"{name}--breaks": route(fake, scenarios=["breaks"], retry=NO_RETRY)
            for name, fake in fakes.items()
        },
        "long": {"targets": [{"backend": OPENAI, "model": "long"}]},
        "longer": {"targets": [{"backend": OPENAI, "model": "longer"}]},
    }


def backends(fakes: Fakes) -> Config:
    down = {"dialect": OLLAMA, "base_url": f"http://127.0.0.1:{NOBODY}", **NEVER_EJECTED}
    return {
        "down": down,
        OPENAI: {
            "dialect": OPENAI,
            "base_url": fakes[OPENAI].base_url,
            "auth": {"bearer": {"env": "STRICT_KEY"}},
            "context": {"long": 300_000, "longer": 1_000_000},
            **NEVER_EJECTED,
        },
    }


@dataclass(frozen=True)
class Stage:
    """A world, and the official clients before it."""

    world: World
    clients: Mapping[str, Client]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("errors")
        standing = await stack.enter_async_context(world(folder, routes, backends))
        address = standing.sidecar.base_url
        clients = {name: make(address, "k") for name, make in CLIENTS.items()}
        for client in clients.values():
            stack.push_async_callback(client.close)
        yield Stage(standing, clients)


def told(client: str, answer: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Message and extension of an error, wherever the dialect has them."""
    if client == OLLAMA:
        return str(answer["error"]), answer["sidecar"]
    if "response" in answer:  # the event of a response that failed
        answer = answer["response"]
    return answer["error"]["message"], answer["error"]["sidecar"]


# --- an overlong request -------------------------------------------------------------------------

FULL = "prompt is too long: 210000 tokens > 200000 maximum"
ROOM = (
    "This model's maximum context length is 8192 tokens. However, you requested 9012 tokens (8012 "
    "in the messages, 1000 in the completion)."
)


@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_the_numbers_of_an_overlong_request(stage: Stage, client: str, other: str) -> None:
    fake = stage.world.backends[other]
    body = fake.vendor.error(400, FULL)
    then(fake, says(400, body))
    got = await stage.world.ask(client, f"to-{other}", chat(client))
    assert got.status == 400
    message, beside = told(client, got.json)
    assert FULL in message
    assert beside["context"] == {"limit": 200_000, "requested": 210_000, "excess": 10_000}
    advice = (
        "Shorten the history by about 10000 tokens, or ask for a model with a larger context, such "
        "as 'long'."
    )
    assert beside["advice"] == advice
    (attempt,) = beside["attempts"]
    assert attempt.pop("ms") >= 0
    assert attempt.pop("model")
    if client != other:
        assert message.endswith(advice)
        assert attempt.pop("reason") == f"answered 400: {FULL}"
    else:  # the backend's own body, with one field more
        assert message == FULL
        # its words stand in the body; they are not told twice
        assert attempt.pop("reason").startswith("context_length (")
        passed: Any = got.json
        (passed if client == OLLAMA else passed["error"]).pop("sidecar")
        assert passed == body
    assert attempt == {"backend": other, "outcome": "client_error", "status": 400}


@pytest.mark.parametrize("client", DIALECTS)
async def test_the_room_for_the_answer_may_be_too_much(stage: Stage, client: str) -> None:
    other = OPENAI if client != OPENAI else ANTHROPIC
    fake = stage.world.backends[other]
    then(fake, says(400, fake.vendor.error(400, ROOM)))
    _, beside = told(client, (await stage.world.ask(client, f"to-{other}", chat(client))).json)
    assert beside["context"] == {
        "limit": 8192, "requested": 9012, "output": 1000, "excess": 820,
    }  # fmt: skip
    assert beside["advice"].startswith(f"Lower `{BOUND[client]}` by about 820 tokens, or ask")


# --- backends that cannot be asked ---------------------------------------------------------------


@pytest.mark.parametrize("stream", BOTH, ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_people_read_what_failed_why_and_what_to_do(
    stage: Stage, client: str, other: str, stream: bool
) -> None:
    fake = stage.world.backends[other]
    then(fake, says(401, fake.vendor.error(401, "bad key")))
    with pytest.raises(Failed) as caught:
        await stage.clients[client].ask(Ask(f"down-then-{other}", stream, text="hi"))
    error: Any = caught.value.cause
    assert error.status_code == 503
    text = str(error)
    for part in (
        f"refused the connection (127.0.0.1:{NOBODY})",
        f"{other}: answered 401: bad key",
        f"Is Ollama running at 127.0.0.1:{NOBODY}? `ollama serve` starts it.",
    ):
        assert part in text
    source = "has no key" if other == OLLAMA else "which comes from env STRICT_KEY."
    assert source in text


@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_machines_read_every_try(stage: Stage, client: str, other: str) -> None:
    fake = stage.world.backends[other]
    then(fake, says(500, fake.vendor.error(500, "no luck")))
    got = await stage.world.ask(client, f"down-then-{other}", chat(client))
    assert got.status == 500
    _, beside = told(client, got.json)
    assert beside["request_id"] == got.headers["x-request-id"]
    refused, failed = beside["attempts"]
    assert (refused["backend"], refused["outcome"]) == ("down", "connect")
    assert refused["reason"] == f"refused the connection (127.0.0.1:{NOBODY})"
    assert "status" not in refused
    assert (failed["backend"], failed["outcome"], failed["status"]) == (other, "server_error", 500)
    tries = got.headers["x-sidecar-tries"]
    assert re.fullmatch(rf"down;outcome=connect;ms=\d+, {other};outcome=server_error;ms=\d+", tries)
    assert got.headers["x-sidecar-attempts"] == "2"
    assert got.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", BOTH, ids=["whole", "streamed"])
@pytest.mark.parametrize("client", DIALECTS)
async def test_an_answer_bears_its_tries_too(stage: Stage, client: str, stream: bool) -> None:
    got = await stage.world.ask(client, f"well-{client}", chat(client, stream=stream))
    assert got.status == 200
    tries = got.headers["x-sidecar-tries"]
    assert re.fullmatch(rf"down;outcome=connect;ms=\d+, {client};outcome=ok", tries)


async def test_what_asks_no_backend_has_no_tries(stage: Stage) -> None:
    for path in ("/v1/models", "/health", "/api/tags"):
        assert "x-sidecar-tries" not in (await stage.world.sidecar.get(path)).headers
    refused = await stage.world.ask(OPENAI, "no-such-model", chat(OPENAI))
    assert refused.status == 404
    assert "x-sidecar-tries" not in refused.headers
    assert refused.error is not None
    assert set(refused.error["sidecar"]) == {"request_id"}  # type: ignore[call-overload]


# --- behind the first token ----------------------------------------------------------------------


async def broken_stream(stage: Stage, client: str, other: str, fault: str) -> tuple[bytes, str]:
    """What the client got of a stream that fails once it has heard some of it, and its id."""
    fake, sidecar = stage.world.backends[other], stage.world.sidecar
    fake.go_on = asyncio.Event()
    body = {**chat(client, stream=True), "model": f"{other}--{fault}"}
    data, kind = json.dumps(body).encode(), {"content-type": "application/json"}
    async with (
        asyncio.timeout(HANG),
        sidecar.http.post(sidecar.base_url + PATHS[client], data=data, headers=kind) as reply,
    ):
        raw = await reply.content.readany()
        assert reply.status == 200
        fake.go_on.set()
        raw += await reply.content.read()
    return raw, reply.headers["x-request-id"]


@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_an_error_event_bears_the_same(stage: Stage, client: str, other: str) -> None:
    raw, request_id = await broken_stream(stage, client, other, "cut")
    last = raw.rstrip(b"\n").split(b"\n")[-1].removeprefix(b"data: ")
    message, beside = told(client, json.loads(last))
    assert beside["request_id"] == request_id
    (attempt,) = beside["attempts"]
    assert (attempt["backend"], attempt["outcome"]) == (other, "truncated")
    assert attempt["reason"] in message


# --- keys ----------------------------------------------------------------------------------------


def leaking(fake: StrictBackend) -> b.Behaviour:
    """As it is, but the error in its stream repeats the key."""

    def play(seen: Seen) -> b.Steps:
        *steps, _, end = fake.rest(seen)
        said = fake.vendor.failure(len(steps) - 2)
        told = re.sub(rb'("message"|"error"): "[^"]*"', rb'\1: "bad key %b"' % KEY.encode(), said)
        return (*steps, b.Send(b.chunked(told)), end)

    return play


def _played(steps: b.Steps, seen: Seen) -> b.Steps:
    return steps


@pytest.mark.parametrize(("client", "other"), PAIRS)
async def test_a_key_that_a_backend_repeats_goes_no_further(
    stage: Stage, client: str, other: str
) -> None:
    fake, sidecar = stage.world.backends[other], stage.world.sidecar
    for escaped in (KEY, KEY.replace("-", "\\u002d")):
        raw = json.dumps(fake.vendor.error(403, "your key KEY is bad")).replace("KEY", escaped)
        then(fake, partial(_played, b.whole(403, raw.encode(), headers=[("x-ratelimit-key", KEY)])))
        got = await stage.world.ask(client, f"to-{other}", chat(client))
        assert got.status == 502
        assert KEY not in json.dumps(got.json)
        assert KEY not in str(got.headers)
    then(fake, leaking(fake))
    streamed, request_id = await broken_stream(stage, client, other, "breaks")
    assert b"bad key ***" in streamed
    assert KEY.encode() not in streamed
    await sidecar.request_line(request_id)
    assert KEY not in sidecar.output


# --- what the clients' SDKs say ------------------------------------------------------------------


@pytest.mark.parametrize("header", ["x-stainless-read-timeout", "x-stainless-timeout"])
@pytest.mark.parametrize("client", DIALECTS)
async def test_nothing_is_waited_for_longer_than_the_client_waits(
    stage: Stage, client: str, header: str
) -> None:
    fake = stage.world.backends[client]
    then(fake, b.silent)
    url = stage.world.sidecar
    got = await url.ask(
        {**chat(client), "model": f"to-{client}"}, PATHS[client], headers={header: "1"}
    )
    assert got.status == 504
    assert 0.9 <= got.seconds <= 15
    _, beside = told(client, got.json)
    assert beside["advice"] == "Ask for less, or let the client wait longer."
    assert got.headers["x-should-retry"] == "false"


async def test_nonsense_of_an_sdk_is_ignored(stage: Stage) -> None:
    for value in ("0", "-1", "nan", "soon", "1e-9"):
        headers = {"x-stainless-timeout": value, "x-stainless-retry-count": value}
        body = {**chat(OPENAI), "model": f"to-{OPENAI}"}
        got = await stage.world.sidecar.ask(body, PATHS[OPENAI], headers=headers)
        assert got.status == 200


async def test_a_retry_of_the_clients_earns_no_retry(tmp_path: Path) -> None:
    async with Backend("p", rest=b.status(500)) as fake:
        config = {
            **chain(fake, backends={fake.name: NEVER_EJECTED}),
            "retry_budget": {"share": 0.1, "floor": "0/s"},
        }
        async with Sidecar(tmp_path, config) as sidecar:

            async def asked(count: int, retry: str | None) -> int:
                before = len(fake.requests)
                headers = {} if retry is None else {"x-stainless-retry-count": retry}
                for _ in range(count):
                    assert (await sidecar.ask(chat(OPENAI), headers=headers)).status == 500
                return len(fake.requests) - before - count

            assert await asked(1, None) == 1  # one retry is saved up from the start
            assert await asked(25, "1") == 0
            assert await asked(25, "0") >= 2
            again = await sidecar.ask(chat(OPENAI), headers={"x-stainless-retry-count": "2"})
            line = await sidecar.request_line(again.headers["x-request-id"])
            assert line["client_retry"] == 2
            first = await sidecar.ask(chat(OPENAI), headers={"x-stainless-retry-count": "0"})
            assert "client_retry" not in await sidecar.request_line(first.headers["x-request-id"])


# --- where an address leads elsewhere ------------------------------------------------------------


async def test_a_page_makes_one_look_at_the_address(tmp_path: Path) -> None:
    async with Backend("p", rest=b.html) as fake, Sidecar(tmp_path, chain(fake)) as sidecar:
        advice = "Is `base_url` of backend 'p' right? A login page or a proxy may have answered."
        assert advice in await _message(sidecar)
        fake.rest = lambda _: b.whole(404, b"<h1>Not here</h1>", "text/html")
        assert advice in await _message(sidecar)
        fake.rest = lambda _: b.whole(302, b"", headers=[("location", "/login")])
        assert advice in await _message(sidecar)
        fake.rest = lambda _: b.whole(502, b"<h1>Bad gateway</h1>", "text/html")
        assert advice not in await _message(sidecar)


async def _message(sidecar: Sidecar) -> str:
    got: Got = await sidecar.ask(chat(OPENAI))
    assert got.status >= 400
    return got.message
