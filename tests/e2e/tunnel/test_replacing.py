"""Another cloudflared takes over, or does not, while requests come through; judged from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.harness import Config, until
from tests.e2e.tunnel.exposed import Exposed
from tests.e2e.tunnel.harness import Ground, commands, through_the_name
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.cloudflared.credentials import Tunnel
from tests.processes import until_reaped

PACE = 0.04  # seconds between short requests; the full load is another test's
STREAMS = 5
LONG: Config = {"grace": "30s"}


@dataclass
class Traffic:
    """What visitors got: `statuses` of short requests, whether all streams were whole."""

    gate: asyncio.Event
    statuses: list[int] = field(default_factory=list)
    streams: list[asyncio.Task[bytes]] = field(default_factory=list)

    async def ends_well(self) -> None:
        """What waits may end; nothing was lost."""
        self.gate.set()
        for stream in self.streams:
            assert (await stream).endswith(b"data: [DONE]\n\n")
        assert set(self.statuses) == {200}


@contextlib.asynccontextmanager
async def traffic(sidecar: Exposed) -> AsyncIterator[Traffic]:
    """Short requests all the while, and streams that were begun before."""
    gate = asyncio.Event()
    seen = Traffic(gate)
    begun = asyncio.Semaphore(0)

    async with sidecar.ground.visitor() as http, asyncio.TaskGroup() as group:

        async def stream() -> bytes:
            async with sidecar.stream_from_outside(http) as answer:
                first = await answer.content.readany()
                begun.release()
                return first + await answer.content.read()

        async def short() -> None:
            seen.statuses.append((await sidecar.ask_from_outside(http))[0])

        async def shorts() -> None:
            while True:
                group.create_task(short())
                await asyncio.sleep(PACE)

        sidecar.backend.rest = lambda asked: (
            b.gated(gate)(asked) if asked.streamed else b.well()(asked)
        )
        seen.streams = [group.create_task(stream()) for _ in range(STREAMS)]
        for _ in range(STREAMS):
            await begun.acquire()
        work = group.create_task(shorts())
        yield seen
        work.cancel()


async def restarts(sidecar: Exposed) -> dict[str, float]:
    """How many, by reason; those that are none left out."""
    metrics = await sidecar.metrics()
    reasons = ("exit", "unhealthy", "config", "operator")
    found = {
        each: metrics.value("tunnel_restarts_total", tunnel="main", reason=each) for each in reasons
    }
    return {name: count for name, count in found.items() if count}


@through_the_name
async def test_a_planned_restart_loses_nothing(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    async with Exposed(tmp_path, place, backend, tunnel=LONG) as sidecar:
        first = await sidecar.tunnel()
        async with traffic(sidecar) as seen:
            open_now = sidecar.pipes
            assert await sidecar.command("tunnel", "restart") == (
                0,
                "Another cloudflared has taken over.\n",
            )
            told = await sidecar.tunnel()
            assert told["child"]["pid"] != first["child"]["pid"]
            assert told["child"]["connector"] != first["child"]["connector"]
            assert (told["state"], told["restarts"], told["others"]) == ("healthy", 1, [])
            await seen.ends_well()
            assert len(seen.statuses) > 50
            await until_reaped(first["child"]["pid"])

            async def as_before() -> bool:
                return sidecar.pipes == open_now

            await until(as_before, "no descriptor of a child is left")
        assert await restarts(sidecar) == {"operator": 1}
        metrics = await sidecar.metrics()
        assert metrics.value("tunnel_exits_total", code="0", expected="true") == 1
        assert metrics.value("tunnel_exits_total") == 1


@commands
async def test_a_new_token_loses_nothing(tmp_path: Path, place: Ground, backend: Backend) -> None:
    edge = place.inside.edge
    async with Exposed(tmp_path, place, backend, tunnel=LONG) as sidecar:
        first = await sidecar.child()
        async with traffic(sidecar) as seen:
            new = place.rotate()
            sidecar.secrets |= {new.token, new.secret}
            await sidecar.until_tunnel(lambda told: told["replacing"], "a second one comes")
            await sidecar.until_tunnel(lambda told: told["restarts"] == 1, "it has taken over")
            await seen.ends_well()
        await until_reaped(first)
        assert {link.told["secret"] for link in edge.registered} == {new.secret}
        assert await restarts(sidecar) == {"config": 1}
        assert (await sidecar.tunnel())["state"] == "healthy"


@commands
async def test_a_second_that_never_gets_ready_leaves_the_first_alone(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    place.inside.standin.script({}, rest={"exit": {"code": 1, "stderr": "no luck today\n"}})
    async with Exposed(tmp_path, place, backend) as sidecar:
        first = await sidecar.child()
        async with traffic(sidecar) as seen:
            told = await sidecar.control("POST", "/tunnel/restart")
            assert told["message"].startswith(
                "The replacement has failed, and all stays as it was: "
            )
            assert "no luck today" in told["message"]
            await seen.ends_well()
        assert len(sidecar.started()) == 4, "three were tried"
        tunnel = await sidecar.tunnel()
        assert (tunnel["child"]["pid"], tunnel["state"]) == (first, "healthy")
        assert (tunnel["restarts"], tunnel["replacing"], tunnel["crash_loop"]) == (0, None, False)
        assert await restarts(sidecar) == {}
        assert (await sidecar.metrics()).value(
            "tunnel_exits_total", code="1", expected="false"
        ) == 3


@commands
async def test_a_token_that_is_none_changes_nothing(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    """It is refused before a child is started with it."""
    async with Exposed(tmp_path, place, backend) as sidecar:
        first, good = await sidecar.child(), place.token
        for count, written in enumerate(["", "no token", "bm8gdG9rZW4="], 1):
            place.token_file.write_text(written, encoding="ascii")

            async def was_refused(count: int = count) -> bool:
                metrics = await sidecar.metrics()
                return metrics.value("config_reloads_total", result="failed") >= count

            await until(was_refused, "it was looked at, and refused")
        tunnel = await sidecar.tunnel()
        assert (tunnel["child"]["pid"], tunnel["state"]) == (first, "healthy")
        assert sidecar.started() == [first]
        place.token_file.write_text(good, encoding="ascii")


@commands
async def test_a_token_of_another_tunnel_is_tried_beside_the_first(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    """The edge does not know it; when the right one is back, the second is dropped at once."""
    async with Exposed(tmp_path, place, backend) as sidecar:
        first, good = await sidecar.child(), place.token
        foreign = Tunnel.new()
        sidecar.secrets |= {foreign.token, foreign.secret}
        place.write_token(foreign)
        await sidecar.says("Unauthorized: Tunnel not found")
        tunnel = await sidecar.until_tunnel(
            lambda told: told["replacing"] == "connecting", "the second one asks on"
        )
        assert (tunnel["child"]["pid"], tunnel["state"]) == (first, "healthy")
        place.token_file.write_text(good, encoding="ascii")
        await sidecar.until_tunnel(lambda told: not told["replacing"], "it is dropped")
        await until_reaped(sidecar.started()[1])
        tunnel = await sidecar.until_state("healthy")
        assert (tunnel["child"]["pid"], tunnel["restarts"]) == (first, 0)


@commands
async def test_two_supervisors_tell_each_other_apart(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    one = Exposed(tmp_path, place, backend)
    (tmp_path / "two").mkdir()
    two = Exposed(tmp_path / "two", place, backend, env={"XDG_RUNTIME_DIR": str(one.run_dir)})
    async with one:
        async with two:
            for each, other in ((one, two), (two, one)):
                told = await each.until_tunnel(lambda told: told["others"], "it knows of the other")
                assert len(told["others"]) == 1
                assert told["child"]["pid"] not in other.seen_pids
                await each.says("carries this tunnel too; requests reach either of both")
            await two.says(f"process {one.process.pid} runs the same tunnel; both serve its name")
            assert len(place.inside.edge.connectors) == 2
        assert (await one.tunnel())["restarts"] == 0
        assert len(place.inside.edge.connectors) == 1
        async with place.visitor() as http:
            assert (await one.ask_from_outside(http))[0] == 200
