"""A chaos run: many clients of all dialects before moody backends, while the configuration changes.

Afterwards: no truncated or mixed answer was taken for a whole one by an official client, no
request outlived its deadline, nothing is in flight, memory and file descriptors are where they
were.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.chaos.backends import NAMES, Moody, answers_to
from tests.e2e.crossing import ENV, backend
from tests.e2e.harness import Config, Sidecar, until
from tests.e2e.matrix.clients import CLIENTS
from tests.e2e.matrix.talk import Ask, Client, Failed, Stop

DEADLINE = 4.0  # seconds, of the routes
HANG = 5 * DEADLINE  # a client that waits longer was forgotten
MORE_OPEN = 8  # descriptors, than before the first request
ROUTES = ("live", "assured", "plain")


@dataclass
class Result:
    """What came of a run."""

    whole: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # what looked right and was not
    hung: int = 0
    longest: float = 0.0  # seconds, as the sidecar's log tells
    reloads: int = 0
    recovered: float = 0.0
    broken: int = 0  # answers that the backends broke on purpose
    memory: tuple[int, int] = (0, 0)  # bytes, before and after

    def told(self) -> str:
        """The run in lines."""
        before, after = (round(size / 1e6, 1) for size in self.memory)
        return (
            f"{self.whole} whole answers, {sum(self.failed.values())} honest failures "
            f"{dict(self.failed)}, {len(self.wrong)} wrong, {self.hung} hung\n"
            f"{self.broken} answers broken on purpose, {self.recovered:.0f} streams recovered, "
            f"{self.reloads} reloads, longest request {self.longest:.2f} s\n"
            f"memory {before} → {after} MB"
        )


def configuration(backends: Mapping[str, Moody], turn: int) -> Config:
    """The configuration of a moment: the chain turns, and so do the numbers."""
    names = [*backends][turn % 3 :] + [*backends][: turn % 3]
    targets = [{"backend": name, "model": f"{backends[name].vendor.family}:text"} for name in names]
    usual: Config = {
        "targets": targets,
        "deadline": f"{DEADLINE}s",
        "retry": {"attempts": turn % 3, "backoff": {"base": "10ms", "cap": "50ms"}},
    }
    return {
        "backends": {name: backend(fake) for name, fake in backends.items()},
        "routes": {
            "live": usual,
            "assured": {**usual, "delivery": "assured"},
            "plain": {**usual, "recover": ["fail"]},
        },
        "defaults": {
            "timeouts": {"connect": "1s", "first_token": "1s", "idle": "1s", "whole": "2s"}
        },
    }


class Chaos:
    """One run, by a seed."""

    def __init__(self, folder: Path, *, clients: int, seconds: float, seed: int) -> None:
        self._folder, self._clients, self._seconds = folder, clients, seconds
        self._draw = random.Random(seed)  # noqa: S311 - a test
        self._questions = count()
        self._is_over = asyncio.Event()
        self.result = Result()

    async def run(self) -> Result:
        """Play, and judge what can be judged from outside."""
        async with AsyncExitStack() as stack:
            backends = {
                name: await stack.enter_async_context(Moody(name, self._draw)) for name in NAMES
            }
            config = configuration(backends, 0)
            sidecar = await stack.enter_async_context(Sidecar(self._folder, config, env=ENV))
            opened = descriptors(sidecar)
            await self._ask_all(sidecar, 3, 100)  # warm up, so that memory can be compared
            await self._at_rest(sidecar)
            before = sidecar.rss
            async with asyncio.TaskGroup() as group:
                group.create_task(self._end_later())
                group.create_task(self._reload(sidecar, backends))
                for fake in backends.values():
                    group.create_task(self._moods(fake))
                group.create_task(self._ask_all(sidecar, self._clients))
            for fake in backends.values():
                await fake.recover()
            await self._at_rest(sidecar)

            async def few_are_open() -> bool:
                return descriptors(sidecar) <= opened + MORE_OPEN

            await until(few_are_open, "connections that nobody uses are closed", 120)
            result = self.result
            result.memory = before, sidecar.rss
            result.broken = sum(fake.broke for fake in backends.values())
            metrics = await sidecar.metrics()
            result.recovered = metrics.value("recoveries_total", result="ok")
            result.longest = max(_seconds(line) for line in sidecar.log if "attempts" in line)
        return self.result

    async def _end_later(self) -> None:
        await asyncio.sleep(self._seconds)
        self._is_over.set()

    async def _moods(self, fake: Moody) -> None:
        while not self._is_over.is_set():
            await self._pause(await fake.change_mood())

    async def _reload(self, sidecar: Sidecar, backends: Mapping[str, Moody]) -> None:
        for turn in count(1):
            await self._pause(1.5)
            if self._is_over.is_set():
                return
            sidecar.rewrite_config(configuration(backends, turn))
            sidecar.signal(signal.SIGHUP)
            self.result.reloads += 1

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._is_over.wait(), seconds)
        except TimeoutError:
            return

    async def _ask_all(self, sidecar: Sidecar, clients: int, each: int | None = None) -> None:
        """So many clients, each asking until the run is over, or so many times."""
        made = [make(sidecar.base_url, "k") for make in CLIENTS.values()]
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(self._ask_on(made[number % len(made)], each))
        for client in made:
            await client.close()

    async def _ask_on(self, client: Client, times: int | None) -> None:
        asked = 0
        while asked < times if times is not None else not self._is_over.is_set():
            asked += 1
            await self._ask(client)

    async def _ask(self, client: Client) -> None:
        question = next(self._questions)
        route, stream = ROUTES[question % 3], self._draw.random() < 0.7
        try:
            async with asyncio.timeout(HANG):
                answer = await client.ask(Ask(route, stream, str(question)))
        except Failed as failed:
            self.result.failed[failed.why.value] += 1
            if not any(one.startswith(failed.heard) for one in answers_to(question)):
                self.result.wrong.append(f"{client.dialect} heard {failed.heard!r}")
            return
        except TimeoutError:
            self.result.hung += 1
            return
        if answer.text in answers_to(question) and answer.stop is Stop.END:
            self.result.whole += 1
        else:
            self.result.wrong.append(f"{client.dialect} took for whole: {answer.text!r}")

    async def _at_rest(self, sidecar: Sidecar) -> None:
        """Return once nothing is in flight."""
        await sidecar.idle()

        async def nothing_runs() -> bool:
            status = (await sidecar.admin("/status")).json
            backends = status["backends"]
            assert isinstance(backends, list)
            return all(one["in_flight"] == 0 for one in backends)

        await until(nothing_runs, "no attempt is in flight")


def descriptors(sidecar: Sidecar) -> int:
    return len(os.listdir(f"/proc/{sidecar.process.pid}/fd"))


def _seconds(line: Mapping[str, object]) -> float:
    told = line["ms"]
    assert isinstance(told, float | int)
    return told / 1000


def check(result: Result) -> None:
    """Raises AssertionError where a promise was broken."""
    assert result.whole > 0 and result.broken > 0, result.told()
    assert not result.wrong, result.wrong[:5]
    assert result.hung == 0, result.told()
    assert result.longest < HANG, result.told()
    assert result.memory[1] - result.memory[0] < 64 * 1024 * 1024, result.told()
