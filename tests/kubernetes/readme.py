"""Writes the tables of values in the charts' READMEs, from the comments of their values.yaml.

A value is told by the comment right above it that begins with `# --`; a mapping without one is told
by its members. `python -m tests.kubernetes.readme` (`make charts`) writes; `test_helm.py` compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = (ROOT / "helm" / "llm-sidecar", ROOT / "helm" / "llm-sidecar-lib")
BEGIN, END = "<!-- values: written by `make charts` -->", "<!-- end of values -->"


class Undescribed(Exception):
    """A value without a comment."""


def values(chart: Path) -> Iterator[tuple[str, str, str]]:
    """The key, the default and the description of each value of a chart. Raises Undescribed."""
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from _members(root, text.splitlines(), ())


def _members(
    node: yaml.MappingNode, lines: list[str], path: tuple[str, ...]
) -> Iterator[tuple[str, str, str]]:
    for key, value in node.value:
        here = (*path, key.value)
        told = _comment(lines, key.start_mark.line)
        if told:
            default = yaml.SafeLoader("").construct_document(value)
            yield ".".join(here), json.dumps(default, ensure_ascii=False), told
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _members(value, lines, here)
        else:
            raise Undescribed(".".join(here))


def _comment(lines: list[str], at: int) -> str:
    """The comment that ends right above a line, where it begins with `# --`; else nothing."""
    found: list[str] = []
    for line in reversed(lines[:at]):
        text = line.strip()
        if text.startswith("# -- "):
            return " ".join([text.removeprefix("# -- "), *reversed(found)])
        if not text.startswith("# "):
            break
        found.append(text.removeprefix("# "))
    return ""


def table(chart: Path) -> str:
    """The table of a chart's values."""
    rows = [("Value", "Default", "Meaning"), ("---", "---", "---")]
    for key, default, told in values(chart):
        rows.append((f"`{key}`", f"`{default}`", told))
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows
    )


def page(chart: Path) -> str:
    """The README of a chart with its table as it should be."""
    text = (chart / "README.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin and end, f"{chart.name}/README.md lacks the marks of the table"
    return f"{head}{BEGIN}\n\n{table(chart)}\n{END}{tail}"


def main() -> int:
    """Write all READMEs."""
    for chart in CHARTS:
        (chart / "README.md").write_text(page(chart), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
