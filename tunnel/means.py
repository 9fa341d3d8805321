"""What a supervisor needs of the world: children, the questions to them, probes, a clock.

Records of functions, so that the real ones come in at one place and tests bring their own.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tunnel.events import Cause, Exit, Ingress, Readiness, Sighting, Told
from tunnel.facts import Log, Observer
from tunnel.settings import Settings
from tunnel.steps import Spawn


class Process(Protocol):
    """A child that runs. Both calls return at once; its end is posted, once, after all else."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def terminate(self) -> None:
        """SIGTERM."""

    def kill(self) -> None:
        """SIGKILL to its whole group."""

    async def wait(self) -> Exit:
        """Until it has ended."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No child was to be had; `message` says why, and what to do."""

    cause: Cause
    message: str


Post: TypeAlias = Callable[[int, Told | Exit], None]


@dataclass(frozen=True, slots=True)
class Means:
    """Each may be cancelled; none needs a limit of its own.

    `look` is a probe of a public name, `look_local` the same question to the origin itself; both
    get a nonce of 32 hexadecimal digits. `reachable` is None without an address to try.
    """

    spawn: Callable[[Spawn, Post], Awaitable[Process | Refusal]]
    ready: Callable[[int, str | None], Awaitable[Readiness]]
    ingress: Callable[[int], Awaitable[Ingress | None]]
    hostname: Callable[[int], Awaitable[str | None]]
    look: Callable[[str, Settings, str], Awaitable[Sighting]]
    look_local: Callable[[Settings, str], Awaitable[bool]]
    reachable: Callable[[Sequence[str]], Awaitable[bool | None]]


@dataclass(frozen=True, slots=True)
class World:
    """Time and chance, and who is told. None of the calls may wait."""

    now: Callable[[], float]  # monotonic seconds
    draw: Callable[[], float]  # uniform in [0, 1)
    observer: Observer
    log: Callable[[Log, str], None]
    publish: Callable[[str], None]
    replica: str  # names this process in proofs
