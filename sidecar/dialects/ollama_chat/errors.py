"""Errors in both directions: the backends' into problems, problems into Ollama's shape.

An error is one text: {"error": "…"}, as the body of an answer or as a line in a stream that began
with status 200; see https://github.com/ollama/ollama/blob/main/docs/api/errors.mdx. Clients read
nothing else of it; `code` is there for machines, such as a second sidecar.
"""

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
    kind_of,
    overflow_in,
    text_of,
)

# the status that Ollama's server has for a request that was given up
_CANCELLED = 499
_CODES = {
    ProblemKind.CONTEXT_LENGTH: "context_length_exceeded",
    ProblemKind.CONTENT_REFUSED: "content_policy_violation",
    ProblemKind.UNKNOWN_MODEL: "model_not_found",
}
_NO_THINKING = re.compile(
    r"does not support thinking|think value .{0,40}not supported|invalid think value", re.IGNORECASE
)
# of a model, not of a request: another one may
_UNABLE = re.compile(
    r"does not support (chat|generate|completion|tools|vision|insert|embed)", re.IGNORECASE
)


def decode_error(status: int, body: bytes) -> Problem:
    """What a backend's error answer means."""
    error = json.loads_object(body) or {}
    words = _words(error) or text_of(body)
    kind, param = _kind_of(status, error, words)
    told = answered(status, words)
    overflow = overflow_in(kind, _inner(error), words)
    return Problem(kind, told, status=status, param=param, quotes=bool(words), overflow=overflow)


def disguised(body: Mapping[str, object]) -> Problem | None:
    """The error that a body or a line with status 200 holds; None where it holds none."""
    if not body.get("error"):
        return None
    words = _words(body)
    kind, param = _kind_of(400, body, words)
    if kind is ProblemKind.BAD_REQUEST:
        # the request was good enough to begin an answer
        kind = ProblemKind.BACKEND_ERROR
    told = f"answered 200 with an error inside: {words}"
    overflow = overflow_in(kind, _inner(body), words)
    return Problem(kind, told, param=param, quotes=True, overflow=overflow)


def _kind_of(
    status: int, error: Mapping[str, object], words: str
) -> tuple[ProblemKind, str | None]:
    """The kind of an error, and the feature that the request can do without."""
    if status == 400 and _NO_THINKING.search(words):
        return ProblemKind.UNSUPPORTED, Feature.THINKING.value
    if status == 400 and _UNABLE.search(words):
        return ProblemKind.CANNOT_TRANSLATE, None
    if status == _CANCELLED:  # not by us, or nobody would read it
        return ProblemKind.BACKEND_ERROR, None
    code = error.get("code")
    return kind_of(status, {code.casefold()} if isinstance(code, str) else set(), words), None


def _inner(error: Mapping[str, object]) -> Mapping[str, object]:
    """A runner's own error, where one was passed on."""
    told = error.get("error")
    return told if isinstance(told, dict) else error


def _words(error: Mapping[str, object]) -> str:
    told = error.get("error")
    if isinstance(told, dict):  # a runner's own error, passed on
        told = told.get("message") or str(told)
    words = clipped(told) if isinstance(told, str) else ""
    if isinstance(address := error.get("signin_url"), str):
        return f"{words} (sign in at {clipped(address)})"
    return words


def _fields(problem: Problem) -> dict[str, object]:
    code = problem.code or _CODES.get(problem.kind, problem.kind.value)
    fields: dict[str, object] = {"error": problem.message, "code": code}
    if problem.extension is not None:
        fields["sidecar"] = problem.extension
    return fields


def encode_error(problem: Problem) -> tuple[int, bytes]:
    """Status and body of a problem."""
    status = problem.status or STATUS.get(problem.kind, BACKEND_FAULT)
    if problem.kind is ProblemKind.CLIENT_GONE:
        status = _CANCELLED
    return status, json.dumps(_fields(problem))


def fail_stream(problem: Problem) -> bytes:
    """The line that ends a stream honestly; no line that is done follows it."""
    return json.dumps(_fields(problem)) + b"\n"
