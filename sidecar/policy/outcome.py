"""How an attempt ended and what follows from it. The table is data; routes may move its rows.

Sources: `docs/faults.md`, and the rule that a silent or garbling backend is not asked again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage


class Disposition(StrEnum):
    """What an attempt's end means for the request."""

    SUCCESS = "success"
    RETRY_SAME = "retry_same"
    FAIL_OVER = "fail_over"
    FINAL = "final"
    IGNORED = "ignored"


class Scope(StrEnum):
    """What a failure speaks against: a backend, or only its model that was asked."""

    BACKEND = "backend"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what follows, whose fault, and the words the metrics use."""

    disposition: Disposition
    blames: bool  # counts against the backend
    attempt: str  # label of attempts_total
    request: str  # label of requests_total when the request ends with this problem
    scope: Scope = Scope.BACKEND  # what it counts against, where it does


_K, _D = ProblemKind, Disposition

OUTCOMES: Mapping[ProblemKind, Rule] = {
    _K.CONNECT: Rule(_D.RETRY_SAME, True, "connect", "upstream_error"),
    _K.BACKEND_ERROR: Rule(_D.RETRY_SAME, True, "server_error", "upstream_error"),
    # what has just failed to load takes long to fail again
    _K.MODEL_FAILED: Rule(_D.FAIL_OVER, True, "server_error", "upstream_error", Scope.MODEL),
    _K.OVERLOADED: Rule(_D.RETRY_SAME, True, "server_error", "upstream_error"),
    _K.DNS: Rule(_D.FAIL_OVER, True, "connect", "upstream_error"),
    _K.TLS: Rule(_D.FAIL_OVER, True, "connect", "upstream_error"),
    _K.TIMEOUT: Rule(_D.FAIL_OVER, True, "timeout", "timeout", Scope.MODEL),
    _K.PROTOCOL: Rule(_D.FAIL_OVER, True, "protocol", "upstream_error"),
    _K.TRUNCATED: Rule(_D.FAIL_OVER, True, "truncated", "upstream_error"),
    _K.UNMET: Rule(_D.RETRY_SAME, False, "protocol", "upstream_error"),
    _K.HURRIED: Rule(_D.FAIL_OVER, False, "timeout", "timeout"),
    _K.DIVERGED: Rule(_D.FAIL_OVER, False, "cancelled", "upstream_error"),
    # asked again at once without the feature; see retry.next_step
    _K.UNSUPPORTED: Rule(_D.RETRY_SAME, False, "client_error", "client_error"),
    # one retry when it says when, within the route's max_wait; see retry.next_step
    _K.RATE_LIMITED: Rule(_D.RETRY_SAME, False, "rate_limited", "rate_limited"),
    _K.BACKEND_AUTH: Rule(_D.FAIL_OVER, False, "auth", "upstream_error"),
    _K.CLIENT_AUTH: Rule(_D.FINAL, False, "auth", "client_error"),
    _K.UNKNOWN_MODEL: Rule(_D.FAIL_OVER, False, "client_error", "client_error"),
    _K.CONTEXT_LENGTH: Rule(_D.FAIL_OVER, False, "client_error", "client_error"),
    _K.CONTENT_REFUSED: Rule(_D.FINAL, False, "client_error", "client_error"),
    _K.BAD_REQUEST: Rule(_D.FINAL, False, "client_error", "client_error"),
    _K.TOO_LARGE: Rule(_D.FINAL, False, "client_error", "client_error"),
    _K.FORBIDDEN: Rule(_D.FINAL, False, "client_error", "client_error"),
    _K.CANNOT_TRANSLATE: Rule(_D.FAIL_OVER, False, "client_error", "client_error"),
    _K.CLIENT_GONE: Rule(_D.IGNORED, False, "cancelled", "client_disconnect"),
    _K.NOT_LOCAL: Rule(_D.FAIL_OVER, False, "connect", "upstream_error"),
    _K.UNAVAILABLE: Rule(_D.FAIL_OVER, False, "connect", "overloaded"),
    _K.DEADLINE: Rule(_D.FINAL, False, "cancelled", "timeout"),
    _K.SHUTDOWN: Rule(_D.FINAL, False, "cancelled", "overloaded"),
    _K.LOOP: Rule(_D.FAIL_OVER, False, "client_error", "client_error"),
    _K.INTERNAL: Rule(_D.FINAL, False, "protocol", "upstream_error"),
}

# the problems whose row a route's `on:` may move, and where to
MOVABLE = (
    _K.CONNECT, _K.BACKEND_ERROR, _K.OVERLOADED, _K.DNS, _K.TLS, _K.TIMEOUT, _K.PROTOCOL,
    _K.TRUNCATED, _K.RATE_LIMITED, _K.BACKEND_AUTH, _K.UNKNOWN_MODEL, _K.CONTEXT_LENGTH,
    _K.CONTENT_REFUSED, _K.BAD_REQUEST, _K.UNMET, _K.MODEL_FAILED,
)  # fmt: skip
DESTINATIONS = (_D.RETRY_SAME, _D.FAIL_OVER, _D.FINAL)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended. Times are seconds; `candidate` is its place in the plan."""

    candidate: int
    backend: str
    model: str | None
    disposition: Disposition
    problem: Problem | None = None
    first_byte: float | None = None
    ttft: float | None = None
    duration: float = 0.0
    usage: Usage | None = None
    committed: bool = False  # the client had already received content
    at_once: bool = False  # its target may be asked again, in another way
    streamed: bool = False  # the backend was asked for a stream
    load: float = 0.0  # of that time, what a model took to load, where the backend tells it

    @property
    def label(self) -> str:
        """The word for it in metrics and logs."""
        return "ok" if self.problem is None else OUTCOMES[self.problem.kind].attempt


def scope_of(problem: Problem) -> Scope:
    """What a failure counts against; where nobody took the call, it is never the model."""
    return Scope.BACKEND if problem.unreached else OUTCOMES[problem.kind].scope


def disposition_of(problem: Problem, moved: Mapping[ProblemKind, Disposition]) -> Disposition:
    """What follows from a problem on a route that moved some rows of the table."""
    return moved.get(problem.kind, OUTCOMES[problem.kind].disposition)
