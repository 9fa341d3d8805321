"""Exception → problem → answer in the client's dialect. The one place where errors become words."""

import logging
import math
from collections.abc import Callable

from sidecar.dataplane import tries
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.headers import towards_client
from sidecar.dataplane.passed_on import passed_on
from sidecar.dataplane.telling import Telling
from sidecar.neutral.problem import Exhausted, Problem, ProblemKind, SidecarError
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
    answer: Answer, dialect: Dialect, error: Exception, note: RequestNote, telling: Telling
) -> None:
    """Tell the client what went wrong, as far as it can still be told."""
    problem = problem_of(error, note.id)
    note.problem = problem
    if problem.kind is ProblemKind.CLIENT_GONE:
        return
    shown = telling.may_tell(problem, note)
    try:
        if not answer.is_open:
            await answer.fail(telling.in_words(shown, note))
            return
        status, body = _body(dialect, shown, note, telling)
        has_given_up = isinstance(error, Exhausted) and bool(note.attempts)
        headers = _headers(shown, telling.redact, has_given_up=has_given_up)
        if note.attempts:
            answer.common[tries.HEADER] = tries.header(note.attempts)
        await answer.whole(status, headers, body)
    except SidecarError as gone:
        note.problem = gone.problem


def _body(
    dialect: Dialect, problem: Problem, note: RequestNote, telling: Telling
) -> tuple[int, bytes]:
    """A backend's own words where it had some, without anything that looks like a key."""
    if problem.raw is not None and problem.status is not None:
        # what other backends wrote is not told beside it
        extension = telling.extension(problem, "", note)
        body = passed_on(problem.raw, dialect.error_within, extension, telling.redact)
        return problem.status, body
    return dialect.encode_error(telling.in_words(problem, note))


def _headers(
    problem: Problem, redact: Callable[[str], str], *, has_given_up: bool
) -> dict[str, str]:
    passed = towards_client(problem.headers)
    headers = {name: redact(value) for name, value in passed.items()}
    headers["content-type"] = "application/json"
    if problem.retry_after is not None:
        headers.setdefault("retry-after", str(math.ceil(problem.retry_after)))
    if has_given_up and problem.kind not in (ProblemKind.RATE_LIMITED, ProblemKind.SHUTDOWN):
        # the sidecar has used up its own tries: a client's would only multiply them. Not so where
        # it has been told to come back
        headers["x-should-retry"] = "false"
    return headers
