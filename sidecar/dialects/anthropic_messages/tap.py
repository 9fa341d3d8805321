"""The tap beside a relayed stream."""

import re
from collections.abc import Mapping

from sidecar.dialects.anthropic_messages.encoder import event
from sidecar.dialects.anthropic_messages.errors import (
    decode_event,
    disguised,
    fail_stream,
    is_error_event,
)
from sidecar.dialects.anthropic_messages.response import add_usage, usage_of
from sidecar.neutral.problem import Problem
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Reading, RequestFacts
from sidecar.wire.framing import comments_only, frame_data, sse
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in

_NAMED = re.compile(rb"(^|[\r\n])event:")
_KIND = re.compile(r"[a-z_.]+")  # what may stand as the name of an event
_SAYS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
    "citations_delta": "citation",
}
_NO_TOKENS = {"input_tokens": 0, "output_tokens": 0}
# members that the vendor's clients read without asking whether they are there
_NEEDED: Mapping[str, Mapping[str, Json]] = {
    "message_start": {"message": {"content": [], "usage": _NO_TOKENS}},
    "message_delta": {"delta": {}},
}
_NEEDED_IN_BLOCK: Mapping[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}


class AnthropicTap:
    """Reads the events of one stream.

    The answer is whole once it has a reason to stop; `message_stop` alone is no proof, a gateway
    may add it to a stream that was cut behind it. A frame that the vendor's own clients would pass
    over or stumble on is mended; they need the event's name.
    """

    __slots__ = ("_counts", "_is_done", "finished", "model", "problem", "usage")

    def __init__(self, facts: RequestFacts) -> None:
        self.usage: Usage | None = None
        self.model: str | None = None
        self.problem: Problem | None = None
        self.finished = False
        self._counts: dict[str, object] = {}
        self._is_done = False

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what the client gets for it; never raises."""
        data = frame_data(frame)
        if data is None or not data.strip():
            return Reading.COMMENT, comments_only(frame)
        if data.strip() == b"[DONE]":  # of gateways that know no better
            return Reading.DONE, frame
        if is_error_event(frame):
            self.problem = decode_event(data)
            return Reading.FAILURE, b""
        told = json.loads_object(data)
        if told is None:
            return Reading.MALFORMED, b""
        if problem := disguised(told):
            self.problem = problem
            return Reading.FAILURE, b""
        return self._reading(told), _mended(told, frame)

    def end(self) -> bytes:
        """The last event, unless the stream has brought it."""
        return b"" if self._is_done else event("message_stop")

    def fail(self, problem: Problem) -> bytes:
        """The event that ends a stream honestly."""
        return fail_stream(problem)

    def _reading(self, told: Json) -> Reading:
        match told.get("type"):
            case "message_start":
                message = object_in(told, "message")
                self._count(message.get("usage"))
                self.model = text_in(message, "model") or None
                return Reading.GREETING
            case "content_block_start":
                return _of_start(object_in(told, "content_block"))
            case "content_block_delta":
                return _of_delta(object_in(told, "delta"))
            case "message_delta":
                self._count(told.get("usage"))
                if object_in(told, "delta").get("stop_reason"):
                    self.finished = True
                    return Reading.FINISH
                return Reading.GREETING
            case "message_stop":
                self._is_done = True
                return Reading.DONE
            case _:
                return Reading.GREETING

    def _count(self, told: object) -> None:
        add_usage(self._counts, told)
        if self._counts:
            self.usage = usage_of(self._counts)


def _of_start(block: Json) -> Reading:
    """Texts begin empty; what begins with more than that says something."""
    match block.get("type"):
        case "text":
            says = block.get("text")
        case "thinking":
            says = block.get("thinking") or block.get("signature")
        case kind:
            says = kind
    return Reading.CONTENT if says else Reading.GREETING


def _of_delta(delta: Json) -> Reading:
    says = delta.get(_SAYS.get(str(delta.get("type")), ""))
    return Reading.CONTENT if says else Reading.GREETING


def _mended(told: Json, frame: bytes) -> bytes:
    """The frame, or one that the vendor's clients can read."""
    kind = told.get("type")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        return frame
    lacking = _lacking(kind, told)
    if lacking:
        return sse(json.dumps({**told, **lacking}), kind)
    return frame if _NAMED.search(frame) else sse(json.dumps(told), kind)


def _lacking(kind: str, told: Json) -> Json:
    """The members of an event that must be completed, complete."""
    needed = dict(_NEEDED.get(kind, {}))
    if kind == "content_block_start":
        kind_of_block = text_in(told.get("content_block"), "type")
        needed["content_block"] = _NEEDED_IN_BLOCK.get(kind_of_block, {})
    mended: dict[str, object] = {}
    for name, members in needed.items():
        held = object_in(told, name)
        missing = {key: value for key, value in members.items() if held.get(key) is None}
        if missing or name not in told:
            mended[name] = {**held, **missing}
    if kind == "message_delta" and not isinstance(told.get("usage"), dict):
        mended["usage"] = {"output_tokens": 0}
    return mended
