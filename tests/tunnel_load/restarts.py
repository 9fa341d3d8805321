"""A thousand children, one after the other: what do they leave behind?

They are replaced as planned, killed, and given other tokens by turns, in the real program with real
processes; only its pauses are short. Every hundred there is a reading: memory, descriptors, threads
and tasks of the program, its children, and a search for every token that was ever used, in all
command lines, environments, files, logs, metrics and the status.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import processes
from tests.e2e.harness import until
from tests.e2e.tunnel.harness import Ground, ground
from tests.fakes.backend import Backend
from tests.fakes.cloudflared.credentials import Tunnel
from tests.processes import until_reaped
from tests.tunnel_load.ground import Exposed

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Reading:
    """What the program held after so many restarts."""

    restarts: int
    memory: int  # bytes
    descriptors: int
    threads: int
    tasks: int
    children: dict[int, str]  # and their states
    files: int  # in its runtime folder, beside the socket
    told: tuple[str, ...]  # where a token stands


@dataclass
class Record:
    """What came of a run."""

    readings: list[Reading] = field(default_factory=list)
    counted: dict[str, float] = field(default_factory=dict)  # restarts by reason
    left: dict[str, list[str]] = field(default_factory=dict)  # after its end

    def told(self) -> str:
        """The run in lines."""
        lines = [
            f"{one.restarts} restarts: {one.memory / MEGABYTE:.1f} MB, {one.descriptors} "
            f"descriptors, {one.threads} threads, {one.tasks} tasks, "
            f"{len(one.children)} child, {one.files} files, token found in {len(one.told)} places"
            for one in self.readings
        ]
        return "\n".join([*lines, f"restarts by reason: {self.counted}; left: {self.left}"])


class Hurried(Exposed):
    """The program with short pauses, that tells how many tasks it has, and logs all it can."""

    program = "tests.tunnel_load.hurried"
    level = "debug"

    def __init__(self, folder: Path, fake: Backend, place: Ground) -> None:
        super().__init__(folder, fake, place)
        self._tasks = folder / "tasks"
        self._more_env["TASKS_FILE"] = str(self._tasks)

    async def tasks(self) -> int:
        """Its asyncio tasks."""
        self._tasks.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)

        async def is_told() -> bool:
            return self._tasks.exists()

        await until(is_told, "the tasks are counted")
        return int(self._tasks.read_text(encoding="ascii"))


class Restarts:
    """One run of so many restarts, with a reading after each `every`."""

    def __init__(self, folder: Path, times: int, every: int) -> None:
        self._folder, self._times, self._every = folder, times, every
        self._tokens: list[str] = []
        self._born: dict[int, str] = {}  # the children: when each was started
        self.record = Record()

    async def run(self) -> Record:
        """Play; `check` judges."""
        async with ground(self._folder) as place, Backend("p") as fake:
            async with Hurried(self._folder, fake, place) as sidecar:
                self._tokens.append(place.token)
                await self._restart(sidecar, place)
                metrics = await sidecar.metrics()
                for reason in ("operator", "config", "exit", "unhealthy"):
                    count = metrics.value("tunnel_restarts_total", reason=reason)
                    self.record.counted[reason] = count
            folder = sidecar.run_dir
            self.record.left = {
                "files": [str(one) for one in processes.files_below(folder)],
                "processes": [
                    str(pid) for pid, born in self._born.items() if processes.born(pid) == born
                ],
                "token": self._told(place, folder, sidecar.output),
            }
        return self.record

    async def _restart(self, sidecar: Hurried, place: Ground) -> None:
        ways: list[Callable[[Hurried, Ground, int], Awaitable[None]]] = [
            self._planned, self._kill, self._rotate, self._planned,
        ]  # fmt: skip
        pid = await sidecar.carrying()
        for number in range(1, self._times + 1):
            await ways[number % len(ways)](sidecar, place, pid)
            pid, before = await sidecar.carrying(but=pid), pid
            self._born[pid] = processes.born(pid)
            await until_reaped(before)
            if number % self._every == 0:
                await self._read(number, sidecar, place)

    async def _planned(self, sidecar: Hurried, _: Ground, __: int) -> None:
        said = await sidecar.control("POST", "/tunnel/restart")
        assert "has taken over" in said["message"], said

    async def _kill(self, _: Hurried, __: Ground, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    async def _rotate(self, sidecar: Hurried, place: Ground, _: int) -> None:
        place.next_token()
        self._tokens.append(place.token)
        await sidecar.control("POST", "/reload")

    async def _read(self, number: int, sidecar: Hurried, place: Ground) -> None:
        pid = sidecar.process.pid
        metrics = (await sidecar.admin("/metrics")).raw.decode()
        status = (await sidecar.admin("/status")).raw.decode()
        control = str(await sidecar.control("GET", "/status"))
        words = "".join((sidecar.output, metrics, status, control))
        self.record.readings.append(
            Reading(
                number,
                processes.resident(pid),
                len(processes.descriptors(pid)),
                processes.threads(pid),
                await sidecar.tasks(),
                processes.children_of(pid),
                len(processes.files_below(sidecar.run_dir)),
                tuple(self._told(place, sidecar.run_dir, words)),
            )
        )

    def _told(self, place: Ground, folder: Path, words: str) -> list[str]:
        """Where any token or secret that was used stands, but for the file it came from."""
        secrets = [one for token in self._tokens for one in (token, Tunnel.of(token).secret)]
        files = set(processes.files_below(folder, self._folder)) - {place.token_file}
        found = processes.told_by_processes(secrets) + processes.holding(files, secrets)
        return found + [f"words: {len(one)}" for one in secrets if one in words]


def check(record: Record) -> None:
    """Raises AssertionError where a promise was broken."""
    *_, last = readings = record.readings
    first = readings[0]
    assert not any(one.told for one in readings), [one.told for one in readings]
    assert not any(record.left.values()), record.left
    for one in readings:
        states = list(one.children.values())
        assert len(states) == 1 and "Z" not in states, (one, record.told())
        assert one.files == first.files, record.told()
    assert last.descriptors <= first.descriptors + 4, record.told()
    assert last.tasks <= first.tasks + 2, record.told()
    assert last.threads <= first.threads + 8, record.told()  # those of the executor come by and by
    assert last.memory - first.memory < 8 * MEGABYTE, record.told()
    assert sum(record.counted.values()) == last.restarts, record.told()
