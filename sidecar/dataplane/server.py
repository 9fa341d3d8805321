"""The data listener: `handle` is the map of the program, a whole request on one screen."""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane import headers, intake, rescue
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.executor import Clock, Executor, Job, Timing
from sidecar.dataplane.intake import Inbound, Upload
from sidecar.dataplane.listener import headers_too_large
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Exhausted, Problem, ProblemKind, RequestRefused
from sidecar.policy import doors, routing
from sidecar.policy.routing import Plan
from sidecar.policy.steering import Steering
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.recorder import Recorder, RequestNote
from sidecar.wire import json
from sidecar.wire.contract import Dialect, ModelEntry, Operation, RequestFacts

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_MODELS = "/v1/models"
_OWNER = "llm-sidecar"
# what clients of a dialect ask for first, so that they are told why it is not there
_UNSPOKEN = (
    ("/v1/messages", "Anthropic's dialect"),
    ("/v1/responses", "OpenAI's Responses dialect"),
    ("/api/", "Ollama's dialect"),
)
COME_BACK = 5.0  # seconds after which a client may ask a sidecar without configuration again


@dataclass(frozen=True, slots=True)
class Program:
    """What the rest of the program lends to the data plane."""

    current: Current
    store: RuntimeStore
    life: Life
    report: Report
    recorder: Recorder
    redact: Callable[[str], str]
    instance: str  # tells this sidecar from others on a request's way
    new_id: Callable[[], str]
    born: int  # seconds since the epoch


class DataServer:
    """Answers the clients."""

    def __init__(self, program: Program, executor: Executor, clock: Clock) -> None:
        self._program = program
        self._executor = executor
        self._clock = clock
        self.in_flight = 0  # requests begun and not yet ended
        self._limits: set[asyncio.Timeout] = set()  # of the requests that can still be ended
        self._is_ending = False
        self.busy_until = clock.now()  # when a request was last in flight
        self.idle = asyncio.Event()  # set while nothing is in flight
        self.idle.set()
        self._endpoints = {
            path: (dialect, operation)
            for dialect in DIALECTS
            for path, operation in dialect.endpoints.items()
        }

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """One request, from its head to the end of its answer."""
        told = http.headers.get("x-request-id", "")
        request_id = told if _SANE_ID.fullmatch(told) else self._program.new_id()
        dialect, operation = self._endpoint(http)
        timing = Timing(self._clock.now())
        answer = Answer(http, dialect, request_id, lambda: self._head_goes_out(timing))
        answer.closing = self._program.life.settling
        note = RequestNote(request_id, operation)
        limit = asyncio.timeout(None)
        self.in_flight += 1
        self.idle.clear()
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    await self._serve(http, answer, note, timing, limit)
                finally:
                    self._limits.discard(limit)
        except asyncio.CancelledError:
            note.problem = Problem(ProblemKind.CLIENT_GONE, "the client left")
            raise
        except Exception as error:  # noqa: BLE001  # here a request meets rescue
            if isinstance(error, TimeoutError) and limit.expired():
                error = Exhausted(self._out_of_time(note))
            await rescue.respond(answer, dialect, error, note, self._program.redact)
        finally:
            self.in_flight -= 1
            self.busy_until = self._clock.now()
            if not self.in_flight:
                self.idle.set()
            self._record(note, answer, timing)
        return answer.response

    async def _serve(
        self,
        http: web.BaseRequest,
        answer: Answer,
        note: RequestNote,
        timing: Timing,
        limit: asyncio.Timeout,
    ) -> None:
        """The stages, in order; each may refuse."""
        snapshot = self._program.current.get()
        self._check_doors(http, answer, snapshot)
        if http.method == "OPTIONS":
            return await answer.whole(204, _preflight(http), b"")
        if http.path == "/health":
            if http.method not in ("GET", "HEAD"):
                raise _wrong_method(http, "GET")
            note.is_probe = True
            return await self._tell(answer, self._program.report.health())
        if snapshot is None:
            raise self._not_configured()
        note.revision = snapshot.revision
        if note.operation is Operation.MODELS:
            return await self._tell_models(http, answer, snapshot)
        via = self._via(http)
        inbound = await self._read(http, answer.dialect, note.operation, snapshot)
        note.stream, note.asked_model = inbound.facts.stream, inbound.facts.model
        steering = self._steering(snapshot)
        plan = self._plan(http, inbound.facts, steering)
        note.route = plan.route.name
        deadline = timing.started + _patience(http)
        if plan.route.deadline is not None and not self._is_ending:
            limit.reschedule(asyncio.get_running_loop().time() + plan.route.deadline)
            deadline = min(deadline, timing.started + plan.route.deadline)
        self._program.store.retry_budget.deposit(snapshot.retry_budget, self._clock.now())
        with self._program.store.request(plan.route.name):
            job = Job(inbound, plan, answer, snapshot, note, timing, via, deadline)
            try:
                await self._executor.run(job)
            except Exhausted as end:
                is_denied = end.problem.kind is ProblemKind.UNKNOWN_MODEL
                if not is_denied or answer.committed or note.operation is Operation.OPAQUE:
                    raise
                told = steering.denied_model(plan, inbound.facts.model, end.problem)
                raise Exhausted(told) from end

    def _endpoint(self, http: web.BaseRequest) -> tuple[Dialect, Operation]:
        """Whose path it is; what no dialect knows is opaque."""
        if http.path == _MODELS or http.path.startswith(f"{_MODELS}/"):
            return DIALECTS[0], Operation.MODELS
        return self._endpoints.get(http.path, (DIALECTS[0], Operation.OPAQUE))

    def _check_doors(
        self, http: web.BaseRequest, answer: Answer, snapshot: Snapshot | None
    ) -> None:
        """Refuse web pages, tunnels, foreign names, and heads that are too large."""
        known = http.path in self._endpoints
        address = http.get_extra_info("sockname")
        problem = doors.refuse(
            http.method,
            http.headers.items(),
            local_address=address[0] if address else None,
            hosts=snapshot.hosts if snapshot else (),
            origins=snapshot.data.origins if snapshot else (),
            json_only=known,
        )
        if problem is not None:
            raise RequestRefused(problem)
        if origin := http.headers.get("Origin"):
            answer.common |= {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if snapshot is not None:
            size = sum(len(name) + len(value) + 4 for name, value in http.raw_headers)
            if size > snapshot.limits.header:
                raise RequestRefused(headers_too_large(snapshot.limits.header))

    def _not_configured(self) -> RequestRefused:
        return RequestRefused(
            Problem(
                ProblemKind.UNAVAILABLE,
                "The sidecar has no good configuration yet and waits for one. "
                f"{self._program.redact(self._program.current.faults)}",
                code="not_configured",
                retry_after=COME_BACK,
            )
        )

    def _via(self, http: web.BaseRequest) -> str:
        """The trail of sidecars, with this one at its end. Raises where it is on it already."""
        trail = [one.strip() for one in http.headers.get("x-sidecar-via", "").split(",")]
        if self._program.instance in trail:
            raise RequestRefused(
                Problem(
                    ProblemKind.LOOP,
                    "This request has come round to the sidecar that sent it: a backend's address "
                    "leads back here. Point `base_url` (or the variable that it comes from) at "
                    "the real backend.",
                )
            )
        return ", ".join([one for one in trail if one] + [self._program.instance])

    async def _read(
        self, http: web.BaseRequest, dialect: Dialect, operation: Operation, snapshot: Snapshot
    ) -> Inbound:
        upload: Upload | None = None
        raw, facts = b"", RequestFacts(operation)
        if operation is Operation.OPAQUE:
            self._check_path(http, snapshot)
            intake.check_length(http, snapshot.limits.body)
            if http.can_read_body:
                upload = Upload(http, snapshot.limits.body)
            path = http.rel_url.raw_path.removeprefix("/v1")
        elif http.method != "POST":
            raise _wrong_method(http, "POST")
        else:
            raw, facts = await intake.read_json(http, dialect, operation, snapshot.limits)
            path = dialect.backend_paths[operation]
        return Inbound(
            dialect=dialect,
            facts=facts,
            method=http.method,
            path=path,
            query=http.rel_url.raw_query_string,
            headers=tuple(http.headers.items()),
            raw=raw,
            key=headers.client_key(http.headers),
            upload=upload,
        )

    def _check_path(self, http: web.BaseRequest, snapshot: Snapshot) -> None:
        climbs = ".." in http.path.split("/")  # it would leave the backend's own path
        if http.path.startswith("/v1/") and snapshot.routes.relay is not None and not climbs:
            return
        raise RequestRefused(
            Problem(
                ProblemKind.BAD_REQUEST,
                f"There is nothing at {http.path[:200]}. {self._way_out(http.path)}",
                status=404,
                code="unknown_path",
            )
        )

    def _way_out(self, path: str) -> str:
        """What to do for one who asked for a path that is not there."""
        unspoken = next((name for start, name in _UNSPOKEN if path.startswith(start)), None)
        if unspoken is not None:
            return f"{unspoken} is not built yet; use OpenAI's, such as /v1/chat/completions."
        known = [*self._endpoints, _MODELS, "/health"]
        close = routing.nearest(path, known)
        told = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(known)}."
        return told + (
            " A route with `relay: true` would take it." if path.startswith("/v1/") else ""
        )

    def _steering(self, snapshot: Snapshot) -> Steering:
        return Steering(
            snapshot.routes,
            snapshot.backends,
            lambda name: snapshot.backends[name].timeouts,
            partial(self._program.store.view, snapshot),
        )

    def _plan(self, http: web.BaseRequest, facts: RequestFacts, steering: Steering) -> Plan:
        header = http.headers.get("x-sidecar-backend")
        if facts.operation is Operation.OPAQUE:
            choice = steering.relayed(header)
            assert choice is not None  # `_check_path` has seen to it
        else:
            choice = steering.choose(facts.model, header)
        return routing.plan(choice.route, choice.asked, steering.view, choice.force)

    async def _tell(self, answer: Answer, value: object) -> None:
        await answer.whole(200, {"Content-Type": "application/json"}, json.dumps(value))

    async def _tell_models(self, http: web.BaseRequest, answer: Answer, snapshot: Snapshot) -> None:
        """The names that routes offer, or one of them."""
        if http.method not in ("GET", "HEAD"):
            raise _wrong_method(http, "GET")
        steering = self._steering(snapshot)
        entries = {
            name: ModelEntry(name, _OWNER, self._program.born)
            for name, _ in routing.offered(snapshot.routes, steering.view)
        }
        if http.path == _MODELS:
            await self._tell(answer, answer.dialect.encode_models(tuple(entries.values())))
            return
        asked = http.path.removeprefix(f"{_MODELS}/")
        by_folded = {name.casefold(): entry for name, entry in entries.items()}
        entry = by_folded.get(asked.casefold())
        if entry is None:
            raise RequestRefused(steering.no_such_model(asked, list(entries)))
        await self._tell(answer, answer.dialect.encode_model(entry))

    def _head_goes_out(self, timing: Timing) -> None:
        timing.sent = self._clock.now()

    def _record(self, note: RequestNote, answer: Answer, timing: Timing) -> None:
        note.duration = self._clock.now() - timing.started
        note.status, note.committed = answer.status, answer.has_content
        note.overhead = timing.overhead
        if note.stream and timing.opened is not None and timing.sent is not None:
            note.ttft = timing.sent - timing.started
        self._program.recorder.request_ended(note)

    def _out_of_time(self, note: RequestNote) -> Problem:
        if self._is_ending:
            return Problem(
                ProblemKind.SHUTDOWN, "The sidecar is stopping; ask again.", retry_after=1.0
            )
        return Problem(
            ProblemKind.DEADLINE,
            f"The request passed the deadline of route {note.route!r}.",
        )

    def end_all(self) -> None:
        """End every request in flight honestly: with an error, in-band where it has begun."""
        self._is_ending = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)


def _patience(http: web.BaseRequest) -> float:
    """Seconds that the client waits for an answer to begin, as its SDK says; else no limit."""
    try:
        told = float(http.headers.get("x-stainless-read-timeout", "inf"))
    except ValueError:
        return math.inf
    return told if told > 0 else math.inf


def _preflight(http: web.BaseRequest) -> dict[str, str]:
    """What a browser asks before a page that may come in calls."""
    return {
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": http.headers.get("Access-Control-Request-Headers", "*"),
        "Access-Control-Max-Age": "600",
    }


def _wrong_method(http: web.BaseRequest, allowed: str) -> RequestRefused:
    return RequestRefused(
        Problem(
            ProblemKind.BAD_REQUEST,
            f"{http.path} does not take {http.method}; use {allowed}.",
            status=405,
            code="method_not_allowed",
            headers={"Allow": allowed},
        )
    )
