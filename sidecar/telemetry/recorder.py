"""The two facts worth recording: an attempt ended, a request ended.

The data plane fills a note while a request walks through; nothing reads it before the request has
ended. Recording is an optional part: when it fails, that is logged once and no request notices.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import Loss
from sidecar.neutral.usage import Usage
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.breaker import Change
from sidecar.policy.outcome import OUTCOMES, Outcome
from sidecar.policy.routing import OTHER, Way
from sidecar.policy.strangers import Strangers
from sidecar.telemetry.logs import fields
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.optional import Optionals, Part
from sidecar.wire.contract import Operation

_log = logging.getLogger(__name__)

# a request that no backend was asked for was refused, for one of these reasons
REJECTIONS: Mapping[ProblemKind, str] = {
    ProblemKind.BAD_REQUEST: "invalid",
    ProblemKind.LOOP: "invalid",
    ProblemKind.TOO_LARGE: "too_large",
    ProblemKind.UNKNOWN_MODEL: "unknown_model",
    ProblemKind.FORBIDDEN: "auth",
    ProblemKind.CLIENT_AUTH: "auth",
    ProblemKind.SHUTDOWN: "draining",
    ProblemKind.UNAVAILABLE: "overload",
}
_ABORTED: Mapping[ProblemKind, str] = {
    ProblemKind.CLIENT_GONE: "client_disconnect",
    ProblemKind.TIMEOUT: "idle_timeout",
    ProblemKind.DEADLINE: "idle_timeout",
    ProblemKind.SHUTDOWN: "shutdown",
}
_FALLBACKS: Mapping[ProblemKind, str] = {
    ProblemKind.DIVERGED: "truncated",  # a stream had broken, and could not go on there
    ProblemKind.CONTEXT_LENGTH: "context_length",
    ProblemKind.UNKNOWN_MODEL: "unknown_model",
}
# what a first target was passed over for; one that comes back by degrees counts as ejected
_PASSED_OVER: Mapping[Availability, str] = {
    Availability.READY: "circuit_open",
    Availability.EJECTED: "circuit_open",
    Availability.UNHEALTHY: "unhealthy",
    Availability.FULL: "full",
    Availability.RESTING: "resting",
    Availability.DRAINING: "draining",
}


@dataclass(slots=True)
class RequestNote:
    """What is said of one request; write-only until it has ended. Times are seconds.

    Retries, fallbacks, tokens and the reason of a refusal follow from `attempts` and `problem`. A
    client that left is the problem CLIENT_GONE.
    """

    id: str
    operation: Operation = Operation.OPAQUE
    route: str = OTHER
    revision: str = ""
    asked_model: str | None = None
    answered_model: str | None = None
    stream: bool = False
    client: str | None = None  # the name of its key or of its visitor, on the public listener
    visitor: str | None = None  # whom Cloudflare Access named
    source: str | None = None  # the address that it came from
    refused: str | None = None  # why it is nobody's
    stranger: str | None = None  # whom the limits know it by, unless the door has let it in
    client_retry: int | None = None  # which try of the client's this is, 0 for the first
    attempts: list[Outcome] = field(default_factory=list)
    recoveries: list[tuple[Way, bool]] = field(default_factory=list)  # and whether it went on
    passed_over: Standing | None = None  # that of the first target, where another was asked first
    full: list[int] = field(default_factory=list)  # attempts made when a backend had no room
    budget_exhausted: bool = False  # a retry was not made for want of budget
    problem: Problem | None = None  # what the request ended with, in-band or not
    status: int | None = None  # as sent to the client
    committed: bool = False  # the client had received content
    ttft: float | None = None
    duration: float = 0.0
    overhead: float | None = None
    skipped_events: int = 0
    is_probe: bool = False  # somebody asked for health: neither counted nor logged

    @property
    def result(self) -> str:
        """The outcome of the request, as metrics and logs call it."""
        return "ok" if self.problem is None else OUTCOMES[self.problem.kind].request

    @property
    def usage(self) -> Usage | None:
        """What the answer cost; failed tries count for nothing."""
        last = self.attempts[-1] if self.attempts else None
        return last.usage if last is not None and last.problem is None else None


class Recorder:
    """Writes metrics, and one log line per request. `optional` runs what may fail, here too."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._strangers = metrics, Strangers()
        self.optional = Optionals(lambda part: metrics.optional_failures.labels(part).inc())

    def attempt_ended(self, outcome: Outcome) -> None:
        """An attempt was settled."""
        self.optional.run(Part.METRICS, lambda: self._count_attempt(outcome))

    def breakers_changed(self, changes: Iterable[Change]) -> None:
        """Backends, or models of them, were ejected or are back."""
        for change in changes:
            self.optional.run(Part.LOG, partial(_log_change, change))

    def crossed(self, client: str, backend: str, losses: Iterable[Loss]) -> None:
        """A request lost something on its way from the client's dialect into a backend's."""
        counter = self._metrics.translation_losses

        def count() -> None:
            for loss in losses:
                counter.labels(client, backend, loss.severity).inc()

        self.optional.run(Part.METRICS, count)

    def turned_away(self, reason: str) -> None:
        """The public listener refused a request, for one of `metrics.PUBLIC_REASONS`."""
        count = self._metrics.public_rejected.labels(reason).inc
        self.optional.run(Part.METRICS, count)

    def request_ended(self, note: RequestNote) -> None:
        """The client has its answer, or has left."""
        if note.is_probe:
            return
        self.optional.run(Part.METRICS, lambda: self._count_request(note))
        self.optional.run(Part.LOG, lambda: self._log_request(note))

    def end_while(self) -> None:
        """Tell of the strangers whose requests had no line of their own."""
        for source, reasons in self._strangers.end():
            told = fields(source=source, requests=sum(reasons.values()), by=reasons)
            who = "strangers" if source is None else "a stranger"
            message = "further requests of %s were turned away"
            self.optional.run(Part.LOG, partial(_log.info, message, who, extra=told))

    def _log_request(self, note: RequestNote) -> None:
        level = logging.INFO
        if note.stranger is not None:
            reason = (note.refused or str(note.status)).partition(":")[0]
            if not self._strangers.take(note.stranger, reason):
                level = logging.DEBUG
        _log.log(level, "request", extra=request_line(note))

    def _count_attempt(self, outcome: Outcome) -> None:
        backend = self._metrics.backend(outcome.backend)
        metrics = self._metrics
        metrics.counter(metrics.attempts, backend, outcome.label).inc()
        if outcome.first_byte is not None:
            metrics.histogram(metrics.first_byte, backend).observe(outcome.first_byte)

    def _count_request(self, note: RequestNote) -> None:
        metrics, route = self._metrics, self._metrics.route(note.route)
        model = metrics.model(note.asked_model).values()
        metrics.counter(metrics.requests, route, note.operation, note.result, *model).inc()
        duration = metrics.histogram(metrics.request_duration, route, note.operation)
        duration.observe(note.duration)
        if note.overhead is not None:
            metrics.histogram(metrics.proxy_overhead, route).observe(note.overhead)
        if note.budget_exhausted:
            metrics.budget_exhausted.inc()
        for way, went_on in note.recoveries:
            metrics.recoveries.labels(route, way, "ok" if went_on else "failed").inc()
        if note.problem is not None:
            if not note.attempts and (reason := REJECTIONS.get(note.problem.kind)):
                metrics.rejected.labels(reason).inc()
            if note.stream and note.committed:
                aborted = _ABORTED.get(note.problem.kind, "upstream_reset")
                metrics.aborted.labels(route, aborted).inc()
        self._count_steps(note, route)
        self._count_tokens(note, route)

    def _count_steps(self, note: RequestNote, route: str) -> None:
        """Retries and fallbacks: what each attempt is to the one before it."""
        for before, after in pairwise(note.attempts):
            if after.candidate == before.candidate:
                self._metrics.retries.labels(self._metrics.backend(after.backend)).inc()
            else:
                self._metrics.fallbacks.labels(route, _fallback_reason(before)).inc()
        full = sum(made < len(note.attempts) for made in note.full)
        if full:
            self._metrics.fallbacks.labels(route, "full").inc(full)
        over = note.passed_over
        if over is not None and over.availability is not Availability.FULL:  # it is counted above
            self._metrics.fallbacks.labels(route, _PASSED_OVER[over.availability]).inc()

    def _count_tokens(self, note: RequestNote, route: str) -> None:
        metrics, usage = self._metrics, note.usage
        if note.stream and note.ttft is not None:
            metrics.histogram(metrics.time_to_first_token, route).observe(note.ttft)
        if usage is None:
            return
        answered = note.attempts[-1]
        pair = (route, metrics.backend(answered.backend))
        model = tuple(metrics.model(answered.model).values())
        metrics.counter(metrics.tokens, *pair, "input", *model).inc(usage.input_tokens)
        metrics.counter(metrics.tokens, *pair, "output", *model).inc(usage.output_tokens)
        if usage.cached_input_tokens:
            metrics.counter(metrics.cached_input, *pair, *model).inc(usage.cached_input_tokens)
        if usage.reasoning_output_tokens:
            thought = metrics.counter(metrics.reasoning_output, *pair, *model)
            thought.inc(usage.reasoning_output_tokens)
        if usage.is_estimated:
            metrics.counter(metrics.usage_estimated, *pair).inc()
        further = usage.output_tokens - 1
        if note.stream and note.ttft is not None and further > 0:
            per_token = max(0.0, note.duration - note.ttft) / further
            metrics.histogram(metrics.time_per_output_token, route).observe(per_token)


def _log_change(change: Change) -> None:
    who = f"backend {change.backend!r}" + (f", model {change.model!r}," if change.model else "")
    told = {"backend": change.backend, "model": change.model}
    if change.is_back:
        _log.info("%s is back", who, extra=fields(**told))
    else:
        extra = fields(**told, why=change.why, rest_s=round(change.rest, 1))
        _log.warning("%s is ejected for %.0f s %s", who, change.rest, change.why, extra=extra)


def _fallback_reason(failed: Outcome) -> str:
    kind = failed.problem.kind if failed.problem is not None else ProblemKind.INTERNAL
    return _FALLBACKS.get(kind, OUTCOMES[kind].attempt)


def request_line(note: RequestNote) -> dict[str, object]:
    """What the log tells of a request: never a prompt, an answer or a credential."""
    usage = note.usage
    return fields(
        id=note.id,
        client=note.client,
        visitor=note.visitor,
        source=note.source,
        refused=note.refused,
        route=note.route,
        operation=note.operation,
        model=note.asked_model,
        answered_model=note.answered_model,
        stream=note.stream,
        client_retry=note.client_retry or None,
        attempts=[_attempt_line(outcome) for outcome in note.attempts],
        recoveries=[f"{way}: {'ok' if ok else 'failed'}" for way, ok in note.recoveries] or None,
        result=note.result,
        status=note.status,
        ttft_ms=_milliseconds(note.ttft),
        ms=_milliseconds(note.duration),
        tokens_in=usage.input_tokens if usage else None,
        tokens_out=usage.output_tokens if usage else None,
        skipped_events=note.skipped_events or None,
        problem=_told(note.problem),
        revision=note.revision,
    )


def _attempt_line(outcome: Outcome) -> dict[str, object]:
    return {
        "backend": outcome.backend,
        "model": outcome.model,
        "outcome": outcome.label,
        "disposition": outcome.disposition,
        "ms": _milliseconds(outcome.duration),
        "problem": _told(outcome.problem),
    }


def _told(problem: Problem | None) -> str | None:
    return problem.in_our_words if problem is not None else None


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
