"""The catalogue of metrics: label sets, budget, and what Prometheus itself thinks of it."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.config.snapshot import Listener, Public, Snapshot
from sidecar.dialects import DIALECTS, anthropic_messages
from sidecar.policy.admission import Bounds
from sidecar.policy.rate import ClientBounds
from sidecar.policy.routing import Route, Target, Way
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.collector import StateCollector
from sidecar.telemetry.metrics import PUBLIC_REASONS, STATE_GAUGES, Metrics
from tests.sidecar.examples import TIMEOUTS, backend, route, snapshot
from tunnel.facts import Facts, State
from tunnel.metrics import TunnelMetrics

Sample = tuple[str, frozenset[tuple[str, str]]]

BACKENDS = [*(backend(name) for name in "abc"), backend("d", bounds=Bounds(4))]
ROUTES = [
    replace(one, recover=tuple(Way))
    for one in (route("one", "a", "b"), route("two", "c", "d"), route("three", "a"))
]
USUAL = snapshot(BACKENDS, ROUTES)


PUBLIC = Public(
    Listener(("127.0.0.1",), 14402), (), None, per_key=ClientBounds(), per_source=ClientBounds()
)


def prepared(configured: Snapshot) -> Metrics:
    """The metrics of a program with a tunnel, before any traffic."""
    metrics, store = Metrics("1.2.3"), RuntimeStore()
    store.reconcile(configured)
    TunnelMetrics(metrics.registry, lambda: Facts(State.STARTING, 0.0)).begin()
    report = Report(Current(configured), store, Life(0), "1.2.3", lambda: 1.0, ClientUsage(float))
    metrics.registry.register(StateCollector(report.gauges))
    metrics.prepare(configured)
    return metrics


def samples(metrics: Metrics) -> Iterator[tuple[Sample, float]]:
    text = metrics.expose("")[0].decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield (sample.name, frozenset(sample.labels.items())), sample.value


def values_of(metrics: Metrics, label: str) -> set[str]:
    return {dict(labels).get(label, "") for (_, labels), _ in samples(metrics)} - {""}


def test_the_usual_case_stays_within_its_budget() -> None:
    assert len(list(samples(prepared(USUAL)))) <= 500


def test_promtool_accepts_the_exposition() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = prepared(USUAL).expose("")[0]
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stderr, checked.stdout) == (0, b"", b"")


def test_every_name_has_the_prefix() -> None:
    names = {name for (name, _), _ in samples(prepared(USUAL))}
    assert all(name.startswith(("llm_sidecar_", "process_")) for name in names)
    assert not any(name.endswith("_created") for name in names)


def test_openmetrics_is_given_to_who_asks() -> None:
    body, content_type = Metrics("1").expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert Metrics("1").expose("")[1].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("requests_total", {"route": "one", "operation": "chat", "outcome": "upstream_error"}),
        ("requests_total", {"route": "other", "operation": "chat", "outcome": "client_error"}),
        ("attempts_total", {"backend": "d", "outcome": "truncated"}),
        ("tokens_total", {"route": "one", "backend": "b", "type": "output"}),
        ("fallbacks_total", {"route": "two", "reason": "rate_limited"}),
        ("rejected_requests_total", {"reason": "too_large"}),
        ("streams_aborted_total", {"route": "three", "reason": "shutdown"}),
        ("config_reloads_total", {"result": "failed"}),
        ("time_to_first_token_seconds_count", {"route": "one"}),
        ("backend_availability", {"backend": "a", "state": "resting"}),
        ("retry_budget_exhausted_total", {}),
        ("tunnel_restarts_total", {"tunnel": "main", "reason": "exit"}),
        ("tunnel_exits_total", {"tunnel": "main", "code": "1", "expected": "false"}),
        ("tunnel_log_dropped_total", {"tunnel": "main"}),
        ("tunnel_ready_connections", {"tunnel": "main"}),
    ],
)
def test_label_sets_exist_at_0_before_any_traffic(name: str, labels: dict[str, str]) -> None:
    found = dict(samples(prepared(USUAL)))
    assert found[f"llm_sidecar_{name}", frozenset(labels.items())] == 0


def test_vanished_routes_and_backends_take_their_series_along() -> None:
    metrics = prepared(USUAL)
    metrics.attempts.labels("a", "ok").inc()
    metrics.prepare(snapshot(BACKENDS[:1], ROUTES[2:], revision="f" * 16))
    own = {name for family in metrics.registry.collect() for name in (family.name,)}
    assert "llm_sidecar_attempts" in own
    found = dict(samples(metrics))
    label_sets = [dict(labels) for (name, labels) in found if "backend_" not in name]
    assert {one["route"] for one in label_sets if "route" in one} >= {"three", "other"}
    attempts = {labels for (name, labels) in found if name == "llm_sidecar_attempts_total"}
    assert {dict(labels)["backend"] for labels in attempts} == {"a"}
    assert (
        found["llm_sidecar_attempts_total", frozenset({("backend", "a"), ("outcome", "ok")})] == 1
    )
    assert found["llm_sidecar_config_hash", frozenset()] == 0xFFFFFFFFFFFF
    assert metrics.route("one") == metrics.backend("b") == "other"


def test_the_label_model_comes_and_goes_with_its_setting() -> None:
    named = snapshot(
        [backend("a", model="own", models={"small": "Small-8B"})],
        [
            Route(
                "r",
                ("gpt-*", "chat"),
                (Target("a", "target", TIMEOUTS),),
                route("r", "a").retry,
            )
        ],
        model_label=True,
    )
    metrics = prepared(USUAL)
    assert values_of(metrics, "model") == set()
    metrics.prepare(named)
    for asked in ("chat", "own", "Small-8B", "target", "gpt-*", "unheard-of", None):
        pair = {"route": "r", "backend": "a"}
        metrics.tokens.labels(type="input", **pair, **metrics.model(asked)).inc()
    assert values_of(metrics, "model") == {"chat", "own", "Small-8B", "target", "other"}
    metrics.prepare(USUAL)
    assert values_of(metrics, "model") == set()


def test_state_gauges_and_the_report_know_the_same_names() -> None:
    store = RuntimeStore()
    store.reconcile(USUAL)
    everything = replace(USUAL, public=PUBLIC)
    report = Report(Current(everything), store, Life(0), "1", lambda: 1.0, ClientUsage(float))
    seen = {name: len(labels) for name, labels, _ in report.gauges()}
    assert seen == {name: len(gauge.labels) for name, gauge in STATE_GAUGES.items()}


def test_losses_exist_at_nought_for_every_crossing_into_a_dialect_that_is_configured() -> None:
    backends = [backend("a"), backend("b", dialect=anthropic_messages.DIALECT)]
    metrics = prepared(snapshot(backends, [route("one", "a", "b")]))
    ways = {
        (told["from"], told["to"], told["severity"])
        for (name, labels), value in samples(metrics)
        for told in [dict(labels)]
        if name == "llm_sidecar_translation_losses_total" and value == 0
    }
    spoken = ("openai", "anthropic")
    assert ways == {
        (asked.name, to, severity)
        for asked in DIALECTS
        for to in spoken
        if asked.name != to
        for severity in ("cosmetic", "semantic")
    }


def test_the_public_listener_has_series_only_where_there_is_one() -> None:
    def reasons() -> dict[str, float]:
        return {
            dict(labels)["reason"]: value
            for (name, labels), value in samples(metrics)
            if name == "llm_sidecar_public_rejected_total"
        }

    metrics = prepared(USUAL)
    assert reasons() == {}
    metrics.prepare(replace(USUAL, public=PUBLIC))
    assert reasons() == dict.fromkeys(PUBLIC_REASONS, 0)
    metrics.prepare(USUAL)
    assert reasons() == {}
