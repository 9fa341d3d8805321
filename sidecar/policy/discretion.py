"""What a stranger is told of a problem: what it can mend, and of everything else only the kind.

No sentence here names a backend, an address, a key or a route, nor tells how often anybody was
asked. Status and the time to come back stay as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from sidecar.neutral.problem import Problem, ProblemKind

_K = ProblemKind
_MENDS = {_K.BAD_REQUEST, _K.TOO_LARGE, _K.CONTEXT_LENGTH, _K.CONTENT_REFUSED}
_OURS = _MENDS | {_K.CLIENT_AUTH, _K.RATE_LIMITED, _K.FORBIDDEN}  # where nobody was asked

_FAILED = ("model_failed", "The model could not answer. Ask again, or ask for another model.")
_AWAY = ("unavailable", "The model cannot be asked at the moment. Come back later.")
_BUSY = ("overloaded", "The model has too much to do at the moment. Come back later.")
_LATE = ("timeout", "The model did not answer in time. Ask again, or ask for less.")
_CUT = ("truncated", "The answer broke off before it was complete. Ask again.")

_SAYINGS: Mapping[ProblemKind, tuple[str, str]] = {
    _K.CONNECT: _AWAY,
    _K.DNS: _AWAY,
    _K.TLS: _AWAY,
    _K.UNAVAILABLE: _AWAY,
    _K.NOT_LOCAL: _AWAY,
    _K.OVERLOADED: _BUSY,
    _K.RATE_LIMITED: _BUSY,
    _K.TIMEOUT: _LATE,
    _K.HURRIED: _LATE,
    _K.DEADLINE: ("deadline_exceeded", "The request took longer than it may. Ask for less."),
    _K.TRUNCATED: _CUT,
    _K.DIVERGED: _CUT,
    _K.UNMET: ("unmet", "The model did not give what the request demands. Ask again."),
    _K.CANNOT_TRANSLATE: ("unsupported", "This model cannot be asked that."),
    _K.UNSUPPORTED: ("unsupported", "This model cannot be asked that."),
    _K.SHUTDOWN: ("shutdown", "The service is stopping. Ask again."),
    _K.LOOP: ("loop_detected", "This request has come round to where it was sent from."),
    _K.INTERNAL: ("internal", "The service failed by a fault of its own."),
}


def discreet(problem: Problem, asked: bool, said: str, model: str | None) -> Problem:
    """The problem as a stranger may know it.

    `asked` tells that a backend was asked, `said` is what that one answered, with all that is
    private taken out; `model` is the name that the client asked for.
    """
    kind, advice = problem.kind, None
    if kind is _K.UNKNOWN_MODEL:
        return _told(problem, "model_not_found", _no_model(model), param="model", status=404)
    if not asked and kind in _OURS:
        return replace(problem, advice=None, raw=None)
    if kind in _MENDS:
        # it tells numbers and names of models on offer
        advice = problem.advice if kind is _K.CONTEXT_LENGTH else None
        return replace(
            _told(problem, None, f"The model's server {said}", status=problem.status),
            advice=advice,
            overflow=problem.overflow,
        )
    code, words = _SAYINGS.get(kind, _FAILED)
    if kind in (_K.CANNOT_TRANSLATE, _K.UNSUPPORTED) and problem.param:
        words = f"This model cannot be asked with {problem.param!r}."
    return _told(problem, code, words, param=problem.param, status=problem.status)


def _told(
    problem: Problem,
    code: str | None,
    words: str,
    *,
    status: int | None,
    param: str | None = None,
) -> Problem:
    after = problem.retry_after
    return Problem(problem.kind, words, status, code, param=param, retry_after=after)


def _no_model(name: str | None) -> str:
    asked = "that name" if name is None else f"the name {name[:100]!r}"
    return f"There is no model of {asked} here. GET /v1/models lists those that there are."


# a backend may stand in front of others, and tell theirs
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s\"'`<>)\]},;]+"
    r"|(?<![\w.:-])(?:(?:\d{1,3}\.){3}\d{1,3}|localhost|\[[0-9a-f:.]*:[0-9a-f:.]*\])(?::\d{1,5})?"
    r"(?![\w-])"
    r"|(?<![\w.:-])[a-z0-9-]+(?:\.[a-z0-9-]+)+:\d{2,5}(?![\w-])",
    re.IGNORECASE,
)


def veiled(text: str, hidden: Mapping[str, str], instead: str) -> str:
    """The text with what is hidden replaced, wherever it stands as a word of its own.

    So is whatever looks like an address: by `instead`.
    """
    if words := sorted((word for word in hidden if word), key=len, reverse=True):
        pattern = "|".join(map(re.escape, words))
        text = re.sub(rf"(?<![\w-])(?:{pattern})(?![\w-])", lambda found: hidden[found[0]], text)
    return _ADDRESS.sub(instead, text)
