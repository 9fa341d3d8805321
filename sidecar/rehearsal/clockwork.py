"""An event loop that skips waiting: its clock stands still while anybody has something to do.

When nothing is left to do but wait, the clock jumps to the next timer. A limit of ten minutes plays
in an instant and at its true length, however slow the machine is. It reaches nobody but the
addresses that it was given, and looks up no names.
"""

import asyncio
import selectors
import socket
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, NoReturn

GRACE = 0.002  # real seconds in which what is on its way on loopback arrives, before each jump
LONG = 1.0  # seconds; a jump of more waits longer first, for it could break a limit
LONG_GRACE = 0.01

Address = tuple[str, int]


class ForeignAddress(ConnectionRefusedError):
    """Somebody tried to reach what is no part of the rehearsal."""


class _Patient(selectors.BaseSelector):
    """Waits for real input a moment only, then tells the loop how far its clock may jump."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.jumped = 0.0  # seconds
        self.threads = 0  # under way; their time is real

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._real.select(timeout)
        if self.threads:
            return self._real.select(LONG_GRACE)
        found = self._real.select(LONG_GRACE if timeout > LONG else GRACE)
        if not found:
            self.jumped += timeout
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class Clockwork(asyncio.SelectorEventLoop):
    """The loop. `stage` holds the addresses that may be reached."""

    def __init__(self) -> None:
        self._patient = _Patient()
        self.stage: set[Address] = set()
        super().__init__(self._patient)

    def time(self) -> float:
        """Seconds since the loop began, as the rehearsal counts them."""
        return self._patient.jumped

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect, to the stage only. Raises ForeignAddress."""
        if tuple(address[:2]) not in self.stage:
            raise ForeignAddress(f"{address} is no part of the rehearsal")
        await super().sock_connect(sock, address)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> NoReturn:
        """Nothing: no name of a rehearsal leads anywhere."""
        raise socket.gaierror(socket.EAI_NONAME, "no name is looked up in a rehearsal")

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        """In a thread; the clock stands still meanwhile."""
        self._patient.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self._patient.threads -= 1
