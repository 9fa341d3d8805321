"""What a client may have got, in every dialect: judged on the wire and by the vendor's client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.e2e.client import Got
from tests.e2e.crossing import ANTHROPIC, OLLAMA, OPENAI, RESPONSES
from tests.e2e.faults.hearing import hear, is_stream
from tests.e2e.matrix.talk import Answer, Failed, Stop, Why
from tests.fakes.answers import text_of

_ANY = dict.fromkeys((OPENAI, RESPONSES, ANTHROPIC, OLLAMA), "")
_TOO_LONG = r"\bcontext_length_exceeded\b"
_POLICY = r"\bcontent_filter\b|\bcontent_policy_violation\b"
_NO_MODEL = r"\bmodel_not_found\b"
# by what a program recognises an error: its type and code, or its words where it has no more
MEANS: Mapping[str, Mapping[str, str]] = {
    "too long": {
        OPENAI: _TOO_LONG,
        RESPONSES: _TOO_LONG,
        ANTHROPIC: "invalid_request_error.*prompt is too long",
        OLLAMA: "context.length",
    },
    "policy": {
        OPENAI: _POLICY,
        RESPONSES: r"\binvalid_prompt\b|" + _POLICY,
        ANTHROPIC: "invalid_request_error.*content",
        OLLAMA: "content",
    },
    "unknown model": {
        OPENAI: _NO_MODEL,
        RESPONSES: _NO_MODEL,
        ANTHROPIC: "not_found_error",
        OLLAMA: "no such model",
    },
    "anything": _ANY,
}
_WHY = {400: Why.REFUSED, 429: Why.RATE_LIMITED}


class Want(Protocol):
    """What must come of a cell. Both methods raise AssertionError."""

    def on_the_wire(self, dialect: str, got: Got) -> None: ...

    def by_the_sdk(self, outcome: Answer | Failed) -> None: ...


@dataclass(frozen=True)
class Answered:
    """The whole answer of that backend, and nothing that hints at trouble."""

    by: str
    said: str | None = None

    @property
    def text(self) -> str:
        return text_of(self.by) if self.said is None else self.said

    def on_the_wire(self, dialect: str, got: Got) -> None:
        assert got.status == 200, got.raw[:2000]
        assert got.broken is None
        heard = hear(dialect, got)
        assert heard.error is None
        assert heard.text == self.text
        assert (heard.finish, heard.ended) == ("stop", True)
        assert heard.models == {f"model-{self.by}"}
        assert got.headers["x-sidecar-backend"].endswith(f"-{self.by}")

    def by_the_sdk(self, outcome: Answer | Failed) -> None:
        assert isinstance(outcome, Answer), outcome
        assert outcome.text == self.text
        assert outcome.stop is Stop.END
        assert outcome.model == f"model-{self.by}"


@dataclass(frozen=True)
class BrokenOff:
    """An honest error event after so many tokens; nothing that looks like an end."""

    after: int = 40

    def _is_beginning(self, text: str) -> bool:
        # a reset may take with it what the client's kernel had not handed over yet
        return bool(text) and text_of("p", self.after).startswith(text)

    def on_the_wire(self, dialect: str, got: Got) -> None:
        assert (got.status, is_stream(dialect, got)) == (200, True)
        assert got.broken is None
        heard = hear(dialect, got)
        assert self._is_beginning(heard.text)
        assert heard.message
        assert heard.error_is_last
        assert (heard.finish, heard.ended) == (None, False)

    def by_the_sdk(self, outcome: Answer | Failed) -> None:
        assert isinstance(outcome, Failed), outcome
        assert outcome.why is Why.IN_STREAM, outcome
        assert self._is_beginning(outcome.heard)


@dataclass(frozen=True)
class Refused:
    """An error in the dialect's shape, before any content."""

    statuses: tuple[int, ...]
    means: str = "anything"
    says: tuple[str, ...] = ()
    header: str | None = None

    def on_the_wire(self, dialect: str, got: Got) -> None:
        assert got.status in self.statuses, got.raw[:2000]
        assert not is_stream(dialect, got)
        heard = hear(dialect, got)
        assert heard.error is not None
        names = [str(heard.error.get(name)) for name in ("type", "code", "message")]
        assert re.search(MEANS[self.means][dialect], " ".join(names), re.IGNORECASE | re.DOTALL)
        for word in self.says:
            assert word.lower() in heard.message.lower()
        if self.header is not None:
            assert self.header in got.headers

    def by_the_sdk(self, outcome: Answer | Failed) -> None:
        assert isinstance(outcome, Failed), outcome
        assert outcome.heard == ""
        assert outcome.why in {
            _WHY.get(status, Why.SERVER if status >= 500 else Why.STATUS)
            for status in self.statuses
        }, outcome
        for word in self.says:
            assert word.lower() in str(outcome.cause).lower()


@dataclass(frozen=True)
class Rescued:
    """The whole answer of the primary, whose end another backend has told: each word once."""

    def on_the_wire(self, dialect: str, got: Got) -> None:
        assert got.status == 200, got.raw[:2000]
        assert got.broken is None
        heard = hear(dialect, got)
        assert heard.error is None
        assert heard.text == text_of("p")
        assert (heard.finish, heard.ended) == ("stop", True)

    def by_the_sdk(self, outcome: Answer | Failed) -> None:
        assert isinstance(outcome, Answer), outcome
        assert (outcome.text, outcome.stop) == (text_of("p"), Stop.END)


def rescued() -> Rescued:
    return Rescued()


def answered(by: str, text: str | None = None) -> Answered:
    return Answered(by, text)


def broken_off(after: int = 40) -> BrokenOff:
    return BrokenOff(after)


def refused(
    *statuses: int, means: str = "anything", says: tuple[str, ...] = (), header: str | None = None
) -> Refused:
    return Refused(statuses, means, says, header)
