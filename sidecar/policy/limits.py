"""How long an attempt may wait, and whose fault it is when that was not enough."""

from collections.abc import Callable

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.routing import Timeouts


def first_limit(
    timeouts: Timeouts,
    left: float,
    *,
    is_stream: bool,
    has_next: Callable[[], bool] = lambda: False,
) -> tuple[float, Problem]:
    """Seconds until the answer must be known to be good, and the problem of one that is late.

    A stream must have begun within `first_token`, a whole answer ended within `whole`. `left` is
    what remains of the request's own time; where that is less, the backend is not to blame. A
    stream whose own time is shorter gets half of it, where `has_next` tells of another target that
    the rest of it is for.
    """
    own = timeouts.first_token if is_stream else timeouts.whole
    if left < own and is_stream and has_next():
        told = f"sent no token within {left / 2:.3g} s, half of the time that the request has"
        return left / 2, Problem(ProblemKind.HURRIED, told)
    if left < own:
        told = "gave no answer in the time that the request has"
        return left, Problem(ProblemKind.DEADLINE, told)
    told = "sent no token within" if is_stream else "did not finish its answer within"
    setting = "timeouts.first_token" if is_stream else "timeouts.whole"
    return own, Problem(ProblemKind.TIMEOUT, f"{told} {own:g} s", setting=setting)
