"""The table of docs/faults.md against the run: it stands behind the tests that it tells of.

`make faults` writes the table from a run in which all of them held; else the two are compared.
"""

from __future__ import annotations

import os

from tests.e2e import test_fault_moments, test_faults
from tests.e2e.faults import page
from tests.e2e.faults.held import BROKEN, HELD, MOMENTS
from tests.e2e.faults.rows import ROWS
from tests.e2e.faults.table import TABLE

PROMISED = {row: page.promised(row, test_faults.UNITS, MOMENTS) for row in ROWS}


def test_every_row_is_there_and_every_test_is_in_one() -> None:
    assert {row.number for row in ROWS} == set(range(1, 33))
    told = [(row.number, name) for row in ROWS for name in row.cells]
    assert sorted(told) == sorted({(cell.row, cell.name) for cell in TABLE})
    named = [name for row in ROWS for name in row.moments]
    assert sorted(named) == sorted({one.name for one in MOMENTS})
    assert all(hasattr(test_fault_moments, name) for name in named)


def test_the_table_on_the_page() -> None:
    """Every row stands on the page with as much as is tested; what breaks fails by itself."""
    if os.environ.get("WRITE_FAULTS"):
        assert not BROKEN, "not every row holds"
        assert set().union(*PROMISED.values()) == HELD, "not every test has passed"
        page.write([page.line(row, PROMISED[row]) for row in ROWS])
    told = page.committed()
    assert told.startswith(page.HEAD)
    assert told.count("\n") == page.HEAD.count("\n") + len(ROWS)
    for row, promised in PROMISED.items():
        assert page.line(row, promised) in told, "run `make faults`, and read the difference"
