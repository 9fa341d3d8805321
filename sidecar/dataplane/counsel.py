"""What a client is advised to do: `policy.advice`, told what this sidecar knows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from sidecar.config.snapshot import Backend, Credential, Forward
from sidecar.dataplane.job import Job
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.advice import Known, advise_all
from sidecar.policy.outcome import Outcome
from sidecar.wire.contract import ModelEntry

_OLLAMA = "ollama"
_PORTS = {"http": 80, "https": 443}


def advised(verdict: Problem, job: Job, on_offer: Callable[[], Sequence[ModelEntry]]) -> Problem:
    """The problem that ends a request, with what to do next.

    `on_offer` lists the models that clients may ask for; it is looked at for an overlong request
    only.
    """
    if not job.note.attempts or verdict.advice is not None:
        return verdict
    larger = None
    if verdict.kind is ProblemKind.CONTEXT_LENGTH:
        larger = _larger(verdict, job, on_offer())
    failed = [(one.problem, _known(job, one, larger)) for one in job.note.attempts if one.problem]
    return replace(verdict, advice=advise_all(verdict, failed))


def _known(job: Job, outcome: Outcome, larger: str | None) -> Known:
    backend = job.snapshot.backends[outcome.backend]
    route, tried = job.plan.route, {one.backend for one in job.note.attempts}
    return Known(
        backend=backend.name,
        place=_place(backend),
        route=route.name,
        is_ollama=backend.dialect.name == _OLLAMA,
        is_public=backend.local is False,
        key=_origin(backend),
        forwards_key=isinstance(backend.auth, Forward),
        model=outcome.model,
        bound=job.outbound.inbound.dialect.bound_field,
        larger=larger,
        next_target=any(one.backend not in tried for one in job.plan.candidates),
        by_route=route.deadline is not None and job.deadline >= job.timing.started + route.deadline,
    )


def _place(backend: Backend) -> str:
    parts = urlsplit(backend.base_url)
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    return f"{named}:{parts.port or _PORTS.get(parts.scheme, 0)}"


def _origin(backend: Backend) -> str | None:
    """Where the backend's own key comes from."""
    match backend.auth:
        case Credential(secret=secret) | Forward(otherwise=Credential(secret=secret)):
            return secret.origin
        case _:
            return None


def _larger(verdict: Problem, job: Job, on_offer: Sequence[ModelEntry]) -> str | None:
    """The model on offer with the least context that would hold the request, where that is known.

    The request's own route has been asked already.
    """
    room = verdict.overflow
    limits = [
        context
        for one in job.note.attempts
        if one.problem is not None and one.problem.kind is ProblemKind.CONTEXT_LENGTH
        if (context := job.plan.candidates[one.candidate].context) is not None
    ]
    if room is not None:
        limits += [told for told in (room.limit, room.requested) if told is not None]
    if not limits:
        return None
    needed, asked = max(limits), job.note.asked_model
    fitting = [
        (one.context, one.id)
        for one in on_offer
        if one.context is not None and one.context > needed and one.id != asked
    ]
    return min(fitting)[1] if fitting else None
