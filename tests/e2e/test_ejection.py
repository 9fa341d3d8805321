"""Backends that fail are ejected and come back: rows 4, 15 and 29 of docs/faults.md, and models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.e2e.client import HANG, Got, chat
from tests.e2e.crossing import DIALECTS, PATHS
from tests.e2e.crossing import chat as ask_in
from tests.e2e.crossing import fault as fault_in
from tests.e2e.harness import Config, Sidecar, chain, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend, refusing_port
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOWN = b.status(503, "the fake is being mended")
ONE_TRY: Config = {"attempts": 0}


def soon(**more: object) -> Config:
    """A breaker whose rests are short."""
    return {"breaker": {"rest": "1s", "ceiling": "2s", **more}}


@asynccontextmanager
async def stage(
    shared: Sidecar, *fakes: Backend, breakers: Mapping[str, Any] | None = None, **route: Any
) -> AsyncIterator[Sidecar]:
    async with AsyncExitStack() as stack:
        for fake in fakes:
            await stack.enter_async_context(fake)
        config = chain(*fakes, backends=breakers, **{"retry": ONE_TRY, **route})
        yield await stack.enter_async_context(shared.playing(config))


async def ejected(sidecar: Sidecar, count: int = 5) -> list[Got]:
    """So many requests, one after the other."""
    return [await sidecar.ask(chat()) for _ in range(count)]


async def status_of(sidecar: Sidecar, name: str) -> dict[str, Any]:
    backends: list[dict[str, Any]] = json.loads((await sidecar.admin("/status")).raw)["backends"]
    return next(one for one in backends if one["name"] == name)


# --- out --------------------------------------------------------------------------------------


async def test_after_five_failures_a_backend_is_ejected_and_everybody_is_told(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f")
    async with stage(shared, p, f) as sidecar:
        before = len(sidecar.log)
        for got in await ejected(sidecar, 12):
            assert got.text == text_of("f")
        assert (len(p.requests), len(f.requests)) == (5, 12)
        metrics = await sidecar.metrics()
        availability = {
            labels["state"]: value
            for name, labels, value in metrics.samples
            if name == "llm_sidecar_backend_availability" and labels["backend"] == "p"
        }
        assert [state for state, value in availability.items() if value] == ["ejected"]
        assert metrics.value("backend_up", backend="p") == 0
        assert metrics.value("route_available_backends", route="chat") == 1
        assert metrics.value("fallbacks_total", reason="server_error") == 5
        assert metrics.value("fallbacks_total", reason="circuit_open") == 7
        breaker = (await status_of(sidecar, "p"))["breaker"]
        assert (breaker["state"], breaker["failures"], breaker["openings"]) == ("open", 5, 1)
        assert 0 < breaker["seconds"] <= 30
        assert "5 failures in a row" in breaker["why"]
        code, table = await sidecar.command("status")
        assert code == 0
        assert "ejected (" in table
        (line,) = [line for line in sidecar.log[before:] if line["level"] == "warning"]
        assert line["backend"] == "p"
        assert "is ejected for" in str(line["event"])


async def test_row_4_a_backend_that_is_ejected_meanwhile_is_not_asked_again(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f")
    quick = {"attempts": 2, "backoff": {"base": "10ms", "cap": "20ms"}}
    async with stage(shared, p, f, retry=quick) as sidecar:
        assert (await sidecar.ask(chat())).text == text_of("f")
        assert len(p.requests) == 3
        assert (await sidecar.ask(chat())).text == text_of("f")
        assert len(p.requests) == 5, "the breaker opens at its own threshold"


async def test_row_4_retries_that_wait_while_others_see_it_ejected_are_not_made(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f")
    late = {"attempts": 1, "backoff": {"base": "2s", "cap": "2s"}}
    async with stage(shared, p, f, retry=late) as sidecar:
        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(sidecar.ask(chat())) for _ in range(4)]
        assert {task.result().text for task in crowd} == {text_of("f")}
        assert 5 <= len(p.requests) < 8, "four failures, and the first retry was the fifth"


async def test_a_crowd_that_fails_at_once_ejects_once(shared: Sidecar) -> None:
    go = asyncio.Event()

    def together(seen: Seen) -> b.Steps:
        return (b.Until(go), *DOWN(seen))

    p, f = Backend("p", rest=together), Backend("f")
    async with stage(shared, p, f) as sidecar:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(sidecar.ask(chat())) for _ in range(20)]
            await p.seen(20)
            go.set()
        assert {task.result().text for task in asked} == {text_of("f")}
        assert (await status_of(sidecar, "p"))["breaker"]["openings"] == 1


async def test_the_share_of_failures_ejects_too(shared: Sidecar) -> None:
    p, f = Backend("p"), Backend("f")
    p.script = [b.well(), DOWN] * 50
    few = {"p": {"breaker": {"rate": {"share": 0.5, "window": "60s", "calls": 6}}}}
    async with stage(shared, p, f, breakers=few) as sidecar:
        await ejected(sidecar, 10)
        assert len(p.requests) == 6
        why = (await status_of(sidecar, "p"))["breaker"]["why"]
        assert "3 failures in 6 calls" in why


async def test_slow_calls_eject_where_that_is_asked(shared: Sidecar) -> None:
    def slowly(seen: Seen) -> b.Steps:
        return (b.Pause(0.3), *b.well()(seen))

    p, f = Backend("p", rest=slowly), Backend("f")
    slow = {"p": {"breaker": {"slow": {"share": 1, "first_token": "200ms", "calls": 3}}}}
    async with stage(shared, p, f, breakers=slow) as sidecar:
        for _ in range(4):
            await sidecar.ask(chat())
        assert len(p.requests) == 4, "only streams are timed"
        told = [(await sidecar.ask(chat(stream=True))).text for _ in range(5)]
        assert told == [text_of("p")] * 3 + [text_of("f")] * 2


# --- and back ---------------------------------------------------------------------------------


async def test_few_trials_at_once_after_a_rest(shared: Sidecar) -> None:
    go = asyncio.Event()

    def held(seen: Seen) -> b.Steps:
        return (b.Until(go), *b.well()(seen))

    p, f = Backend("p", rest=DOWN), Backend("f")
    async with stage(shared, p, f, breakers={"p": soon()}) as sidecar:
        await ejected(sidecar)
        p.rest = held
        await sidecar.until_metric(
            lambda now: now.value("backend_availability", backend="p", state="ready") == 1,
            "its rest is over",
        )
        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(sidecar.ask(chat())) for _ in range(12)]
            await p.seen(5 + 3)
            await f.seen(5 + 9)
            assert len(p.requests) == 5 + 3, "three on trial, the others elsewhere"
            go.set()
        told = [task.result().text for task in crowd]
        assert (told.count(text_of("p")), told.count(text_of("f"))) == (3, 9)
        assert (await status_of(sidecar, "p"))["breaker"]["state"] == "closed"


async def test_it_comes_back_by_degrees(shared: Sidecar) -> None:
    go = asyncio.Event()

    def held(seen: Seen) -> b.Steps:
        return (b.Until(go), *b.well()(seen))

    p, f = Backend("p", rest=DOWN), Backend("f")
    async with stage(shared, p, f, breakers={"p": soon()}) as sidecar:
        await ejected(sidecar)
        p.rest = b.well()

        async def is_back() -> bool:
            await sidecar.ask(chat())
            state: str = (await status_of(sidecar, "p"))["breaker"]["state"]
            return state == "closed"

        await until(is_back, "it is back")
        before, p.rest = len(p.requests), held
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(sidecar.ask(chat()))
            await f.seen(len(f.requests) + 12 - 3)
            assert len(p.requests) - before == 3, "as many as it has shown to bear"
            go.set()


async def test_alone_it_gets_all_that_comes_while_it_comes_back(shared: Sidecar) -> None:
    go = asyncio.Event()

    def held(seen: Seen) -> b.Steps:
        return (b.Until(go), *b.well()(seen))

    p = Backend("p", rest=DOWN)
    async with stage(shared, p, breakers={"p": soon(trials=1)}) as sidecar:
        await ejected(sidecar)
        p.rest = b.well()

        async def is_back() -> bool:
            return (await sidecar.ask(chat())).status == 200

        await until(is_back, "it is back")
        before, p.rest = len(p.requests), held
        async with asyncio.TaskGroup() as group:
            crowd = [group.create_task(sidecar.ask(chat())) for _ in range(8)]
            await p.seen(before + 8)
            go.set()
        assert {task.result().status for task in crowd} == {200}


# --- nobody is left ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_row_29_when_all_are_ejected_each_is_told_with_its_reason(
    shared: Sidecar, dialect: str, stream: bool
) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f")
    with refusing_port() as port:
        closed = {"f": {"base_url": f"http://127.0.0.1:{port}/v1"}}
        async with stage(shared, p, f, breakers=closed) as sidecar:
            await ejected(sidecar)
            got = await sidecar.ask(ask_in(dialect, stream=stream), PATHS[dialect])
    assert got.status in {503, 529}
    assert 1 <= int(got.headers["retry-after"]) <= 30
    _, message = fault_in(dialect, got) if dialect != "openai" else ("", got.message)
    assert "p: ejected after 5 failures in a row, the last: answered 503 (tried" in message
    assert "f: ejected after 5 failures in a row, the last: refused the connection" in message
    assert len(p.requests) == 5


async def test_a_refusal_takes_no_time(shared: Sidecar) -> None:
    p = Backend("p", rest=b.silent)
    quick = {"p": {"timeouts": {"first_token": "50ms", "whole": "50ms"}}}
    async with stage(shared, p, breakers=quick) as sidecar:
        await ejected(sidecar)
        # an attempt may be over before the backend has read it
        before = (await sidecar.metrics()).value("attempts_total", backend="p")
        for _ in range(20):
            got = await sidecar.ask(chat())
            assert (got.status, got.code) == (503, "no_backend_available")
            assert got.seconds < 1.0
        assert (await sidecar.metrics()).value("attempts_total", backend="p") == before == 5


async def test_a_route_may_rather_try_the_one_whose_rest_ends_first(shared: Sidecar) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f", rest=DOWN)
    rests = {"p": {"breaker": {"rest": "4m"}}, "f": {"breaker": {"rest": "2m"}}}
    async with stage(shared, p, f, breakers=rests, when_all_open="try") as sidecar:
        await ejected(sidecar)
        assert (len(p.requests), len(f.requests)) == (5, 5)
        refused = await sidecar.ask(chat())
        assert (refused.status, len(p.requests), len(f.requests)) == (503, 5, 6), "once, and f"
        f.rest = b.well()
        for _ in range(4):
            assert (await sidecar.ask(chat())).text == text_of("f")
        assert (await status_of(sidecar, "f"))["breaker"]["state"] == "closed"


# --- models -----------------------------------------------------------------------------------

DEAD = "llama runner process has terminated: exit status 2"


def by_model(seen: Seen) -> b.Steps:
    """One model cannot be loaded, every other one is well."""
    if seen.json.get("model") == "sick":
        return b.status(500, DEAD, kind="api_error")(seen)
    return b.well()(seen)


def two_models(p: Backend, f: Backend) -> Config:
    config = chain(p, f, retry=ONE_TRY)
    routes = config["routes"]
    assert isinstance(routes, dict)
    for model in ("sick", "sound"):
        targets = [{"backend": "p", "model": model}, {"backend": "f", "model": "model-f"}]
        routes[model] = {"targets": targets, "retry": ONE_TRY}
    return config


async def test_a_model_that_fails_does_not_eject_the_others_of_its_backend(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=by_model), Backend("f")
    async with p, f, shared.playing(two_models(p, f)) as sidecar:
        for _ in range(8):
            assert (await sidecar.ask(chat("sick"))).text == text_of("f")
            assert (await sidecar.ask(chat("sound"))).text == text_of("p")
        asked = [seen.json["model"] for seen in p.requests]
        assert (asked.count("sick"), asked.count("sound")) == (5, 8)
        seen = await status_of(sidecar, "p")
        assert (seen["availability"], seen["breaker"]["state"]) == ("ready", "closed")
        assert list(seen["breaker"]["models"]) == ["sick"]
        metrics = await sidecar.metrics()
        assert metrics.value("route_available_backends", route="sick") == 1
        assert metrics.value("route_available_backends", route="sound") == 2
        assert metrics.value("fallbacks_total", route="sick", reason="circuit_open") == 3
        _, table = await sidecar.command("status")
        assert "ejected: sick" in table


async def test_a_backend_that_cannot_be_reached_is_ejected_with_all_its_models(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=b.reset), Backend("f")
    async with p, f, shared.playing(two_models(p, f)) as sidecar:
        for _ in range(5):
            assert (await sidecar.ask(chat("sick"))).text == text_of("f")
        before = len(p.requests)
        assert (await sidecar.ask(chat("sound"))).text == text_of("f")
        assert len(p.requests) == before


# --- reload -----------------------------------------------------------------------------------


async def test_an_ejection_outlives_a_reload_and_new_numbers_count_at_once(
    shared: Sidecar,
) -> None:
    p, f = Backend("p", rest=DOWN), Backend("f")
    async with stage(shared, p, f) as sidecar:
        await ejected(sidecar, 3)
        fewer = chain(p, f, backends={"p": {"breaker": {"failures": 4}}}, retry=ONE_TRY)
        await sidecar.reload(fewer)
        await ejected(sidecar, 3)
        assert len(p.requests) == 4
        await sidecar.reload(chain(p, f, retry=ONE_TRY))
        async with asyncio.timeout(HANG):
            assert (await sidecar.ask(chat())).text == text_of("f")
        assert len(p.requests) == 4
