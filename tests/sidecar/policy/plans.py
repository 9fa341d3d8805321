"""Plans and histories, written as short as rows of a table want them."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.backoff import RetrySettings
from sidecar.policy.outcome import Disposition, Outcome, disposition_of
from sidecar.policy.routing import Candidate, Plan, Route, Target, Timeouts

TIMEOUTS = Timeouts(connect=3, first_token=60, idle=30, whole=600)
P, F, G = 0, 1, 2  # places in the plan: primary, fallback, and one more
NAMES = ("primary", "fallback", "third")


def plan_of(
    size: int = 2,
    retry: RetrySettings | None = None,
    context: Sequence[int | None] = (None, None, None),
    on: dict[ProblemKind, Disposition] | None = None,
) -> Plan:
    """A plan of up to three candidates, each on a backend of its own."""
    targets = tuple(Target(name, "m", TIMEOUTS) for name in NAMES[:size])
    route = Route("chat", ("chat",), targets, retry or RetrySettings(), on=on or {})
    places = zip(NAMES[:size], context, strict=False)
    return Plan(route, tuple(Candidate(name, "m", TIMEOUTS, room) for name, room in places))


def failure(
    place: int,
    kind: ProblemKind,
    retry_after: float | None = None,
    on: dict[ProblemKind, Disposition] | None = None,
) -> Outcome:
    """An attempt that failed, with the disposition that the table gives it."""
    problem = Problem(kind, f"failed by {kind}", retry_after=retry_after)
    at_once = kind is ProblemKind.UNSUPPORTED
    disposition = disposition_of(problem, on or {})
    return Outcome(place, NAMES[place], "m", disposition, problem, at_once=at_once)


def success(place: int) -> Outcome:
    """An attempt that worked."""
    return Outcome(place, NAMES[place], "m", Disposition.SUCCESS)


def told(outcome: Outcome, **changes: object) -> Outcome:
    """The same failure with another problem text, status, and so on."""
    assert outcome.problem is not None
    return replace(outcome, problem=replace(outcome.problem, **changes))  # type: ignore[arg-type]
