"""Lines of requests: a bounded number in flight, and behind it a bounded queue, fair to clients.

Every client waits in a queue of its own, and the queues take turns: whoever sends a hundred
requests waits behind himself. The bounds come with every call, so that a reload changes them at
once. No clock is read here: whoever has waited too long leaves by itself.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many requests may be in flight (None: any number), how many may wait, and how long.

    `wait` is in seconds.
    """

    in_flight: int | None = None
    size: int = 100
    wait: float = 30.0


class Stage(StrEnum):
    """Where a ticket is; it is waiting once, and leaves that once."""

    WAITING = "waiting"
    ADMITTED = "admitted"  # it has become a place in flight
    DISPLACED = "displaced"  # by a client that had fewer waiting
    GONE = "gone"  # it waited too long, or its client has left


class Ticket:
    """One request that waits. `wake` is called when the line admits or displaces it."""

    __slots__ = ("client", "stage", "wake")

    def __init__(self, client: str, wake: Callable[[], None]) -> None:
        self.client, self.wake = client, wake
        self.stage = Stage.WAITING


class Line:
    """The requests in flight and those that wait, in one place."""

    __slots__ = ("_queues", "in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting = 0
        # by client, whose turn it is first; none is empty
        self._queues: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()

    def enter(self, bounds: Bounds) -> bool:
        """Take a place if one is free and nobody waits for it; whether it did."""
        if self.waiting:
            self.admit(bounds)  # if there is room after that, nobody waits any more
        if not self._has_room(bounds):
            return False
        self.in_flight += 1
        return True

    def join(self, ticket: Ticket, bounds: Bounds) -> bool:
        """Wait for a place that could not be had at once; whether the queue takes it.

        A full queue takes it in the place of another when that makes it fairer.
        """
        if self.waiting >= bounds.size and not self._make_room(ticket.client):
            return False
        self._queues.setdefault(ticket.client, OrderedDict())[ticket] = None
        self.waiting += 1
        return True

    def leave(self, bounds: Bounds) -> None:
        """Free a place. Leaving more often than somebody has entered raises RuntimeError."""
        if self.in_flight < 1:
            raise RuntimeError("a place was left that nobody had taken")
        self.in_flight -= 1
        if self.waiting:
            self.admit(bounds)

    def abandon(self, ticket: Ticket) -> None:
        """Wait no longer. A ticket that does not wait raises RuntimeError."""
        self._end(ticket, Stage.GONE)

    def admit(self, bounds: Bounds) -> None:
        """Let in whom the bounds have room for; to be called when they have grown."""
        while self.waiting and self._has_room(bounds):
            client, queue = next(iter(self._queues.items()))
            ticket = next(iter(queue))
            self._end(ticket, Stage.ADMITTED)
            if client in self._queues:
                self._queues.move_to_end(client)
            self.in_flight += 1
            ticket.wake()

    def is_full(self, bounds: Bounds) -> bool:
        """Whether it has no room for one more, not even to wait."""
        return not self._has_room(bounds) and self.waiting >= bounds.size

    def _has_room(self, bounds: Bounds) -> bool:
        return bounds.in_flight is None or self.in_flight < bounds.in_flight

    def _make_room(self, client: str) -> bool:
        """Displace the newest waiter of the client that waits most, if this one stays below it.

        Of several that wait most it is the one whose turn is farthest off.
        """
        most = max(reversed(self._queues.values()), key=len, default=None)
        if most is None or len(self._queues.get(client, ())) + 1 >= len(most):
            return False
        ticket = next(reversed(most))
        self._end(ticket, Stage.DISPLACED)
        ticket.wake()
        return True

    def _end(self, ticket: Ticket, stage: Stage) -> None:
        if ticket.stage is not Stage.WAITING:
            raise RuntimeError(f"a ticket ended as {stage} that had already ended: {ticket.stage}")
        ticket.stage = stage
        queue = self._queues[ticket.client]
        del queue[ticket]
        if not queue:
            del self._queues[ticket.client]
        self.waiting -= 1


class Shed(StrEnum):
    """Why a request got no place."""

    FULL = "full"
    DISPLACED = "displaced"
    LATE = "late"


def told(shed: Shed, line: Line, bounds: Bounds) -> str:
    """Why a request got no place, in words behind a name, with the numbers of this moment."""
    numbers = f"{line.in_flight} in flight, {line.waiting} waiting"
    match shed:
        case Shed.FULL if bounds.size:
            return f"takes no more requests, and its queue is full ({numbers})"
        case Shed.FULL:
            return f"takes no more requests at once, and has no queue ({numbers})"
        case Shed.DISPLACED:
            return f"has a full queue, where clients with fewer requests go first ({numbers})"
        case Shed.LATE:
            return f"had no free place in the time that a request may wait ({numbers})"
