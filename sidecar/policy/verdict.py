"""What the client is told when nothing is left to try."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.availability import READY, Availability, Standing
from sidecar.policy.outcome import OUTCOMES, Disposition, Outcome
from sidecar.policy.routing import Plan

COME_BACK = 5.0  # seconds after which a client may ask again when nobody can be asked now

_UNREACHABLE = (ProblemKind.CONNECT, ProblemKind.DNS, ProblemKind.TLS)
_SAYS_LITTLE = (
    ProblemKind.UNKNOWN_MODEL, ProblemKind.BACKEND_AUTH, ProblemKind.NOT_LOCAL,
    ProblemKind.CANNOT_TRANSLATE,
)  # fmt: skip


def conclude(plan: Plan, history: Sequence[Outcome], standings: Mapping[int, Standing]) -> Problem:
    """The one problem that stands for all attempts.

    `standings` tells by place why candidates were not asked. A final problem speaks for itself; an
    overlong context is what the client can mend; else the last fault that is not merely "not here"
    or "not with this key". Where all that was asked found the request wrong for it, one without
    room might not have.
    """
    has_full = any(one.availability is Availability.FULL for one in standings.values())
    if not history:
        return (_overloaded if has_full else _nobody)(plan, history, standings)
    problems = [outcome.problem for outcome in history if outcome.problem is not None]
    last = problems[-1]
    if history[-1].disposition is not Disposition.FINAL:
        too_long = [one for one in problems if one.kind is ProblemKind.CONTEXT_LENGTH]
        telling = [one for one in problems if one.kind not in _SAYS_LITTLE]
        last = (too_long or telling or problems)[-1]
        if has_full and OUTCOMES[last.kind].request == "client_error":
            return _overloaded(plan, history, standings)
    if len(problems) == 1 and len(plan.candidates) == 1:
        name = plan.candidates[0].backend
        return replace(_own_words(last), message=f"Backend {name!r} {last.message}")
    told = "; ".join(_lines(plan, history, standings))
    quotes = any(problem.quotes for problem in problems)
    return replace(_own_words(last), message=f"{_summary(last)} {told}.", quotes=quotes)


def _own_words(problem: Problem) -> Problem:
    """What no backend said in words for the client.

    A refused key of ours is no fault of the client: never a 401. Where nobody can be reached the
    client may come back later.
    """
    if problem.kind is ProblemKind.BACKEND_AUTH:
        return replace(problem, status=502, raw=None)
    if problem.kind in _UNREACHABLE:
        return replace(problem, status=503, retry_after=COME_BACK)
    return problem


def _summary(last: Problem) -> str:
    if OUTCOMES[last.kind].request == "client_error":
        return "The request was refused."
    return "No backend of this route could answer."


def _lines(plan: Plan, history: Sequence[Outcome], standings: Mapping[int, Standing]) -> list[str]:
    lines = []
    for place, candidate in enumerate(plan.candidates):
        here = [one.problem for one in history if one.candidate == place and one.problem]
        if here:
            tries = "" if len(here) == 1 else f" ({len(here)} tries)"
            lines.append(f"{candidate.backend}: {here[-1].message.rstrip('.')}{tries}")
        else:
            lines.append(f"{candidate.backend}: {_untried(standings.get(place, READY))}")
    return lines


def _untried(standing: Standing) -> str:
    """Why a target was not asked, and when it may be."""
    seconds = math.ceil(standing.wait) if math.isfinite(standing.wait) else None
    again = "" if seconds is None else f" (tried again in {seconds} s)"
    match standing.availability:
        case Availability.READY:
            return "not tried"
        case Availability.EJECTED:
            return f"ejected {standing.why or 'for its failures'}{again}"
        case Availability.UNHEALTHY:
            return f"unhealthy{f': {standing.why}' if standing.why else ''}{again}"
        case Availability.FULL:
            return standing.why or "has as many requests as it may"
        case Availability.RESTING:
            return f"rests for {standing.wait:.0f} s more"
        case Availability.DRAINING:
            return "drained by an operator, takes nothing new"
        case Availability.DISABLED:
            return "switched off"


def _overloaded(
    plan: Plan,
    history: Sequence[Outcome],
    standings: Mapping[int, Standing],
) -> Problem:
    told = "; ".join(_lines(plan, history, standings))
    return Problem(
        ProblemKind.UNAVAILABLE,
        f"No backend of route {plan.route.name!r} has room for this request. {told}.",
        advice=f"Come back in {COME_BACK:g} s; or raise `in_flight` or `queue` of a backend, "
        "or add a target.",
        code="overloaded",
        retry_after=COME_BACK,
        quotes=any(one.problem is not None and one.problem.quotes for one in history),
    )


def _nobody(plan: Plan, history: Sequence[Outcome], standings: Mapping[int, Standing]) -> Problem:
    if not plan.candidates:
        names = ", ".join(repr(target.backend) for target in plan.route.targets)
        return Problem(
            ProblemKind.UNAVAILABLE,
            f"Switched off, by `enabled: false` or by --local-only: {names}. Ask for another model "
            "or switch it on.",
            code="no_backend",
        )
    told = "; ".join(_lines(plan, history, standings))
    waits = [one.wait for one in standings.values() if math.isfinite(one.wait)]
    wait = max(1.0, min(waits, default=1.0))
    return Problem(
        ProblemKind.UNAVAILABLE,
        f"No backend of route {plan.route.name!r} may be asked now. {told}.",
        advice=f"Come back in {math.ceil(wait)} s, or ask for another model.",
        code="no_backend_available",
        retry_after=wait,
    )
