"""Plays the fault table against a configuration, route by route, and tells what became of it."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from sidecar.config.load import Loaded
from sidecar.rehearsal.clockwork import Clockwork
from sidecar.rehearsal.judging import Finding, Mark
from sidecar.rehearsal.rows import NOT_REHEARSED, PLAYS, ROWS, Play
from sidecar.rehearsal.stage import Cast, Setting, cast, stage

_WORST = (Mark.FAILS, Mark.BETTER, Mark.HOLDS, Mark.NOT_REHEARSED)

Progress = Callable[[int, int, str], None]  # plays done, plays in all, what is played now


@dataclass(frozen=True, slots=True)
class Played:
    """One play of a row on a route; `took` is how long its slowest client waited, in seconds."""

    row: int
    name: str
    stream: bool
    finding: Finding
    took: float | None = None  # None where it was not played


@dataclass(frozen=True, slots=True)
class RouteResult:
    """All rows of one route; `why_not` says why it was left out, where it was."""

    name: str
    cast: Cast | None
    played: tuple[Played, ...]
    why_not: str | None = None

    def mark(self, row: int) -> Mark:
        """The worst mark of a row's plays."""
        marks = {one.finding.mark for one in self.played if one.row == row}
        return next((mark for mark in _WORST if mark in marks), Mark.NOT_REHEARSED)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it."""

    rows: tuple[int, ...]
    routes: tuple[RouteResult, ...]

    @property
    def holds(self) -> bool:
        """Whether no promise failed."""
        played = (one for route in self.routes for one in route.played)
        return not any(one.finding.mark is Mark.FAILS for one in played)


def rehearse(
    loaded: Loaded,
    routes: Collection[str] = (),
    rows: Collection[int] = (),
    progress: Progress = lambda done, total, what: None,
) -> Rehearsal:
    """Play those rows on those routes; where none is named, all of them."""
    wanted = tuple(row for row in ROWS if row in rows or not rows)
    chosen = [one for one in loaded.snapshot.routes.routes if one.name in routes or not routes]
    casts = {route.name: cast(loaded, route) for route in chosen}
    with asyncio.Runner(loop_factory=Clockwork) as runner:
        return runner.run(_rehearse(casts, wanted, progress))


async def _rehearse(
    casts: dict[str, Cast | str], rows: tuple[int, ...], progress: Progress
) -> Rehearsal:
    plays = [(play, stream) for play in PLAYS if play.row in rows for stream in play.ways]
    total = len(plays) * sum(isinstance(one, Cast) for one in casts.values())
    steps = iter(range(1, total + 1))
    results = []
    for name, found in casts.items():
        if isinstance(found, str):
            results.append(RouteResult(name, None, (), found))
            continue
        played = []
        for play, stream in plays:
            progress(next(steps) - 1, total, f"row {play.row} on {name}")
            played.append(await _play(found, play, stream))
        played += [_left_out(row, why) for row, why in _unplayed(rows)]
        results.append(RouteResult(name, found, tuple(played)))
    progress(total, total, "done")
    return Rehearsal(rows, tuple(results))


def _unplayed(rows: Collection[int]) -> Iterator[tuple[int, str]]:
    return ((row, why) for row, why in NOT_REHEARSED.items() if row in rows)


def _left_out(row: int, why: str) -> Played:
    return Played(row, "", True, Finding(Mark.NOT_REHEARSED, why))


async def _play(cast: Cast, play: Play, stream: bool) -> Played:
    if why := play.why_not(cast):
        return Played(play.row, play.name, stream, Finding(Mark.NOT_REHEARSED, why))
    setting = Setting(play.script, play.others, play.reach, play.asking)
    async with stage(cast, setting, stream) as here:
        await play.asks(here)
    scene = here.scene
    took = max(heard.took for heard in scene.heard)
    return Played(play.row, play.name, stream, play.judge(scene), took)
