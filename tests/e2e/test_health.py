"""Probes of the real program, and what operators do to a backend by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Config, Metrics, Sidecar, chain, of, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

OFTEN: Config = {"probe": {"every": "200ms", "timeout": "1s"}}
LONG_REST: Config = {"breaker": {"failures": 2, "rest": "5m"}}


def in_state(state: str, backend: str = "p") -> Any:
    def fits(now: Metrics) -> bool:
        return now.value("backend_availability", backend=backend, state=state) == 1

    return fits


@dataclass
class World:
    sidecar: Sidecar
    p: Backend
    f: Backend

    async def answered_by(self) -> str:
        got = await self.sidecar.ask(chat())
        assert got.status == 200, got
        return "p" if got.text == text_of("p") else "f"

    async def status(self) -> Any:
        seen: Any = (await self.sidecar.admin("/status")).json
        return {one["name"]: one for one in seen["backends"]}


def configured(p: Backend, f: Backend, **more: object) -> Config:
    return chain(p, f, backends={"p": {**OFTEN, **LONG_REST, **more}})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with (
        Backend("p") as p,
        Backend("f") as f,
        Sidecar(tmp_path, configured(p, f)) as sidecar,
    ):
        yield World(sidecar, p, f)


async def test_an_unhealthy_backend_is_skipped_and_comes_back(world: World) -> None:
    """Not one client request fails or waits meanwhile."""
    world.p.aside = b.silent
    world.p.rest = b.silent  # whoever went there would wait for a minute
    await world.sidecar.until_metric(in_state("unhealthy"), "P is unhealthy")
    before = len(world.p.requests)
    for _ in range(10):
        began = time.monotonic()
        assert await world.answered_by() == "f"
        assert time.monotonic() - began < 5
    assert len(world.p.requests) == before
    metrics = await world.sidecar.metrics()
    assert metrics.value("backend_up", backend="p") == 0
    assert metrics.value("fallbacks_total", reason="unhealthy") == 10
    assert metrics.value("requests_total", outcome="ok") == 10
    assert (await world.status())["p"]["probe"]["found"] == "timeout"
    health: Any = (await world.sidecar.get("/health")).json
    assert health["status"] == "degraded"
    assert health["backends"]["p"]["availability"] == "unhealthy"
    world.p.aside, world.p.rest = None, b.well()
    await world.sidecar.until_metric(in_state("ready"), "P is healthy again")
    assert await world.answered_by() == "p"
    told = [line for line in world.sidecar.log if "healthy" in str(line.get("event"))]
    assert [line["level"] for line in told] == ["warning", "info"]


async def test_a_probe_that_succeeds_ends_the_rest_at_once(world: World) -> None:
    """P goes away and is ejected for minutes; when it comes back, requests reach it in seconds."""
    await world.p.__aexit__(None, None, None)
    while (await world.status())["p"]["availability"] == "ready":
        assert await world.answered_by() == "f"
    await world.sidecar.until_metric(
        lambda now: in_state("ejected")(now) or in_state("unhealthy")(now), "P is out"
    )
    assert await world.answered_by() == "f"

    async def has_failed() -> bool:
        probe = (await world.status())["p"]["probe"]
        return probe is not None and bool(probe["found"] == "refused")

    await until(has_failed, "a probe has failed")
    async with world.p:
        began = time.monotonic()

        async def is_back() -> bool:
            return await world.answered_by() == "p"

        await until(is_back, "requests reach P again", 25)
        assert time.monotonic() - began < 25


async def test_a_backend_that_lists_models_but_fails_is_left_in_peace(world: World) -> None:
    """Its probes go well all the time: they do not let it back."""
    world.p.rest = b.status(503)
    while (await world.status())["p"]["availability"] == "ready":
        assert await world.answered_by() == "f"
    before, probes = len(world.p.requests), len(world.p.others)

    async def probed() -> bool:
        assert await world.answered_by() == "f"
        return len(world.p.others) > probes + 5

    await until(probed, "it was probed several times")
    assert len(world.p.requests) == before
    assert in_state("ejected")(await world.sidecar.metrics())


async def test_a_busy_backend_whose_probe_fails_stays(world: World) -> None:
    world.p.aside = b.status(500)
    for _ in range(40):
        assert await world.answered_by() == "p"
        await asyncio.sleep(0.05)
    assert in_state("ready")(await world.sidecar.metrics())


# --- by hand -----------------------------------------------------------------------------------


async def said(world: World, action: str, name: str = "p") -> tuple[int, Any]:
    code, output = await world.sidecar.command("backend", name, action, "--json")
    return code, json.loads(output)


async def test_drain_and_enable(world: World) -> None:
    go = asyncio.Event()
    world.p.script = [b.gated(go)]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(world.sidecar.ask(chat(stream=True)))
        await world.p.seen()
        code, output = await world.sidecar.command("backend", "p", "drain")
        assert code == 0
        assert "takes nothing new; requests in flight there: 1. " in output
        assert await world.answered_by() == "f"
        assert in_state("draining")(await world.sidecar.metrics())
        go.set()
    assert running.result().done, "what runs there ends well"
    code, output = await world.sidecar.command("backend", "p", "drain")
    assert (code, "was drained already" in output) == (0, True)

    another: Config = {**configured(world.p, world.f), "limits": {"messages": 7}}
    await world.sidecar.reload(another)
    assert (await world.status())["p"]["drained"] is True
    assert await world.answered_by() == "f"

    code, answer = await said(world, "enable")
    assert (code, answer["changed"], answer["availability"]) == (0, True, "ready")
    assert await world.answered_by() == "p"


async def test_eject_probe_and_reset(world: World) -> None:
    code, answer = await said(world, "eject")
    assert (code, answer["changed"], answer["availability"]) == (0, True, "ejected")
    assert answer["wait"] > 200
    assert await world.answered_by() == "f"
    assert not (await said(world, "eject"))[1]["changed"]

    code, output = await world.sidecar.command("backend", "p", "probe")
    assert code == 0
    assert output.startswith("Backend 'p' answered 200 in ")
    assert output.endswith("its rest is over. It is ready.\n")
    assert await world.answered_by() == "p"

    await said(world, "eject")
    code, answer = await said(world, "reset")
    assert (code, answer["changed"], answer["availability"]) == (0, True, "ready")
    assert await world.answered_by() == "p"
    code, output = await world.sidecar.command("backend", "p", "reset")
    assert (code, output) == (0, "Nothing speaks against backend 'p'. It is ready.\n")

    world.p.aside = b.html
    code, answer = await said(world, "probe")
    assert (code, answer["ok"], answer["probe"]["finding"]) == (1, False, "shape")


async def test_what_cannot_be_done(tmp_path: Path) -> None:
    async with Backend("p") as p, Backend("off") as off:
        config = chain(p)
        config["backends"] |= {"off": of(off, enabled=False)}  # type: ignore[operator]
        async with Sidecar(tmp_path, config) as sidecar:
            code, output = await sidecar.command("backend", "pp", "drain")
            assert (code, "There is no backend 'pp'. Did you mean 'p'?" in output) == (
                1,
                True,
            )
            code, output = await sidecar.command("backend", "off", "enable")
            assert (code, "`enabled: false`" in output) == (1, True)
            code, output = await sidecar.command("backend", "off", "enable", "--json")
            assert (code, json.loads(output)["error"]["code"]) == (1, "disabled_backend")
            code, output = await sidecar.command("backend", "p", "kill")
            assert (code, "invalid choice: 'kill'" in output) == (2, True)
            assert off.connections == 0
        code, output = await sidecar.command("backend", "p", "drain")
        assert (code, "No sidecar answers" in output) == (1, True)
