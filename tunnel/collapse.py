"""Keeps a talkative log short: repeats are counted, and there is a most per while. Pure.

The first of equal lines is told at once, how often it came again at the end of the while. Numbers
make no difference: tries of an edge that is down differ by an address or a port.
"""

import re
from dataclasses import dataclass, field

from tunnel.facts import Log

WHILE = 5.0  # seconds
MOST = 100  # different lines in one while

_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class Collapse:
    """What was told since `begun`, the moment of the first line; None: nothing."""

    begun: float | None = None
    _seen: dict[tuple[Log, str], "_Seen"] = field(default_factory=dict)
    _left_out: int = 0

    def take(self, now: float, level: Log, text: str) -> bool:
        """Whether to tell this line now. Call `end` once `WHILE` is over."""
        if self.begun is None:
            self.begun = now
        key = level, _NUMBER.sub("", text)
        if key in self._seen:
            self._seen[key].more += 1
            return False
        if len(self._seen) >= MOST:
            self._left_out += 1
            return False
        self._seen[key] = _Seen(text)
        return True

    def leave_out(self, now: float, lines: int) -> None:
        """Count lines that nobody looked at."""
        if self.begun is None:
            self.begun = now
        self._left_out += lines

    def end(self) -> tuple[list[tuple[Log, str]], int]:
        """Close the while: the lines that tell of it, and how many were left out."""
        lines: list[tuple[Log, str]] = []
        for (level, _), seen in self._seen.items():
            if seen.more:
                often = "once" if seen.more == 1 else f"{seen.more} times"
                lines.append((level, f"{seen.text} (repeated {often})"))
        left_out = self._left_out
        if left_out:
            lines.append(("warning", f"{left_out} more lines of cloudflared are left out here"))
        self.begun, self._left_out = None, 0
        self._seen.clear()
        return lines, left_out


@dataclass(slots=True)
class _Seen:
    text: str
    more: int = 0
