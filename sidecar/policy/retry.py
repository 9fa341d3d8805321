"""The whole retry and fallback behaviour: try here again, fail over, or give up.

*Retry* is the same candidate again, *failover* the next one. Both are `next_step`, a pure function
of the plan, of how the attempts so far ended, and of who may be asked now.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.backoff import pause
from sidecar.policy.outcome import Disposition, Outcome
from sidecar.policy.routing import Plan

REST_WITHOUT_WORD = 5.0  # seconds a backend rests after a 429 that names no time
REST_CEILING = 300.0  # a longer `Retry-After` is believed only so far


@dataclass(frozen=True, slots=True)
class Try:
    """Ask this candidate of the plan, after a pause in seconds."""

    candidate: int
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nobody may be asked now, but one rests for so short that it is waited for; in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing is left to try."""


Step = Try | Wait | GiveUp


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a request stands, in seconds, and one draw in [0, 1) for the jitter.

    `time_left` is what its deadline leaves, `waited` how long it has waited for rests to end.
    """

    time_left: float
    waited: float
    draw: float


def next_step(
    plan: Plan,
    history: Sequence[Outcome],
    moment: Moment,
    *,
    standing_of: Callable[[int], Standing],
    may_retry: Callable[[], bool],
) -> Step:
    """What to do after `history`.

    `standing_of` tells whether the candidate at a place of the plan may be asked, `may_retry` takes
    one retry from the budget.
    """
    if history:
        if moment.time_left <= 0:
            return GiveUp()
        last = history[-1]
        if last.disposition is Disposition.RETRY_SAME:
            wait = _retry_wait(plan, history, moment.draw)
            if (
                wait is not None
                and wait < moment.time_left
                and _is_open_to(standing_of(last.candidate), wait)
                and (last.at_once or may_retry())
            ):
                return Try(last.candidate, wait)
        elif last.disposition is not Disposition.FAIL_OVER:
            return GiveUp()
    tried = {outcome.candidate for outcome in history}
    left = [
        place
        for place in range(len(plan.candidates))
        if place not in tried and _fits(plan, history, place)
    ]
    standings: dict[int, Standing] = {}
    for place in left:
        standings[place] = standing_of(place)
        if standings[place].is_ready and not standings[place].is_crowded:
            return Try(place)  # mostly the first one; to look at all the others takes time
    crowded = [place for place, standing in standings.items() if standing.is_ready]
    if crowded:
        return Try(crowded[0])
    rests = [one.wait for one in standings.values() if one.availability is Availability.RESTING]
    soonest = min(rests, default=math.inf)
    if soonest <= plan.route.retry.max_wait - moment.waited and soonest < moment.time_left:
        return Wait(soonest)
    if plan.route.tries_ejected and not history:
        return _anyway(standings)
    return GiveUp()


def _anyway(standings: Mapping[int, Standing]) -> Step:
    """The one of those that fail whose time is up soonest: it may answer, a refusal will not."""
    failing = [
        (standing.wait, place)
        for place, standing in standings.items()
        if standing.availability in (Availability.EJECTED, Availability.UNHEALTHY)
    ]
    return Try(min(failing)[1]) if failing else GiveUp()


def _is_open_to(standing: Standing, wait: float) -> bool:
    """Whether a candidate may be asked again after a wait: it may have been ejected meanwhile."""
    rests = standing.availability is Availability.RESTING
    return standing.is_ready or (rests and standing.wait <= wait)


def _retry_wait(plan: Plan, history: Sequence[Outcome], draw: float) -> float | None:
    """Seconds until the last candidate is asked again; None where it is not."""
    last, settings = history[-1], plan.route.retry
    if last.at_once:
        return 0.0  # without the feature that was refused, or by another key
    here = [outcome for outcome in history if outcome.candidate == last.candidate]
    if len(here) > settings.attempts:
        return None
    problem = last.problem
    asked_for = problem.retry_after if problem is not None else None
    if asked_for is not None and asked_for > settings.max_wait:
        return None
    if problem is not None and problem.kind is ProblemKind.RATE_LIMITED:
        limited = sum(
            one.problem is not None and one.problem.kind is ProblemKind.RATE_LIMITED for one in here
        )
        if asked_for is None or limited > 1:
            return None
    jittered = pause(len(here), settings, draw)
    return jittered if asked_for is None else max(jittered, asked_for * (1 + draw / 10))


def _fits(plan: Plan, history: Sequence[Outcome], place: int) -> bool:
    """Whether a candidate may hold what was too long for those before it."""
    candidate = plan.candidates[place]
    for outcome in history:
        if outcome.problem is None or outcome.problem.kind is not ProblemKind.CONTEXT_LENGTH:
            continue
        failed = plan.candidates[outcome.candidate]
        if (candidate.backend, candidate.model) == (failed.backend, failed.model):
            return False
        if None not in (candidate.context, failed.context):
            assert candidate.context is not None and failed.context is not None
            if candidate.context <= failed.context:
                return False
    return True


def rest_after(outcome: Outcome) -> float:
    """Seconds for which a backend rests after an attempt; 0 where it did not ask for time."""
    problem = outcome.problem
    if problem is None:
        return 0.0
    if problem.retry_after is not None and problem.kind in (
        ProblemKind.RATE_LIMITED,
        ProblemKind.OVERLOADED,
    ):
        return min(problem.retry_after, REST_CEILING)
    return REST_WITHOUT_WORD if problem.kind is ProblemKind.RATE_LIMITED else 0.0
