"""The tap beside a relayed stream."""

from sidecar.dialects.openai_responses.errors import disguised, failed
from sidecar.dialects.openai_responses.items import text_of
from sidecar.dialects.openai_responses.response import usage
from sidecar.neutral.problem import Problem
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading, RequestFacts
from sidecar.wire.framing import frame_data, sse
from sidecar.wire.json import Json

DONE = b"[DONE]"  # some servers send it, though nothing asks for it here
UNDER_WAY = ("response.created", "response.in_progress", "response.queued")
ENDED = ("response.completed", "response.incomplete")
FAILED = ("response.failed", "response.cancelled")
_SAYS_NOTHING_YET = ("message", "reasoning")  # items that begin empty
# the response of a stream that fails before it has told of one
_UNTOLD: Json = {
    "id": "",
    "object": "response",
    "created_at": 0,
    "model": "",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


def event_of(data: bytes) -> Json | None:
    """The event that a frame carries; None where that is no object in JSON."""
    try:
        event = json.loads(data)
    except json.InvalidJson:
        return None
    return event if isinstance(event, dict) else None


def response_of(event: Json) -> Json:
    """The response that an event tells of, as far as it does."""
    response = event.get("response")
    return response if isinstance(response, dict) else {}


def failure_in(event: Json) -> Problem | None:
    """What an event says has gone wrong."""
    kind = event.get("type")
    if kind in FAILED:
        return disguised({**response_of(event), "status": "failed"})
    return disguised(event) or (disguised(response_of(event)) if kind in ENDED else None)


class ResponsesTap:
    """Reads the events of one stream, and remembers where it stands so that it can fail it."""

    __slots__ = ("_finished", "_next", "_response", "model", "problem", "usage")

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self._finished = False
        self._next = 0  # the sequence number of an event of ours
        self._response = _UNTOLD

    @property
    def finished(self) -> bool:
        """Whether the response has come to its end."""
        return self._finished

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what the client gets for it; never raises."""
        reading = self._reading(frame)
        return reading, b"" if reading is Reading.MALFORMED else frame

    def end(self) -> bytes:
        """Nothing: the terminal event is the end."""
        return b""

    def fail(self, problem: Problem) -> bytes:
        """The response as it was last told, failed. Codex knows no other end of a stream."""
        told = {
            "type": "response.failed",
            "sequence_number": self._next,
            "response": failed(self._response, problem),
        }
        return sse(json.dumps(told), "response.failed")

    def _reading(self, frame: bytes) -> Reading:
        data = frame_data(frame)
        if data is None or not data.strip():
            return Reading.COMMENT
        if data.strip() == DONE:
            return Reading.DONE
        event = event_of(data)
        if event is None:
            return Reading.MALFORMED
        number = event.get("sequence_number")
        self._next = (number if isinstance(number, int) else self._next) + 1
        if problem := failure_in(event):
            self.problem = problem
            return Reading.FAILURE
        kind = event.get("type")
        if kind in UNDER_WAY or kind in ENDED:
            return self._read_response(event, kind in ENDED)
        return Reading.CONTENT if _says(event) else Reading.GREETING

    def _read_response(self, event: Json, has_ended: bool) -> Reading:
        response = response_of(event)
        self._response = response or self._response
        self.model = text_of(response, "model") or self.model
        self.usage = usage(response) or self.usage
        self._finished = self._finished or has_ended
        return Reading.FINISH if has_ended else Reading.GREETING


def _says(event: Json) -> bool:
    """Whether an event within a response tells the client anything of the answer."""
    kind = text_of(event, "type")
    if kind == "response.output_item.added":
        item = event.get("item")
        return isinstance(item, dict) and item.get("type") not in _SAYS_NOTHING_YET
    if kind.endswith(".delta"):
        return bool(event.get("delta"))
    return kind.endswith(".done")
