"""The real program with a tunnel: the sidecar, its `cloudflared`, and visitors from outside.

What a test asserts is seen from outside: status, metrics, the log, the table of processes, and what
visitors got. Leaving the block asserts what must hold after every fault: no process and no file is
left, and the tunnel's secret was told to nobody.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests import processes
from tests.e2e.client import HANG, chat
from tests.e2e.harness import Config, until
from tests.e2e.strangers import LAPTOP, Public, offered
from tests.e2e.tunnel.harness import Ground, secret_is_kept, secrets_of
from tests.fakes.backend import Backend

CHAT = "/v1/chat/completions"
KEY = {"authorization": f"Bearer {LAPTOP}", "accept-encoding": "identity"}


QUICK: Config = {"protocol": "http2", "probe": {"every": "300ms"}}  # to notice


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
        section = ground.section(**{**QUICK, **(tunnel or {})})
        told = {**offered(backend), "tunnel": section, **(config or {})}
        super().__init__(folder, told, env={**ground.environ, **(env or {})})
        self.waits = True
        self.was_killed = False  # set by a test that kills it: it could not clean up
        self.secrets = secrets_of(ground.token)
        self.seen_pids: set[int] = set()

    async def __aenter__(self) -> Self:
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
            await self.keeps_the_secret()
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
        links = processes.descriptors(self.process.pid)
        return sum(link.startswith("pipe:") or "pidfd" in link for link in links)

    async def keeps_the_secret(self) -> None:
        """Whatever may be looked at tells none."""
        told = json.dumps(await self.control("GET", "/tunnel"))
        await secret_is_kept(self, self.secrets, told)

    async def until_no_zombie(self) -> None:
        await processes.until(
            lambda: "Z" not in processes.children_of(self.process.pid).values(), HANG
        )

    async def nothing_is_left(self) -> None:
        """No process, and none of the files that say what runs."""
        await processes.until_gone(*self.seen_pids, *self.started())
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
