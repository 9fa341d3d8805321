"""One request on its way: what all attempts at it share, and when it reached which point."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.prepare import Outbound
from sidecar.policy.routing import Candidate, Plan
from sidecar.telemetry.recorder import RequestNote
from sidecar.wire.contract import Feature


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and chance come from: monotonic seconds, epoch seconds, a draw in [0, 1)."""

    now: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]


@dataclass(slots=True)
class Timing:
    """When a request reached which point, in monotonic seconds."""

    started: float
    prepared: float | None = None  # the first call to a backend was ready
    opened: float | None = None  # the answer was known to be good
    sent: float | None = None  # its content began to go out

    @property
    def overhead(self) -> float | None:
        """The sidecar's own time: before the first call, and between answer and client."""
        if self.prepared is None or self.opened is None or self.sent is None:
            return None
        return self.prepared - self.started + self.sent - self.opened


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way: what was asked, of whom, and where the answer goes."""

    outbound: Outbound
    plan: Plan
    answer: Answer
    snapshot: Snapshot
    note: RequestNote
    timing: Timing
    deadline: float  # monotonic
    patience: float = math.inf  # seconds that the client waits for more of an answer
    # what each candidate has refused and is not asked for again
    refused: dict[Candidate, frozenset[Feature]] = field(default_factory=dict)
    keys_refused: dict[str, int] = field(default_factory=dict)  # how many, by backend
    # the backends that had no room for it, and why, behind the name
    full: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> float:
        """When the route ends the request, whatever the client's patience."""
        limit = self.plan.route.deadline
        return math.inf if limit is None else self.timing.started + limit
