"""`llm-tunnel`: the tunnel in a process of its own, in front of an origin that proves itself."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
import yaml

from tests.e2e.client import chat
from tests.e2e.harness import Config, Sidecar, free_port, until
from tests.e2e.strangers import Public, offered
from tests.e2e.tunnel.exposed import CHAT, KEY, QUICK
from tests.e2e.tunnel.harness import Ground, commands
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.processes import state_of, until_gone, until_reaped

pytestmark = commands
SOON = 20.0


class Alone(Sidecar):
    """`python -m tunnel`; `section` is what stands under `tunnel:`."""

    program, start = "tunnel", ()

    def __init__(self, folder: Path, place: Ground, **section: object) -> None:
        super().__init__(folder, None, env=place.environ, ready=False)
        self.place = place
        self.section: Config = {**place.section(**QUICK), **section}
        self.file = folder / "tunnel.yaml"
        self.write(**section)
        self._args = ("--config", str(self.file), "--admin", f"127.0.0.1:{self.admin_port}")

    def write(self, **section: object) -> None:
        """Change keys of the section; it is noticed by itself."""
        self.section = {**self.section, **section}
        beside = self.file.with_suffix(".new")
        beside.write_text(yaml.safe_dump({"tunnel": self.section}), encoding="utf-8")
        beside.replace(self.file)

    async def is_up(self) -> bool:
        try:
            return (await self.admin("/livez")).status == 200
        except OSError:
            return False

    async def status(self) -> dict[str, Any]:
        return (await self.admin("/status")).json

    async def until_ready(self, status: int = 200) -> None:
        async def there() -> bool:
            assert self.process.returncode is None, self.output
            return await self.is_up() and (await self.admin("/readyz")).status == status

        await until(there, f"/readyz is {status}")

    async def until_probe(self, found: str) -> None:
        async def there() -> bool:
            probe = (await self.status())["probe"]
            return probe is not None and probe["found"] == found

        await until(there, f"a probe found {found}")

    async def until_said(self, words: str) -> None:
        async def said() -> bool:
            return words in self.output

        await until(said, f"it says {words!r}")

    async def ends(self) -> None:
        """It ends well, and leaves no process, no file, and no secret in its log."""
        pids = [start["pid"] for start in self.place.inside.standin.starts]
        assert await self.exit_code() == 0
        await until_gone(*pids)
        assert list((self.run_dir / "llm-sidecar").glob("*")) == []
        assert self.place.token not in self.output
        assert "INFO:" not in self.output, "a line tells its level once"


@pytest_asyncio.fixture
async def origin(tmp_path: Path, place: Ground, backend: Backend) -> AsyncIterator[Public]:
    """A sidecar without a tunnel, whose public listener knows the secret of the probes."""
    (tmp_path / "origin").mkdir()
    told: Config = {"probe_secret": {"file": str(place.token_file)}}
    yield Public(tmp_path / "origin", offered(backend), told)


async def test_nothing_is_exposed_before_the_origin_proves_itself(
    tmp_path: Path, place: Ground, backend: Backend, origin: Public
) -> None:
    """Then it carries, follows another token, and drains at the end."""
    inside = place.inside
    gate = asyncio.Event()
    backend.rest = b.gated(gate)
    bare = f"http://127.0.0.1:{backend.port}"
    async with Alone(tmp_path, place, origin=bare, grace="30s") as alone:
        await alone.until_said(f"{bare} does not answer the probe, so nothing is exposed yet")
        await alone.until_ready(503)
        assert (inside.standin.starts, (await alone.status())["state"]) == ([], "disabled")
        async with origin:
            alone.write(origin=origin.public_url)
            await alone.until_ready()
            assert len(inside.standin.starts) == 1
            metrics = await alone.metrics()
            assert metrics.value("tunnel_up", tunnel="main") == 1
            first = (await alone.status())["child"]["pid"]

            new = place.rotate()
            alone.signal(signal.SIGHUP)

            async def has_taken_over() -> bool:
                return bool((await alone.status())["restarts"])

            await until(has_taken_over, "the second one has taken over")
            await until_reaped(first)
            assert {link.told["secret"] for link in inside.edge.registered} == {new.secret}

            async with (
                place.visitor() as http,
                http.post(CHAT, json=chat(stream=True), headers=KEY) as answer,
            ):
                assert answer.status == 200
                alone.signal(signal.SIGTERM)
                await inside.edge.until(lambda: not inside.edge.registered)
                gate.set()
                assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")
            await alone.ends()


async def test_an_origin_that_is_down_restarts_nothing(
    tmp_path: Path, place: Ground, origin: Public
) -> None:
    async with Alone(tmp_path, place, origin=origin.public_url) as alone:
        async with origin:
            await alone.until_ready()
            await alone.until_probe("carried")
            first = (await alone.status())["child"]["pid"]
            origin.signal(signal.SIGKILL)
            await origin.exit_code()
        await alone.until_probe("origin")
        told = await alone.status()
        assert (told["state"], told["child"]["pid"]) == ("healthy", first)
        async with origin:
            await alone.until_probe("carried")
            told = await alone.status()
            assert (told["child"]["pid"], told["restarts"]) == (first, 0)
            alone.signal(signal.SIGTERM)
            await alone.ends()


async def test_anything_may_be_exposed_by_who_knows(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    bare = f"http://127.0.0.1:{backend.port}"
    async with Alone(tmp_path, place, origin=bare, i_know_this_is_open=True) as alone:
        await alone.until_ready()
        async with place.visitor() as http, http.post(CHAT, json=chat()) as answer:
            assert answer.status == 200
        for headers in ({"host": "evil.example"}, {"cf-ray": "1"}, {"origin": "https://e.example"}):
            assert (await alone.admin("/status", headers)).status == 403
        alone.signal(signal.SIGTERM)
        await alone.ends()


async def test_a_signal_while_it_waits_for_a_proof(tmp_path: Path, place: Ground) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with Alone(tmp_path, place, origin=nobody) as alone:
        await alone.until_said("does not answer the probe")
        alone.signal(signal.SIGTERM)
        await alone.ends()
    assert place.inside.standin.starts == []


async def test_a_second_signal_ends_the_drain(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    backend.rest = b.silent
    bare = f"http://127.0.0.1:{backend.port}"
    section: Config = {"origin": bare, "i_know_this_is_open": True, "grace": "100s"}
    async with Alone(tmp_path, place, **section) as alone, place.visitor() as http:
        await alone.until_ready()
        asked = asyncio.ensure_future(http.post(CHAT, json=chat()))
        await backend.seen()
        alone.signal(signal.SIGTERM)
        await place.inside.edge.until(lambda: not place.inside.edge.registered)
        began = time.monotonic()
        alone.signal(signal.SIGTERM)
        await alone.ends()
        assert time.monotonic() - began < SOON
        (await asked).close()


async def test_an_edge_that_lets_nobody_go_costs_the_grace_alone(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    place.inside.edge.answers_unregister = place.inside.edge.closes_when_drained = False
    bare = f"http://127.0.0.1:{backend.port}"
    section: Config = {"origin": bare, "i_know_this_is_open": True, "grace": "500ms"}
    async with Alone(tmp_path, place, **section) as alone:
        await alone.until_ready()
        child = (await alone.status())["child"]["pid"]
        alone.signal(signal.SIGTERM)
        await alone.ends()
        assert state_of(child) is None
        assert "killed" not in alone.output, "it had the time to end by itself"


async def test_a_killed_one_takes_its_child_along(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    bare = f"http://127.0.0.1:{backend.port}"
    async with Alone(tmp_path, place, origin=bare, i_know_this_is_open=True) as alone:
        await alone.until_ready()
        child = (await alone.status())["child"]["pid"]
        alone.signal(signal.SIGKILL)
        assert await alone.exit_code() == -signal.SIGKILL
        await until_gone(child)


async def test_what_cannot_be_used(tmp_path: Path, place: Ground) -> None:
    alone = Alone(tmp_path, place, protocol="pigeon")
    code, told = await alone.command("--config", str(alone.file))
    assert (code, "tunnel.protocol" in told) == (78, True), told
