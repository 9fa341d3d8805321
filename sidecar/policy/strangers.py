"""Keeps the log short of those who are turned away: a scanner asks for thousands of paths.

Of each source the first few requests of a while are told one by one, the rest at its end by their
number. Memory is bounded: sources beyond the most are told together.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

WHILE = 60.0  # seconds
FIRST = 3  # requests of a source that are told one by one
MOST = 50  # sources in one while


class LeftOut(NamedTuple):
    """Requests that were not told one by one."""

    source: str | None  # None: of many
    reasons: Mapping[str, int]  # how often each


@dataclass(slots=True)
class Strangers:
    """Who was turned away in this while."""

    _told: Counter[str] = field(default_factory=Counter)
    _left_out: dict[str | None, Counter[str]] = field(default_factory=dict)

    def take(self, source: str, reason: str) -> bool:
        """Whether this one is told; `reason` is of a closed set. Call `end` once a while."""
        is_known = source in self._told
        if is_known or len(self._told) < MOST:
            self._told[source] += 1
            if self._told[source] <= FIRST:
                return True
        self._left_out.setdefault(source if is_known else None, Counter())[reason] += 1
        return False

    def end(self) -> list[LeftOut]:
        """Close the while: what was left out in it."""
        found = [LeftOut(source, dict(reasons)) for source, reasons in self._left_out.items()]
        self._told.clear()
        self._left_out.clear()
        return found
