"""The tunnel's metric families, on a registry that somebody else owns.

Their label sets exist while there is a tunnel, at 0 from its first moment, and go with it.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tunnel.facts import NAME, Facts, Log, Reason, State

PREFIX = "llm_sidecar_tunnel"

RESTART_REASONS: tuple[Reason, ...] = ("exit", "unhealthy", "config", "operator")
LEVELS: tuple[Log, ...] = ("debug", "info", "warning", "error")
# how a child ends that was told to, and how most end that were not
EXITS = (("0", "true"), ("1", "false"))
# every exit that the child itself is known for; another is `other`
CODES = frozenset({0, 1, 2, 10, 11, 255, -1, -6, -9, -11, -13, -15})
OTHER = "other"
CARRIES = frozenset({State.UP, State.HEALTHY, State.DEGRADED})

_SECONDS = tuple(0.1 * 2**step for step in range(13))

GAUGES = {
    "up": ("1 while the tunnel carries, as far as it is known.", ()),
    "ready_connections": ("Connections with the edge that are registered.", ()),
    "probe_success": ("1 when the latest probe came through the public name, else 0.", ()),
    "state": ("1 for the state in which the tunnel is.", ("state",)),
    "backoff_seconds": ("The pause before the next start; 0 while there is none.", ()),
    "crash_loop": ("1 while it fails so often that somebody should look.", ()),
    "foreign_ingress": ("1 while the edge has it serve something that is not ours.", ()),
}


class TunnelMetrics(Collector):
    """Counts what happens, and reads the facts whenever it is scraped.

    It implements `facts.Observer`. `facts` returns None while there is no tunnel.
    """

    def __init__(self, registry: CollectorRegistry, facts: Callable[[], Facts | None]) -> None:
        self._facts = facts
        self._is_on = False  # what ends later is told to nobody: its series would come back

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("tunnel", *labels), namespace=PREFIX, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(
                name, text, ("tunnel",), namespace=PREFIX, registry=registry, buckets=_SECONDS
            )

        self.restarts = counter("restarts", "Children that were replaced, by reason.", "reason")
        self.exits = counter(
            "exits", "Children that ended, by exit code; a negative one is a signal.",
            "code", "expected",
        )  # fmt: skip
        self.start_seconds = histogram(
            "start_seconds", "From the start of a child to its first connection with the edge."
        )
        self.recovery_seconds = histogram(
            "recovery_seconds", "From the loss of the tunnel to the moment it carries again."
        )
        self.log_lines = counter("log_lines", "Lines that cloudflared wrote, by level.", "level")
        self.log_dropped = counter(
            "log_dropped", "Lines of cloudflared that were left out of the log."
        )
        registry.register(self)

    def begin(self) -> None:
        """A tunnel is configured: all its label sets exist from now on."""
        self._is_on = True
        for reason in RESTART_REASONS:
            self.restarts.labels(NAME, reason)
        for code, expected in EXITS:
            self.exits.labels(NAME, code, expected)
        for level in LEVELS:
            self.log_lines.labels(NAME, level)
        for family in (self.start_seconds, self.recovery_seconds, self.log_dropped):
            family.labels(NAME)

    def end(self) -> None:
        """There is no tunnel any more; what its last child still does is not counted."""
        self._is_on = False
        for family in (
            self.restarts, self.exits, self.start_seconds, self.recovery_seconds,
            self.log_lines, self.log_dropped,
        ):  # fmt: skip
            family.clear()

    def restarted(self, reason: Reason) -> None:
        """A child was replaced, or started again."""
        if self._is_on:
            self.restarts.labels(NAME, reason).inc()

    def exited(self, code: int, *, expected: bool) -> None:
        """A child ended."""
        told = str(code) if code in CODES else OTHER
        if self._is_on:
            self.exits.labels(NAME, told, str(expected).lower()).inc()

    def started(self, seconds: float) -> None:
        """A child has its first connection."""
        if self._is_on:
            self.start_seconds.labels(NAME).observe(seconds)

    def recovered(self, seconds: float) -> None:
        """The tunnel carries again."""
        if self._is_on:
            self.recovery_seconds.labels(NAME).observe(seconds)

    def logged(self, level: Log) -> None:
        """The child wrote a line."""
        if self._is_on:
            self.log_lines.labels(NAME, level).inc()

    def dropped(self, lines: int) -> None:
        """Lines of the child were left out."""
        if self._is_on:
            self.log_dropped.labels(NAME).inc(lines)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, so that a name used twice is noticed."""
        return iter(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of this moment."""
        families, facts = _families(), self._facts()
        if facts is not None:
            for name, value in _readings(facts).items():
                families[name].add_metric((NAME,), value)
            for state in State:
                families["state"].add_metric((NAME, state), float(state is facts.state))
        return iter(families.values())


def _readings(facts: Facts) -> dict[str, float]:
    return {
        "up": float(facts.state in CARRIES),
        "ready_connections": float(facts.ready_connections),
        "probe_success": float(facts.probe == "carried"),
        "backoff_seconds": facts.backoff,
        "crash_loop": float(facts.crash_loop),
        "foreign_ingress": float(facts.foreign_ingress),
    }


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=("tunnel", *labels))
        for name, (text, labels) in GAUGES.items()
    }
