"""What a voice says, as data: a streamed answer in its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Speech:
    """The frames of one streamed answer.

    `greeting` comes before any token, `closing` makes the answer whole; `end` is the end marker of
    a dialect that has one beside that.
    """

    greeting: Sequence[bytes]
    tokens: Sequence[bytes]
    closing: Sequence[bytes]
    end: Sequence[bytes] = ()

    def until(self, tokens: int) -> list[bytes]:
        """The frames up to so many tokens."""
        return [*self.greeting, *self.tokens[:tokens]]

    @property
    def unmarked(self) -> list[bytes]:
        """All that makes the answer whole, without the end marker."""
        return [*self.greeting, *self.tokens, *self.closing]

    @property
    def frames(self) -> list[bytes]:
        return [*self.unmarked, *self.end]
