"""What a crossing cannot carry: it is named and counted, avoided where a target can, or refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import pytest
import pytest_asyncio

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
    fault,
    route,
    world,
)
from tests.e2e.harness import Config

pytestmark = pytest.mark.asyncio(loop_scope="module")

REMOTE = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}]
A_REMOTE = [{"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}}]
R_REMOTE = [{"type": "input_image", "image_url": "https://a.example/a.png"}]
CACHED = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
SEARCH = [{"type": "web_search_20250305", "name": "web_search"}]


def strict_and_chains(fakes: Fakes) -> Config:
    """Routes `strict-<dialect>`, and `<one>-then-<other>` for chains of two."""
    return {
        **{f"strict-{name}": route(fake, losses="strict") for name, fake in fakes.items()},
        **{
            f"{one}-then-{other}": route(fakes[one], fakes[other])
            for one, other in permutations(DIALECTS, 2)
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="world")
async def the_world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("losses"), strict_and_chains) as standing:
        yield standing


@dataclass(frozen=True)
class Lost:
    """What a request with these fields loses on its way."""

    client: str
    backend: str
    fields: Config
    meaning: Sequence[str] = ()
    cosmetic: Sequence[str] = ()

    @property
    def id(self) -> str:
        return f"{self.client}-on-{self.backend}:{'+'.join([*self.meaning, *self.cosmetic])}"


LOST = [
    Lost(OPENAI, ANTHROPIC, {"logprobs": True, "n": 2}, ["logprobs", "n"]),
    Lost(OPENAI, ANTHROPIC, {"seed": 1, "logit_bias": {"1": 1}}, [], ["seed", "logit_bias"]),
    Lost(OPENAI, ANTHROPIC, {"vendor_field": 1}, ["vendor_field"]),
    Lost(OPENAI, OLLAMA, {"user": "u", "n": 2}, ["n"], ["user"]),
    Lost(OPENAI, RESPONSES, {"stop": ["a"]}, ["stop_sequences"]),
    Lost(ANTHROPIC, OPENAI, {"system": CACHED, "top_k": 5}, [], ["cache_control", "top_k"]),
    Lost(ANTHROPIC, OPENAI, {"tools": SEARCH}, ["server_tools"]),
    Lost(ANTHROPIC, OLLAMA, {"container": "c"}, ["container"]),
    Lost(RESPONSES, ANTHROPIC, {"metadata": {"a": "b"}}, [], ["metadata"]),
    Lost(OLLAMA, ANTHROPIC, {"keep_alive": "5m"}, [], ["keep_alive"]),
    Lost(OLLAMA, OPENAI, {"options": {"mirostat": 1, "seed": 3}}, [], ["mirostat"]),
    Lost(OPENAI, ANTHROPIC, {"n": 1, "logprobs": False, "store": True}),
]


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.id)
async def test_losses_are_named_and_counted(world: World, lost: Lost, stream: bool) -> None:
    def counted(severity: str) -> Mapping[str, str]:
        return {"from": lost.client, "to": lost.backend, "severity": severity}

    before = await world.sidecar.metrics()
    body = {**chat(lost.client, stream=stream), "model": f"to-{lost.backend}", **lost.fields}
    got = await world.sidecar.ask(body, PATHS[lost.client])
    assert got.status == 200, got.raw
    named = got.headers.get("x-sidecar-losses", "")
    assert set(filter(None, named.split(", "))) == {*lost.meaning, *lost.cosmetic}
    after = await world.sidecar.metrics()
    for severity, names in (("semantic", lost.meaning), ("cosmetic", lost.cosmetic)):
        grown = after.value("translation_losses_total", **counted(severity)) - before.value(
            "translation_losses_total", **counted(severity)
        )
        assert grown == len(names), severity


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.id)
async def test_strict_refuses_a_loss_of_meaning(world: World, lost: Lost) -> None:
    asked = len(world.backends[lost.backend].requests)
    body = {**chat(lost.client), "model": f"strict-{lost.backend}", **lost.fields}
    got = await world.sidecar.ask(body, PATHS[lost.client])
    if not lost.meaning:
        assert got.status == 200, got.raw
        return
    assert got.status == 400
    _, told = fault(lost.client, got)
    assert f"`{lost.meaning[0]}`" in told
    assert "losses: strict" in told
    assert len(world.backends[lost.backend].requests) == asked


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.id)
async def test_a_target_that_loses_no_meaning_goes_first(world: World, lost: Lost) -> None:
    """The second target speaks the client's dialect; only for the sake of meaning it goes first."""
    body = {**chat(lost.client), "model": f"{lost.backend}-then-{lost.client}", **lost.fields}
    got = await world.sidecar.ask(body, PATHS[lost.client])
    assert got.headers["x-sidecar-backend"] == (lost.client if lost.meaning else lost.backend)
    assert got.headers["x-sidecar-attempts"] == "1"


@dataclass(frozen=True)
class Fatal:
    """A request that no backend of another dialect can be asked; the error names the field."""

    client: str
    field: str
    body: Config
    backend: str = ANTHROPIC
    path: str | None = None


def prompt(**more: object) -> Config:
    return {"prompt": "x", **more}


COMPLETIONS, GENERATE = "/v1/completions", "/api/generate"
STORED = ({"previous_response_id": "r"}, {"conversation": "c"}, {"background": True})
FATAL = [
    *[Fatal(RESPONSES, next(iter(each)), {**chat(RESPONSES), **each}) for each in STORED],
    Fatal(RESPONSES, "previous_response_id", {"previous_response_id": "r"}),
    Fatal(RESPONSES, "item_reference", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
    Fatal(OPENAI, "images", chat(OPENAI, REMOTE), OLLAMA),
    Fatal(ANTHROPIC, "images", chat(ANTHROPIC, A_REMOTE), OLLAMA),
    Fatal(RESPONSES, "images", chat(RESPONSES, R_REMOTE), OLLAMA),
    Fatal(
        OPENAI,
        "input_audio",
        chat(OPENAI, [{"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}}]),
    ),
    Fatal(OPENAI, "suffix", prompt(suffix="y"), path=COMPLETIONS),
    Fatal(OPENAI, "echo", prompt(echo=True), path=COMPLETIONS),
    Fatal(OPENAI, "prompt", {"prompt": [1, 2]}, path=COMPLETIONS),
    Fatal(OPENAI, "prompt", {"prompt": [[1, 2]]}, path=COMPLETIONS),
    Fatal(OLLAMA, "suffix", prompt(suffix="y"), path=GENERATE),
    Fatal(OLLAMA, "raw", prompt(raw=True), path=GENERATE),
    Fatal(OLLAMA, "template", prompt(template="{{ .Prompt }}"), path=GENERATE),
    Fatal(ANTHROPIC, "max_tokens", chat(ANTHROPIC, max_tokens=0), OPENAI),
]


@pytest.mark.parametrize("fatal", FATAL, ids=lambda fatal: f"{fatal.client}:{fatal.field}")
async def test_what_cannot_cross_is_refused_by_name(world: World, fatal: Fatal) -> None:
    fake = world.backends[fatal.backend]
    asked = len(fake.requests)
    body = {**fatal.body, "model": f"to-{fatal.backend}"}
    got = await world.sidecar.ask(body, fatal.path or PATHS[fatal.client])
    assert got.status == 400, got.raw
    kind, told = fault(fatal.client, got)
    assert kind == ("cannot_translate" if fatal.client == OLLAMA else "invalid_request_error")
    assert f"`{fatal.field}`" in told
    assert len(fake.requests) == asked


@pytest.mark.parametrize("fatal", FATAL, ids=lambda fatal: f"{fatal.client}:{fatal.field}")
async def test_a_native_backend_further_down_takes_it(world: World, fatal: Fatal) -> None:
    first, native = world.backends[fatal.backend], world.backends[fatal.client]
    asked = len(first.requests), len(native.requests)
    body = {**fatal.body, "model": f"{fatal.backend}-then-{fatal.client}"}
    await world.sidecar.ask(body, fatal.path or PATHS[fatal.client])
    assert (len(first.requests), len(native.requests)) == (asked[0], asked[1] + 1)
    assert {**native.requests[-1].json, "model": None} == {**body, "model": None}
