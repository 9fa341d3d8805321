"""The tunnel under load: restarted, with another token, killed. What did visitors see?

Afterwards: a planned restart and a new token have cost nobody anything. A child that was killed has
taken with it what it carried, and nothing else is missing but what came before the next one stood.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.harness import until
from tests.e2e.tunnel.harness import Ground, ground
from tests.fakes.backend import Backend
from tests.processes import until_reaped
from tests.tunnel_load.ground import Exposed
from tests.tunnel_load.traffic import Traffic, Visit, percentile, speaks

FIRST_PAUSE = 1.0  # seconds; the longest that the first back-off may be
NO_TUNNEL = (530, 502)  # of the edge, without a connection or with one that just died


@dataclass
class Result:
    """What came of a run. Moments are seconds of the loop's clock."""

    rate: float
    visits: list[Visit]
    seconds: float = 0.0
    lateness: float = 0.0
    fewest_open: int = 0
    killed: float = 0.0
    back: float = 0.0
    acts: dict[str, float] = field(default_factory=dict)  # seconds that each took
    restarts: dict[str, float] = field(default_factory=dict)  # by reason, as the metrics tell

    @property
    def failed(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.wrong]

    @property
    def carried(self) -> list[Visit]:
        """Those that failed and were under way when the child was killed."""
        return [one for one in self.failed if one.began <= self.killed <= one.ended]

    @property
    def in_the_gap(self) -> list[Visit]:
        """Those that failed and came while there was no child."""
        return [
            one
            for one in self.failed
            if self.killed < one.began <= self.back and one.status in NO_TUNNEL
        ]

    @property
    def broken(self) -> list[Visit]:
        """Those that failed, and must not have."""
        allowed = {id(one) for one in (*self.carried, *self.in_the_gap)}
        return [one for one in self.failed if id(one) not in allowed]

    @property
    def pace(self) -> float:
        """Requests a second, as they were sent."""
        sent = [one.began for one in self.visits if not one.streamed]
        return (len(sent) - 1) / (sent[-1] - sent[0])

    @property
    def recovery(self) -> float:
        return self.back - self.killed

    def told(self) -> str:
        """The run in lines."""
        streams = [one for one in self.visits if one.streamed]
        whole = [one for one in self.visits if not one.streamed]
        times = [one.seconds * 1000 for one in whole if not one.wrong]
        halves = [percentile(times, share) for share in (0.5, 0.99, 1.0)]
        cut = sum(one.streamed for one in self.carried)
        acts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.acts.items())
        return (
            f"{len(whole)} requests in {self.seconds:.1f} s ({self.pace:.0f} a second, "
            f"late by {self.lateness * 1000:.0f} ms at most), {len(streams)} streams (at "
            f"least {self.fewest_open} open)\n"
            f"ms: median {halves[0]:.1f}, 99 of 100 within {halves[1]:.1f}, longest "
            f"{halves[2]:.1f}\n"
            f"took: {acts}; back {self.recovery:.2f} s after the kill\n"
            f"failed: {len(self.failed)}; carried by the killed child: {cut} streams and "
            f"{len(self.carried) - cut} requests; before the next one stood: "
            f"{len(self.in_the_gap)}; otherwise: {len(self.broken)}\n"
            f"restarts by reason: {self.restarts}"
        )


class Load:
    """One run: `rate` requests a second, `streams` open, `calm` seconds around each act.

    `by_command` restarts as operators do; a further Python takes time on a busy machine.
    """

    def __init__(
        self, folder: Path, *, rate: float, streams: int, calm: float, by_command: bool = False
    ) -> None:
        self._folder, self._rate, self._streams, self._calm = folder, rate, streams, calm
        self._restart = _by_command if by_command else _by_socket

    async def run(self) -> Result:
        """Play; `check` judges."""
        async with (
            ground(self._folder) as place,
            Backend("p", rest=speaks) as fake,
            Exposed(self._folder, fake, place) as sidecar,
            place.visitor() as http,
        ):
            await sidecar.carrying()
            traffic = Traffic(http, self._rate, self._streams)
            result = Result(self._rate, traffic.visits)
            async with asyncio.TaskGroup() as group:
                group.create_task(traffic.run())
                await self._act(sidecar, place, traffic, result)
            result.lateness = traffic.lateness
            metrics = await sidecar.metrics()
            for reason in ("operator", "config", "exit", "unhealthy"):
                result.restarts[reason] = metrics.value("tunnel_restarts_total", reason=reason)
        return result

    async def _act(self, sidecar: Exposed, place: Ground, traffic: Traffic, result: Result) -> None:
        async def all_open() -> bool:
            return traffic.open >= self._streams * 0.9

        try:
            await until(all_open, "the streams are open")
            began = asyncio.get_running_loop().time()
            acts: dict[str, Callable[[], Awaitable[None]]] = {
                "restart": lambda: _restart(sidecar, self._restart),
                "new token": lambda: _rotate(sidecar, place),
                "kill": lambda: _kill(sidecar, result, traffic),
            }
            watch = asyncio.ensure_future(_fewest(traffic, result))
            try:
                for name, act in acts.items():
                    await asyncio.sleep(self._calm)
                    before = asyncio.get_running_loop().time()
                    if name == "kill":
                        watch.cancel()
                    await act()
                    result.acts[name] = asyncio.get_running_loop().time() - before
                await asyncio.sleep(self._calm)
            finally:
                watch.cancel()
            result.seconds = asyncio.get_running_loop().time() - began
        finally:
            traffic.over.set()


async def _fewest(traffic: Traffic, result: Result) -> None:
    result.fewest_open = traffic.open
    while True:
        await asyncio.sleep(0.05)
        result.fewest_open = min(result.fewest_open, traffic.open)


async def _by_command(sidecar: Exposed) -> str:
    return (await sidecar.command("tunnel", "restart"))[1]


async def _by_socket(sidecar: Exposed) -> str:
    return str((await sidecar.control("POST", "/tunnel/restart"))["message"])


async def _restart(sidecar: Exposed, ask: Callable[[Exposed], Awaitable[str]]) -> None:
    before = await sidecar.carrying()
    said = await ask(sidecar)
    assert "has taken over" in said, said
    await sidecar.carrying(but=before)
    await until_reaped(before)


async def _rotate(sidecar: Exposed, place: Ground) -> None:
    before = await sidecar.carrying()
    place.next_token()
    await sidecar.carrying(but=before)
    await until_reaped(before)


async def _kill(sidecar: Exposed, result: Result, traffic: Traffic) -> None:
    before = await sidecar.carrying()
    result.killed = asyncio.get_running_loop().time()
    os.kill(before, signal.SIGKILL)

    async def is_back() -> bool:
        good = [
            one.began
            for one in traffic.visits[-2000:]
            if one.began > result.killed and one.ended and not one.wrong
        ]
        result.back = min(good, default=0.0)
        return bool(good)

    await until(is_back, "requests come through again")
    await sidecar.carrying(but=before)


def check(result: Result) -> None:
    """Raises AssertionError where a promise was broken."""
    assert len(result.visits) > 10 * len(result.acts), result.told()
    assert not result.broken, (Counter(one.wrong for one in result.broken), result.told())
    assert result.carried, "the killed child carried something\n" + result.told()
    assert result.recovery < 5 * FIRST_PAUSE, result.told()
    assert result.restarts == {"operator": 1, "config": 1, "exit": 1, "unhealthy": 0}, result.told()
