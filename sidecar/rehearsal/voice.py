"""What a stand-in says when it is well, in its backend's own dialect: sixty words, numbered.

Targets of the same model say the same words, as deterministic models do; others differ. A request
that ends in a part of these words, as an assistant's turn, is gone on with from there.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from sidecar.neutral.events import (
    Event,
    MessageEnd,
    MessageStart,
    PartDelta,
    PartEnd,
    PartStart,
    StreamFailed,
    UsageReport,
)  # fmt: skip
from sidecar.neutral.problem import Problem, RequestRefused
from sidecar.neutral.request import ChatRequest, Role, Text
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import (
    AnswerContext,
    Dialect,
    Operation,
    RequestFacts,
    RequestLimits,
)  # fmt: skip
from sidecar.wire.json import Json

WORDS = 60
_LIMITS = RequestLimits(2**40, 2**20, 2**40, 2**40)
_WORD = re.compile(r"([a-z]+)(\d\d)é ")
_serial = count(1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that a stand-in has seen; `at` is in the rehearsal's seconds."""

    at: float
    method: str
    path: str
    body: Json
    connection: int
    before: int  # requests on the same connection that came earlier

    @property
    def model(self) -> str:
        """The model that it names, if any."""
        told = self.body.get("model")
        return told if isinstance(told, str) else ""


def words(letter: str, start: int = 0) -> list[str]:
    """The words of a speaker from a number on."""
    return [f"{letter}{number:02}é " for number in range(start, WORDS)]


def speakers(text: str) -> tuple[str, ...]:
    """Who speaks in a whole answer, in order; several where one has gone on for another.

    Nobody where it is not all sixty words in order.
    """
    found = _WORD.findall(text)
    if "".join(f"{letter}{number}é " for letter, number in found) != text:
        return ()
    if [int(number) for _, number in found] != list(range(WORDS)):
        return ()
    return tuple(dict.fromkeys(letter for letter, _ in found))


@dataclass(frozen=True, slots=True)
class Voice:
    """How one backend speaks. `tokens` of usage tell it from others."""

    dialect: Dialect
    letter: str
    tokens: int

    def facts(self, asked: Asked) -> RequestFacts:
        """What is asked, also where quirks have bent the request."""
        try:
            return self.dialect.facts(Operation.CHAT, asked.body, _LIMITS)
        except RequestRefused:
            return RequestFacts(Operation.CHAT, asked.model, asked.body.get("stream") is True)

    def prefill(self, asked: Asked) -> str | None:
        """The assistant's turn that a request ends in."""
        request = self._request(asked)
        if not request.messages or request.messages[-1].role is not Role.ASSISTANT:
            return None
        parts = request.messages[-1].parts
        return "".join(part.text for part in parts if isinstance(part, Text))

    def says(self, asked: Asked) -> list[str]:
        """The words of the answer."""
        given = _WORD.findall(f"{(self.prefill(asked) or '').rstrip()} ")
        return words(self.letter, int(given[-1][1]) + 1 if given else 0)

    def whole(self, asked: Asked, said: Sequence[str]) -> bytes:
        """A whole answer."""
        answer = ChatResponse(
            (Text("".join(said)),),
            StopReason.END,
            usage=self._usage(said),
            id=f"rehearsal{next(_serial)}",
            model=asked.model or "rehearsal",
        )
        return json.dumps(self.dialect.encode_response(answer, self._context(asked)))

    def frames(self, asked: Asked, said: Sequence[str]) -> list[bytes]:
        """The frames of a stream, each by itself."""
        return self._encoded(asked, [*self._opening(asked, said), *self._closing(said)])

    def begun(self, asked: Asked, said: Sequence[str]) -> list[bytes]:
        """The frames of a stream that has said so much and is not at its end."""
        return self._encoded(asked, self._opening(asked, said))

    def broken(self, asked: Asked, said: Sequence[str], problem: Problem) -> list[bytes]:
        """The same, and the dialect's own error event."""
        start: list[Event] = self._opening(asked, said) if said else []
        return self._encoded(asked, [*start, StreamFailed(problem)])

    def refusal(self, problem: Problem) -> tuple[int, bytes]:
        """An error: status and body."""
        return self.dialect.encode_error(problem)

    def read(self, asked: Asked, told: Json) -> ChatResponse:
        """A whole answer, in nobody's dialect."""
        return self.dialect.decode_response(told, self._context(asked))

    def text_of(self, asked: Asked, frames: Sequence[bytes]) -> str:
        """The text that the frames of a stream carry."""
        decoder = self.dialect.stream_decoder(self._context(asked))
        events = [event for frame in frames for event in decoder.read(frame)]
        return "".join(event.text for event in events if isinstance(event, PartDelta))

    def _opening(self, asked: Asked, said: Sequence[str]) -> list[Event]:
        start = MessageStart(f"rehearsal{next(_serial)}", asked.model or "rehearsal")
        return [start, PartStart(Text("")), *map(PartDelta, said)]

    def _closing(self, said: Sequence[str]) -> list[Event]:
        return [PartEnd(), UsageReport(self._usage(said)), MessageEnd(StopReason.END)]

    def _encoded(self, asked: Asked, events: Iterable[Event]) -> list[bytes]:
        encoder, framer = (
            self.dialect.stream_encoder(self._context(asked)),
            self.dialect.framing.framer(),
        )
        return [frame for event in events for frame in framer.feed(encoder.encode(event))]

    def _usage(self, said: Sequence[str]) -> Usage:
        return Usage(self.tokens, len(said))

    def _request(self, asked: Asked) -> ChatRequest:
        try:
            return self.dialect.decode_request(Operation.CHAT, asked.body)
        except RequestRefused:
            return ChatRequest(())

    def _context(self, asked: Asked) -> AnswerContext:
        return AnswerContext(
            facts=self.facts(asked),
            request=self._request(asked),
            created=0,
            elapsed=lambda: 1.0,
            new_id=lambda: f"rehearsal{next(_serial)}",
            model=asked.model,
        )
