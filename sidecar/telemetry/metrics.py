"""Every metric family: its name, help, labels and buckets. Nothing else creates a metric.

Labels are names of the configuration or closed sets; whatever is not configured is `other`. All
label sets that a configuration can fill exist at 0 from the moment it loads, so that `rate` sees
the first failure; only the times of backends, which no failure needs, begin with the first answer.
Time series of vanished routes and backends go with them.
"""

import sys
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase

from sidecar.config.snapshot import Snapshot
from sidecar.dialects import DIALECTS
from sidecar.neutral.request import Severity
from sidecar.policy.outcome import OUTCOMES
from sidecar.policy.routing import OTHER, Route, Way, is_pattern
from sidecar.telemetry.optional import Part
from sidecar.wire.contract import Operation

PREFIX = "llm_sidecar"

_DURATION = tuple(0.01 * 2**step for step in range(17))
_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 15, 20,
    30, 45, 60, 120,
)  # fmt: skip
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_OVERHEAD = (0.0005, 0.001, 0.0025, 0.01)

REQUEST_OUTCOMES = ("ok", *sorted({rule.request for rule in OUTCOMES.values()}))
# how a request ends that no route took
ROUTELESS_OUTCOMES = ("ok", "client_disconnect", "client_error", "overloaded")
ATTEMPT_OUTCOMES = ("ok", *sorted({rule.attempt for rule in OUTCOMES.values()}))
FALLBACK_REASONS = (
    "auth", "circuit_open", "client_error", "connect", "context_length", "draining", "full",
    "protocol", "rate_limited", "resting", "server_error", "timeout", "truncated", "unhealthy",
    "unknown_model",
)  # fmt: skip
REJECTED_REASONS = (
    "auth", "budget", "draining", "invalid", "overload", "too_large", "unknown_model",
)  # fmt: skip
ABORTED_REASONS = ("client_disconnect", "idle_timeout", "shutdown", "upstream_reset")
PUBLIC_REASONS = ("bad_key", "bad_token", "no_key", "path", "rate", "size")
RECOVERY_RESULTS = ("ok", "failed")
RELOAD_RESULTS = ("applied", "failed")


class StateGauge(NamedTuple):
    """A gauge that the collector computes when it is scraped."""

    help: str
    labels: tuple[str, ...]


STATE_GAUGES: Mapping[str, StateGauge] = {
    "inflight_requests": StateGauge("Requests begun and not yet ended.", ("route",)),
    "inflight_requests_limit": StateGauge(
        "Requests that the data listener takes at once; 0 when there is no limit.", ()
    ),
    "queued_requests": StateGauge(
        "Requests that wait for a place at a backend; of those that have a limit.", ("backend",)
    ),
    "backend_up": StateGauge(
        "0 when the last three attempts that say anything about the backend all failed by its own "
        "fault, from its ejection until it is back, and while its probes fail, else 1.",
        ("backend",),
    ),
    "backend_last_success_timestamp_seconds": StateGauge(
        "When an attempt last succeeded; 0 when none has.", ("backend",)
    ),
    "backend_availability": StateGauge(
        "1 for the state in which the backend is.", ("backend", "state")
    ),
    "backend_info": StateGauge("Always 1.", ("backend", "dialect", "preset")),
    "public_open": StateGauge(
        "1 where everybody may use the public listener; absent where there is none.", ()
    ),
    "route_available_backends": StateGauge("Backends of the route that are ready.", ("route",)),
}


class Metrics:
    """All families of one program, in its own registry."""

    def __init__(self, version: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._routes: frozenset[str] = frozenset()
        self._backends: frozenset[str] = frozenset()
        self._models: frozenset[str] | None = None  # None: no label `model`
        self._counters: dict[tuple[Counter, tuple[str, ...]], Counter] = {}
        self._histograms: dict[tuple[Histogram, tuple[str, ...]], Histogram] = {}
        ProcessCollector(registry=self.registry)

        # requests
        self._declare_by_model(())
        self.request_duration = self._histogram(
            "request_duration_seconds",
            "Whole time of a request.",
            ("route", "operation"),
            _DURATION,
        )
        self.time_to_first_token = self._histogram(
            "time_to_first_token_seconds",
            "From a streamed request to the first content sent to the client.",
            ("route",),
            _FIRST_TOKEN,
        )
        self.time_per_output_token = self._histogram(
            "time_per_output_token_seconds",
            "Time per token after the first, of whole streams with usage.",
            ("route",),
            _PER_TOKEN,
        )
        self.proxy_overhead = self._histogram(
            "proxy_overhead_seconds",
            "The sidecar's own time: first byte in to first byte towards the backend, plus first "
            "byte back to first byte out.",
            ("route",),
            _OVERHEAD,
        )
        self.fallbacks = self._counter(
            "fallbacks", "Requests moved on to the next target, by reason.", ("route", "reason")
        )
        self.recoveries = self._counter(
            "recoveries",
            "Tries to go on with a stream that broke behind its first token.",
            ("route", "way", "result"),
        )
        self.rejected = self._counter(
            "rejected_requests", "Requests refused before any backend was asked.", ("reason",)
        )
        self.aborted = self._counter(
            "streams_aborted", "Streams that ended early after content.", ("route", "reason")
        )

        self.public_rejected = self._counter(
            "public_rejected", "Requests that the public listener turned away.", ("reason",)
        )
        self.usage_estimated = self._counter(
            "usage_estimated",
            "Answers whose usage had to be estimated, for their backend did not tell it.",
            ("route", "backend"),
        )
        self.translation_losses = self._counter(
            "translation_losses",
            "What attempts lost on the way from the client's dialect into the backend's.",
            ("from", "to", "severity"),
        )

        # attempts
        self.attempts = self._counter(
            "attempts", "Tries against a backend, by how they ended.", ("backend", "outcome")
        )
        self.first_byte = self._histogram(
            "upstream_first_byte_seconds",
            "From the start of an attempt to the first byte of the answer.",
            ("backend",),
            _DURATION,
        )
        self.retries = self._counter(
            "retries", "Attempts that asked the same backend again.", ("backend",)
        )
        self.budget_exhausted = self._counter(
            "retry_budget_exhausted", "Retries that the retry budget did not allow."
        )

        # the program
        self.reload_successful = self._gauge(
            "config_last_reload_successful", "Whether the last configuration read was good."
        )
        self.reload_success_time = self._gauge(
            "config_last_reload_success_timestamp_seconds",
            "When a configuration was last found good.",
        )
        self.config_hash = self._gauge(
            "config_hash", "The first 48 bits of the configuration's revision, as a number."
        )
        self.reloads = self._counter("config_reloads", "Configurations read anew.", ("result",))
        self.optional_failures = self._counter(
            "optional_failures",
            "Failures of parts that requests can do without, and did without.",
            ("part",),
        )
        for part in Part:
            self.optional_failures.labels(part)
        self.draining = self._gauge("draining", "1 from the stop signal to the end.")
        self.loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late the event loop woke a task that slept a second."
        )
        build = self._gauge("build_info", "Always 1.", ("version", "python"))
        build.labels(version, ".".join(map(str, sys.version_info[:3]))).set(1)

    def prepare(self, snapshot: Snapshot) -> None:
        """Make the label sets of a configuration, and drop those of what it no longer has."""
        routes = frozenset(route.name for route in snapshot.routes.routes)
        backends = frozenset(snapshot.backends)
        self._counters.clear()
        self._histograms.clear()
        self._forget("route", self._routes - routes)
        self._forget("backend", self._backends - backends)
        self._routes, self._backends = routes, backends
        had_models, self._models = self._models, _models(snapshot)
        if (had_models is None) is not (self._models is None):
            self._redeclare_by_model()
        self.config_hash.set(int(snapshot.revision[:12], 16))
        self._create(snapshot)

    def expose(self, accept: str) -> tuple[bytes, str]:
        """Everything as text in the format that `accept` asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def counter(self, family: Counter, *labels: str) -> Counter:
        """The one counter of a family with these labels; looking it up anew costs much more."""
        found = self._counters.get((family, labels))
        if found is None:
            found = self._counters[family, labels] = family.labels(*labels)
        return found

    def histogram(self, family: Histogram, *labels: str) -> Histogram:
        """The same for a histogram."""
        found = self._histograms.get((family, labels))
        if found is None:
            found = self._histograms[family, labels] = family.labels(*labels)
        return found

    def route(self, name: str) -> str:
        """The label of a route; `other` for what is not, or no longer, configured."""
        return name if name in self._routes else OTHER

    def backend(self, name: str) -> str:
        """The label of a backend; `other` for what is not, or no longer, configured."""
        return name if name in self._backends else OTHER

    def model(self, name: str | None) -> dict[str, str]:
        """The label of a model; none at all unless the configuration wants it."""
        if self._models is None:
            return {}
        return {"model": name if name is not None and name in self._models else OTHER}

    def _create(self, snapshot: Snapshot) -> None:
        """Touch each label set once; operations other than chat follow on first use."""
        for reason in REJECTED_REASONS:
            self.rejected.labels(reason)
        if snapshot.public is None:
            self.public_rejected.clear()
        for reason in PUBLIC_REASONS if snapshot.public is not None else ():
            self.public_rejected.labels(reason)
        for result in RELOAD_RESULTS:
            self.reloads.labels(result)
        for backend in snapshot.backends:
            self.retries.labels(backend)
            for outcome in ATTEMPT_OUTCOMES:
                self.attempts.labels(backend, outcome)
        self._create_losses({one.dialect.name for one in snapshot.backends.values()})
        for route in snapshot.routes.routes:
            self._create_route(route)
        for name in (*self._routes, OTHER):
            for outcome in REQUEST_OUTCOMES if name != OTHER else ROUTELESS_OUTCOMES:
                self.requests.labels(
                    route=name, operation=Operation.CHAT, outcome=outcome, **self.model(None)
                )

    def _create_route(self, route: Route) -> None:
        self.request_duration.labels(route.name, Operation.CHAT)
        self.time_to_first_token.labels(route.name)
        self.time_per_output_token.labels(route.name)
        self.proxy_overhead.labels(route.name)
        if len(route.targets) > 1:  # else there is nobody to move on to
            for reason in FALLBACK_REASONS:
                self.fallbacks.labels(route.name, reason)
        ways = {Way.REPLAY: True, Way.CONTINUE: any(one.continues for one in route.targets)}
        for way in route.recover:
            for result in RECOVERY_RESULTS if ways.get(way) else ():
                self.recoveries.labels(route.name, way, result)
        for reason in ABORTED_REASONS:
            self.aborted.labels(route.name, reason)
        for target in route.targets:
            self._create_tokens(route.name, target.backend, self.model(target.model))
            self.usage_estimated.labels(route.name, target.backend)

    def _create_losses(self, spoken: AbstractSet[str]) -> None:
        for asked in DIALECTS:
            for name in spoken - {asked.name}:  # equal dialects lose nothing but what was refused
                for severity in (Severity.COSMETIC, Severity.SEMANTIC):
                    self.translation_losses.labels(asked.name, name, severity)

    def _create_tokens(self, route: str, backend: str, model: Mapping[str, str]) -> None:
        for kind in ("input", "output"):
            self.tokens.labels(route=route, backend=backend, type=kind, **model)
        self.cached_input.labels(route=route, backend=backend, **model)
        self.reasoning_output.labels(route=route, backend=backend, **model)

    def _declare_by_model(self, model: tuple[str, ...]) -> None:
        self.requests = self._counter(
            "requests",
            "Requests ended, however many attempts they took.",
            ("route", "operation", "outcome", *model),
        )
        pair = ("route", "backend")
        self.tokens = self._counter(
            "tokens",
            "Tokens of answers; estimated where the backend did not tell them.",
            (*pair, "type", *model),
        )
        self.cached_input = self._counter(
            "cached_input_tokens", "Input tokens read from a backend's cache.", (*pair, *model)
        )
        self.reasoning_output = self._counter(
            "reasoning_output_tokens", "Output tokens spent on reasoning.", (*pair, *model)
        )

    def _redeclare_by_model(self) -> None:
        """A family's labels are fixed, so these start anew when the label `model` is switched."""
        for family in (self.requests, self.tokens, self.cached_input, self.reasoning_output):
            self.registry.unregister(family)
        self._declare_by_model(("model",) if self._models is not None else ())

    def _forget(self, label: str, names: Collection[str]) -> None:
        families = [one for one in vars(self).values() if isinstance(one, MetricWrapperBase)]
        for family in families:
            if label in family._labelnames:
                for name in names:
                    family.remove_by_labels({label: name})

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(name, text, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            name, text, labels, namespace=PREFIX, registry=self.registry, buckets=buckets
        )


def _models(snapshot: Snapshot) -> frozenset[str] | None:
    """The names of models in the configuration; None where they are no label."""
    if not snapshot.model_label:
        return None
    asked = {name for route in snapshot.routes.routes for name in route.models}
    sent = {target.model for route in snapshot.routes.routes for target in route.targets}
    own = {name for one in snapshot.backends.values() for name in (one.model, *one.models.values())}
    return frozenset(
        name for name in asked | sent | own if name is not None and not is_pattern(name)
    )
