"""Row 25: a backend with several keys, of which some are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import chat
from tests.e2e.crossing import ANTHROPIC, DIALECTS, PATHS, model_of, strict
from tests.e2e.crossing import chat as chat_of
from tests.e2e.harness import Config, Sidecar, chain
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen
from tests.fakes.strict.backend import KEY

ENV = {"FIRST": "key-number-one", "SECOND": "key-number-two", "THIRD": "key-number-three"}
KEYS: Config = {
    "auth": {"bearer": {"env": "FIRST"}, "further": [{"env": "SECOND"}, {"env": "THIRD"}]}
}


def takes(*good: str) -> b.Behaviour:
    """Well for these keys; a 401 for others."""
    refused = b.status(401, "bad key", "invalid_api_key")

    def play(seen: Seen) -> b.Steps:
        return (b.well() if key_of(seen) in good else refused)(seen)

    return play


def key_of(seen: Seen) -> str:
    return (seen.header("authorization") or "").removeprefix("Bearer ")


async def test_each_further_key_is_tried_once_and_the_good_one_stays(tmp_path: Path) -> None:
    p, f = Backend("p", rest=takes(ENV["THIRD"])), Backend("f")
    async with (
        p,
        f,
        Sidecar(
            tmp_path, chain(p, f, backends={"p": KEYS}, retry={"attempts": 0}), env=ENV
        ) as sidecar,
    ):
        for _ in range(2):
            assert (await sidecar.ask(chat())).text == text_of("p")
        assert [key_of(seen) for seen in p.requests] == [*ENV.values(), ENV["THIRD"]]
        metrics = await sidecar.metrics()
        assert metrics.value("attempts_total", backend="p", outcome="auth") == 2
        p.rest = takes(ENV["FIRST"])
        assert (await sidecar.ask(chat())).text == text_of("p")
        assert [key_of(seen) for seen in p.requests[4:]] == [ENV["THIRD"], ENV["FIRST"]]
        assert not f.requests


@pytest.mark.parametrize("stream", [True, False])
async def test_when_all_are_refused_the_next_target_answers(tmp_path: Path, stream: bool) -> None:
    p, f = Backend("p", rest=takes()), Backend("f")
    async with p, f, Sidecar(tmp_path, chain(p, f, backends={"p": KEYS}), env=ENV) as sidecar:
        assert (await sidecar.ask(chat(stream=stream))).text == text_of("f")
    assert [key_of(seen) for seen in p.requests] == [*ENV.values()]


async def test_one_key_is_tried_once(tmp_path: Path) -> None:
    p, f = Backend("p", rest=takes()), Backend("f")
    async with (
        p,
        f,
        Sidecar(
            tmp_path, chain(p, f, backends={"p": {"auth": {"bearer": {"env": "FIRST"}}}}), env=ENV
        ) as sidecar,
    ):
        assert (await sidecar.ask(chat())).text == text_of("f")
    assert len(p.requests) == 1


@pytest.mark.parametrize("dialect", [each for each in DIALECTS if each != "ollama"])
async def test_in_the_place_where_the_dialect_has_it(tmp_path: Path, dialect: str) -> None:
    fake = strict(dialect)
    own: Config = {"bearer": {"env": "FIRST"}}
    if dialect == ANTHROPIC:
        own = {"header": {"name": "x-api-key", "value": {"env": "FIRST"}}}
    async with fake:
        config: Config = {
            "backends": {
                "p": {
                    "dialect": dialect,
                    "base_url": fake.base_url,
                    "auth": {**own, "further": [{"env": "GOOD"}]},
                }
            },
            "routes": {"chat": {"targets": [{"backend": "p", "model": model_of(fake)}]}},
        }
        env = {**ENV, "GOOD": KEY}
        async with Sidecar(tmp_path, config, env=env) as sidecar:
            got = await sidecar.ask(chat_of(dialect), PATHS[dialect])
            assert got.status == 200
            assert got.headers["x-sidecar-attempts"] == "2"
