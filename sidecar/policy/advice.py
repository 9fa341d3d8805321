"""What to do next, by what went wrong: one short sentence for people, or none where none helps.

It tells names of the configuration and where a key comes from, never a key, and no words of a
backend.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.neutral.problem import Overflow, Problem, ProblemKind
from sidecar.policy.routing import OTHER

MOST = 3  # sentences, where each backend has a fault of its own

_MODEL = re.compile(r"[A-Za-z0-9][\w.:/-]{0,127}", re.ASCII)  # what may stand in a command


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a backend that failed, and of the request that it was asked.

    `place` is its host and port, `key` where its key comes from; `bound` names the field that
    bounds an answer in the client's dialect, `larger` a model on offer whose context would hold the
    request. `next_target` tells that the route has a target that was not asked.
    """

    backend: str
    place: str
    route: str = OTHER
    is_ollama: bool = False
    is_public: bool = False
    key: str | None = None
    forwards_key: bool = False
    model: str | None = None
    bound: str = "max_tokens"
    larger: str | None = None
    next_target: bool = False
    by_route: bool = False  # the time was the route's, not the client's


def advise(problem: Problem, known: Known) -> str | None:
    """The sentence for one problem of one backend."""
    if problem.setting == "base_url":
        return (
            f"Is `base_url` of backend {known.backend!r} right? "
            "A login page or a proxy may have answered."
        )
    say = _SAYINGS.get(problem.kind)
    return say(problem, known) if say is not None else None


def advise_all(verdict: Problem, failed: Sequence[tuple[Problem, Known]]) -> str | None:
    """What to do about all that failed, in order; `verdict` is what the client is told.

    Where the client can mend it, nothing else is said.
    """
    if verdict.kind in _CLIENT_MENDS:
        failed = [pair for pair in failed if pair[0].kind is verdict.kind][-1:]
    latest = {known.backend: (problem, known) for problem, known in failed}
    said = dict.fromkeys(advise(problem, known) for problem, known in latest.values())
    return " ".join([sentence for sentence in said if sentence][:MOST]) or None


def past_deadline(route: str) -> str:
    """For a request that took longer than its route allows."""
    return f"Ask for less, or raise `deadline` of route {route!r}."


def _context(problem: Problem, known: Known) -> str:
    room = problem.overflow or Overflow()
    by = f" by about {room.excess} tokens" if room.excess is not None else ""
    first = f"Lower `{known.bound}`{by}" if _input_fits(room) else f"Shorten the history{by}"
    named = f", such as {known.larger!r}" if known.larger is not None else ""
    return f"{first}, or ask for a model with a larger context{named}."


def _input_fits(room: Overflow) -> bool:
    """Whether only the room for the answer is too much."""
    if room.limit is None or room.requested is None or room.output is None:
        return False
    return room.requested - room.output < room.limit


def _key(problem: Problem, known: Known) -> str:
    if problem.status == 402:
        return f"Check the account behind the key of backend {known.backend!r}: has it credit left?"
    if known.key is not None:
        return f"Check the key of backend {known.backend!r}, which comes from {known.key}."
    if known.forwards_key:
        return f"Send a key: backend {known.backend!r} is given the client's own."
    return f"Backend {known.backend!r} has no key: say in its `auth` where one is."


def _client_key(_: Problem, known: Known) -> str:
    return f"Check the key that the client sends: backend {known.backend!r} is given it as it is."


def _connect(_: Problem, known: Known) -> str:
    if known.is_ollama and not known.is_public:
        return f"Is Ollama running at {known.place}? `ollama serve` starts it."
    if known.is_public:
        return f"Check `base_url` of backend {known.backend!r} and the way to {known.place}."
    return f"Is a server running at {known.place}?"


def _dns(_: Problem, known: Known) -> str:
    return f"Check the host in `base_url` of backend {known.backend!r}, and the name server."


def _tls(_: Problem, known: Known) -> str:
    return (
        f"Has the certificate of {known.place} expired? Renew it; where your own authority signed "
        f"it, name that in `ca` of backend {known.backend!r}."
    )


def _timeout(problem: Problem, known: Known) -> str | None:
    if problem.setting is None:
        return None
    if problem.setting == "timeouts.connect":
        return _connect(problem, known)
    if problem.setting == "timeouts.idle":
        return f"If backend {known.backend!r} is only slow, raise its `{problem.setting}`."
    return (
        f"The model of backend {known.backend!r} may still be loading: ask again, or raise its "
        f"`{problem.setting}`."
    )


def _later(problem: Problem, known: Known) -> str:
    after = problem.retry_after
    when = "later" if after is None else f"in {max(1, math.ceil(after))} s"
    more = "" if known.route == OTHER else f", or give route {known.route!r} one more target"
    return f"Come back {when}{more}."


def _model(_: Problem, known: Known) -> str | None:
    if not known.is_ollama or known.model is None or not _MODEL.fullmatch(known.model):
        return None
    return f"`ollama pull {known.model}` fetches the model for backend {known.backend!r}."


def _refused(_: Problem, known: Known) -> str:
    if not known.next_target:
        return "Word the request otherwise."
    return (
        "Word the request otherwise; "
        f"`on: {{content_refused: fail_over}}` of route {known.route!r} would ask its next target."
    )


def _deadline(_: Problem, known: Known) -> str:
    if known.by_route:
        return past_deadline(known.route)
    return "Ask for less, or let the client wait longer."


_K = ProblemKind
_SAYINGS: Mapping[ProblemKind, Callable[[Problem, Known], str | None]] = {
    _K.CONTEXT_LENGTH: _context,
    _K.BACKEND_AUTH: _key,
    _K.CLIENT_AUTH: _client_key,
    _K.CONNECT: _connect,
    _K.DNS: _dns,
    _K.TLS: _tls,
    _K.TIMEOUT: _timeout,
    _K.RATE_LIMITED: _later,
    _K.OVERLOADED: _later,
    _K.UNKNOWN_MODEL: _model,
    _K.CONTENT_REFUSED: _refused,
    _K.DEADLINE: _deadline,
}
_CLIENT_MENDS = {_K.CONTEXT_LENGTH, _K.CLIENT_AUTH, _K.CONTENT_REFUSED, _K.DEADLINE}
