"""Errors of the toy: {"sorry": words, "kind": name}."""

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.error_words import BACKEND_FAULT, STATUS, kind_of, text_of
from sidecar.wire.json import Json

_TOLD = {  # the kinds that a backend may tell by their names
    ProblemKind.BAD_REQUEST,
    ProblemKind.UNKNOWN_MODEL,
    ProblemKind.CONTEXT_LENGTH,
    ProblemKind.CONTENT_REFUSED,
    ProblemKind.RATE_LIMITED,
    ProblemKind.OVERLOADED,
}


def decode_error(status: int, body: bytes) -> Problem:
    """What a backend's error answer means."""
    try:
        told = json.loads(body)
    except json.InvalidJson:
        told = None
    fields = told if isinstance(told, dict) else {}
    words = fields.get("sorry")
    said = words if isinstance(words, str) else text_of(body)
    kind = kind_named(fields) or kind_of(status, set(), said)
    return Problem(kind, f"answered {status}: {said}", status=status, quotes=True)


def kind_named(fields: Json) -> ProblemKind | None:
    """The kind that an error calls itself."""
    return next((kind for kind in _TOLD if kind.value == fields.get("kind")), None)


def encode_error(problem: Problem) -> tuple[int, bytes]:
    """Status and body of a problem."""
    status = problem.status or STATUS.get(problem.kind, BACKEND_FAULT)
    return status, json.dumps(told(problem))


def told(problem: Problem) -> dict[str, object]:
    """A problem, as bodies and streams tell it."""
    beside = {} if problem.extension is None else {"sidecar": problem.extension}
    return {"sorry": problem.message, "kind": problem.kind.value, **beside}


def disguised(body: Json) -> Problem | None:
    """The error that a 200 or a line of a stream holds."""
    if "sorry" not in body:
        return None
    kind = kind_named(body) or ProblemKind.BACKEND_ERROR
    return Problem(kind, f"answered an error: {str(body['sorry'])[:300]}", quotes=True)
