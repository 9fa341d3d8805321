"""The tap beside a relayed stream."""

from sidecar.dialects.openai_responses.errors import disguised, failed
from sidecar.dialects.openai_responses.response import usage
from sidecar.neutral.problem import Problem
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading, RequestFacts
from sidecar.wire.framing import comments_only, frame_data, sse
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in

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


def failure_in(event: Json) -> Problem | None:
    """What an event says has gone wrong."""
    kind = event.get("type")
    if kind in FAILED:
        return disguised({**object_in(event, "response"), "status": "failed"})
    return disguised(event) or (disguised(object_in(event, "response")) if kind in ENDED else None)


class ResponsesTap:
    """Reads the events of one stream, and remembers where it stands so that it can fail it."""

    __slots__ = ("_next", "_response", "finished", "model", "problem", "usage")

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self.finished = False
        self._next = 0  # the sequence number of an event of ours
        self._response = _UNTOLD

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what the client gets for it; never raises."""
        reading = self._reading(frame)
        if reading is Reading.COMMENT:
            return reading, comments_only(frame)
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
        event = json.loads_object(data)
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
        response = object_in(event, "response")
        self._response = response or self._response
        self.model = text_in(response, "model") or self.model
        self.usage = usage(response) or self.usage
        self.finished = self.finished or has_ended
        return Reading.FINISH if has_ended else Reading.GREETING


def _says(event: Json) -> bool:
    """Whether an event within a response tells the client anything of the answer."""
    kind = text_in(event, "type")
    if kind == "response.output_item.added":
        item = object_in(event, "item")
        return bool(item) and item.get("type") not in _SAYS_NOTHING_YET
    if kind.endswith(".delta"):
        return bool(event.get("delta"))
    return kind.endswith(".done")
