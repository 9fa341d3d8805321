"""What people may write, as pydantic models: unknown keys refused, every key described.

The descriptions make the JSON Schema that editors use. Nothing here looks at the environment, at
files or from one key at another; that is `resolve`.
"""

from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from sidecar.config.faults import KeyPath
from sidecar.config.fields import (
    ByteRateLimit,
    Count,
    CountLimit,
    Deadline,
    Deployment,
    Destination,
    Duration,
    HeaderName,
    HeaderValue,
    HostName,
    Kind,
    Name,
    OneOf,
    Origin,
    Port,
    QueueSize,
    QuirkPath,
    Rate,
    RateLimit,
    Retries,
    RouteName,
    Share,
    Size,
    Team,
    Text,
    Timeout,
    Truth,
    Variable,
)  # fmt: skip
from sidecar.config.guest import Guest
from sidecar.config.presets import PRESETS
from sidecar.dialects import DIALECTS
from sidecar.policy.health import ProbeSettings
from sidecar.policy.routing import Way


class Section(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """A key with nothing behind it says no more than a missing one."""
        return {} if value is None else value


def _no_literal(value: object) -> object:
    if isinstance(value, dict | Section):
        return value
    raise ValueError(
        "{env: NAME} or {file: PATH}: a secret never stands in the configuration itself"
    )


def _exactly_one(section: Section, *names: str) -> None:
    if sum(getattr(section, name) is not None for name in names) != 1:
        raise ValueError(f"exactly one of {', '.join(names)}")


class SecretSection(Section):
    """Where a secret comes from."""

    env: Variable | None = None
    """Name of a variable of the environment."""
    file: Text | None = None
    """Path, relative to the configuration's folder."""

    @model_validator(mode="after")
    def _one(self) -> "SecretSection":
        _exactly_one(self, "env", "file")
        return self


SecretRef = Annotated[SecretSection, BeforeValidator(_no_literal)]


class LogSection(Section):
    """What is logged and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe line that is written."""
    format: Literal["auto", "json", "pretty"] = "auto"
    """auto is pretty on a terminal and JSON elsewhere."""


class QueueSection(Section):
    """Where requests wait once as many are in flight as may be."""

    size: QueueSize = 100
    """How many may wait; 0 for none."""
    wait: Timeout = 30.0
    """How long one may wait."""


class ClientKeysSection(Section):
    """The keys of clients."""

    file: Text
    """Path of their digests, relative to the configuration's folder; `llm-sidecar keys add` writes
    it."""


class DataSection(Section):
    """The listener that applications talk to."""

    port: Port = 14400
    """TCP port."""
    bind: Text = "loopback"
    """loopback (127.0.0.1 and ::1) or an IP address."""
    origins: tuple[Origin, ...] = ()
    """Web origins that may call from a browser."""
    i_know_this_is_open: Truth = False
    """Allows a bind beyond loopback although nobody needs a key."""
    keepalive: Timeout = 15.0
    """A stream that has its head gets a sign of life whenever it is silent for so long; not without
    commit_after."""
    commit_after: Deadline = None
    """When a stream that waits for a backend gets its head, or none."""
    manage: Text | None = None
    """Name of the backend whose models clients may pull, push, create, copy and delete."""
    in_flight: Count | None = None
    """Requests at once; no limit unless given."""
    queue: QueueSection | None = None
    """Where further requests wait."""
    keys: ClientKeysSection | None = None
    """Clients need one of these keys."""


class AdminSection(Section):
    """The read-only listener for probes, metrics and status."""

    port: Port = 14401
    """TCP port."""
    bind: Text = "127.0.0.1"
    """loopback (127.0.0.1 and ::1) or an IP address."""
    origins: tuple[Origin, ...] = ()
    """Web origins that may read from a browser."""


class ControlSection(Section):
    """The door for changes of state; the command line uses it."""

    socket: Text = "auto"
    """Path of a Unix socket, relative to the configuration's folder; auto is a private one."""


class AccessSection(Section):
    """Cloudflare Access stands before the public name, and signs what it lets through."""

    team: Team
    """The team's name, or its whole domain."""
    audience: Text
    """The application's audience tag."""
    certs_url: Text | None = None
    """Where the team's keys are; default: where its domain has them."""


class PerKeySection(Section):
    """What each client may use."""

    requests: RateLimit = 120 / 60
    """Requests, or none for no limit."""
    bytes: ByteRateLimit = 100_000_000 / 60
    """Bytes of request bodies."""
    streams: CountLimit = 8
    """Streams at once."""


class PerSourceSection(Section):
    """What each address may use; of IPv6, each network of 64 bits."""

    requests: RateLimit = 60 / 60
    """Requests, or none for no limit."""
    bytes: ByteRateLimit = 100_000_000 / 60
    """Bytes of request bodies."""
    streams: CountLimit = 8
    """Streams at once."""
    failures: RateLimit = 10 / 60
    """Failed authentications, after which no further one is tried."""


class ClientLimitsSection(Section):
    """What clients may use."""

    per_key: PerKeySection = PerKeySection()
    """Each client, by the name of its key or of its visitor."""
    per_source: PerSourceSection = PerSourceSection()
    """Each address that requests come from."""


class PublicSection(Section):
    """The listener on loopback that a tunnel makes public."""

    port: Port = 14402
    """TCP port."""
    keys: ClientKeysSection | None = None
    """Clients need one of these keys."""
    access: AccessSection | None = None
    """Clients come through Cloudflare Access."""
    origins: tuple[Origin, ...] = ()
    """Web origins that may call from a browser."""
    keepalive: Timeout = 15.0
    """A stream that has its head gets a sign of life whenever it is silent for so long."""
    commit_after: Deadline = 60.0
    """When a stream that waits for a backend gets its head, or none."""
    early_head: Truth = False
    """Whole answers too get their head after commit_after, and spaces until they are there."""
    limits: ClientLimitsSection = ClientLimitsSection()
    """What clients may use."""
    probe_secret: SecretRef | None = None
    """What the probes of a tunnel that another process runs prove themselves with."""
    i_know_this_is_open: Truth = False
    """Allows that everybody may use it who knows the address."""


class ListenersSection(Section):
    """Where to listen."""

    data: DataSection = DataSection()
    """For applications."""
    admin: AdminSection = AdminSection()
    """For probes, metrics and status."""
    control: ControlSection = ControlSection()
    """For changes of state."""
    public: PublicSection | None = None
    """For clients that come through a tunnel."""


class DrainSection(Section):
    """How to stop."""

    mode: Literal["sidecar", "gateway"] = "sidecar"
    """sidecar serves until it is quiet; gateway turns clients away first."""
    settle: Duration = 5.0
    """How long a gateway accepts after it says 503."""
    limit: Duration = 300.0
    """How long requests in flight may go on."""


class NamedSecretSection(Section):
    """A secret in a header or a query parameter."""

    name: HeaderName
    """Name of the header or parameter."""
    value: SecretRef
    """The secret."""


class ForwardSection(Section):
    """The client's own key goes to the backend."""

    replace: tuple[Text, ...] = ()
    """Patterns of keys that are not meant for this backend, such as sk-ant-*."""
    otherwise: SecretRef | None = Field(default=None, alias="else")
    """The key that is sent when the client has none to forward."""


class AuthSection(Section):
    """How requests to a backend authenticate."""

    bearer: SecretRef | None = None
    """Authorization: Bearer."""
    header: NamedSecretSection | None = None
    """A header of another name."""
    query: NamedSecretSection | None = None
    """A parameter of the query."""
    forward: ForwardSection | None = None
    """The client's own key."""
    further: tuple[SecretRef, ...] = ()
    """More keys for the same place; each is tried once when the one before it is refused."""

    @model_validator(mode="after")
    def _one(self) -> "AuthSection":
        _exactly_one(self, "bearer", "header", "query", "forward")
        return self


class TimeoutsSection(Section):
    """Limits of one attempt. `first_token` and `idle` are for streams, `whole` for the rest."""

    connect: Timeout | None = None
    """Until the connection stands."""
    first_token: Timeout | None = None
    """Until a stream says something."""
    idle: Timeout | None = None
    """Between two pieces of a stream."""
    whole: Timeout | None = None
    """For an answer that is not streamed."""


_PROBE = ProbeSettings()


class ProbeSection(Section):
    """Active health checks: what the dialect offers for free, never a completion."""

    every: Deadline = _PROBE.every
    """Between two probes while all is well, at most five seconds while it is not; or none."""
    timeout: Timeout = _PROBE.timeout
    """For one probe."""


class QuirksSection(Section):
    """How a backend deviates from its dialect; a closed set."""

    rename: dict[Text, Text] = {}
    """Top-level fields of the request."""
    drop: tuple[Text, ...] = ()
    """Top-level fields that the backend refuses."""
    set: dict[Text, Any] = {}
    """Top-level fields with fixed values."""
    usage_in_stream: Literal["on_request", "always", "never"] | None = None
    """Whether streams report usage when asked, always, or never."""
    path: QuirkPath | None = None
    """What stands around the dialect's path, such as /v1{path}."""
    query: dict[Text, HeaderValue] = {}
    """Parameters of the query."""
    header: dict[HeaderName, HeaderValue] = {}
    """Further headers; no secrets."""


class BreakerRateSection(Section):
    """Ejects where too many calls fail."""

    share: Share = 0.5
    """The share of failed calls that is too much."""
    window: Timeout = 60.0
    """Of the calls within that time."""
    calls: Count = 20
    """Fewer calls prove nothing."""


class BreakerSlowSection(Section):
    """Ejects where too many streams are slow to begin."""

    share: Share = 0.8
    """The share of slow calls that is too much."""
    first_token: Timeout = 5.0
    """A call without a token for that long is slow."""
    calls: Count = 20
    """Fewer calls prove nothing."""


class BreakerSection(Section):
    """When a backend that fails is ejected, and how it comes back."""

    failures: Count = 5
    """So many in a row eject it."""
    rate: BreakerRateSection = BreakerRateSection()
    """Too many failures among the latest calls eject it."""
    slow: BreakerSlowSection | None = None
    """Too many slow calls eject it; off unless given."""
    rest: Timeout = 30.0
    """How long the first ejection lasts."""
    ceiling: Timeout = 300.0
    """The longest ejection after relapses."""
    trials: Count = 3
    """Attempts at once after a rest; as many successes bring it back."""


class BackendSection(Section):
    """One target: address, dialect and credential."""

    preset: Annotated[str, OneOf(*PRESETS)] | None = None
    """A vendor's defaults; any other key overrides them."""
    dialect: Annotated[str, OneOf(*(dialect.name for dialect in DIALECTS))] | None = None
    """The wire format that the backend speaks."""
    base_url: Text | None = None
    """The address before the dialect's paths."""
    enabled: Truth = True
    """false takes the backend out."""
    model: Text | None = None
    """When neither target nor request names one."""
    models: dict[Text, Text] = {}
    """The client's name: the backend's name."""
    context: dict[Text, Count] = {}
    """Tokens that a model's context holds."""
    batch: Count | None = None
    """Texts that it embeds at once; longer lists are split."""
    auth: Annotated[AuthSection, BeforeValidator(_no_literal)] | None = None
    """The credential; none where the backend needs none."""
    timeouts: TimeoutsSection = TimeoutsSection()
    """Limits of one attempt."""
    probe: ProbeSection = ProbeSection()
    """Active health checks."""
    breaker: BreakerSection = BreakerSection()
    """When it is ejected for its failures."""
    in_flight: Count | None = None
    """Requests that it gets at once; no limit unless given."""
    queue: QueueSection | None = None
    """Where further requests wait."""
    quirks: QuirksSection = QuirksSection()
    """Deviations from the dialect."""
    ca: Text | None = None
    """PEM file with further certificate authorities."""
    proxy: Literal["env"] | None = None
    """env honours the proxies of the environment."""
    deployment: Deployment | None = None
    """The deployment's name, where the preset's path needs one."""


class TargetSection(Section):
    """One link of a fallback chain."""

    backend: Text
    """Name of a backend."""
    model: Text | None = None
    """The model to ask for; else the request's own."""
    first_token: Timeout | None = None
    """Overrides the backend's limit."""
    prefill: Truth = False
    """The model goes on from a partial turn of the assistant, for recover: [continue]."""


class BackoffSection(Section):
    """The pause between tries: exponential, with jitter."""

    base: Duration = 0.2
    """The first pause."""
    cap: Duration = 5.0
    """The longest pause."""


class RetrySection(Section):
    """Trying the same target again."""

    attempts: Retries = 2
    """Retries per target."""
    max_wait: Duration = 3.0
    """The longest Retry-After that is waited for."""
    backoff: BackoffSection = BackoffSection()
    """The pause between tries."""


class RouteSection(Section):
    """From the model that a client asks for to a fallback chain."""

    models: tuple[Text, ...] | None = None
    """What clients ask for, with * for any text; default: the route's name."""
    default: Truth = False
    """Takes requests that name no model."""
    targets: Annotated[tuple[TargetSection, ...], Field(min_length=1)]
    """The fallback chain, in order."""
    retry: RetrySection = RetrySection()
    """Trying the same target again."""
    deadline: Deadline = None
    """Limit of the whole request, or none."""
    recover: tuple[Annotated[str, OneOf(*Way)], ...] = tuple(Way)
    """What to do when a stream breaks, in this order; fail is always the last."""
    delivery: Literal["live", "assured"] = "live"
    """live answers flow as they arrive; assured ones are held back until they are complete."""
    losses: Literal["name", "strict"] = "name"
    """What a translation loses is named; strict refuses a request that would lose meaning."""
    when_all_open: Literal["refuse", "try"] = "refuse"
    """Where all targets are ejected: a refusal, or a try with the one whose rest ends first."""
    stay: Literal["anywhere", "local"] = "anywhere"
    """local never leaves loopback and private addresses."""
    public: Truth = False
    """Offered on the public listener."""
    on: dict[Kind, Destination] = {}
    """Moves a problem to another disposition."""
    relay: Truth = False
    """Takes every other /v1/ path as it is."""
    listed_first: Truth = False
    """Backends that list the asked model go first; auto is offered."""


class DefaultTimeoutsSection(Section):
    """Limits of one attempt where nothing else is said."""

    connect: Timeout = 3.0
    """Until the connection stands."""
    first_token: Timeout = 60.0
    """Until a stream says something."""
    idle: Timeout = 30.0
    """Between two pieces of a stream."""
    whole: Timeout = 600.0
    """For an answer that is not streamed."""


class DefaultsSection(Section):
    """What holds where a backend does not say otherwise."""

    timeouts: DefaultTimeoutsSection = DefaultTimeoutsSection()
    """Limits of one attempt."""


class LimitsSection(Section):
    """Bounds on what clients send."""

    body: Size = 10_000_000
    """The whole body."""
    messages: Count = 1000
    """Messages of a request."""
    content: Size = 5_000_000
    """The content of all messages."""
    header: Size = 64_000
    """All headers."""


class BudgetSection(Section):
    """How much retries may add to the traffic."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Of all requests."""
    floor: Rate = 10.0
    """Retries that are always allowed."""


class MetricsSection(Section):
    """What the metrics hold."""

    model_label: Truth = False
    """Whether configured models become a label."""
    profile: Literal["full"] = "full"
    """Which families are offered."""


class Configuration(Section):
    """The configuration of the sidecar."""

    version: Literal[1] = 1
    """The version of this language."""
    log: LogSection = LogSection()
    """The log."""
    listeners: ListenersSection = ListenersSection()
    """Where to listen."""
    hosts: tuple[HostName, ...] = ()
    """Further names that may stand in Host."""
    drain: DrainSection = DrainSection()
    """How to stop."""
    backends: dict[Name, BackendSection] = {}
    """The targets, by name."""
    routes: dict[RouteName, RouteSection] = {}
    """The routes, by name."""
    defaults: DefaultsSection = DefaultsSection()
    """For all backends."""
    limits: LimitsSection = LimitsSection()
    """Bounds on what clients send."""
    retry_budget: BudgetSection = BudgetSection()
    """Bounds on retries."""
    fetch_images: Truth = False
    """Fetches images that a request only points to, for backends that fetch none."""
    metrics: MetricsSection = MetricsSection()
    """What the metrics hold."""


@cache
def model(guest: Guest | None) -> type[Configuration]:
    """The whole configuration, with the section of a guest."""
    if guest is None:
        return Configuration
    field = Field(default=None, description=guest.about)
    fields: dict[str, Any] = {guest.key: (guest.section | None, field)}
    return create_model(
        Configuration.__name__, __base__=Configuration, __doc__=Configuration.__doc__, **fields
    )


def check(
    data: Mapping[str, object], guest: Guest | None = None
) -> Configuration | list[Mapping[str, Any]]:
    """The configuration, or pydantic's complaints: `type`, `loc`, `msg`, `input` and `ctx`."""
    try:
        return model(guest).model_validate(data)
    except ValidationError as error:
        return [dict(complaint) for complaint in error.errors(include_url=False)]


def json_schema(guest: Guest | None = None) -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    schema = model(guest).model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def keys_at(path: KeyPath, guest: Guest | None = None) -> list[str]:
    """The keys that a mapping at this place may have; none where any key goes."""
    found: Any = model(guest)
    for part in path:
        found = _below(found, part)
    found = _section(found)
    if found is None:
        return []
    return [field.alias or name for name, field in found.model_fields.items()]


def _below(kind: Any, part: str | int) -> Any:
    if (section := _section(kind)) is not None:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        return fields[part].annotation if part in fields else None
    return next((args[-1 if isinstance(part, str) else 0] for args in _containers(kind)), None)


def _section(kind: Any) -> type[BaseModel] | None:
    """The section that a type stands for, through Annotated and Optional."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in (Annotated, Union, UnionType):
        found = [_section(arg) for arg in get_args(kind)]
        return next((one for one in found if one is not None), None)
    return None


def _containers(kind: Any) -> list[tuple[Any, ...]]:
    if get_origin(kind) in (dict, tuple):
        return [get_args(kind)]
    if get_origin(kind) in (Annotated, Union, UnionType):
        return [args for arg in get_args(kind) for args in _containers(arg)]
    return []
