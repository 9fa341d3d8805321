"""Who used the public listener, and how much: for the status, never for a metric."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

MOST = 1000  # clients that are remembered; who was seen longest ago makes room


@dataclass(slots=True)
class Usage:
    """What one client has used since the start."""

    requests: int = 0
    streams: int = 0  # of the requests
    bytes: int = 0  # of request bodies
    last_used: float = 0.0  # seconds since the epoch


class ClientUsage:
    """What each client has used, by the name of its key or of its visitor."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._by_name: dict[str, Usage] = {}  # the latest last

    def used(self, name: str, bytes_in: int, streamed: bool) -> None:
        """A client has asked for something."""
        usage = self._by_name.pop(name, None) or Usage()
        self._by_name[name] = usage
        if len(self._by_name) > MOST:
            del self._by_name[next(iter(self._by_name))]
        usage.requests += 1
        usage.streams += streamed
        usage.bytes += bytes_in
        usage.last_used = self._wall()

    def latest(self) -> Iterator[tuple[str, Usage]]:
        """Everybody who is remembered; who was seen last comes first."""
        return reversed(self._by_name.items())
