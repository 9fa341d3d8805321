"""What is wrong with a configuration, where, and how it is told to a person.

A fault names its place as a path of keys; the position in the file is added by whoever has read
the file. Nothing that looks like a secret is ever put into words here.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.config.credentials import may_be_secret
from sidecar.policy.routing import nearest

KeyPath = tuple[str | int, ...]

LONGEST_SHOWN = 60


class Severity(StrEnum):
    """An error stops the configuration from being used; a warning tells what was corrected."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; both count from one."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what stands at a place, what was expected there, and what to do about it."""

    path: KeyPath
    found: str
    expected: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    at_key: bool = False  # the key itself is at fault, not its value
    mark: Mark | None = None

    def render(self, source: str) -> str:
        """One line: `FILE:LINE:COLUMN: path: found …, expected …; hint`."""
        place = f"{source}:{self.mark.line}:{self.mark.column}" if self.mark else source
        kind = "warning: " if self.severity is Severity.WARNING else ""
        name = f"{dotted(self.path)}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}: {kind}{name}found {self.found}, expected {self.expected}{hint}"


class ConfigError(Exception):
    """A configuration that cannot be used, with every fault and warning that was found."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = in_order(faults)
        super().__init__(render(source, self.faults))


class Report:
    """Collects faults, so that all of them can be told at once."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = list(faults)

    def error(
        self, path: KeyPath, found: str, expected: str, hint: str = "", *, at_key: bool = False
    ) -> None:
        """Something that must be changed."""
        self.faults.append(Fault(path, found, expected, hint, Severity.ERROR, at_key))

    def warn(self, path: KeyPath, found: str, expected: str, hint: str) -> None:
        """Something that was understood or corrected all the same."""
        self.faults.append(Fault(path, found, expected, hint, Severity.WARNING))

    @property
    def broken(self) -> bool:
        """Whether anything must be changed."""
        return any(fault.severity is Severity.ERROR for fault in self.faults)


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """By position in the file; what has none comes last."""
    last = Mark(1_000_000_000, 0)
    return tuple(
        sorted(faults, key=lambda one: ((one.mark or last).line, (one.mark or last).column))
    )


def render(source: str, faults: Collection[Fault]) -> str:
    """All faults, one a line, and a line that counts them."""
    errors = sum(fault.severity is Severity.ERROR for fault in faults)
    counts = [_count(errors, "fault")] if errors else []
    if len(faults) > errors:
        counts.append(_count(len(faults) - errors, "warning"))
    lines = [fault.render(source) for fault in faults]
    return "\n".join([*lines, f"{source}: {', '.join(counts) or 'no fault'}"])


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def dotted(path: KeyPath) -> str:
    """A path as people write it: `routes.chat.targets[0].backend`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: object, path: KeyPath = ()) -> str:
    """A value in the words of an error message; never one that may be a secret."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str() if "auth" in path:
            return "a literal (not shown)"
        case str() if may_be_secret(value):
            return "a text that looks like a secret (not shown)"
        case str():
            return repr(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…")
        case Mapping():
            return f"a mapping with {listed(value)}" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return str(value)


def listed(words: Iterable[object]) -> str:
    """Words in a row: `a, b, c`."""
    return ", ".join(str(word) for word in words)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The nearest known name as a hint, or nothing where none is near."""
    close = nearest(name, known, most=1)
    return f"did you mean {close[0]!r}?" if close else ""
