"""Errors in both directions, as bodies and inside streams and answers."""

import re

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
    text_of,
    words_in,
)
from sidecar.wire.json import Json

_CODES = {
    ProblemKind.CONTEXT_LENGTH: "context_length_exceeded",
    ProblemKind.CONTENT_REFUSED: "invalid_prompt",
    ProblemKind.UNKNOWN_MODEL: "model_not_found",
    ProblemKind.RATE_LIMITED: "rate_limit_exceeded",
    ProblemKind.OVERLOADED: "server_is_overloaded",
    ProblemKind.BACKEND_ERROR: "server_error",
}
# what a response that failed calls its error; Codex tells apart the same ones
_FAILED = {
    "server_error": ProblemKind.BACKEND_ERROR,
    "rate_limit_exceeded": ProblemKind.RATE_LIMITED,
    "insufficient_quota": ProblemKind.RATE_LIMITED,
    "server_is_overloaded": ProblemKind.OVERLOADED,
    "slow_down": ProblemKind.OVERLOADED,
    "image_content_policy_violation": ProblemKind.CONTENT_REFUSED,
}
_BAD_IMAGE = re.compile(r"image|base64")  # in the codes for pictures that cannot be read
_UNREADABLE = re.compile(r"encrypted content .*could not be (verified|decrypted)", re.IGNORECASE)
_UNREASONING = re.compile(r"encrypted content is not supported", re.IGNORECASE)


def decode_error(status: int, body: bytes) -> Problem:
    """What a backend's error answer means.

    Some refusals can be met: reasoning in the history that another account encrypted, settings of
    reasoning or an effort that the model does not know, and sampling where it knows none.
    """
    error = error_in(body)
    words = words_in(error) or text_of(body)
    told = answered(status, words)
    feature = _refused_feature(error, words) if status == 400 else None
    if feature is not None:
        unsupported = ProblemKind.UNSUPPORTED
        return Problem(unsupported, told, status=status, param=feature.value, quotes=True)
    kind = kind_of(status, codes_in(error), words)
    overflow = overflow_in(kind, error, words)
    return Problem(kind, told, status=status, quotes=bool(words), overflow=overflow)


def _refused_feature(error: Json, words: str) -> Feature | None:
    if "invalid_encrypted_content" in codes_in(error) or _UNREADABLE.search(words):
        return Feature.SIGNED_THINKING
    if refuses_sampling(words):
        return Feature.SAMPLING
    if str(error.get("param")).startswith("reasoning") or _UNREASONING.search(words):
        return Feature.EFFORT if refuses_effort(words) else Feature.THINKING
    return None


def disguised(body: Json) -> Problem | None:
    """The error that a body or event with status 200 holds; None where it holds none.

    It is a response that failed or was cancelled, an `error` event, or an error object.
    """
    error = body.get("error")
    status = body.get("status")
    if status in ("failed", "cancelled") and body.get("object") != "error":
        found: Json = error if isinstance(error, dict) else {}
        words = words_in(found) or f"the response is {status}"
        kind = _kind_of_failed(found)
        overflow = overflow_in(kind, found, words)
        return Problem(kind, f"failed: {words}", quotes=bool(found), overflow=overflow)
    if not error and body.get("object") != "error" and body.get("type") != "error":
        return None
    found = error if isinstance(error, dict) else body
    words = words_in(found) or clipped(str(error or ""))
    kind = _kind_of_failed(found)
    told, overflow = f"answered 200 with an error inside: {words}", overflow_in(kind, found, words)
    return Problem(kind, told, quotes=True, overflow=overflow)


def _kind_of_failed(error: Json) -> ProblemKind:
    """The kind of an error that came with status 200, by its codes alone."""
    codes = codes_in(error)
    for code in codes & _FAILED.keys():
        return _FAILED[code]
    kind = kind_of(400, codes, words_in(error))
    if kind is ProblemKind.BAD_REQUEST and not any(map(_BAD_IMAGE.search, codes)):
        return ProblemKind.BACKEND_ERROR
    return kind


def code_of(problem: Problem) -> str:
    """The machine-readable name of a problem."""
    return problem.code or _CODES.get(problem.kind, problem.kind.value)


def encode_error(problem: Problem) -> tuple[int, bytes]:
    """Status and body of a problem."""
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
        "code": code_of(problem),
    }
    if problem.extension is not None:
        fields["sidecar"] = problem.extension
    return status, json.dumps({"error": fields})


def failed(response: Json, problem: Problem) -> Json:
    """A response that was under way, as it stands when it has failed."""
    error: dict[str, object] = {"code": code_of(problem), "message": problem.message}
    if problem.extension is not None:
        error["sidecar"] = problem.extension
    return {**response, "status": "failed", "error": error}
