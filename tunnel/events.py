"""What a child's log lines, its end and the questions put to it mean: plain values.

`loglines` makes the first group, `child` the second, `readiness` and `probe` the third.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Cause(StrEnum):
    """Why a child could not be started, or ended, or does not get on."""

    BINARY = "binary"  # missing, not executable, of another machine, or no cloudflared
    FLAGS = "flags"  # it does not know a flag: help on stdout, exit 0
    CREDENTIAL = "credential"  # token or credentials cannot be used
    CONFIG = "config"  # another setting that cannot be used
    UNAUTHORIZED = "unauthorized"  # refused by the edge; the child goes on asking
    DNS = "dns"
    EDGE = "edge"  # the edge refused or dropped the registration
    PORT = "port"  # its metrics port
    QUICK = "quick"  # the service for quick tunnels failed
    QUICK_LIMITED = "quick_limited"  # too many quick tunnels from here: 429, 1015
    UPDATED = "updated"  # exit 11: it replaced itself
    RESOURCES = "resources"  # no process or descriptor was to be had
    ASKED = "asked"  # it was told to stop
    UNKNOWN = "unknown"

    @property
    def is_permanent(self) -> bool:
        """Whether trying again as it is cannot help; somebody must change something."""
        return self in (Cause.BINARY, Cause.FLAGS, Cause.CREDENTIAL, Cause.CONFIG)


# -- what the log says


@dataclass(frozen=True, slots=True)
class VersionTold:
    """`Version 2026.8.2`."""

    version: str


@dataclass(frozen=True, slots=True)
class ConnectorTold:
    """`Generated Connector ID: UUID`."""

    connector: str


@dataclass(frozen=True, slots=True)
class MetricsTold:
    """`Starting metrics server on 127.0.0.1:PORT/metrics`."""

    port: int


@dataclass(frozen=True, slots=True)
class Registered:
    """`Registered tunnel connection`."""

    index: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection ended."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A line that says what keeps the tunnel from carrying, such as "Unauthorized: ..."."""

    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class QuicFailed:
    """`Failed to dial a quic connection`."""


@dataclass(frozen=True, slots=True)
class ConfigPushed:
    """`Updated to new configuration`: the ingress came from the edge."""


# -- what became of the process


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a process; a negative code is the signal."""

    code: int
    cause: Cause
    message: str = ""  # its own last words


# -- what it answered


class Ready(StrEnum):
    """The kind of answer to `/ready`."""

    READY = "ready"
    NOT_READY = "not_ready"  # an honest 503
    NO_ANSWER = "no_answer"  # refused, too slow, or nothing that can be read
    FOREIGN = "foreign"  # the answer of another process


@dataclass(frozen=True, slots=True)
class Readiness:
    """An answer to `/ready`."""

    kind: Ready
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Ingress:
    """What a child really serves."""

    services: tuple[str, ...]  # such as http://127.0.0.1:14402 or http_status:404
    hostnames: tuple[str, ...] = ()  # those that are named; none for a rule that takes all


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a probe through the public name saw.

    `status` is None where no answer came; then `error` is dns, connect, tls, timeout or broken.
    `connector` and `replica` are of a proof that is good, else None.
    """

    status: int | None
    error: str | None = None
    proven: bool = False  # the answer holds a good proof
    connector: str | None = None
    replica: str | None = None
    from_cloudflared: bool = False  # an error that cloudflared wrote itself
    is_policy: bool = False  # an Access page, a challenge, or a redirect
    detail: str = ""  # for people; never a header's value


Told: TypeAlias = (
    VersionTold
    | ConnectorTold
    | MetricsTold
    | Registered
    | Lost
    | Trouble
    | QuicFailed
    | ConfigPushed
)
