"""What is known of the tunnel at one moment, for status and metrics; and what happens to it.

Moments are seconds of the supervisor's monotonic clock, durations seconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

NAME = "main"  # the label of the one tunnel in metrics


class State(StrEnum):
    """Where a child is in its life; the tunnel's own state is that of its active child."""

    DISABLED = "disabled"
    STARTING = "starting"  # spawned; its metrics port is not known yet
    CONNECTING = "connecting"  # no connection with the edge was registered yet
    UP = "up"  # registered; nothing came through the public name yet, or nothing is asked
    HEALTHY = "healthy"  # a probe came through
    DEGRADED = "degraded"  # fewer connections than it had, or some probes fail
    SUSPECT = "suspect"  # no connection, failing probes, or no answer; about to be replaced
    DRAINING = "draining"  # told to stop; requests in flight end
    KILLING = "killing"  # the grace is over
    BACKOFF = "backoff"  # waits before the next start
    PARKED = "parked"  # a permanent cause; tried again seldom, or once the secret changes


Reason = Literal["exit", "unhealthy", "config", "operator"]  # why a child was replaced
Log = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Facts:
    """The tunnel as status tells it."""

    state: State
    since: float  # the moment of the last change of state
    why: str = ""  # a sentence, where something is wrong
    replacing: State | None = None  # the state of the second child, while there is one
    url: str | None = None  # the public name, once a probe has passed or where it is configured
    connector: str | None = None  # of the active child
    pid: int | None = None
    version: str | None = None  # of cloudflared
    protocol: str | None = None  # that of the registered connections
    ready_connections: int = 0
    most_connections: int = 0
    started: float | None = None  # the moment the active child was spawned
    probe: str | None = None  # the class of the last verdict
    probe_at: float | None = None
    next_start: float | None = None  # the moment the back-off ends
    backoff: float = 0.0  # the pause that runs, else 0
    restarts: int = 0
    crash_loop: bool = False
    foreign_ingress: bool = False
    others: tuple[str, ...] = ()  # replicas that were seen on the same tunnel


class Observer(Protocol):
    """What happens, as counted; the metrics implement it."""

    def restarted(self, reason: Reason) -> None:
        """A child was replaced, or started again."""

    def exited(self, code: int, *, expected: bool) -> None:
        """A child ended; a negative code is the signal."""

    def started(self, seconds: float) -> None:
        """From the spawn of a child to its first registration."""

    def recovered(self, seconds: float) -> None:
        """From the loss of the tunnel to the moment it carried again."""

    def logged(self, level: Log) -> None:
        """The child wrote a line."""

    def dropped(self, lines: int) -> None:
        """Lines of the child were not written to our log."""
