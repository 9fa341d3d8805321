"""The matrix as one table of Markdown: a row for every cell that a test run has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.matrix.outcomes import CELLS, Cell, Refused, Unasked, expected

PAGE = Path(__file__).resolve().parents[3] / "docs/dialects.md"
START = "<!-- matrix: written by `make matrix` from a run of tests/e2e/matrix -->\n"
END = "<!-- end of the matrix -->\n"
HEAD = "| Feature | Client | Backend | Whole | Streamed | Remarks |\n|---|---|---|---|---|---|\n"
NOT_APPLICABLE = "–"  # noqa: RUF001  # what stands in a table for "none"

Seen = Mapping[tuple[Cell, bool], str]  # by cell and whether it was streamed: how it went


def went(cell: Cell, losses: frozenset[str]) -> str:
    """How a cell went that met what was expected of it."""
    match expected(cell):
        case Refused():
            return "refused (400)"
        case Unasked():
            return "cannot be asked"
        case _ if losses:
            return "works, loses " + ", ".join(f"`{name}`" for name in sorted(losses))
        case _:
            return "works"


def rows(seen: Seen) -> Sequence[str]:
    """The rows of the cells that were seen in all their modes, in the order of the matrix."""
    return [
        _row(cell, seen) for cell in CELLS if all((cell, stream) in seen for stream in cell.modes)
    ]


def _row(cell: Cell, seen: Seen) -> str:
    modes = [seen.get((cell, stream), NOT_APPLICABLE) for stream in (False, True)]
    columns = [cell.feature, f"`{cell.client}`", f"`{cell.backend}`", *modes, expected(cell).note]
    return "| " + " | ".join(columns).rstrip() + " |\n"


def committed() -> str:
    """What stands on the page between the two markers."""
    return _parts()[1]


def write(seen: Seen) -> None:
    """Put the table of a run in the place of the one on the page."""
    before, _, after = _parts()
    table = HEAD + "".join(rows(seen))
    PAGE.write_text(before + START + table + END + after, encoding="utf-8")


def _parts() -> tuple[str, str, str]:
    before, start, rest = PAGE.read_text(encoding="utf-8").partition(START)
    table, end, after = rest.partition(END)
    assert start and end, f"{PAGE.name} has lost a marker of the matrix"
    return before, table, after
