"""The shape of the table of faults: what a cell says, and in which ways it is played."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tests.e2e.crossing import DIALECTS
from tests.e2e.faults.held import Shown
from tests.e2e.faults.wants import Want
from tests.fakes.behaviours import Behaviour, well

STREAM, WHOLE = (True,), (False,)


@dataclass(frozen=True)
class Cell:
    """One fault of the primary, and what must come of it.

    `row` is the row of docs/faults.md. A script's last behaviour goes on for ever. `fallback` is
    None where the primary is alone. `place` overrides the primary's address with what `places`
    of the stage holds under that name. `tries` and `fallback_tries` count requests seen; `settled`
    is an outcome of attempts_total that the primary must have, `result` one of requests_total.
    Times are seconds.
    """

    row: int
    name: str
    primary: tuple[Behaviour, ...]
    want: Want
    tries: int | None = 1
    fallback: tuple[Behaviour, ...] | None = (well(),)
    fallback_tries: int | None = None
    streamed: tuple[bool, ...] = (True, False)
    settled: str | None = None
    result: str = "ok"
    place: str | None = None
    primary_config: Mapping[str, object] = field(default_factory=dict)
    fallback_config: Mapping[str, object] = field(default_factory=dict)
    route: Mapping[str, object] = field(default_factory=dict)
    prefill: bool = False  # the fallback says that it continues a partial turn
    spoken: Sequence[str] = DIALECTS  # the dialects that have words for this fault
    at_least: float | None = None  # between the primary's first and second request
    moved: tuple[float, float] | None = None  # from the client's request to the fallback's first
    lasts: tuple[float, float] = (0.0, 15.0)  # what the answer may take


class Way(Enum):
    """How a cell is played: `p` and `f` in the client's own dialect, or each in another one."""

    RELAY = ""
    CROSSING = "-crossing"
    SDK = "-sdk"  # as RELAY where that can be, with the vendor's own client


@dataclass(frozen=True)
class Unit:
    """A cell as it is played once: one request, one route, two backends."""

    cell: Cell
    client: str
    streamed: bool
    way: Way
    p: str  # the dialect of the primary
    f: str

    @property
    def id(self) -> str:
        """Row, name, client, mode, way; its route and its backends are called after it."""
        mode = "stream" if self.streamed else "whole"
        return f"r{self.cell.row:02}-{self.cell.name}-{self.client}-{mode}{self.way.value}"

    @property
    def shown(self) -> Shown:
        """What it shows when it holds."""
        return Shown(self.cell.row, self.client, self.streamed, self.id)


def units(table: Sequence[Cell], client: str) -> Iterator[Unit]:
    """Every way in which a client plays a table.

    Crossing, the dialects of the two backends are others than the client's and go round with the
    cells, so that every pair of them comes up.
    """
    for number, cell in enumerate(table):
        own = (client, client) if client in cell.spoken else None
        mates = _mates(cell, client, number)
        for streamed in cell.streamed:
            if own is not None:
                yield Unit(cell, client, streamed, Way.RELAY, *own)
            if mates is not None:
                yield Unit(cell, client, streamed, Way.CROSSING, *mates)
            if (pair := own or mates) is not None:
                yield Unit(cell, client, streamed, Way.SDK, *pair)


def _mates(cell: Cell, client: str, number: int) -> tuple[str, str] | None:
    others = [each for each in DIALECTS if each != client]
    firsts = [each for each in others if each in cell.spoken]
    if not firsts:
        return None
    p = firsts[number % len(firsts)]
    seconds = [each for each in others if each != p]
    return p, seconds[number // len(firsts) % len(seconds)]
