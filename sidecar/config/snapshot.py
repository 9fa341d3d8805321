"""The frozen, resolved configuration that the program reads; swapped whole, never changed.

Durations are seconds, sizes bytes. It holds no counters. `revision` is a digest of all that went
into it: the file, the secrets, the certificates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from sidecar.config.secret import Secret
from sidecar.policy.admission import Bounds
from sidecar.policy.breaker import BreakerSettings
from sidecar.policy.budget import BudgetSettings
from sidecar.policy.clients import ClientKey
from sidecar.policy.health import ProbeSettings
from sidecar.policy.rate import ClientBounds
from sidecar.policy.routing import RouteTable, Timeouts
from sidecar.wire.contract import Dialect, RequestLimits, Traits

Place = Literal["bearer", "header", "query"]  # where a key goes


AFTER_TUNNEL = 7.0  # seconds of the drain that are not for requests through the tunnel


class UsageInStream(StrEnum):
    """How a backend reports usage in streams."""

    ON_REQUEST = "on_request"  # when asked by `stream_options`
    ALWAYS = "always"  # unasked; asking might be an error
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Credential:
    """A configured key and where it goes; `further` ones are tried when it is refused."""

    place: Place
    name: str  # of the header or parameter
    secret: Secret
    further: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Forward:
    """The client's own key goes to the backend, where its dialect looks for one.

    A key that matches a pattern of `replace`, or none at all, is answered by `otherwise`.
    """

    replace: tuple[str, ...] = ()
    otherwise: Credential | None = None


@dataclass(frozen=True, slots=True)
class Quirks:
    """The closed set of ways in which a backend may deviate from its dialect."""

    rename: Mapping[str, str] = field(default_factory=dict)  # top-level fields of the request
    drop: tuple[str, ...] = ()
    set: Mapping[str, object] = field(default_factory=dict)
    usage_in_stream: UsageInStream = UsageInStream.ON_REQUEST
    path: str = "{path}"  # around the dialect's path
    query: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Backend:
    """One configured target: address, dialect, credential.

    `fingerprint` identifies the runtime state that belongs to it. It changes when the backend is no
    longer the same target, that is with the dialect, the base URL, the path quirk, the place and
    reference of the credential (not its value), the text of the authorities and the proxy.
    """

    name: str
    preset: str | None
    dialect: Dialect
    base_url: str  # without a trailing slash
    enabled: bool
    model: str | None
    models: Mapping[str, str]  # asked name in lower case → name at the backend
    context: Mapping[str, int]
    batch: int | None  # texts that it embeds at once; None where nobody said
    auth: Credential | Forward | None
    timeouts: Timeouts
    probe: ProbeSettings
    quirks: Quirks
    traits: Traits
    ca: str | None  # PEM text of further authorities
    proxy: bool  # honour the proxies of the environment
    echo: bool  # the built-in echo instead of an address
    local: bool | None  # address is local, is public, or is a name that only DNS can tell (None)
    fingerprint: str
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen: addresses and a port; how long clients of streams wait in silence.

    After `commit_after` seconds (None: never) a stream gets its head, and a sign of life whenever
    nothing has come for `keepalive` seconds. `bounds` are for that of applications.
    """

    addresses: tuple[str, ...]
    port: int
    origins: tuple[str, ...] = ()
    keepalive: float = 15.0
    commit_after: float | None = None
    bounds: Bounds = field(default_factory=Bounds)
    keys: tuple[ClientKey, ...] | None = None  # of which an application needs one

    @property
    def url(self) -> str:
        """Its first address, as an origin."""
        return f"http://{self.addresses[0]}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """Cloudflare Access: whose tokens are good."""

    issuer: str  # https://TEAM.cloudflareaccess.com
    audience: str
    certs_url: str


@dataclass(frozen=True, slots=True)
class Public:
    """The listener that a tunnel exposes.

    With `keys` (not None) a client needs one of them, with `access` a token of it, with both both.
    With neither it is open, which somebody must have said.
    """

    listener: Listener
    keys: tuple[ClientKey, ...] | None
    access: Access | None
    per_key: ClientBounds
    per_source: ClientBounds
    early_head: bool = False  # whole answers too get their head after `commit_after`
    probe_secret: Secret | None = None  # of a tunnel that another process runs

    @property
    def is_open(self) -> bool:
        """Whether anybody may use it."""
        return self.keys is None and self.access is None


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to listen: for applications, for probes and metrics, and for changes of state."""

    data: Listener
    admin: Listener
    control_socket: str  # path


@dataclass(frozen=True, slots=True)
class Drain:
    """How to stop; seconds."""

    mode: Literal["sidecar", "gateway"] = "sidecar"
    settle: float = 5.0
    limit: float = 300.0

    @property
    def for_tunnel(self) -> float:
        """What of it the requests through a tunnel may take, which ends first."""
        return max(0.0, self.limit - AFTER_TUNNEL)


@dataclass(frozen=True, slots=True)
class Log:
    """Level and format of the log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "pretty"] = "auto"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole configuration of one moment."""

    revision: str  # hexadecimal digest
    log: Log
    data: Listener
    admin: Listener
    control_socket: str  # path
    hosts: tuple[str, ...]  # further names that may stand in Host, in lower case
    drain: Drain
    backends: Mapping[str, Backend]
    routes: RouteTable
    limits: RequestLimits
    fetch_images: bool  # those that a request only points to, for backends that fetch none
    manages: str | None  # the backend whose models clients may change
    retry_budget: BudgetSettings
    model_label: bool
    secrets: tuple[str, ...]  # every secret value, for the redactor; never printed
    public: Public | None = None  # what a tunnel exposes
    tunnel: object | None = None  # the settings of the tunnel, which only `app` understands
