"""How an answer gets from a backend to the client: relayed between equal dialects, else crossing.

A `Passage` belongs to one attempt. It says what the frames of a stream are for the client, and
makes whole answers of streams and streams of whole answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sidecar.neutral.problem import AttemptFailed
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Dialect, RequestFacts, Tap
from sidecar.wire.loose import text_in


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole answer for the client, and what the backend told of it."""

    body: bytes
    usage: Usage | None = None
    model: str | None = None


class Passage(Protocol):
    """One answer's way."""

    @property
    def dialect(self) -> Dialect:
        """The backend's."""
        ...

    @property
    def is_relay(self) -> bool:
        """Whether the client reads the backend's own words."""
        ...

    @property
    def asks_stream(self) -> bool:
        """Whether the backend was asked for a stream, for a client that gets it as it comes."""
        ...

    def tap(self) -> Tap:
        """Reads a stream for a client that gets it as it comes."""
        ...

    def listener(self) -> Tap:
        """Reads a stream that is gathered for `fold`; its frames stay the backend's."""
        ...

    def whole(self, parsed: object, body: bytes) -> Whole:
        """The whole answer in a body and its parsed form. Raises AttemptFailed."""
        ...

    def fold(self, frames: Sequence[bytes], tap: Tap) -> Whole:
        """The whole answer in the frames of a finished stream. Raises AttemptFailed."""
        ...

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """The frames of a stream that says what a whole answer says."""
        ...


class Relay:
    """The client's own dialect: same bytes."""

    is_relay = True

    def __init__(self, dialect: Dialect, facts: RequestFacts) -> None:
        self.dialect = dialect
        self._facts = facts
        self.asks_stream = facts.stream

    def tap(self) -> Tap:
        """Passes the frames as they are."""
        return self.dialect.tap(self._facts)

    def listener(self) -> Tap:
        """The same: a request for a whole answer drops nothing."""
        return self.tap()

    def whole(self, parsed: object, body: bytes) -> Whole:
        """The body as it came. Raises AttemptFailed where it is no answer."""
        if problem := self.dialect.judge(self._facts.operation, parsed):
            raise AttemptFailed(problem)
        assert isinstance(parsed, dict)  # `judge` has seen it
        return Whole(body, self.dialect.usage(parsed), text_in(parsed, "model") or None)

    def fold(self, frames: Sequence[bytes], tap: Tap) -> Whole:
        """The whole answer, without loss."""
        return Whole(json.dumps(self.dialect.fold(frames)), tap.usage, tap.model)

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """The stream, without loss."""
        return self.dialect.unfold(json.loads(whole.body), self._facts)
