"""The tunnel's metrics: what exists, what is counted, and what goes when the tunnel goes."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics

from tunnel.facts import Facts, State
from tunnel.metrics import TunnelMetrics

WELL = Facts(
    State.HEALTHY, 1.0, ready_connections=4, most_connections=4, probe="carried", probe_at=2.0
)


class Told:
    """A registry with the metrics of one tunnel, whose facts the test sets."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.facts: Facts | None = None
        self.registry = CollectorRegistry()
        self.metrics = TunnelMetrics(self.registry, lambda: self.facts)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(
            f"llm_sidecar_tunnel_{name}", {"tunnel": "main", **labels}
        )

    @property
    def samples(self) -> int:
        return sum(len(family.samples) for family in self.registry.collect())


def test_without_a_tunnel_there_is_nothing() -> None:
    told = Told()
    assert told.samples == 0
    told.facts = WELL
    told.metrics.begin()
    assert told.samples > 0
    told.facts = None
    told.metrics.end()
    assert told.samples == 0
    told.metrics.logged("info")
    told.metrics.exited(0, expected=True)
    told.metrics.restarted("config")
    assert told.samples == 0, "the last child drains when the tunnel is off already"
    told.metrics.begin()
    assert told.value("exits_total", code="0", expected="true") == 0


def test_what_ends_after_the_tunnel_is_not_counted() -> None:
    told = Told()
    told.metrics.begin()
    told.metrics.end()
    told.metrics.exited(0, expected=True)
    told.metrics.logged("info")
    assert told.samples == 0
    told.metrics.begin()
    told.metrics.exited(0, expected=True)
    assert told.value("exits_total", code="0", expected="true") == 1


def test_what_happens_is_counted() -> None:
    told = Told()
    told.metrics.begin()
    told.metrics.restarted("unhealthy")
    told.metrics.exited(-9, expected=False)
    told.metrics.exited(77, expected=False)
    told.metrics.exited(0, expected=True)
    told.metrics.started(0.06)
    told.metrics.recovered(7.0)
    told.metrics.logged("error")
    told.metrics.dropped(50)
    assert told.value("restarts_total", reason="unhealthy") == 1
    assert told.value("restarts_total", reason="exit") == 0
    assert told.value("exits_total", code="-9", expected="false") == 1
    assert told.value("exits_total", code="other", expected="false") == 1
    assert told.value("exits_total", code="0", expected="true") == 1
    assert told.value("start_seconds_bucket", le="0.1") == 1
    assert told.value("recovery_seconds_bucket", le="6.4") == 0
    assert told.value("recovery_seconds_bucket", le="12.8") == 1
    assert told.value("log_lines_total", level="error") == 1
    assert told.value("log_dropped_total") == 50


@pytest.mark.parametrize(
    ("state", "up"),
    [(state, state in (State.UP, State.HEALTHY, State.DEGRADED)) for state in State],
)
def test_one_state_is_marked(state: State, up: bool) -> None:
    told = Told()
    told.facts = replace(WELL, state=state)
    assert told.value("up") == up
    marked = [one for one in State if told.value("state", state=one) == 1]
    assert marked == [state]
    assert all(told.value("state", state=one) is not None for one in State)


def test_the_facts_are_read() -> None:
    told = Told()
    told.facts = WELL
    assert (told.value("ready_connections"), told.value("probe_success")) == (4, 1)
    assert (told.value("crash_loop"), told.value("foreign_ingress")) == (0, 0)
    told.facts = replace(WELL, probe="tunnel", backoff=2.5, crash_loop=True, foreign_ingress=True)
    assert (told.value("probe_success"), told.value("backoff_seconds")) == (0, 2.5)
    assert (told.value("crash_loop"), told.value("foreign_ingress")) == (1, 1)
