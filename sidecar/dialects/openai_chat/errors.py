"""Errors in both directions: the backends' into problems, problems into OpenAI's shape.

Words of a backend's message are read here and nowhere else, and only for what no code says.
"""

import re
from collections.abc import Mapping

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.framing import sse

_CONTEXT = re.compile(
    r"context[ _](length|window|size)|prompt is too long|too many (input )?tokens"
    r"|exceed\w* .{0,40}(context|token limit|number of tokens)|maximum model length"
    r"|range of input length",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content (policy|filter|management)|safety (system|policy)|input was flagged"
    r"|DataInspectionFailed",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,120}(not found|does not exist|not exist|unknown)|not a valid model", re.IGNORECASE
)
_BAD_KEY = re.compile(
    r"(invalid|incorrect) api[ _]key|api[ _]key (not valid|expired)", re.IGNORECASE
)
_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_POLICY_CODES = {
    "content_policy_violation", "content_filter", "responsibleaipolicyviolation",
    "data_inspection_failed", "invalid_prompt",
}  # fmt: skip
_MODEL_CODES = {"model_not_found", "invalid_model", "unknown_model", "model_decommissioned"}
_ACCOUNT_CODES = {"invalid_api_key", "arrearage"}  # the second: the bill is not paid

_STATUS = {
    ProblemKind.BAD_REQUEST: 400,
    ProblemKind.CONTEXT_LENGTH: 400,
    ProblemKind.CONTENT_REFUSED: 400,
    ProblemKind.CLIENT_AUTH: 401,
    ProblemKind.FORBIDDEN: 403,
    ProblemKind.UNKNOWN_MODEL: 404,
    ProblemKind.TOO_LARGE: 413,
    ProblemKind.RATE_LIMITED: 429,
    ProblemKind.INTERNAL: 500,
    ProblemKind.OVERLOADED: 503,
    ProblemKind.UNAVAILABLE: 503,
    ProblemKind.SHUTDOWN: 503,
    ProblemKind.TIMEOUT: 504,
    ProblemKind.DEADLINE: 504,
    ProblemKind.LOOP: 508,
}
_BY_STATUS = {
    401: ProblemKind.BACKEND_AUTH,
    402: ProblemKind.BACKEND_AUTH,  # the account behind the key has no credit left
    403: ProblemKind.BACKEND_AUTH,
    404: ProblemKind.UNKNOWN_MODEL,
    408: ProblemKind.TIMEOUT,
    413: ProblemKind.CONTEXT_LENGTH,  # too much for this backend; another one may take it
    429: ProblemKind.RATE_LIMITED,
    498: ProblemKind.OVERLOADED,  # no capacity in that service tier
    503: ProblemKind.OVERLOADED,
    508: ProblemKind.LOOP,
    529: ProblemKind.OVERLOADED,
}
_OTHERWISE = 502  # a backend's fault
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
    error = _error_object(body)
    words = _words(error) or _text(body)
    told = f"answered {status}" + (f": {words}" if words else "")
    return Problem(_kind_of(status, error, words), told, status=status, quotes=bool(words))


def disguised(body: Mapping[str, object]) -> Problem | None:
    """The error that a body or chunk with status 200 holds; None where it holds none."""
    error = body.get("error")
    if not error and body.get("object") != "error":
        return None
    found = error if isinstance(error, dict) else body
    words = _words(found) if isinstance(error, dict) else str(error or _words(body))[:300]
    code = found.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 0
    kind = _kind_of(status or 400, found, words)
    if status >= 500 or (not status and kind is ProblemKind.BAD_REQUEST):
        # an answer that calls itself good and is not is garbled: its backend is not asked again
        kind = ProblemKind.PROTOCOL
    told = f"answered 200 with an error inside: {words}"
    return Problem(kind, told, status=status or None, quotes=True)


def decode_event(data: bytes) -> Problem:
    """What an event of the type `error` in a stream means."""
    words = _words(_error_object(data)) or _text(data)
    return Problem(ProblemKind.PROTOCOL, f"sent an error event: {words}", quotes=True)


def _kind_of(status: int, error: Mapping[str, object], words: str) -> ProblemKind:
    codes = {str(error.get(name)).casefold() for name in ("code", "type") if error.get(name)}
    if 400 <= status < 500:
        if codes & _CONTEXT_CODES or (status in (400, 413) and _CONTEXT.search(words)):
            return ProblemKind.CONTEXT_LENGTH
        if codes & _POLICY_CODES or (status in (400, 403) and _POLICY.search(words)):
            return ProblemKind.CONTENT_REFUSED
        if codes & _MODEL_CODES or (status in (400, 422) and _NO_MODEL.search(words)):
            return ProblemKind.UNKNOWN_MODEL
        if codes & _ACCOUNT_CODES or (status == 400 and _BAD_KEY.search(words)):
            return ProblemKind.BACKEND_AUTH
    return _BY_STATUS.get(status) or (
        ProblemKind.BACKEND_ERROR if status >= 500 else ProblemKind.BAD_REQUEST
    )


def _error_object(body: bytes) -> Mapping[str, object]:
    try:
        parsed = json.loads(body)
    except json.InvalidJson:
        return {}
    if isinstance(parsed, list) and len(parsed) == 1:  # so Gemini wraps its errors
        parsed = parsed[0]
    if not isinstance(parsed, dict):
        return {}
    error = parsed.get("error")
    return error if isinstance(error, dict) else parsed


def _words(error: Mapping[str, object]) -> str:
    for name in ("message", "error", "detail"):
        if isinstance(words := error.get(name), str):
            return words[:300]
    return ""


def _text(body: bytes) -> str:
    text = re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace"))
    return " ".join(text.split())[:200]


def _fields(problem: Problem) -> tuple[int, dict[str, object]]:
    status = problem.status or _STATUS.get(problem.kind, _OTHERWISE)
    if status == 429:
        family = "rate_limit_error"
    elif status >= 500:
        family = "server_error"
    else:
        family = "invalid_request_error"
    return status, {
        "message": problem.message,
        "type": family,
        "param": problem.param,
        "code": problem.code or _CODES.get(problem.kind, problem.kind.value),
    }


def encode_error(problem: Problem, extension: Mapping[str, object] | None) -> tuple[int, bytes]:
    """Status and body of a problem; `extension` is put beside it for machines."""
    status, fields = _fields(problem)
    if extension:
        fields["sidecar"] = extension
    return status, json.dumps({"error": fields})


def fail_stream(problem: Problem) -> bytes:
    """The event that ends a stream honestly; no `[DONE]` follows it."""
    _, fields = _fields(problem)
    return sse(json.dumps({"error": fields}))
