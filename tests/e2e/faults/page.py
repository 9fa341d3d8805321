"""The table of docs/faults.md: the words of its rows, and the state that a run has shown."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from tests.e2e.crossing import DIALECTS
from tests.e2e.faults.cells import Unit
from tests.e2e.faults.held import Shown
from tests.e2e.faults.rows import NONE, Row

PAGE = Path(__file__).resolve().parents[3] / "docs/faults.md"
START = "<!-- faults: written by `make faults` from a run of the tests that it names -->\n"
END = "<!-- end of the faults -->\n"
_COLUMNS = ["#", "The backend…", "The client gets", "The backends see"]
_CLIENTS = [f"`{client}`" for client in DIALECTS]
HEAD = (
    "| " + " | ".join([*_COLUMNS, *_CLIENTS, "Shown by"]) + " |\n"
    "|" + "---|" * (len(_COLUMNS) + len(_CLIENTS) + 1) + "\n"
)


def promised(row: Row, units: Sequence[Unit], moments: AbstractSet[Shown]) -> set[Shown]:
    """All that shows a row, of all clients and modes."""
    return {
        unit.shown for unit in units if unit.cell.row == row.number and unit.cell.name in row.cells
    } | {one for one in moments if one.row == row.number and one.name in row.moments}


def line(row: Row, shown: AbstractSet[Shown]) -> str:
    """A row with the state that so much of it has shown."""
    states = [_state([one for one in shown if one.client == client]) for client in DIALECTS]
    columns = [str(row.number), row.backend, row.client, row.backends_see, *states, _by(row)]
    return "| " + " | ".join(columns) + " |\n"


def _state(shown: Sequence[Shown]) -> str:
    counts = [
        (sum(one.streamed is mode for one in shown), word)
        for mode, word in ((True, "streamed"), (False, "whole"))
    ]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or NONE


def _by(row: Row) -> str:
    cells = ", ".join(f"`{name}`" for name in row.cells)
    tests = ", ".join(f"`{name}`" for name in row.moments)
    word = "cells" if len(row.cells) > 1 else "cell"
    return "; ".join([*([f"{word} {cells}"] if cells else []), *([tests] if tests else [])]) or NONE


def write(lines: Sequence[str]) -> None:
    """Put the table of a run in the place of the one on the page."""
    before, _, after = _parts()
    PAGE.write_text(before + START + HEAD + "".join(lines) + END + after, encoding="utf-8")


def committed() -> str:
    """What stands on the page between the two markers."""
    return _parts()[1]


def _parts() -> tuple[str, str, str]:
    before, start, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table, end, after = rest.partition(END)
    assert start and end, f"{PAGE.name} has lost a marker of its table"
    return before, table, after
