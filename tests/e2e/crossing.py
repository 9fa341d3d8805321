"""What the tests of crossings share: a backend of each dialect, and the least that clients ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import Got
from tests.e2e.harness import NEVER_EJECTED, QUICK_RETRY, Config, Sidecar
from tests.e2e.matrix.clients import VENDORS
from tests.fakes import behaviours as b
from tests.fakes.strict.backend import KEY, StrictBackend

OPENAI, RESPONSES, ANTHROPIC, OLLAMA = "openai", "openai-responses", "anthropic", "ollama"
DIALECTS = (OPENAI, RESPONSES, ANTHROPIC, OLLAMA)
BOTH = (False, True)  # whole, streamed
ENV = {"STRICT_KEY": KEY}
PATHS = {
    OPENAI: "/v1/chat/completions",
    RESPONSES: "/v1/responses",
    ANTHROPIC: "/v1/messages",
    OLLAMA: "/api/chat",
}
_BEARER: Config = {"auth": {"bearer": {"env": "STRICT_KEY"}}}
_AUTH: Mapping[str, Config] = {
    OPENAI: _BEARER,
    RESPONSES: _BEARER,
    ANTHROPIC: {"auth": {"header": {"name": "x-api-key", "value": {"env": "STRICT_KEY"}}}},
    OLLAMA: {},
}


def strict(dialect: str) -> StrictBackend:
    """A backend that checks what it gets."""
    return StrictBackend(VENDORS[dialect])


def backend(fake: StrictBackend, **more: object) -> Config:
    """Its configuration; many tests make it fail, one after the other."""
    dialect = fake.vendor.name
    address = {"dialect": dialect, "base_url": fake.base_url}
    return {**address, **_AUTH[dialect], **NEVER_EJECTED, **more}


def model_of(fake: StrictBackend, scenario: str = "text") -> str:
    return f"{fake.vendor.family}:{scenario}"


def route(*fakes: StrictBackend, scenarios: Sequence[str] = (), **more: object) -> Config:
    """A chain of these backends; each plays its scenario, the text where none is named."""
    told = [*scenarios, *["text"] * len(fakes)]
    targets = [
        {"backend": fake.name, "model": model_of(fake, scenario)}
        for fake, scenario in zip(fakes, told, strict=False)
    ]
    return {"targets": targets, "retry": QUICK_RETRY, **more}


@dataclass(frozen=True)
class World:
    """A sidecar before a strict backend of each dialect; `to-<dialect>` are routes to one alone."""

    sidecar: Sidecar
    backends: Mapping[str, StrictBackend]

    async def ask(
        self, client: str, to: str, body: Config, headers: Mapping[str, str] | None = None
    ) -> Got:
        """A chat request of that client's dialect to a route."""
        return await self.sidecar.ask({**body, "model": to}, PATHS[client], headers=headers)


Fakes = Mapping[str, StrictBackend]


@asynccontextmanager
async def world(
    folder: Path,
    routes: Callable[[Fakes], Config] = lambda _: {},
    backends: Callable[[Fakes], Config] = lambda _: {},
    **config: object,
) -> AsyncIterator[World]:
    """A world with these routes, backends and settings beside its own."""
    async with AsyncExitStack() as stack:
        fakes = {name: await stack.enter_async_context(strict(name)) for name in DIALECTS}
        told: Config = {
            "backends": {
                **{name: backend(fake) for name, fake in fakes.items()},
                **backends(fakes),
            },
            "routes": {
                **{f"to-{name}": route(fake) for name, fake in fakes.items()},
                **routes(fakes),
            },
            "retry_budget": {"share": 0.2, "floor": "1000/s"},
            **config,
        }
        sidecar = await stack.enter_async_context(Sidecar(folder, told, env=ENV))
        yield World(sidecar, fakes)


def then(fake: StrictBackend, *script: b.Behaviour) -> None:
    """What the backend answers to the next requests, before it is itself again."""
    fake.script = [*[fake.rest] * len(fake.requests), *script]


def says(status: int, body: object) -> b.Behaviour:
    """The same JSON to every request."""
    steps = b.whole(status, json.dumps(body, ensure_ascii=False).encode())
    return lambda seen: steps


def chat(dialect: str, text: object = "hi", *, stream: bool = False, **more: object) -> Config:
    """The least chat request of a dialect for the model `chat`."""
    message = {"role": "user", "content": text}
    body: Config = {"model": "chat", "stream": stream}
    if dialect == RESPONSES:
        return {**body, "input": [message], **more}
    if dialect == ANTHROPIC:
        body["max_tokens"] = 100
    return {**body, "messages": [message], **more}


def fault(dialect: str, got: Got) -> tuple[str, str]:
    """Type and message of an error answer, which must have the dialect's own shape.

    Ollama's errors have no type: it is their code.
    """
    told = json.loads(got.raw)
    assert got.headers["content-type"] == "application/json"
    if dialect == OLLAMA:
        return str(told["code"]), str(told["error"])
    error = told["error"]
    if dialect == ANTHROPIC:
        assert told["type"] == "error"
    else:
        assert set(told) == {"error"}
        assert {"message", "type", "param", "code"} <= set(error)
    return str(error["type"]), str(error["message"])
