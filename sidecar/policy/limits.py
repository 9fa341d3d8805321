"""How long an attempt may wait, and whose fault it is when that was not enough."""

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.routing import Timeouts


def first_limit(timeouts: Timeouts, left: float, *, is_stream: bool) -> tuple[float, Problem]:
    """Seconds until the answer must be known to be good, and the problem of one that is late.

    A stream must have begun within `first_token`, a whole answer ended within `whole`. `left` is
    what remains of the request's own time; where that is less, the backend is not to blame.
    """
    own = timeouts.first_token if is_stream else timeouts.whole
    if left < own:
        told = "gave no answer in the time that the request has"
        return left, Problem(ProblemKind.DEADLINE, told)
    told = "sent no token within" if is_stream else "did not finish its answer within"
    setting = "timeouts.first_token" if is_stream else "timeouts.whole"
    return own, Problem(ProblemKind.TIMEOUT, f"{told} {own:g} s", setting=setting)
