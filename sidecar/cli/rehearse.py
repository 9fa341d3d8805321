"""What a rehearsal looks like: a bar while it runs, then tables and sentences, or JSON."""

import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from sidecar.cli.tables import table
from sidecar.rehearsal.judging import Mark
from sidecar.rehearsal.play import Played, Rehearsal, RouteResult
from sidecar.rehearsal.rows import ROWS

WIDTH = 100  # columns of a report
_BAR = 30
_WORDS = {
    Mark.HOLDS: "holds",
    Mark.BETTER: "better",
    Mark.FAILS: "FAILS",
    Mark.NOT_REHEARSED: "-",
}
_ABOUT = (
    "A stand-in answered for every backend; no real one was called. The rehearsal has a clock of "
    "its own that skips all waiting, so the limits are those of the configuration and the times "
    "are what clients would have waited."
)


def progress_bar(stream: TextIO) -> Callable[[int, int, str], None]:
    """Tells how far it is, on a terminal; nothing elsewhere."""

    def draw(done: int, total: int, what: str) -> None:
        if done >= total:
            print("\r\033[K", end="", file=stream, flush=True)
            return
        filled = _BAR * done // total
        line = f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total} {what}"
        room = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:room]}", end="", file=stream, flush=True)

    return draw if stream.isatty() else lambda done, total, what: None


def as_text(rehearsal: Rehearsal) -> str:
    """The tables, a sentence for each promise that fails or could be better, and what it was."""
    parts = [*_tables(rehearsal)]
    for mark, head in (
        (Mark.FAILS, "Does not hold:"),
        (Mark.BETTER, "Holds, and could be better:"),
    ):
        if lines := list(dict.fromkeys(_sentences(rehearsal, mark))):
            parts.append("\n".join([head, *lines]))
    if lines := list(dict.fromkeys(_left_out(rehearsal))):
        parts.append("\n".join(["Not rehearsed:", *lines]))
    parts += ["\n".join(textwrap.wrap(_ABOUT, WIDTH)), _summary(rehearsal)]
    return "\n\n".join(parts)


def as_json(rehearsal: Rehearsal, source: str) -> dict[str, object]:
    """The same for machines; the keys are those of docs/faults.md."""
    return {
        "configuration": source,
        "holds": rehearsal.holds,
        "routes": [_route(one, rehearsal.rows) for one in rehearsal.routes],
    }


def _route(result: RouteResult, rows: Iterable[int]) -> dict[str, object]:
    cast = result.cast
    return {
        "name": result.name,
        "not_rehearsed": result.why_not,
        "client": cast.dialect.name if cast else None,
        "model": cast.model if cast else None,
        "targets": [
            {"backend": one.backend, "model": one.model}
            for one in (cast.candidates if cast else ())
        ],
        "rows": [
            {
                "row": row,
                "backend": ROWS[row][0],
                "promise": ROWS[row][1],
                "mark": result.mark(row),
                "plays": [_play(one) for one in result.played if one.row == row],
            }
            for row in rows
        ],
    }


def _play(played: Played) -> dict[str, object]:
    return {
        "name": played.name or None,
        "stream": played.stream,
        "mark": played.finding.mark,
        "told": played.finding.told,
        "seconds": None if played.took is None else round(played.took, 3),
        "advice": [{"setting": one.setting, "do": one.do} for one in played.finding.advice],
    }


def _tables(rehearsal: Rehearsal) -> Iterator[str]:
    """As many routes side by side as have room."""
    first = max(len(ROWS[row][0]) for row in rehearsal.rows) + 5
    beside: list[RouteResult] = []
    for result in (one for one in rehearsal.routes if one.cast):
        if beside and first + sum(_column(one) for one in (*beside, result)) > WIDTH:
            yield _table(rehearsal.rows, beside)
            beside = []
        beside.append(result)
    if beside:
        yield _table(rehearsal.rows, beside)


def _column(result: RouteResult) -> int:
    return max(len(result.name), len("better")) + 2


def _table(rows: Iterable[int], results: Sequence[RouteResult]) -> str:
    lines = [(row, ROWS[row][0], *(_WORDS[one.mark(row)] for one in results)) for row in rows]
    return table(("ROW", "THE BACKEND", *(one.name for one in results)), lines)


def _sentences(rehearsal: Rehearsal, mark: Mark) -> Iterator[str]:
    for result in rehearsal.routes:
        for played in result.played:
            if played.finding.mark is not mark:
                continue
            finding = played.finding
            told = f"row {played.row}, route {result.name}: {finding.told}; promised: "
            told += f"{ROWS[played.row][1]}."
            settings = [f"  {one.setting}: {one.do}" for one in finding.advice]
            yield "\n".join(
                [*_wrapped(told), *(line for one in settings for line in _wrapped(one))]
            )


def _left_out(rehearsal: Rehearsal) -> Iterator[str]:
    for result in rehearsal.routes:
        if result.why_not:
            yield f"  route {result.name}: {result.why_not}"
        for played in result.played:
            if played.finding.mark is Mark.NOT_REHEARSED:
                where = f" on route {result.name}" if played.name else ""
                yield f"  row {played.row}{where}: {played.finding.told}"


def _wrapped(line: str) -> list[str]:
    text = line.lstrip()
    indent = "  " + " " * (len(line) - len(text))
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )


def _summary(rehearsal: Rehearsal) -> str:
    marks = [one.mark(row) for one in rehearsal.routes if one.cast for row in rehearsal.rows]
    counts = [
        f"{marks.count(mark)} {word}"
        for mark, word in (
            (Mark.HOLDS, "hold"), (Mark.BETTER, "could be better"), (Mark.FAILS, "fail"),
            (Mark.NOT_REHEARSED, "not rehearsed"),
        )
        if marks.count(mark)
    ]  # fmt: skip
    return f"Promises: {', '.join(counts) or 'none rehearsed'}"
