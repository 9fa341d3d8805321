"""The tap beside a relayed stream."""

from sidecar.dialects.openai_chat.errors import (
    decode_event,
    disguised,
    encode_event,
    is_error_event,
)
from sidecar.dialects.openai_chat.mend import Mender, place_of, says_something
from sidecar.dialects.openai_chat.response import INTERRUPTED, later, usage
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading, RequestFacts
from sidecar.wire.framing import comments_only, frame_data, sse
from sidecar.wire.json import Json
from sidecar.wire.loose import text_in

DONE = b"[DONE]"
DONE_FRAME = b"data: [DONE]\n\n"


class OpenAiTap:
    """Reads the chunks of one stream.

    The answer is whole when every choice that began has its finish reason; `[DONE]` alone is no
    proof, a gateway may add it to a stream that was cut behind it.
    """

    __slots__ = (
        "_asked", "_begun", "_drops_usage", "_ended", "_is_done", "_mender", "model", "problem",
        "usage",
    )  # fmt: skip

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self._asked = facts.choices
        self._drops_usage = facts.stream and not facts.wants_usage
        self._mender = Mender()
        self._is_done = False
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    @property
    def finished(self) -> bool:
        """Whether the terminal marker of every choice was seen.

        Some backends give fewer choices than were asked for; then only `[DONE]` says that no
        further one begins.
        """
        has_all = self._is_done or len(self._ended) >= self._asked
        return bool(self._ended) and self._begun <= self._ended and has_all

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what the client gets for it; never raises."""
        data = frame_data(frame)
        if data is not None and is_error_event(frame):
            self.problem = decode_event(data)
            return Reading.FAILURE, frame
        if data is None or not data.strip():
            return Reading.COMMENT, comments_only(frame)
        if data.strip() == DONE:
            self._is_done = True
            return Reading.DONE, frame
        chunk = json.loads_object(data)
        if chunk is None:
            return Reading.MALFORMED, b""
        if problem := disguised(chunk):
            self.problem = problem
            return Reading.FAILURE, frame
        mended = self._mender.mended(chunk)
        reading = self._read_chunk(mended)
        if reading is Reading.USAGE and self._drops_usage:
            return reading, b""
        return reading, frame if mended is chunk else sse(json.dumps(mended))

    def end(self) -> bytes:
        """The end marker, unless the stream has brought its own."""
        return b"" if self._is_done else DONE_FRAME

    def fail(self, problem: Problem) -> bytes:
        """The event that ends a stream honestly; no `[DONE]` follows it."""
        return encode_event(problem)

    def _read_chunk(self, chunk: Json) -> Reading:
        self.usage = later(self.usage, usage(chunk))
        self.model = self.model or text_in(chunk, "model") or None
        choices = chunk["choices"]
        assert isinstance(choices, list)  # the mender has seen to it
        if not choices:
            return Reading.USAGE if isinstance(chunk.get("usage"), dict) else Reading.GREETING
        reading = Reading.GREETING
        for choice in choices:
            told = self._read_choice(choice)
            if told is Reading.FAILURE:
                return told
            if told is not Reading.GREETING:
                reading = told
        return reading

    def _read_choice(self, choice: Json) -> Reading:
        index, reason = place_of(choice), choice.get("finish_reason")
        if reason in INTERRUPTED:
            told = f"ended its stream with {reason!r}"
            self.problem = Problem(ProblemKind.BACKEND_ERROR, told)
            return Reading.FAILURE
        self._begun.add(index)
        if reason:
            self._ended.add(index)
            return Reading.FINISH
        delta = choice.get("delta")
        says = says_something(delta) if isinstance(delta, dict) else choice.get("text")
        return Reading.CONTENT if says else Reading.GREETING
