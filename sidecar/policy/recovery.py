"""Whose answer may go on where a stream broke that the client has begun to read, and how.

The ways are tried in the route's order: `replay` asks the same question and compares, `continue`
has a target go on from the text, `fail` tells the client. Sources: `docs/faults.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.outcome import Disposition, Outcome
from sidecar.policy.routing import Plan, Way

_K = ProblemKind
# a stream that broke; what else ends one, such as an answer that does not hold what it must, would
# come again
RECOVERABLE = frozenset(
    (_K.TRUNCATED, _K.TIMEOUT, _K.CONNECT, _K.BACKEND_ERROR, _K.OVERLOADED, _K.PROTOCOL,
     _K.RATE_LIMITED)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recovery:
    """One try to go on: by whom, a place in the plan, and how."""

    way: Way
    candidate: int


def can_recover(outcome: Outcome) -> bool:
    """Whether a broken stream is worth another try, as far as its problem tells."""
    if outcome.problem is None or outcome.problem.kind not in RECOVERABLE:
        return False
    return outcome.disposition in (Disposition.RETRY_SAME, Disposition.FAIL_OVER)


def next_recovery(
    plan: Plan,
    history: Sequence[Outcome],
    tried: Sequence[Recovery],
    *,
    may_continue: bool,
    is_ready: Callable[[int], bool],
    may_retry: Callable[[], bool],
) -> Recovery | None:
    """What to try next, if anything.

    `history` holds all attempts; the last `len(tried) + 1` of them are the one that broke and the
    tries to go on. `may_continue` tells that a partial turn can be handed on, `may_retry` takes one
    retry from the budget. The targets behind the one that broke come first, the one that broke
    last: it may have been a hiccup, unless it fell silent.
    """
    broken = history[-len(tried) - 1]
    failed = {one.candidate for one in history if _is_out(one)}
    for way in plan.route.recover:
        if way is Way.FAIL:
            return None
        for place in _in_order(plan, broken):
            if Recovery(way, place) in tried or place in failed or not is_ready(place):
                continue
            if way is Way.CONTINUE and not (may_continue and plan.candidates[place].continues):
                continue
            if place != broken.candidate or may_retry():
                return Recovery(way, place)
    return None


def _in_order(plan: Plan, broken: Outcome) -> list[int]:
    count, at = len(plan.candidates), broken.candidate
    others = [(at + step) % count for step in range(1, count)]
    is_silent = broken.problem is not None and broken.problem.kind is ProblemKind.TIMEOUT
    return others if is_silent or not plan.route.retry.attempts else [*others, at]


def _is_out(outcome: Outcome) -> bool:
    """Whether an attempt says that its target need not be asked again in this request.

    One that broke behind the first token, or had another answer, may still go on.
    """
    if outcome.problem is None or outcome.problem.kind is ProblemKind.DIVERGED:
        return False
    return outcome.ttft is None or outcome.problem.kind is ProblemKind.TIMEOUT
