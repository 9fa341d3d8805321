"""What one client, or one source, may use: requests, bytes, streams, failed authentications.

A bucket is the moment at which it is full again: one number, and nothing to keep once it has
passed. What a minute allows may come at once. Memory is bounded; those who have been turned away
are kept apart from the rest, so that no flood of others makes them forgotten.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network

SAVED = 60.0  # seconds of a rate that may be used at once
MOST = 4096  # clients that are known at a time, and as many that have been turned away
STREAMS_WAIT = 5.0  # seconds; nobody knows when a stream ends


@dataclass(frozen=True, slots=True)
class ClientBounds:
    """What one client, or one source, may use; None: no limit. Rates are per second."""

    requests: float | None = None
    bytes: float | None = None  # of request bodies
    streams: int | None = None  # at once
    failures: float | None = None  # of authentication; only of sources


@dataclass(slots=True)
class _Used:
    """When each bucket is full again."""

    requests: float = 0.0
    bytes: float = 0.0
    failures: float = 0.0

    def at_rest(self, now: float) -> bool:
        """Whether all is as if it had never been used."""
        return max(self.requests, self.bytes, self.failures) <= now


class Allowance:
    """What each of many clients, or sources, has used; at most `most` of them, and twice that.

    Who is turned away is told the seconds to wait; 0 is allowed. Settings come with every call, so
    a reload changes them at once.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[str, _Used] = {}  # those who come and go, the latest last
        self._refused: dict[str, _Used] = {}  # those who were turned away, the latest last
        self._streams: dict[str, int] = {}  # of those who have any

    @property
    def remembered(self) -> int:
        """Of how many anything is kept."""
        return len({*self._known, *self._refused, *self._streams})

    def attempt(self, who: str, bounds: ClientBounds, now: float) -> float:
        """Whether an authentication may be tried: not while too many have failed."""
        if bounds.failures is None:
            return 0.0
        used = self._find(who)
        wait = 0.0 if used is None else _over(used.failures, bounds.failures, now, 1.0)
        if used is not None and wait > 0:
            self._keep(who, used, now, refused=True)
        return wait

    def failed(self, who: str, bounds: ClientBounds, now: float) -> None:
        """An authentication has failed."""
        if bounds.failures is None:
            return
        used = self._find(who) or _Used()
        used.failures = max(now, used.failures) + 1 / bounds.failures
        full = _over(used.failures, bounds.failures, now, 1.0) > 0
        self._keep(who, used, now, refused=full)

    def request(self, who: str, bounds: ClientBounds, now: float) -> float:
        """One more request, which counts only where it is allowed."""
        used = self._find(who) or _Used()
        wait = 0.0
        if bounds.bytes is not None:
            wait = _over(used.bytes, bounds.bytes, now, 0.0)
        if bounds.requests is not None:
            wait = max(wait, _over(used.requests, bounds.requests, now, 1.0))
            if wait <= 0:
                used.requests = max(now, used.requests) + 1 / bounds.requests
        self._keep(who, used, now, refused=wait > 0)
        return wait

    def received(self, who: str, bounds: ClientBounds, count: int, now: float) -> None:
        """The bytes of a request's body, which may be more than are left: the next one waits."""
        if bounds.bytes is None:
            return
        used = self._find(who) or _Used()
        used.bytes = max(now, used.bytes) + count / bounds.bytes
        self._keep(who, used, now, refused=False)

    def begin_stream(self, who: str, bounds: ClientBounds) -> float:
        """One more stream at once; each that is allowed must be ended."""
        running = self._streams.get(who, 0)
        if bounds.streams is not None and running >= bounds.streams:
            return STREAMS_WAIT
        self._streams[who] = running + 1
        return 0.0

    def end_stream(self, who: str) -> None:
        """A stream has ended."""
        running = self._streams.pop(who, 0) - 1
        if running > 0:
            self._streams[who] = running

    def _find(self, who: str) -> _Used | None:
        return self._refused.get(who) or self._known.get(who)

    def _keep(self, who: str, used: _Used, now: float, *, refused: bool) -> None:
        """Remember as the latest; the one that was heard of longest ago makes room."""
        refused |= who in self._refused  # until all is forgiven
        self._known.pop(who, None)
        self._refused.pop(who, None)
        if used.at_rest(now):
            return
        place = self._refused if refused else self._known
        place[who] = used
        while len(place) > self._most:
            del place[next(iter(place))]


def _over(full_at: float, rate: float, now: float, count: float) -> float:
    """Seconds until a bucket has room for so many more; 0 where it has."""
    saved = max(SAVED, 1 / rate)  # a small rate must still add up to one
    wait = max(0.0, full_at - now) + count / rate - saved
    return wait if wait > 1e-6 else 0.0


def source(address: IPv4Address | IPv6Address) -> str:
    """Whom an address belongs to: an IPv6 customer has 2^64 of them."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(IPv6Network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)
