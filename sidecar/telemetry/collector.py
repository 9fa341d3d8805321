"""Gauges computed at scrape time, so that state is never pushed into metrics on every change."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sidecar.telemetry.metrics import PREFIX, STATE_GAUGES

Reading = tuple[str, tuple[str, ...], float]  # name without prefix, label values, value


class StateCollector(Collector):
    """Asks a callable for the readings of all `STATE_GAUGES` whenever it is scraped."""

    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, so that a name used twice is noticed."""
        return iter(_families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with the samples of this moment."""
        families = _families()
        for name, labels, value in self._read():
            families[name].add_metric(labels, value)
        return iter(families.values())


def _families() -> dict[str, GaugeMetricFamily]:
    return {
        name: GaugeMetricFamily(f"{PREFIX}_{name}", gauge.help, labels=gauge.labels)
        for name, gauge in STATE_GAUGES.items()
    }
