"""The door for strangers, who come through a tunnel: shut but for what is said to be open.

Without a good key whatever is on the list is a 401 and all else the same 404. A body is not read
before its sender is known, and nobody waits here: who has failed too often is told to come back.
"""

import math
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from aiohttp import web

from sidecar.config.snapshot import Access, Listener, Public, Snapshot
from sidecar.dataplane import arrival
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.endpoints import Asked, Endpoints, Exposed
from sidecar.dataplane.guest import Guest
from sidecar.dataplane.telling import Discreet, Manner, Telling, for_strangers
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.policy import clients, doors, rate
from sidecar.policy.admission import Line
from sidecar.policy.clients import TokenRefusal, Visitor
from sidecar.policy.rate import Allowance, ClientBounds
from sidecar.policy.routing import RouteTable
from sidecar.telemetry.recorder import RequestNote
from sidecar.wire.contract import Operation, RequestFacts
from sidecar.wire.framing import LINES

PROBES = ClientBounds(requests=5.0)  # a second; a minute's worth may come at once
FLOW = "no-cache, no-transform"  # whoever compresses a stream on its way holds it back

# whose tokens these are, the values of the header
Verify = Callable[[Sequence[str], Access], Awaitable[Visitor | TokenRefusal]]
Probe = Callable[[str, str | None], bytes | None]

_NOTHING = Asked(DIALECTS[0], Operation.OPAQUE)
_ASSERTION = "Cf-Access-Jwt-Assertion"
# what tells of the page that asks, or of the way here, and what a backend behind a proxy of its own
# would believe: who asks, what for, and at whose cost
_KEPT_FROM_BACKENDS = re.compile(
    r"origin|(http-)?referer|sec-(fetch|ch)-.*|(.*-)?(client|cluster|peer|remote)-(ip|addr(ess)?)"
    r"|x-(original|rewrite|envoy|amzn|appengine|arr|azure)-.*|x-(host|url|scheme|method)"
    r"|(.*-)?method-override|x-ms-client-.*|(x-)?remote-.*|x-(.*-)?(user|groups?|email)(-.*)?"
    r"|(x-)?bearer|openai-(organization|project)"
)


@dataclass(frozen=True, slots=True)
class Lent:
    """What the rest of the program lends to the door."""

    redact: Callable[[str], str]
    current: Callable[[], Snapshot | None]
    now: Callable[[], float]  # monotonic seconds
    rejected: Callable[[str], None]  # counts who is turned away, by reason
    used: Callable[[str, int, bool], None]  # notes what a client has used: bytes, a stream
    verify: Verify
    probe: Probe


class _Unknown(Exception):
    """Nobody's key, or nobody's token; `name` is the reason of the metric, `why` of the log."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name, self.why = name, why


class _Stranger(Guest):
    """One request of a stranger: what it uses is counted, and what it holds given back."""

    def __init__(
        self, http: web.BaseRequest, client: str | None, source: str, public: Public, desk: "Desk"
    ) -> None:
        passed = tuple(pair for pair in http.headers.items() if not _is_kept(pair[0]))
        super().__init__(None, source if client is None else f"client {client}", passed, None)
        self._http, self._public, self._desk = http, public, desk
        self._client, self._source = client, source
        self._is_counted = False
        self._streams: list[tuple[Allowance, str]] = []

    def asks(self, facts: RequestFacts) -> None:
        """Count what has come, and one more stream. Raises RequestRefused."""
        self._count(streamed=facts.stream)
        if not facts.stream:
            return
        for allowance, who, bounds in self._desk.accounts(self._client, self._source, self._public):
            if wait := allowance.begin_stream(who, bounds):
                self._desk.rejected("rate")
                raise _too_many("streams at once", wait)
            self._streams.append((allowance, who))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Count what is not counted yet, and give the streams back."""
        self._count(streamed=False)
        if isinstance(error, RequestRefused) and error.problem.kind is ProblemKind.TOO_LARGE:
            self._desk.rejected("size")
        while self._streams:
            allowance, who = self._streams.pop()
            allowance.end_stream(who)

    def _count(self, *, streamed: bool) -> None:
        if self._is_counted:
            return
        self._is_counted = True
        size = self._http.content.total_bytes
        self._desk.received(self._client, self._source, self._public, size)
        if self._client is not None:
            self._desk.used(self._client, size, streamed)


class Desk:
    """Who has used how much; the latest of each are remembered."""

    def __init__(self, lent: Lent) -> None:
        self._now, self.rejected, self.used = lent.now, lent.rejected, lent.used
        self._keys, self._sources, self._probes = Allowance(), Allowance(), Allowance(1)

    def accounts(
        self, client: str | None, source: str, public: Public
    ) -> list[tuple[Allowance, str, ClientBounds]]:
        """What a request is charged to."""
        found = [(self._sources, source, public.per_source)]
        return found if client is None else [*found, (self._keys, client, public.per_key)]

    def check_failures(self, source: str, public: Public) -> None:
        """Raises RequestRefused while too many authentications of a source have failed."""
        if wait := self._sources.attempt(source, public.per_source, self._now()):
            self.rejected("rate")
            raise _too_many("failed authentications", wait)

    def has_failed(self, source: str, public: Public, reason: str) -> None:
        """An authentication has failed."""
        self._sources.failed(source, public.per_source, self._now())
        self.rejected(reason)

    def check_requests(self, client: str | None, source: str, public: Public) -> None:
        """Count one more request. Raises RequestRefused."""
        for allowance, who, bounds in self.accounts(client, source, public):
            if wait := allowance.request(who, bounds, self._now()):
                self.rejected("rate")
                raise _too_many("requests", wait)

    def received(self, client: str | None, source: str, public: Public, size: int) -> None:
        """Count the bytes of a body."""
        for allowance, who, bounds in self.accounts(client, source, public):
            allowance.received(who, bounds, size, self._now())

    def takes_probe(self) -> bool:
        """Whether one more probe may be answered."""
        return not self._probes.request("", PROBES, self._now())


class PublicDoor:
    """For strangers with a key, or a token of Cloudflare Access, or both; or for everybody."""

    relays_models = False  # a backend's own page tells paths, prompts and licences
    keeps_alive = True  # who carries its answers cuts what is silent

    def __init__(self, lent: Lent) -> None:
        self.line = Line()
        self.telling: Telling = Discreet(lent.redact, lent.current)
        self._lent, self._desk = lent, Desk(lent)
        self._endpoints, self._exposed = Endpoints(DIALECTS), Exposed(DIALECTS)

    def find(self, http: web.BaseRequest) -> Asked:
        """What is on the list; all else is nothing, whatever it looks like."""
        path, snapshot = _path(http), self._lent.current()
        is_there = snapshot is not None and snapshot.public is not None
        if not is_there or self._exposed.method(path) != http.method:
            return _NOTHING
        return self._endpoints.find(path, http.headers)

    def manner(self, asked: Asked, headers: Mapping[str, str]) -> Manner:
        """Without headers that tell who has answered; as events for who wants lines as such."""
        is_lines = asked.dialect.framing is LINES
        return Manner(for_strangers, FLOW, as_events=is_lines and _names_events(headers))

    async def admit(
        self,
        http: web.BaseRequest,
        asked: Asked,
        answer: Answer,
        note: RequestNote,
        snapshot: Snapshot | None,
    ) -> Guest | None:
        """Whoever may come in; probes and questions of browsers have their answer."""
        note.source, who = _source(http)
        note.stranger = who
        arrival.check_framing(http, answer)
        if len(http.headers.getall("Host", ())) != 1:
            raise RequestRefused(_NO_HOST)
        public = snapshot.public if snapshot is not None else None
        if snapshot is None or public is None:
            raise self._nothing()
        is_allowed = _greet(http, answer, public)
        arrival.check_size(http, snapshot)
        if await self._probed(http, answer, note):
            return None
        if http.method == "OPTIONS" and is_allowed and self._is_preflight(http):
            await answer.whole(204, arrival.preflight(http), b"")
            return None
        if asked is _NOTHING:
            raise self._nothing()
        try:
            note.client = client = await self._known(http, who, public, note)
        except _Unknown as reason:
            note.refused = reason.why
            self._desk.has_failed(who, public, reason.name)
            answer.common["WWW-Authenticate"] = "Bearer"
            needed = clients.unknown(
                with_key=public.keys is not None, with_token=public.access is not None
            )
            raise RequestRefused(needed) from None
        self._desk.check_requests(client, who, public)
        if problem := doors.refuse_media_type(http.method, http.headers.items()):
            raise RequestRefused(problem)
        note.stranger = None
        return _Stranger(http, client, who, public, self._desk)

    async def _probed(self, http: web.BaseRequest, answer: Answer, note: RequestNote) -> bool:
        """Whether it was a probe of the tunnel, which has its answer."""
        if http.method != "GET":
            return False
        told = self._lent.probe(http.raw_path, http.headers.get("Cf-Warp-Tag-Id"))
        if told is None or not self._desk.takes_probe():
            return False
        note.is_probe = True
        await answer.whole(200, {"content-type": "application/json"}, told)
        return True

    def _is_preflight(self, http: web.BaseRequest) -> bool:
        """Whether a browser asks for what is there."""
        method = self._exposed.method(_path(http))
        return method is not None and method == http.headers.get("Access-Control-Request-Method")

    async def _known(
        self, http: web.BaseRequest, source: str, public: Public, note: RequestNote
    ) -> str | None:
        """The name of the client; None where everybody may come in.

        Raises _Unknown, and RequestRefused for who has failed too often.
        """
        if public.is_open:
            return None
        self._desk.check_failures(source, public)
        name = None
        if public.keys is not None:
            found = clients.whose(http.headers.items(), public.keys)
            if not isinstance(found, str):
                raise _Unknown(found.value, found.value)
            name = found
        if public.access is not None:
            tokens = http.headers.getall(_ASSERTION, [])
            visitor = await self._lent.verify(tokens, public.access)
            if isinstance(visitor, TokenRefusal):
                raise _Unknown("bad_token", f"bad_token: {visitor.why}")
            note.visitor = str(visitor)
            name = name or note.visitor
        return name

    def _nothing(self) -> RequestRefused:
        self._lent.rejected("path")
        return RequestRefused(_NOTHING_HERE)

    def place(self, snapshot: Snapshot) -> Listener:
        """Its own; while it is being taken away, the other one's."""
        return snapshot.public.listener if snapshot.public is not None else snapshot.data

    def table(self, snapshot: Snapshot) -> RouteTable:
        """Those that are public."""
        return snapshot.routes.published

    def named(self, snapshot: Snapshot) -> Collection[str]:
        """None: a stranger asks for models."""
        return ()

    def heads_early(self, snapshot: Snapshot) -> bool:
        """As it is configured."""
        return snapshot.public is not None and snapshot.public.early_head


def _path(http: web.BaseRequest) -> str:
    """The path as it stands in the request: what is written in another way is another path."""
    return http.raw_path.partition("?")[0]


def _source(http: web.BaseRequest) -> tuple[str, str]:
    """From where it comes, for the log and for the limits."""
    found = doors.told_address(http.headers.getall("Cf-Connecting-Ip", ()), http.remote)
    return ("unknown", "unknown") if found is None else (str(found), rate.source(found))


def _greet(http: web.BaseRequest, answer: Answer, public: Public) -> bool:
    """Let a page read the answer if it may; whether it may."""
    origins = http.headers.getall("Origin", ())
    if len(origins) != 1 or origins[0].lower() not in public.listener.origins:
        return False
    answer.common |= {
        "Access-Control-Allow-Origin": origins[0],
        "Access-Control-Expose-Headers": "x-request-id, retry-after",
        "Vary": "Origin",
    }
    return True


def _names_events(headers: Mapping[str, str]) -> bool:
    """Whether a client takes server-sent events by name."""
    for item in headers.get("Accept", "").lower().split(","):
        kind, *parameters = (part.replace(" ", "") for part in item.split(";"))
        if kind == "text/event-stream":
            return not any(one.startswith("q=0") and not one[3:].strip(".0") for one in parameters)
    return False


def _is_kept(name: str) -> bool:
    """Whether no backend gets such a header of a stranger's."""
    return _KEPT_FROM_BACKENDS.fullmatch(name.lower().replace("_", "-")) is not None


def _too_many(what: str, wait: float) -> RequestRefused:
    """For who has used up what it may."""
    seconds = max(1, math.ceil(wait))
    return RequestRefused(
        Problem(
            ProblemKind.RATE_LIMITED,
            f"There are too many {what}. Come back in {seconds} s.",
            status=429,
            code="rate_limit_exceeded",
            retry_after=float(seconds),
        )
    )


_NOTHING_HERE = Problem(
    ProblemKind.BAD_REQUEST, "There is nothing here.", status=404, code="not_found"
)
_NO_HOST = Problem(
    ProblemKind.BAD_REQUEST,
    "This is not a valid HTTP/1.1 request: it has not one Host. Check what sends it.",
    status=400,
    code="invalid_http",
)
