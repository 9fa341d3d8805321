"""Exception → problem → answer in the client's dialect. The one place where errors become words."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.headers import towards_client
from sidecar.neutral.problem import Exhausted, Problem, ProblemKind, SidecarError
from sidecar.policy.outcome import Outcome
from sidecar.telemetry.recorder import RequestNote
from sidecar.wire.contract import Dialect

_log = logging.getLogger(__name__)


def problem_of(error: Exception, request_id: str) -> Problem:
    """What an exception means; whatever does not carry a problem is a bug, and is logged as one."""
    if isinstance(error, SidecarError):
        return error.problem
    _log.error("a fault of the sidecar itself, in request %s", request_id, exc_info=error)
    return Problem(
        ProblemKind.INTERNAL,
        f"The sidecar failed by a fault of its own. Its log has the details under {request_id}.",
    )


async def respond(
    answer: Answer,
    dialect: Dialect,
    error: Exception,
    note: RequestNote,
    redact: Callable[[str], str],
) -> None:
    """Tell the client what went wrong, as far as it can still be told."""
    problem = problem_of(error, note.id)
    note.problem = problem
    if problem.kind is ProblemKind.CLIENT_GONE:
        return
    try:
        if not answer.is_open:
            await answer.fail(replace(problem, message=redact(problem.message)))
            return
        status, body = _body(dialect, problem, note, redact)
        headers = _headers(
            problem, has_given_up=isinstance(error, Exhausted) and bool(note.attempts)
        )
        await answer.whole(status, headers, body)
    except SidecarError as gone:
        note.problem = gone.problem


def _body(
    dialect: Dialect, problem: Problem, note: RequestNote, redact: Callable[[str], str]
) -> tuple[int, bytes]:
    """A backend's own words where it had some, without anything that looks like a key."""
    if problem.raw is not None and problem.status is not None:
        text = problem.raw.decode("utf-8", "surrogateescape")
        return problem.status, redact(text).encode("utf-8", "surrogateescape")
    told = replace(problem, message=redact(problem.message))
    return dialect.encode_error(told, _extension(note))


def _extension(note: RequestNote) -> Mapping[str, object]:
    told: dict[str, object] = {"request_id": note.id}
    if note.attempts:
        told["attempts"] = [_attempt(outcome) for outcome in note.attempts]
    return told


def _attempt(outcome: Outcome) -> Mapping[str, object]:
    return {
        "backend": outcome.backend,
        "model": outcome.model,
        "outcome": outcome.label,
        "ms": round(outcome.duration * 1000),
    }


def _headers(problem: Problem, *, has_given_up: bool) -> dict[str, str]:
    headers = towards_client(problem.headers)
    headers["content-type"] = "application/json"
    if problem.retry_after is not None:
        headers.setdefault("retry-after", str(math.ceil(problem.retry_after)))
    if has_given_up and problem.kind is not ProblemKind.RATE_LIMITED:
        # the sidecar has used up its own tries: a client's would only multiply them
        headers["x-should-retry"] = "false"
    return headers
