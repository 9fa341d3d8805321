"""The documentation against the program: what a page says must load, exist and agree.

Tables of the pages are compared with the tables of the code, in both directions. Configurations are
loaded as the program loads them; one that shows only a part is completed first.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sidecar.cli.source import TUNNEL, load_file
from sidecar.config import schema
from sidecar.config.presets import PRESETS
from sidecar.config.unbuilt import UNBUILT
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Severity
from sidecar.policy.outcome import MOVABLE, OUTCOMES
from sidecar.telemetry import metrics
from sidecar.telemetry.optional import Part
from sidecar.wire.contract import Operation
from tests.declared import BACKEND, CLIENT, Declared, declared
from tests.e2e.harness import Sidecar
from tests.tunnel.test_config import TOKEN
from tunnel.metrics import GAUGES, PREFIX, TunnelMetrics

ROOT = Path(__file__).resolve().parents[1]
SIDECAR = ROOT / "sidecar"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
IDS = [str(page.relative_to(ROOT)) for page in PAGES]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=IDS)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CURL = re.compile(r"^curl (?:.*\\\n)*.*$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"((?:[\w.-]+/)+[\w.-]*\w\.(?:py|md|toml|txt))(?::([\w.]+))?")
DASH = "–"  # noqa: RUF001  # what stands in a table for "none"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, head: str) -> str:
    """What stands below one heading of a page, up to the next of its kind."""
    found = re.search(rf"^## {head}\n(.*?)(?=^## |\Z)", text_of(page), re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page} has no heading {head!r}"
    return found[1]


def subsection(text: str, head: str) -> str:
    """What stands below one lesser heading of a text, up to the next of its kind."""
    found = re.search(rf"^### {head}\n(.*?)(?=^### |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no heading {head!r}"
    return found[1]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", text)


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, heads and rules included."""
    lines = (line for line in prose(text).splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def rows_by_span(text: str, columns: int) -> dict[str, list[str]]:
    """The table rows of that many cells whose first is a code span; by that span."""
    found = [row for row in rows(text) if len(row) == columns and SPAN.fullmatch(row[0])]
    names = [row[0].strip("`") for row in found]
    assert len(names) == len(set(names)), "a row stands twice"
    return {row[0].strip("`"): row[1:] for row in found}


def words_of(cell: str) -> set[str]:
    return set(SPAN.findall(cell))


# --- what is shown works -----------------------------------------------------------------------


BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for page, name in zip(PAGES, IDS, strict=True)
    for number, (kind, block) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")))
    if kind == "yaml"
]


# files of which not any content will do
FILES = {"keys.txt": f"anna {'0' * 64}\n", "tunnel-token": TOKEN}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_configuration_loads(block: str, tmp_path: Path) -> None:
    written: dict[str, Any] = yaml.safe_load(block)
    base: dict[str, Any] = {"backends": {"home": {"preset": "ollama"}}}
    backends = written.get("backends", base["backends"])
    targets = [{"backend": name} for name in backends]
    base["routes"] = {"any": {"public": True, "targets": targets}}
    presets = [preset.key.env for preset in PRESETS.values() if preset.key is not None]
    environ = dict.fromkeys([*presets, *re.findall(r"env: (\w+)", block)], "a-key")
    for name in re.findall(r"file: ([\w.-]+)", block):
        (tmp_path / name).write_text(FILES.get(name, "a-key\n"), encoding="utf-8")
    file = tmp_path / "sidecar.yaml"
    missing = {key: value for key, value in base.items() if key not in written}
    file.write_text(yaml.safe_dump(missing) * bool(missing) + block, encoding="utf-8")

    loaded = load_file(str(file), environ)

    assert loaded.snapshot.routes.routes
    assert not loaded.warnings


@EVERY_PAGE
def test_json_blocks_are_json(page: Path) -> None:
    for kind, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "json":
            json.loads(block)


@pytest.mark.parametrize("page", ["README.md", "docs/dialects.md"])
async def test_requests_by_curl_work(page: str, tmp_path: Path) -> None:
    blocks = [block for _, block in FENCE.findall(text_of(page))]
    commands = [one for block in blocks for one in CURL.findall(block)]
    assert commands
    route = {"models": ["*"], "listed_first": True, "targets": [{"backend": "echo"}]}
    config = {"backends": {"echo": {"preset": "echo"}}, "routes": {"default": route}}
    async with Sidecar(tmp_path, config) as sidecar:
        for command in commands:
            words = shlex.split(command.replace("\\\n", " "))
            kind, body = words[words.index("-H") + 1], words[words.index("-d") + 1]
            name, _, value = kind.partition(": ")
            path, headers = urlsplit(words[1]).path, {name: value}
            got = await sidecar.ask(path=path, data=body.encode(), headers=headers)
            assert (got.status, b"[llm-sidecar" in got.raw) == (200, True), command


def test_commands_and_targets_exist() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (SIDECAR / "cli").glob("*.py")]
    commands = {one for text in sources for one in re.findall(r"add_parser\(\s*\"([\w-]+)\"", text)}
    commands |= set(re.findall(r"^\s+\(\"([\w-]+)\", _\w+, ", source("sidecar/cli/main.py"), re.M))
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE))
    for page in PAGES:
        for span in SPAN.findall(page.read_text(encoding="utf-8")):
            for command in re.findall(r"^llm-sidecar ([a-z][\w-]*)", span):
                assert command in commands, f"{page}: {span}"
            for target in re.findall(r"^make ([a-z]+)", span):
                assert target in targets, f"{page}: {span}"


# --- what is named exists ----------------------------------------------------------------------


def source(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes, their members and constants, dotted."""

    def walk(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    yield prefix + node.name
                    if isinstance(node, ast.ClassDef):
                        yield from walk(node.body, f"{prefix}{node.name}.")
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    yield prefix + name
                case _:
                    pass

    return frozenset(walk(ast.parse(path.read_text(encoding="utf-8")).body, ""))


@EVERY_PAGE
def test_files_and_names_exist(page: Path) -> None:
    for span in SPAN.findall(prose(page.read_text(encoding="utf-8"))):
        match = FILE.fullmatch(span)
        if match is None:
            continue
        places = [root / match[1] for root in (ROOT, SIDECAR) if (root / match[1]).exists()]
        assert places, f"{span} does not exist"
        assert match[2] is None or match[2] in names_in(places[0]), f"{span}: no such name"


@EVERY_PAGE
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", prose(target.read_text(encoding="utf-8")), re.M)
            known = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in known, f"{link}: no such heading"


def test_every_module_is_in_the_architecture() -> None:
    """Each stands in one row; the row of a file of several dialects has a `*` for their folder."""
    told = rows_by_span(section("docs/architecture.md", "Files"), 2)
    found = {row: [*SIDECAR.glob(row), *ROOT.glob(row)] for row in told}
    sources = (*SIDECAR.rglob("*.py"), *(ROOT / "tunnel").glob("*.py"))
    modules = [path for path in sources if path.name != "__init__.py"]
    assert sorted(path for paths in found.values() for path in paths) == sorted(modules)
    assert all(found.values())


def test_every_decision_is_in_the_index() -> None:
    pages = {page.name for page in (ROOT / "docs/adr").glob("0*.md")}
    assert set(LINK.findall(text_of("docs/adr/README.md"))) == pages


@pytest.mark.parametrize("page", ["docs/faults.md", "docs/security.md"])
def test_named_tests_exist(page: str) -> None:
    known = {name for path in (ROOT / "tests").rglob("test_*.py") for name in names_in(path)}
    assert {word for word in words_of(prose(text_of(page))) if word.startswith("test_")} <= known


# --- tables agree with the code -----------------------------------------------------------------


def test_the_outcome_table() -> None:
    told = rows_by_span(section("docs/architecture.md", "Attempts and outcomes"), 5)
    assert told == {
        kind.value: [
            rule.disposition.value, "yes" if rule.blames else "no", rule.attempt, rule.request,
        ]
        for kind, rule in OUTCOMES.items()
    }  # fmt: skip


def test_the_catalogue_of_metrics() -> None:
    told = rows_by_span(text_of("docs/metrics.md"), 4)
    registry = metrics.Metrics("0").registry
    declared: dict[str, tuple[str, tuple[str, ...]]] = {
        f"{metrics.PREFIX}_{name}": ("gauge", gauge.labels)
        for name, gauge in metrics.STATE_GAUGES.items()
    }
    TunnelMetrics(registry, lambda: None)
    declared |= {
        f"{PREFIX}_{name}": ("gauge", ("tunnel", *labels)) for name, (_, labels) in GAUGES.items()
    }
    for family in registry._collector_to_names:
        if (kind := getattr(family, "_type", None)) is not None:
            name = str(family._name) + ("_total" if kind == "counter" else "")  # type: ignore[attr-defined]
            declared[name] = (kind, tuple(family._labelnames))  # type: ignore[attr-defined]
    assert {name: (row[0], row[1]) for name, row in told.items()} == {
        name: (kind, ", ".join(labels) or DASH) for name, (kind, labels) in declared.items()
    }


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("operation", [one.value for one in Operation]),
        ("outcome of requests", metrics.REQUEST_OUTCOMES),
        ("reason of fallbacks", metrics.FALLBACK_REASONS),
        ("reason of rejected requests", metrics.REJECTED_REASONS),
        ("reason of aborted streams", metrics.ABORTED_REASONS),
        ("reason at the public listener", metrics.PUBLIC_REASONS),
        ("outcome of attempts", metrics.ATTEMPT_OUTCOMES),
        ("part", list(Part)),
    ],
)
def test_the_words_of_labels(label: str, words: list[str]) -> None:
    told = {row[0]: row[1] for row in rows(text_of("docs/metrics.md")) if len(row) == 2}
    assert words_of(told[label]) == set(words)


EXAMPLE: Mapping[str, Any] = {
    "listeners": {
        "data": {"queue": {}},
        "public": {"keys": {"file": "x"}, "access": {"team": "x", "audience": "x"}},
    },
    "backends": {"x": {"auth": {"forward": {}}, "breaker": {"slow": {}}, "queue": {}}},
    "routes": {"x": {"targets": [{"backend": "x"}]}},
    "tunnel": {"token": {"env": "T"}},
}


REQUIRED = (  # where `EXAMPLE` has a value that is no default
    "routes.*.targets[].backend",
    "listeners.public.keys.file",
    "listeners.public.access.team",
    "listeners.public.access.audience",
)


def keys_of(data: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of a dumped configuration with its value; what people fill in themselves is `*`."""
    if not isinstance(data, dict) or not data or prefix == "tunnel.token":
        yield prefix, None if prefix == "tunnel.token" else data
        return
    if prefix == "backends.*.auth" or prefix.startswith("backends.*.auth."):
        yield prefix, None
    for key, value in data.items():
        below = f"{prefix}.{'*' if prefix in ('backends', 'routes') else key}".removeprefix(".")
        if below == "routes.*.targets":
            yield below, None
            below, value = f"{below}[]", value[0]
        yield from keys_of(value, below)


def test_every_key_of_the_configuration() -> None:
    """A default in a code span is the schema's own; one in words comes from somewhere else."""
    told = rows_by_span(section("docs/configuration.md", "Every key"), 3)
    example = schema.model(TUNNEL).model_validate(EXAMPLE)
    known = dict(keys_of(example.model_dump(mode="json", by_alias=True)))
    assert set(told) == set(known)
    for key, value in known.items():
        default = told[key][0]
        is_literal = SPAN.fullmatch(default) is not None
        assert is_literal == (value is not None and key not in REQUIRED), key
        if is_literal:
            assert str(yaml.safe_load(default.strip("`"))) == str(value), key


def test_the_table_of_presets() -> None:
    told = rows_by_span(section("docs/configuration.md", "Presets"), 4)

    def span(word: str | None) -> str:
        return DASH if word is None else f"`{word}`"

    assert told == {
        name: [
            preset.base_url or ("built in" if preset.echo else "yours"),
            span(preset.key.env if preset.key else None),
            span(preset.model),
        ]
        for name, preset in PRESETS.items()
    }


def test_the_table_of_what_is_not_built() -> None:
    told = rows_by_span(section("docs/configuration.md", "Known, but not built yet"), 3)
    assert {key: words_of(row[0]) for key, row in told.items()} == {
        key: {json.dumps(value).strip('"') for value in values} for key, values, _ in UNBUILT
    }


def test_the_tables_of_losses() -> None:
    """Every loss that the dialects' source names, by severity, client and backend."""
    losses = section("docs/dialects.md", "Losses")
    told = {
        Declared(name, severity, dialect, side)
        for severity in Severity
        for row in rows(subsection(losses, severity.capitalize()))
        for side, cell in ((CLIENT, row[1]), (BACKEND, row[2]))
        for name in words_of(row[0])
        for dialect in words_of(cell)
    }
    known = {
        one
        for dialect in DIALECTS
        for one in declared(Path(inspect.getfile(dialect.facts)).parent, dialect.name)
    }
    assert told - known == set(), "told, and not in the source"
    assert known - told == set(), "in the source, and not told"


def test_movable_problems() -> None:
    told = text_of("docs/configuration.md").partition("Problems: ")[2].partition(".")[0]
    assert words_of(told) == {kind.value for kind in MOVABLE}


def test_error_codes() -> None:
    told = words_of(prose(text_of("docs/faults.md")))
    modules = [path.read_text(encoding="utf-8") for path in SIDECAR.rglob("*.py")]
    codes = {code for text in modules for code in re.findall(r"\bcode=\"(\w+)\"", text)}
    for dialect in DIALECTS:
        for kind in ProblemKind:
            told_client = dialect.encode_error(Problem(kind, "so"))[1].decode()
            codes |= set(re.findall(r'"code":"(\w+)"', told_client))
    assert codes <= told
