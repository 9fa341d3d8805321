"""What the machine of `lifecycle` is told, and what it asks for: plain values.

A child is known by its number; none is used twice.
"""

from dataclasses import dataclass
from typing import TypeAlias

from tunnel.events import Cause, Exit, Ingress, Readiness, Sighting, Told
from tunnel.facts import Log, Reason
from tunnel.settings import Protocol, Settings

# -- told by whoever owns the tunnel


@dataclass(frozen=True, slots=True)
class Apply:
    """This is what shall run; None: nothing."""

    settings: Settings | None


@dataclass(frozen=True, slots=True)
class Restart:
    """An operator asks for it; answered by the Reply of the same ticket."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Drain and end, within so many seconds."""

    within: float


# -- told of a child


@dataclass(frozen=True, slots=True)
class Spawned:
    """It runs."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """It does not; `message` says what is wrong and what to do."""

    number: int
    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class FromChild:
    """Its log told something, or it has ended."""

    number: int
    event: Told | Exit


@dataclass(frozen=True, slots=True)
class Answered:
    """Its answer to `/ready`."""

    number: int
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class Serves:
    """What it exposes; None: it does not say."""

    number: int
    ingress: Ingress | None


@dataclass(frozen=True, slots=True)
class Named:
    """The name that a quick tunnel was given; None: none yet."""

    number: int
    hostname: str | None


@dataclass(frozen=True, slots=True)
class Looked:
    """A probe came back; `origin` and `network` are those of `verdict.Known`."""

    number: int
    sighting: Sighting
    origin: bool | None = None
    network: bool | None = None


OfChild: TypeAlias = Spawned | FromChild | Answered | Serves | Named | Looked
Event: TypeAlias = Apply | Restart | Stop | NotSpawned | OfChild

# -- asked for, of a child


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start one; `plain` leaves out the flags that an older one may not know."""

    number: int
    settings: Settings
    protocol: Protocol
    plain: bool


@dataclass(frozen=True, slots=True)
class Terminate:
    """The one SIGTERM of its life."""

    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to its group."""

    number: int


@dataclass(frozen=True, slots=True)
class AskReady:
    """Put the question to `/ready`."""

    number: int
    port: int
    connector: str | None


@dataclass(frozen=True, slots=True)
class AskIngress:
    """Ask what it serves."""

    number: int
    port: int


@dataclass(frozen=True, slots=True)
class AskName:
    """Ask for the name of a quick tunnel."""

    number: int
    port: int


@dataclass(frozen=True, slots=True)
class Look:
    """Send a probe through the public name."""

    number: int
    url: str
    settings: Settings


# -- asked for, of the world


@dataclass(frozen=True, slots=True)
class Publish:
    """A probe has come through this public name."""

    url: str


@dataclass(frozen=True, slots=True)
class Tell:
    """A line of the log, for operators."""

    level: Log
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of an operator's restart."""

    ticket: int
    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Every child is gone after Stop; nothing follows."""


# -- asked for, of the metrics


@dataclass(frozen=True, slots=True)
class CountRestart:
    """A child took the place of another."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class CountExit:
    """A child has ended."""

    code: int
    expected: bool


@dataclass(frozen=True, slots=True)
class CountStart:
    """Seconds from a spawn to the first registration."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CountRecovery:
    """Seconds from the loss of the tunnel until it carried again."""

    seconds: float


Action: TypeAlias = (
    Spawn
    | Terminate
    | Kill
    | AskReady
    | AskIngress
    | AskName
    | Look
    | Publish
    | Tell
    | Reply
    | Ended
    | CountRestart
    | CountExit
    | CountStart
    | CountRecovery
)
