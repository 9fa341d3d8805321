"""What is expected of every cell of the matrix.

A cell works unless a rule here says otherwise; the first rule that fits counts. What a rule says is
asserted, so none can outlive its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.e2e.matrix.clients import CLIENTS, VENDORS
from tests.e2e.matrix.scenarios import ONLY_STREAMED, SCENARIOS

OPENAI, RESPONSES, ANTHROPIC, OLLAMA = "openai", "openai-responses", "anthropic", "ollama"
ANY = frozenset(CLIENTS)


@dataclass(frozen=True)
class Works:
    """`losses` are what the answers name in `x-sidecar-losses`."""

    losses: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """A 400 before any backend is asked; its message holds `words`."""

    words: str
    note: str


@dataclass(frozen=True)
class Unasked:
    """The client's API has no words for it: the SDK refuses, or its types have no place for it."""

    note: str


Outcome = Works | Refused | Unasked


@dataclass(frozen=True)
class Cell:
    client: str
    backend: str
    feature: str

    @property
    def modes(self) -> Sequence[bool]:
        """Whole, streamed."""
        return (True,) if self.feature in ONLY_STREAMED else (False, True)

    def id(self, stream: bool) -> str:
        """The name of its test."""
        mode = "streamed" if stream else "whole"
        return f"{self.client}-on-{self.backend}:{self.feature.replace(' ', '_')}:{mode}"


CELLS: Sequence[Cell] = [
    Cell(client, backend, feature)
    for feature in SCENARIOS
    for client in CLIENTS
    for backend in VENDORS
]


@dataclass(frozen=True)
class Rule:
    features: frozenset[str]
    clients: frozenset[str]
    backends: frozenset[str]
    outcome: Outcome

    def fits(self, cell: Cell) -> bool:
        return (
            cell.feature in self.features
            and cell.client in self.clients
            and cell.backend in self.backends
        )


def only(*names: str) -> frozenset[str]:
    return frozenset(names)


THINKING = only("thinking", "thinking and tools")
RULES: Sequence[Rule] = [
    Rule(
        only("stop sequence"),
        only(RESPONSES),
        ANY,
        Unasked("the Responses API has no stop sequences"),
    ),
    Rule(
        only("stop sequence"),
        ANY,
        only(RESPONSES),
        Works(only("stop_sequences"), "the Responses API has no stop sequences"),
    ),
    Rule(
        only("stop sequence"),
        ANY - only(OLLAMA),
        only(OLLAMA),
        Works(note="Ollama does not say which sequence matched"),
    ),
    Rule(
        only("JSON mode"),
        only(ANTHROPIC),
        ANY,
        Unasked("Anthropic's API has JSON of a schema only"),
    ),
    Rule(
        only("image by URL"),
        only(OLLAMA),
        ANY,
        Unasked("Ollama's API takes no addresses of images"),
    ),
    Rule(
        only("image by URL"),
        ANY,
        only(OLLAMA),
        Refused("image", "Ollama takes no addresses of images; `fetch_images` fetches them"),
    ),
    Rule(
        only("image in a result"),
        only(OPENAI, OLLAMA),
        ANY,
        Unasked("in this API the result of a tool is text"),
    ),
    Rule(
        only("document"),
        only(OLLAMA),
        ANY,
        Unasked("Ollama's API takes no documents"),
    ),
    Rule(
        only("document"),
        ANY,
        only(OLLAMA),
        Refused("document", "Ollama's API takes no documents"),
    ),
    Rule(
        THINKING,
        ANY - only(OPENAI),
        only(OPENAI),
        Works(only("thinking"), "chat completions take no thinking back"),
    ),
    Rule(
        THINKING,
        only(OLLAMA),
        only(ANTHROPIC, RESPONSES),
        Works(only("thinking"), "Ollama's API has no place for a signature"),
    ),
    Rule(
        only("usage"),
        ANY - only(OLLAMA),
        only(OLLAMA),
        Works(note="Ollama does not count cached and reasoning tokens"),
    ),
    Rule(
        only("usage"),
        only(OLLAMA),
        ANY - only(OLLAMA),
        Works(note="Ollama's API has no place for cached and reasoning tokens"),
    ),
]


def expected(cell: Cell) -> Outcome:
    return next((rule.outcome for rule in RULES if rule.fits(cell)), Works())


def idle_rules() -> Iterator[Rule]:
    """Rules that no cell comes to."""
    for place, rule in enumerate(RULES):
        if not any(
            rule.fits(cell) and not any(other.fits(cell) for other in RULES[:place])
            for cell in CELLS
        ):
            yield rule
