"""Relayed streams: the tap beside them, and the two crossings between whole and streamed answers.

A stream is one JSON object to a line. The last one says `"done": true`, and nothing else proves
that an answer is whole. Both crossings lose nothing: unknown fields are carried over.
"""

from collections.abc import Sequence

from sidecar.dialects.ollama_chat.errors import disguised, fail_stream
from sidecar.dialects.ollama_chat.response import usage
from sidecar.neutral.problem import Problem
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.arguments import as_object
from sidecar.wire.contract import Operation, Reading, RequestFacts
from sidecar.wire.json import Json
from sidecar.wire.loose import text_in

_TEXTS = ("content", "thinking", "response")  # come in pieces, as do lists
_SAYS = ("content", "thinking", "response", "tool_calls", "images", "image")
_LAST = (
    "done", "done_reason", "context", "total_duration", "load_duration", "prompt_eval_count",
    "prompt_eval_duration", "eval_count", "eval_duration",
)  # fmt: skip


class OllamaTap:
    """Reads the lines of one stream."""

    __slots__ = ("_operation", "finished", "model", "problem", "usage")

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self.finished = False
        self._operation = facts.operation

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a line says, and what the client gets for it; never raises.

        A client takes every line for JSON, so blank ones are left out, and all behind the last.
        """
        data = frame.strip()
        if self.finished or not data:
            return Reading.COMMENT, b""
        parsed = json.loads_object(data)
        if parsed is None:
            return Reading.MALFORMED, b""
        if problem := disguised(parsed):
            self.problem = problem
            return Reading.FAILURE, frame
        if self._operation is Operation.CHAT and _mend(parsed):
            frame = json.dumps(parsed) + b"\n"
        return self._reading(parsed), frame

    def _reading(self, parsed: Json) -> Reading:
        self.usage = usage(parsed) or self.usage
        self.model = self.model or text_in(parsed, "model") or None
        if parsed.get("done") is True:
            self.finished = True
            return Reading.FINISH
        return Reading.CONTENT if _says(parsed) else Reading.GREETING

    def end(self) -> bytes:
        """Nothing: the last line of the stream is its end."""
        return b""

    def fail(self, problem: Problem) -> bytes:
        """The line that ends a stream honestly."""
        return fail_stream(problem)


def _says(parsed: Json) -> bool:
    message = parsed.get("message")
    said = message if isinstance(message, dict) else parsed
    return any(said.get(name) for name in _SAYS)


def _mend(chunk: dict[str, object]) -> bool:
    """Make of a line what clients can read; whether it had to be changed.

    They expect a message with a role, and calls whose arguments are objects.
    """
    message = chunk.get("message")
    if not isinstance(message, dict):
        chunk["message"] = {"role": "assistant", "content": ""}
        return True
    is_mended = False
    if not isinstance(message.get("role"), str):
        message["role"] = "assistant"
        is_mended = True
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and not isinstance(function.get("arguments"), dict):
            told = function.get("arguments")
            function["arguments"] = as_object(told) if isinstance(told, str) else {}
            is_mended = True
    return is_mended


# --- whole answers and streams --------------------------------------------------------------------


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The lines of a stream that says what a whole answer says: all of it, and then its end."""
    end = {name: value for name, value in answer.items() if name != "logprobs"}
    end["done"] = True
    message = answer.get("message")
    if isinstance(message, dict):
        end["message"] = {"role": message.get("role", "assistant"), "content": ""}
    else:
        end = {name: value for name, value in end.items() if name not in _SAYS} | {"response": ""}
    if not _says(answer):
        return [json.dumps(end) + b"\n"]
    said = {name: value for name, value in answer.items() if name not in _LAST}
    return [json.dumps({**said, "done": False}) + b"\n", json.dumps(end) + b"\n"]


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that the lines of a finished stream add up to."""
    answer: dict[str, object] = {}
    for frame in frames:
        chunk = json.loads_object(frame)
        if chunk is None:
            continue  # the tap has counted it
        if "message" in chunk:
            _mend(chunk)
        _add(answer, chunk)
        if chunk.get("done") is True:
            break
    return answer


def _add(into: dict[str, object], more: Json) -> None:
    """Add one line: texts and lists are joined, the message merged, the rest replaced."""
    for name, value in more.items():
        match into.get(name), value:
            case str(held), str(text) if name in _TEXTS:
                into[name] = held + text
            case list(items), list(further):
                into[name] = items + further
            case dict(held_part), dict(part):
                _add(held_part, part)
            case _, None:
                into.setdefault(name, None)
            case _:
                into[name] = value
