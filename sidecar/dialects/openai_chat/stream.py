"""Streams: the tap beside a relay, and the two crossings between whole and streamed answers.

Both crossings stay within the dialect and lose nothing: unknown fields, log probabilities and
further choices are carried over.
"""

import re
from collections.abc import Sequence

from sidecar.dialects.openai_chat.errors import decode_event, disguised
from sidecar.dialects.openai_chat.response import usage
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation, Reading, RequestFacts
from sidecar.wire.framing import frame_data, sse
from sidecar.wire.json import Json

DONE_FRAME = b"data: [DONE]\n\n"
_DONE = b"[DONE]"
_ERROR_EVENT = re.compile(rb"event: ?error\r?\n")
_NAMES = ("role", "id", "type", "name", "object", "model", "format")  # said once, if repeated too


class OpenAiTap:
    """Reads the chunks of one stream.

    The answer is whole when every choice that began has its finish reason; `[DONE]` alone is no
    proof, a gateway may add it to a stream that was cut behind it.
    """

    __slots__ = ("_asked", "_begun", "_ended", "_is_done", "model", "problem", "usage")

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self._asked = facts.choices
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

    def read(self, frame: bytes) -> Reading:
        """What a frame says; never raises."""
        data = frame_data(frame)
        if data is not None and _ERROR_EVENT.match(frame):
            self.problem = decode_event(data)
            return Reading.FAILURE
        if data is None or not data.strip():
            return Reading.COMMENT
        if data.strip() == _DONE:
            self._is_done = True
            return Reading.DONE
        try:
            chunk = json.loads(data)
        except json.InvalidJson:
            return Reading.MALFORMED
        if not isinstance(chunk, dict):
            return Reading.MALFORMED
        return self._read_chunk(chunk)

    def _read_chunk(self, chunk: Json) -> Reading:
        if problem := disguised(chunk):
            self.problem = problem
            return Reading.FAILURE
        self.usage = usage(chunk) or self.usage
        if self.model is None and isinstance(model := chunk.get("model"), str):
            self.model = model
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices:
            return Reading.USAGE if isinstance(chunk.get("usage"), dict) else Reading.GREETING
        reading = Reading.GREETING
        for choice in choices:
            if isinstance(choice, dict):
                told = self._read_choice(choice)
                if told is not Reading.GREETING:
                    reading = told
        return reading

    def _read_choice(self, choice: Json) -> Reading:
        index, reason = _place(choice), choice.get("finish_reason")
        if reason == "error":
            self.problem = Problem(ProblemKind.BACKEND_ERROR, "ended its stream with an error")
            return Reading.FAILURE
        self._begun.add(index)
        if reason:
            self._ended.add(index)
            return Reading.FINISH
        delta = choice.get("delta") or choice.get("message")
        says = choice.get("text")
        if isinstance(delta, dict):
            says = any(value for name, value in delta.items() if name != "role")
        return Reading.CONTENT if says else Reading.GREETING


def _place(choice: Json) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def unfold(answer: Json, facts: RequestFacts) -> Sequence[bytes]:
    """The frames of a stream that says what a whole answer says."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    if facts.operation is Operation.CHAT:
        head["object"] = "chat.completion.chunk"
    choices = answer["choices"]
    assert isinstance(choices, list)  # `judge` has seen it
    chunks: list[Json] = []
    ends: list[Json] = []  # behind all contents: an answer is not whole before its last choice
    for place, choice in enumerate(choices):
        content = {name: value for name, value in choice.items() if name != "message"}
        end: dict[str, object] = {"index": content.setdefault("index", place)}
        if facts.operation is Operation.CHAT:
            message = choice.get("message")
            content["delta"] = _as_delta(message) if isinstance(message, dict) else {}
            end["delta"] = {}
        else:
            end["text"] = ""
        # a body that is whole is a complete answer; a stream has no other way to say so
        end["finish_reason"] = choice.get("finish_reason") or "stop"
        chunks.append({**head, "choices": [{**content, "finish_reason": None}]})
        ends.append({**head, "choices": [end]})
    chunks += ends
    if facts.wants_usage and answer.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": answer["usage"]})
    return [sse(json.dumps(chunk)) for chunk in chunks] + [DONE_FRAME]


def _as_delta(message: Json) -> Json:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    told = [call for call in calls if isinstance(call, dict)]
    return {**message, "tool_calls": [{"index": place, **call} for place, call in enumerate(told)]}


def fold(frames: Sequence[bytes]) -> Json:
    """The whole answer that the frames of a finished stream add up to."""
    answer: dict[str, object] = {}
    choices: dict[int, dict[str, object]] = {}
    for frame in frames:
        data = frame_data(frame)
        if data is None or data.strip() in (b"", _DONE):
            continue
        try:
            chunk = json.loads(data)
        except json.InvalidJson:
            continue  # the tap has counted it
        if not isinstance(chunk, dict):
            continue
        parts = chunk.pop("choices", None)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                place = _place(part)
                _add(choices.setdefault(place, {}), {**part, "index": place})
        answer.update({name: value for name, value in chunk.items() if value is not None})
    whole = [choices[place] for place in sorted(choices)]
    for choice in whole:
        if "delta" in choice:
            said: dict[str, object] = {}
            for told in (choice.get("message"), choice.pop("delta")):
                _add(said, told if isinstance(told, dict) else {})
            choice["message"] = _as_message(said)
    if answer.get("object") == "chat.completion.chunk":
        answer["object"] = "chat.completion"
    return {**answer, "choices": whole}


def _as_message(delta: Json) -> Json:
    message = {"role": "assistant", "content": None, **delta}
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [
            {name: value for name, value in call.items() if name != "index"}
            for call in calls
            if isinstance(call, dict)
        ]
    return message


def _add(into: dict[str, object], more: Json) -> None:
    """Add one delta: texts are joined, lists of indexed parts merged, the rest replaced."""
    for name, value in more.items():
        held = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif isinstance(value, dict):
            part = held if isinstance(held, dict) else {}
            _add(part, value)
            into[name] = part
        elif isinstance(value, list):
            into[name] = _joined(held if isinstance(held, list) else [], value)
        elif isinstance(value, str) and isinstance(held, str) and name not in _NAMES:
            # `finish_reason`, and what vendors put beside it, is said again, not in pieces
            into[name] = value if name.endswith("_reason") else held + value
        elif not (name in _NAMES and held):
            into[name] = value


def _joined(held: list[object], more: list[object]) -> list[object]:
    for item in more:
        if not isinstance(item, dict) or "index" not in item:
            held.append(item)
            continue
        known = [one for one in held if isinstance(one, dict) and one.get("index") == item["index"]]
        if not known or _is_another(known[-1], item):
            known = [{}]
            held += known
        _add(known[-1], item)
    return held


def _is_another(held: Json, call: Json) -> bool:
    """Whether a tool call is a new one under an index that is taken already.

    Some vendors send 0 for every call. An id alone proves nothing: others make one up per chunk.
    """
    function = call.get("function")
    names = isinstance(function, dict) and bool(function.get("name"))
    return names and bool(call.get("id")) and call["id"] != held.get("id")
