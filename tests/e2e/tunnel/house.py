"""A house with a tunnel: the program on a fast clock, a fake backend, and a public name.

`async with house.tunnel(...) as tunnel` puts the section `tunnel:` into the configuration of a
program that runs, and takes it out again; then nothing may be left of it: no process, descriptor or
folder, and no secret wherever one could look. So each test begins with a tunnel that knows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests import processes
from tests.e2e.client import HANG, chat
from tests.e2e.harness import Config, until
from tests.e2e.strangers import LAPTOP, Public, offered
from tests.e2e.tunnel.harness import IS_REAL, Ground, Inside, ground, secret_is_kept, secrets_of
from tests.fakes.backend import Backend
from tests.fakes.cloudflared.edge import PATIENCE, Edge
from tests.fakes.cloudflared.launch import Standin

HASTE = 1.0 if IS_REAL else 10.0
READY_LIMIT = 20.0  # seconds from an edge that is back to the first answer, at the most
MARGIN = 5  # of bounds: so many times what is promised

Seen = Mapping[str, Any]


@dataclass
class Tunnel:
    """The tunnel of one test, from outside. Seconds are those of the program's clock."""

    house: House
    standin_or_none: Standin | None
    secrets: set[str] = field(default_factory=set)
    pids: set[int] = field(default_factory=set)
    log_from: int = 0
    descriptors: Counter[str] = field(default_factory=Counter)

    @property
    def inside(self) -> Inside:
        return self.house.ground.inside

    @property
    def edge(self) -> Edge:
        return self.inside.edge

    @property
    def standin(self) -> Standin:
        assert self.standin_or_none is not None
        return self.standin_or_none

    # --- what it tells ------------------------------------------------------------------------

    async def status(self) -> Seen:
        """As `/status` tells it; its child is noted, to be looked for later."""
        told: Seen = json.loads((await self.house.admin("/status")).raw)["tunnel"]
        if told["child"] is not None and told["child"]["pid"] is not None:
            self.pids.add(told["child"]["pid"])
        return told

    async def until(self, fits: Callable[[Seen], bool], what: str, seconds: float = 0.0) -> Seen:
        """Ask until it is so, for so many seconds by the program's clock, or until a hang."""
        seen: list[Seen] = []

        async def is_so() -> bool:
            seen[:] = [await self.status()]
            return fits(seen[0])

        await until(is_so, what, max(HANG / 2, self.real(seconds) * MARGIN))
        return seen[0]

    async def until_state(self, *states: str, seconds: float = 0.0) -> Seen:
        return await self.until(lambda seen: seen["state"] in states, f"state {states}", seconds)

    async def until_healthy(self, *, but: int | None = None, seconds: float = 0.0) -> Seen:
        """A probe has come through; the child is another than that one."""
        return await self.until(
            lambda seen: seen["state"] == "healthy" and seen["child"]["pid"] != but,
            f"healthy, not by {but}", seconds,
        )  # fmt: skip

    async def until_told(self, words: str, level: str | None = None, count: int = 1) -> str:
        """Wait for a line of the log; gives its message."""

        async def there() -> bool:
            return len(self.told(words, level)) >= count

        await until(there, f"{count} lines {words!r}, but {self.told('tunnel')}")
        return self.told(words, level)[count - 1]

    def told(self, words: str = "", level: str | None = None) -> list[str]:
        """The messages of this tunnel's log that hold a pattern."""
        return [
            str(line.get("message", line.get("event", "")))
            for line in self.house.log[self.log_from :]
            if re.search(words, str(line.get("message", line.get("event", ""))))
            and level in (None, line.get("level"))
        ]

    def pauses(self) -> list[float]:
        """The seconds of every back-off that the log tells."""
        found = (re.search(r"starts again in ([\d.]+) s", line) for line in self.told())
        return [float(each[1]) for each in found if each is not None]

    async def value(self, name: str, **labels: str) -> float:
        return (await self.house.metrics()).value(f"tunnel_{name}", **labels)

    async def ask(self) -> int:
        """What a client with a key gets through the public name."""
        where, key = f"{self.house.ground.base()}/v1/chat/completions", {"x-api-key": LAPTOP}
        try:
            async with (
                asyncio.timeout(HANG),
                self.house.ground.visitor() as http,
                http.post(where, json=chat(), headers=key) as answer,
            ):
                await answer.read()
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def until_answered(self, seconds: float = 0.0) -> float:
        """Ask until a client gets an answer; gives how long that took by the program's clock."""
        began = asyncio.get_running_loop().time()

        async def is_answered() -> bool:
            return await self.ask() == 200

        await until(is_answered, "a client gets an answer", max(HANG, self.real(seconds) * MARGIN))
        return (asyncio.get_running_loop().time() - began) * self.house.haste

    # --- time ---------------------------------------------------------------------------------

    def real(self, seconds: float) -> float:
        """Seconds on the wall."""
        return seconds / self.house.haste

    async def pass_by(self, seconds: float) -> None:
        """For faults that last so long by the program's clock."""
        await asyncio.sleep(self.real(seconds))

    async def leap(self, seconds: float) -> None:
        """The program's clock jumps; that of the stand-in does not."""
        file = self.house.leap
        file.write_text(str(seconds), encoding="ascii")
        self.house.signal(signal.SIGUSR2)

        async def has_leapt() -> bool:
            return not file.exists()

        await until(has_leapt, "the clock has leapt")

    # --- orders -------------------------------------------------------------------------------

    async def restart(self) -> str:
        """As `llm-sidecar tunnel restart` does."""
        return str((await self.house.control("POST", "/tunnel/restart"))["message"])

    # --- what must be so in the end -----------------------------------------------------------

    async def look_for_secrets(self) -> None:
        """Whatever may be looked at tells none."""
        starts = self.standin_or_none.starts if self.standin_or_none is not None else []
        self.pids |= {one["pid"] for one in starts}
        secrets = self.secrets | secrets_of(self.house.ground.token)
        await secret_is_kept(self.house, secrets, json.dumps(starts))

    async def has_left_nothing(self) -> None:
        """Once it is off: no process, no zombie, no descriptor and no folder."""
        house = self.house

        await processes.until_reaped(*self.pids)
        await processes.until(lambda: not processes.children_of(house.process.pid))
        if self.standin_or_none is not None:
            assert self.standin.alive() == []

        async def are_closed() -> bool:
            return not (house.descriptors() - self.descriptors)

        await until(are_closed, "what it opened is closed")

        async def is_clean() -> bool:
            left = [each for each in house.run_dir.rglob("*") if each != house.socket]
            return all(each.is_dir() and not each.name.startswith("home-") for each in left)

        await until(is_clean, "no record and no home of a child is left")

        async def is_untold() -> bool:
            names = (await house.metrics()).names()
            return not [name for name in names if name.startswith("llm_sidecar_tunnel")]

        await until(is_untold, "no series is left")


class House(Public):
    """The program. Its tunnel is off, unless a test turns it on."""

    def __init__(self, folder: Path, fake: Backend, place: Ground, haste: float = HASTE) -> None:
        self.haste, self.ground, self.backend = haste, place, fake
        self.scarce, self.leap = folder / "scarce", folder / "leap"
        marks = {"SCARCE": str(self.scarce), "LEAP": str(self.leap)}
        env = {**place.environ, "HASTE": str(haste), **marks}
        super().__init__(folder, offered(fake), env=env)
        self.program = "tests.e2e.tunnel.hasty"

    def descriptors(self) -> Counter[str]:
        """What the program holds open, by kind; connections of the moment are left out."""
        links = processes.descriptors(self.process.pid)
        kinds = Counter(re.sub(r"[\[\d].*", "", link) for link in links)
        del kinds["socket:"]
        return kinds

    @contextlib.asynccontextmanager
    async def tunnel(
        self, folder: Path, orders: Mapping[str, Any] | None = None, **section: object
    ) -> AsyncIterator[Tunnel]:
        """Have one; `orders` are for the stand-in from its first start."""
        standin: Standin | None = None
        if self.ground.inside_or_none is not None:
            standin = self.ground.inside.standin = Standin(folder / "bin", scale=1 / self.haste)
            standin.behave(**(orders or {}))
            self.ground.binary = standin.path
        one = Tunnel(self, standin, log_from=len(self.log), descriptors=self.descriptors())
        config = self.config
        assert isinstance(config, dict)
        await self.reload({**config, "tunnel": self._section(**section)})
        try:
            yield one
            await one.look_for_secrets()
        finally:
            await self._open_again()
            await self.reload(config)
        await one.has_left_nothing()

    def _section(self, **more: object) -> Config:
        probe = more.get("probe")
        every: Config = {"every": "4s", **(probe if isinstance(probe, dict) else {})}
        return self.ground.section(**{**more, "probe": every})

    async def _open_again(self) -> None:
        """Whatever a test did to the world, the next one finds it well."""
        self.scarce.unlink(missing_ok=True)
        if self.ground.inside_or_none is None:
            return
        edge = self.ground.inside.edge
        edge.thaw()
        edge.door = "open"
        edge.secrets[edge.tunnel.tunnel_id].add(edge.tunnel.secret)
        self.ground.write_token(edge.tunnel)
        self.ground.inside.quick.mood = "well"
        await edge.heal()


@contextlib.asynccontextmanager
async def house(folder: Path, haste: float = HASTE) -> AsyncIterator[House]:
    """One that is ready, with its ground."""
    async with ground(folder, scale=1 / haste) as place, Backend("p", models=("m",)) as fake:
        if place.inside_or_none is not None:
            place.inside.edge.patience = PATIENCE / haste
        async with House(folder, fake, place, haste) as one:
            yield one
