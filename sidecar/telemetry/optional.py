"""Parts that a request can do without: one that fails is logged once and counted, no more."""

import logging
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

_log = logging.getLogger(__name__)


class Part(StrEnum):
    """What is optional; a label in metrics."""

    METRICS = "metrics"
    LOG = "log"
    CALIBRATION = "calibration"  # learning how many tokens a backend makes of a text


class Optionals:
    """Runs the work of optional parts; `count` is told of every failure. It never raises."""

    __slots__ = ("_count", "_told")

    def __init__(self, count: Callable[[Part], None]) -> None:
        self._count = count
        self._told: set[Part] = set()

    def run(self, part: Part, work: Callable[[], None]) -> None:
        """Do some work of a part, if it can be done."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - what is optional must never fail a request
            self.failed(part, error)

    def failed(self, part: Part, error: BaseException | None) -> None:
        """A part has failed."""
        with suppress(Exception):  # it may be the metrics that fail
            self._count(part)
        if part in self._told:
            return
        self._told.add(part)
        with suppress(Exception):
            _log.error(
                "%s failed; requests go on, further failures are counted", part, exc_info=error
            )
