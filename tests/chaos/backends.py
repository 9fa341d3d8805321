"""Three backends of three dialects that flap, stall, cut and recover, by a seed.

A backend is in a mood for some seconds: well, or one that breaks a share of its answers or all of
them, or not there at all. What it says tells who wrote it and to which question, so that a mixed
answer cannot be taken for a whole one; questions with an even number are answered alike by all.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from tests.e2e.matrix.clients import VENDORS
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.seen import Seen
from tests.fakes.strict.backend import StrictBackend, Vendor
from tests.fakes.strict.model import Asked, Said

NAMES: Mapping[str, str] = {"one": "openai", "two": "anthropic", "three": "ollama"}
WORDS = 40

# how much of its answers a backend breaks in a mood; None: it is not there
MOODS: Mapping[str, float | None] = {"well": 0.0, "flaps": 0.3, "breaks": 1.0, "gone": None}
_MOODS = ("well", "well", "flaps", "flaps", "breaks", "gone")


def said(who: str, question: int) -> str:
    """The whole answer of a backend to a question."""
    voice = "all" if question % 2 == 0 else who
    return " ".join(f"{voice}.{question}.{number}" for number in range(WORDS))


def answers_to(question: int) -> set[str]:
    """Every whole answer that a client may get."""
    return {said(who, question) for who in NAMES}


class Moody(StrictBackend):
    """A strict backend with moods; it says what `said` says."""

    def __init__(self, name: str, draw: random.Random) -> None:
        super().__init__(VENDORS[NAMES[name]])
        self.name = name
        self.broke = 0  # answers that were broken on purpose
        self._draw = draw
        self._share = 0.0

    async def change_mood(self) -> float:
        """A new mood; the seconds for which it lasts."""
        share = MOODS[self._draw.choice(_MOODS)]
        if share is None:
            await self.__aexit__(None, None, None)
        elif not self._is_there:
            await self.__aenter__()
        self._share = share or 0.0
        return self._draw.uniform(0.5, 3.0)

    @property
    def _is_there(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def recover(self) -> None:
        """Be there, and well."""
        if not self._is_there:
            await self.__aenter__()
        self._share = 0.0

    def _answer(self, seen: Seen) -> b.Steps:
        steps = super()._answer(seen)
        if self._draw.random() >= self._share:
            return steps
        self.broke += 1
        return self._draw.choice(_FAULTS)(self, seen, steps)

    def _said(self, asked: Asked) -> Said:
        return Said(asked.model, said(self.name, int(asked.text)))

    # --- what may go wrong ------------------------------------------------------------------------

    def _refuses(self, seen: Seen, steps: b.Steps) -> b.Steps:
        status = self._draw.choice((429, 500, 502, 503, self.vendor.overloaded))
        error = answers.dump(self.vendor.error(status, "in a mood"))
        return b.whole(status, error)

    def _vanishes(self, seen: Seen, steps: b.Steps) -> b.Steps:
        return (self._draw.choice((b.Reset(), b.Close(), b.Silence())),)

    def _cuts(self, seen: Seen, steps: b.Steps) -> b.Steps:
        """The first steps only: some frames of a stream, or half of a whole answer."""
        end = self._draw.choice((b.Reset(), b.Close(), b.Silence()))
        if len(steps) == 1 and isinstance(steps[0], b.Send):
            whole = steps[0].data
            return (b.Send(whole[: self._draw.randrange(1, len(whole))]), end)
        return (*steps[: self._draw.randrange(1, len(steps) - 1)], end)

    def _tells(self, seen: Seen, steps: b.Steps) -> b.Steps:
        """An error in the midst of a stream."""
        if len(steps) == 1:
            return self._refuses(seen, steps)
        kept = self._draw.randrange(1, len(steps) - 1)
        failure = b.Send(b.chunked(self.vendor.failure(kept)))
        return (*steps[:kept], failure, b.Send(b.END))

    def _stalls(self, seen: Seen, steps: b.Steps) -> b.Steps:
        """Well, after a while."""
        return (b.Pause(self._draw.uniform(0.1, 0.6)), *steps)

    def _babbles(self, seen: Seen, steps: b.Steps) -> b.Steps:
        return self._draw.choice((b.html, b.empty_body))(seen)


_FAULTS = (
    Moody._refuses, Moody._vanishes, Moody._cuts, Moody._cuts, Moody._cuts, Moody._tells,
    Moody._stalls, Moody._babbles,
)  # fmt: skip


def vendor_of(name: str) -> Vendor:
    """Whose dialect a backend speaks."""
    return VENDORS[NAMES[name]]
