"""Errors in both directions: the backends' into problems, problems into OpenAI's shape."""

import re
from collections.abc import Mapping

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.contract import Feature
from sidecar.wire.error_words import (
    BACKEND_FAULT,
    STATUS,
    answered,
    clipped,
    codes_in,
    error_in,
    kind_of,
    overflow_in,
    refuses_effort,
    refuses_sampling,
    tells_of_bound,
    text_of,
    words_in,
)
from sidecar.wire.framing import sse

_ERROR_EVENT = re.compile(rb"event: ?error\r?\n")
_FEATURES = {
    b"stream_options": Feature.USAGE_IN_STREAM,
    b"reasoning_effort": Feature.THINKING,
    b"reasoning_content": Feature.SIGNED_THINKING,
    b"reasoning_details": Feature.SIGNED_THINKING,
}
_CODES = {
    ProblemKind.CONTEXT_LENGTH: "context_length_exceeded",
    ProblemKind.CONTENT_REFUSED: "content_policy_violation",
    ProblemKind.UNKNOWN_MODEL: "model_not_found",
    ProblemKind.RATE_LIMITED: "rate_limit_exceeded",
    ProblemKind.DEADLINE: "deadline_exceeded",
    ProblemKind.LOOP: "loop_detected",
}


def decode_error(status: int, body: bytes) -> Problem:
    """What a backend's error answer means."""
    error = error_in(body)
    words = words_in(error) or text_of(body)
    kind, feature = kind_of(status, codes_in(error), words), None
    if status in (400, 422) and kind is ProblemKind.BAD_REQUEST:
        feature = _refused_feature(body, words)
    if feature is not None:
        kind = ProblemKind.UNSUPPORTED
    told = answered(status, words)
    overflow = overflow_in(kind, error, words)
    quotes = bool(words)
    return Problem(kind, told, status=status, param=feature, quotes=quotes, overflow=overflow)


def _refused_feature(body: bytes, words: str) -> Feature | None:
    """What the request can do without, if it is that which an error names."""
    if tells_of_bound(words):
        return Feature.MAX_TOKENS
    if refuses_sampling(words):
        return Feature.SAMPLING
    feature = next((feature for name, feature in _FEATURES.items() if name in body), None)
    if feature is Feature.SIGNED_THINKING and "passed back" in words:
        return None  # it is missed, not refused
    return Feature.EFFORT if feature is Feature.THINKING and refuses_effort(words) else feature


def disguised(body: Mapping[str, object]) -> Problem | None:
    """The error that a body or chunk with status 200 holds; None where it holds none."""
    error = body.get("error")
    if not error and body.get("object") != "error":
        return None
    found = error if isinstance(error, dict) else body
    words = words_in(found) if isinstance(error, dict) else clipped(str(error or words_in(body)))
    code = found.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 0
    kind = kind_of(status or 400, codes_in(found), words)
    if status >= 500 or (not status and kind is ProblemKind.BAD_REQUEST):
        # an answer that calls itself good and is not is garbled: its backend is not asked again
        kind = ProblemKind.PROTOCOL
    told = f"answered 200 with an error inside: {words}"
    overflow = overflow_in(kind, found, words)
    return Problem(kind, told, status=status or None, quotes=True, overflow=overflow)


def is_error_event(frame: bytes) -> bool:
    """Whether a frame of a stream is of the type `error`."""
    return _ERROR_EVENT.match(frame) is not None


def decode_event(data: bytes) -> Problem:
    """What an event of the type `error` in a stream means."""
    words = words_in(error_in(data)) or text_of(data)
    return Problem(ProblemKind.PROTOCOL, f"sent an error event: {words}", quotes=True)


def _fields(problem: Problem) -> tuple[int, dict[str, object]]:
    status = problem.status or STATUS.get(problem.kind, BACKEND_FAULT)
    if status == 429:
        family = "rate_limit_error"
    elif status >= 500:
        family = "server_error"
    else:
        family = "invalid_request_error"
    fields: dict[str, object] = {
        "message": problem.message,
        "type": family,
        "param": problem.param,
        "code": problem.code or _CODES.get(problem.kind, problem.kind.value),
    }
    if problem.extension is not None:
        fields["sidecar"] = problem.extension
    return status, fields


def encode_error(problem: Problem) -> tuple[int, bytes]:
    """Status and body of a problem."""
    status, fields = _fields(problem)
    return status, json.dumps({"error": fields})


def encode_event(problem: Problem) -> bytes:
    """The event that ends a stream honestly; no `[DONE]` follows it."""
    _, fields = _fields(problem)
    return sse(json.dumps({"error": fields}))
