"""Leads requests into the lines before the data listener and before each backend.

Who need not wait passes without a task, a timer or a future. Who waits does so no longer than the
queue and the request's own time allow, and a client that leaves frees its place at once.
"""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from types import TracebackType

from sidecar.config.snapshot import Backend
from sidecar.dataplane.intake import Inbound
from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.policy.admission import Bounds, Line, Shed, Stage, Ticket, told
from sidecar.policy.verdict import COME_BACK
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore


class Place:
    """What a request holds: a place in one line at a time, or none. Leaving the block frees it.

    `client` names whose request it is among those that wait.
    """

    __slots__ = ("_bounds", "_client", "_line")

    def __init__(self, client: Callable[[], str]) -> None:
        self._client = client
        self._line: Line | None = None
        self._bounds: Callable[[], Bounds] = Bounds

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    async def take(self, line: Line, bounds: Callable[[], Bounds], patience: float) -> Shed | None:
        """Get a place in a line, in exchange for that in another; None, or why there is none.

        A place that is held already is kept. `bounds` tells those of the moment, `patience` is in
        seconds.
        """
        if line is self._line:
            return None
        self.leave()
        if not line.enter(bounds()):
            shed = await self._wait(line, bounds, patience)
            if shed is not None:
                return shed
        self._line, self._bounds = line, bounds
        return None

    def leave(self) -> None:
        """Free the place, where one is held."""
        line, self._line = self._line, None
        if line is not None:
            line.leave(self._bounds())

    async def _wait(self, line: Line, bounds: Callable[[], Bounds], patience: float) -> Shed | None:
        now = bounds()
        woken = asyncio.get_running_loop().create_future()
        ticket = Ticket(self._client(), partial(woken.set_result, None))
        if not line.join(ticket, now):
            return Shed.FULL
        try:
            # it leaves the future alone: a ticket that is admitted while its time runs out is so
            await asyncio.wait([woken], timeout=max(0.0, min(now.wait, patience)))
        except asyncio.CancelledError:
            if ticket.stage is Stage.ADMITTED:
                line.leave(bounds())
            raise
        finally:
            if ticket.stage is Stage.WAITING:
                line.abandon(ticket)
        match ticket.stage:
            case Stage.ADMITTED:
                return None
            case Stage.DISPLACED:
                return Shed.DISPLACED
            case _:
                return Shed.LATE


class Gate:
    """Knows which line is before whom, and its bounds by the newest configuration."""

    def __init__(self, store: RuntimeStore, current: Current) -> None:
        self._store, self._current = store, current

    async def to_backend(self, place: Place, backend: Backend, patience: float) -> str | None:
        """A place at a backend, for as long as the request stays there; None, or why not."""
        line, bounds = self._store.state(backend).line, partial(self._bounds_of, backend)
        shed = await place.take(line, bounds, patience)
        return None if shed is None else told(shed, line, bounds())

    async def to_listener(
        self, place: Place, line: Line, bounds: Callable[[], Bounds], patience: float
    ) -> None:
        """A place among all requests of a listener. Raises RequestRefused."""
        shed = await place.take(line, bounds, patience)
        if shed is not None:
            raise RequestRefused(_overloaded(told(shed, line, bounds())))

    def _bounds_of(self, backend: Backend) -> Bounds:
        """Those in force for all requests, whatever configuration each of them began with."""
        newest = self._current.get()
        here = newest.backends.get(backend.name) if newest is not None else None
        is_same = here is not None and here.fingerprint == backend.fingerprint
        return here.bounds if here is not None and is_same else backend.bounds


def client_of(inbound: Inbound) -> str:
    """Who asks: the same for all requests with one key, without a key for those from one address.

    It is for comparing, never for printing.
    """
    if inbound.key is None:
        return inbound.peer
    return hashlib.sha256(inbound.key.encode("utf-8", "surrogateescape")).hexdigest()


def _overloaded(why: str) -> Problem:
    return Problem(
        ProblemKind.UNAVAILABLE,
        f"The sidecar {why}.",
        advice=f"Come back in {COME_BACK:g} s and ask for less at once, or raise `in_flight` or "
        "`queue` of `listeners.data`.",
        code="overloaded",
        retry_after=COME_BACK,
    )
