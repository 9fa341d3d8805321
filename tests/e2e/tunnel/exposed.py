"""The real program with a tunnel: the sidecar, its `cloudflared`, and visitors from outside.

What a test asserts is seen from outside: status, metrics, the log, the table of processes, and what
visitors got. Leaving the block asserts what must hold after every fault: no process and no file is
left, and the tunnel's secret was told to nobody.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import pytest_asyncio

from tests.e2e.client import HANG, chat
from tests.e2e.harness import Config, Metrics, until
from tests.e2e.strangers import LAPTOP, MODEL, Public, offered
from tests.e2e.tunnel.harness import Ground, ground
from tests.fakes.backend import Backend

CHAT = "/v1/chat/completions"
KEY = {"authorization": f"Bearer {LAPTOP}", "accept-encoding": "identity"}


@pytest_asyncio.fixture(name="place")
async def given_place(tmp_path: Path) -> AsyncIterator[Ground]:
    """A binary, an edge and a public name."""
    async with ground(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(name="backend")
async def given_backend() -> AsyncIterator[Backend]:
    """What answers behind the sidecar."""
    async with Backend("p", models=(MODEL,)) as fake:
        yield fake


def tunnel_of(ground: Ground, **more: object) -> Config:
    """The section `tunnel:` for a ground; quick to notice, with short grace. None: left out."""
    told: Config = {
        "token": {"file": str(ground.token_file)},
        "protocol": "http2",
        "binary": str(ground.binary),
        "grace": "2s",
        "probe": {
            "url": ground.url,
            "connect": ":".join(map(str, ground.connect)),
            "ca": str(ground.ca),
            "every": "300ms",
        },
        **more,
    }
    return {name: value for name, value in told.items() if value is not None}


class Exposed(Public):
    """`async with Exposed(folder, ground, backend) as sidecar:`; the tunnel carries from the start.

    `tunnel` changes keys of its section. Set before the block, `waits`
    False does not wait for it.
    """

    def __init__(
        self,
        folder: Path,
        ground: Ground,
        backend: Backend,
        *,
        tunnel: Config | None = None,
        config: Config | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.ground, self.backend = ground, backend
        section = tunnel_of(ground, **(tunnel or {}))
        told = {**offered(backend), "tunnel": section, **(config or {})}
        super().__init__(folder, told, env={**ground.environ, **(env or {})})
        self.waits = True
        self.was_killed = False  # set by a test that kills it: it could not clean up
        self.secrets = {ground.token, *_inner(ground.token)}
        self.seen_pids: set[int] = set()

    async def __aenter__(self) -> Exposed:
        await super().__aenter__()
        try:
            if self.waits:
                await self.until_state("healthy")
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self.process.returncode is None:
            await self.secret_is_kept()
            await self.until_no_zombie()
        await super().__aexit__(kind, error, trace)
        if error is None and not self.was_killed:
            await self.nothing_is_left()

    # --- what it tells ------------------------------------------------------------------------

    async def tunnel(self) -> dict[str, Any]:
        """The section of the status."""
        told = (await self.admin("/status")).json["tunnel"]
        assert isinstance(told, dict)
        if told["child"]:
            self.seen_pids.add(told["child"]["pid"])
        return told

    async def control(self, method: str, path: str) -> dict[str, Any]:
        """Ask at the control socket, as the command line does."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession("http://localhost", connector=connector) as http,
            http.request(method, path) as answer,
        ):
            told: dict[str, Any] = await answer.json()
            return told

    async def until_tunnel(
        self, fits: Callable[[dict[str, Any]], object], what: str
    ) -> dict[str, Any]:
        """Look until the tunnel's status is as wanted."""
        seen: list[dict[str, Any]] = []

        async def there() -> bool:
            assert self.process.returncode is None, self.output
            seen[:] = [await self.tunnel()]
            return bool(fits(seen[0]))

        await until(there, what)
        return seen[0]

    async def until_state(self, *states: str) -> dict[str, Any]:
        return await self.until_tunnel(lambda told: told["state"] in states, f"it is {states}")

    async def says(self, words: str, seconds: float = HANG) -> str:
        """Wait until a line of the log holds these words; gives its text."""
        found: list[str] = []

        async def there() -> bool:
            # parsed only where a line may be the one, as the log may be long
            lines = self.log if words in self.output else []
            found[:] = [str(line["event"]) for line in lines if words in str(line["event"])]
            return bool(found)

        await until(there, f"the log says {words!r}", seconds)
        return found[0]

    def count(self, metrics: Metrics, name: str, **labels: str) -> float:
        return metrics.value(f"tunnel_{name}", **labels)

    # --- processes ----------------------------------------------------------------------------

    async def child(self) -> int:
        """The process of the active child."""
        told = await self.until_tunnel(lambda told: told["child"], "a child runs")
        return int(told["child"]["pid"])

    def started(self) -> list[int]:
        """Every process of a stand-in that this sidecar has started, ever."""
        inside = self.ground.inside_or_none
        own = f"{self.run_dir}/"
        starts = inside.standin.starts if inside is not None else []
        return [start["pid"] for start in starts if start["environ"]["HOME"].startswith(own)]

    @property
    def pipes(self) -> int:
        """What is open for children: pipes, and descriptors of processes."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        links = [os.readlink(folder / name) for name in os.listdir(folder)]
        return sum(link.startswith("pipe:") or "pidfd" in link for link in links)

    async def secret_is_kept(self) -> None:
        """In no command line, environment, log, metric, status, or answer of a command."""
        running = [self.process.pid, *children_of(self.process.pid)]
        told = [_read(pid, part) for pid in running for part in ("cmdline", "environ")]
        told += [self.output, (await self.admin("/metrics")).raw.decode()]
        told += [(await self.admin("/status")).raw.decode()]
        told += [json.dumps(await self.control("GET", "/tunnel"))]
        for secret in self.secrets:
            assert not [text for text in told if secret in text], "the secret is told"

    async def until_no_zombie(self) -> None:
        async def none() -> bool:
            return not children_of(self.process.pid, "Z")

        await until(none, "every child that has ended is reaped")

    async def nothing_is_left(self) -> None:
        """No process, and none of the files that say what runs."""
        await until_gone(*self.seen_pids, *self.started())
        folder = self.run_dir / "llm-sidecar"
        assert not list(folder.glob("*")), f"left: {list(folder.glob('*'))}"
        for secret in self.secrets:
            assert secret not in self.output

    # --- visitors -----------------------------------------------------------------------------

    async def ask_from_outside(self, http: aiohttp.ClientSession) -> tuple[int, str]:
        """A small chat through the public name."""
        async with http.post(CHAT, json=chat(), headers=KEY) as answer:
            return answer.status, await answer.text()

    @contextlib.asynccontextmanager
    async def stream_from_outside(
        self, http: aiohttp.ClientSession
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A stream through the public name, whose head has come."""
        async with http.post(CHAT, json=chat(stream=True), headers=KEY) as answer:
            assert answer.status == 200, await answer.text()
            yield answer


def _inner(token: str) -> set[str]:
    """The secret that stands in a token."""
    return {json.loads(base64.b64decode(token))["s"]}


def _read(pid: int, part: str) -> str:
    try:
        return Path(f"/proc/{pid}/{part}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""  # it has ended meanwhile


def state_of(pid: int) -> str | None:
    """The letter of a process in the system's table; None where there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return told.rpartition(")")[2].split()[0]


def children_of(parent: int, states: str = "RSDTtI") -> list[int]:
    """The processes that a process has started itself, in these states; Z: not reaped."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            told = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        parts = told.rpartition(")")[2].split()
        if parts[0] in states and int(parts[1]) == parent:
            found.append(int(entry))
    return found


async def until_gone(*pids: int) -> None:
    """Wait until these processes have ended; without a parent they may wait to be reaped."""

    async def gone() -> bool:
        return all(state_of(pid) in (None, "Z") for pid in pids)

    await until(gone, f"{pids} have ended")


async def until_reaped(*pids: int) -> None:
    """Wait until these processes are in the table no more."""

    async def reaped() -> bool:
        return all(state_of(pid) is None for pid in pids)

    await until(reaped, f"{pids} have ended and are reaped")
