"""The table of faults is whole, and every test that it names exists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.e2e.tunnel.table import FAULTS

ROOT = Path(__file__).resolve().parents[3]


def test_no_fault_is_left_out() -> None:
    assert list(FAULTS) == list(range(1, 40))
    assert all(tests for _, _, tests in FAULTS.values())


NAMED = [one.split("::") for _, _, tests in FAULTS.values() for one in tests]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_every_test_that_is_named_exists(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef, ast.AsyncFunctionDef
    there = {one.name for one in tree.body if isinstance(one, kinds)}
    assert {name for where, name in NAMED if where == file} - there == set()
