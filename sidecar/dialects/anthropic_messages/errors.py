"""Errors in both directions: the backends' into problems, problems into Anthropic's shape."""

import re
from dataclasses import replace

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
    refuses_sampling,
    text_of,
    words_in,
)
from sidecar.wire.framing import sse
from sidecar.wire.json import Json

OVERLOADED = 529
_ERROR_EVENT = re.compile(rb"(^|[\r\n])event: ?error[\r\n]")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
# what a type means where no status stands beside it: in a stream that has begun well
_STATUS_OF = {name: status for status, name in _TYPES.items()} | {"api_error": 500}
_CODES = {
    ProblemKind.CONTEXT_LENGTH: "context_length_exceeded",
    ProblemKind.CONTENT_REFUSED: "content_policy_violation",
    ProblemKind.UNKNOWN_MODEL: "model_not_found",
}
_TOO_LONG = "prompt is too long"  # clients shorten their history when they read this
# "Invalid `signature` in `thinking` block", "`thinking` … blocks … cannot be modified",
# "Expected `thinking` or `redacted_thinking`, but found `tool_use`"
_SIGNATURE = re.compile(
    r"invalid\W+signature.{0,40}thinking|thinking.{0,80}cannot be modified"
    r"|expected\W+thinking.{0,40}but found",
    re.IGNORECASE,
)
# "adaptive thinking is not supported on this model", "does not support the effort parameter"
_NO_THINKING = re.compile(
    r"(thinking|effort)\b.{0,60}not (supported|available)|not support .{0,40}(thinking|effort)\b",
    re.IGNORECASE,
)
_FEATURES = ((_SIGNATURE, Feature.SIGNED_THINKING), (_NO_THINKING, Feature.THINKING))


def decode_error(status: int, body: bytes) -> Problem:
    """What a backend's error answer means."""
    error = error_in(body)
    words = words_in(error) or text_of(body)
    kind = kind_of(status, codes_in(error), words)
    overflow, quotes = overflow_in(kind, error, words), bool(words)
    told = answered(status, words)
    problem = Problem(kind, told, status=status, quotes=quotes, overflow=overflow)
    refused = _refused_feature(words)
    if status != 400 or refused is None:
        return problem
    return replace(problem, kind=ProblemKind.UNSUPPORTED, param=refused.value)


def _refused_feature(words: str) -> Feature | None:
    if refuses_sampling(words):
        return Feature.SAMPLING
    return next((feature for said, feature in _FEATURES if said.search(words)), None)


def disguised(body: Json) -> Problem | None:
    """The error that a body or an event with status 200 holds; None where it holds none."""
    error = body.get("error")
    if not error and body.get("type") != "error":
        return None
    return _untold(body, "answered 200 with an error inside")


def is_error_event(frame: bytes) -> bool:
    """Whether an event is named `error`, whatever its data say."""
    return _ERROR_EVENT.search(frame) is not None


def decode_event(data: bytes) -> Problem:
    """What an event of the type `error` in a stream means."""
    event = json.loads_object(data)
    if event is None:
        told = f"sent an error event: {text_of(data)}"
        return Problem(ProblemKind.PROTOCOL, told, quotes=True)
    return _untold(event, "sent an error event")


def _untold(body: Json, how: str) -> Problem:
    """The problem in an error object that no status stands beside."""
    found = body.get("error")
    error = found if isinstance(found, dict) else body
    words = words_in(error) or (clipped(found) if isinstance(found, str) else "")
    status = _STATUS_OF.get(str(error.get("type")), 0)
    kind = kind_of(status or 400, codes_in(error), words)
    if kind is ProblemKind.BAD_REQUEST:
        kind = ProblemKind.PROTOCOL  # what it took and then calls bad is not the client's fault
    overflow = overflow_in(kind, error, words)
    return Problem(kind, f"{how}: {words}", quotes=True, overflow=overflow)


def _fields(problem: Problem) -> tuple[int, dict[str, object]]:
    chosen = STATUS.get(problem.kind, BACKEND_FAULT)
    if problem.kind is ProblemKind.OVERLOADED:
        chosen = OVERLOADED
    status = problem.status or chosen
    message = problem.message
    if problem.kind is ProblemKind.CONTEXT_LENGTH and _TOO_LONG not in message.casefold():
        message = f"{_TOO_LONG}: {message}"
    fields: dict[str, object] = {
        "type": _TYPES.get(status) or ("api_error" if status >= 500 else _TYPES[400]),
        "message": message,
        # the vendor's own errors have no more than the two; clients pass over the others
        "code": problem.code or _CODES.get(problem.kind, problem.kind.value),
    }
    if problem.param is not None:
        fields["param"] = problem.param
    if problem.extension is not None:
        fields["sidecar"] = problem.extension
    return status, fields


def encode_error(problem: Problem) -> tuple[int, bytes]:
    """Status and body of a problem."""
    status, fields = _fields(problem)
    return status, json.dumps({"type": "error", "error": fields})


def fail_stream(problem: Problem) -> bytes:
    """The event that ends a stream honestly; no `message_stop` follows it."""
    _, fields = _fields(problem)
    return sse(json.dumps({"type": "error", "error": fields}), "error")
