"""The data listener: `handle` is the map of the program, a whole request on one screen."""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import web

from sidecar.config.snapshot import Snapshot
from sidecar.dataplane import arrival, counsel, known, planning, rescue, tries
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.door import Door
from sidecar.dataplane.endpoints import Asked, Endpoints
from sidecar.dataplane.executor import Executor
from sidecar.dataplane.gate import Gate, Place, client_of
from sidecar.dataplane.images import ImageFetcher
from sidecar.dataplane.job import Clock, Job, Timing
from sidecar.dataplane.patience import patience
from sidecar.dataplane.prepare import Moment, Outbound, context
from sidecar.dataplane.translate import Translation
from sidecar.dataplane.waiting import Signs, attended, before_whole, in_stream
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Exhausted, Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import ChatRequest
from sidecar.policy import advice
from sidecar.policy.admission import Bounds
from sidecar.policy.estimate import DEFAULT_RATIO, estimate
from sidecar.policy.routing import Candidate
from sidecar.policy.steering import Steering
from sidecar.policy.verdict import COME_BACK
from sidecar.runtime import offer
from sidecar.runtime.calibration import ModelKey
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.recorder import Recorder, RequestNote
from sidecar.wire.contract import ModelEntry, Operation

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_STREAMED = (Operation.CHAT, Operation.COMPLETION)
_LONG = (*_STREAMED, Operation.EMBED)  # their whole answers may take a while


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a request has come in, and what it asks for."""

    door: Door
    asked: Asked


@dataclass(frozen=True, slots=True)
class Program:
    """What the rest of the program lends to the data plane."""

    current: Current
    store: RuntimeStore
    life: Life
    recorder: Recorder
    images: ImageFetcher
    gate: Gate
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
        self._paths = (*Endpoints(DIALECTS).paths, "/health")

    async def handle(self, http: web.BaseRequest, door: Door) -> web.StreamResponse:
        """One request, from its head to the end of its answer; `door` is the listener's."""
        told = http.headers.get("x-request-id", "")
        request_id = told if _SANE_ID.fullmatch(told) else self._program.new_id()
        asked = door.find(http)
        timing = Timing(self._clock.now())
        answer = Answer(
            http,
            asked.dialect,
            request_id,
            lambda: self._content_goes_out(timing),
            door.manner(asked, http.headers),
        )
        # behind a wish to speak another protocol the parser loses its place
        answer.closing = self._program.life.settling or "Upgrade" in http.headers
        note = RequestNote(request_id, asked.operation)
        limit = asyncio.timeout(None)
        self.in_flight += 1
        self.idle.clear()
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    await self._serve(http, Visit(door, asked), answer, note, timing, limit)
                finally:
                    self._limits.discard(limit)
        except asyncio.CancelledError:
            if not answer.delivered:
                note.problem = Problem(ProblemKind.CLIENT_GONE, "the client left")
            raise
        except Exception as error:  # noqa: BLE001  # here a request meets rescue
            if isinstance(error, TimeoutError) and limit.expired():
                error = Exhausted(self._out_of_time(note))
            answer.closing = answer.closing or not http.content.is_eof()
            await rescue.respond(answer, asked.dialect, error, note, door.telling)
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
        visit: Visit,
        answer: Answer,
        note: RequestNote,
        timing: Timing,
        limit: asyncio.Timeout,
    ) -> None:
        """The stages, in order; each may refuse."""
        snapshot, door, asked = self._program.current.get(), visit.door, visit.asked
        guest = await door.admit(http, asked, answer, note, snapshot)
        if guest is None:
            return
        if snapshot is None:
            raise self._not_configured()
        note.revision = snapshot.revision
        steering = self._steering(snapshot, door)
        with guest:
            if asked.operation is Operation.MODELS:
                if http.method not in ("GET", "HEAD"):
                    raise arrival.wrong_method(http, "GET")
                entries = self._entries(snapshot, door)
                await known.tell_models(answer, asked, entries, steering)
                return
            via = arrival.trail(http, self._program.instance)
            inbound = await arrival.read(http, asked, snapshot, self._paths, guest)
            note.stream, note.asked_model = inbound.facts.stream, inbound.facts.model
            guest.asks(inbound.facts)
            plan = planning.plan(asked, inbound.facts, guest.backend, steering, snapshot)
            note.route = plan.route.name
            client = patience(http.headers)
            note.client_retry, deadline = client.retry, timing.started + client.wait
            if plan.route.deadline is not None and not self._is_ending:
                limit.reschedule(asyncio.get_running_loop().time() + plan.route.deadline)
                deadline = min(deadline, timing.started + plan.route.deadline)
            translation = Translation(inbound)
            moment = self._moment(translation, timing)
            outbound = Outbound(inbound, translation, plan.route, via, moment)
            job = Job(outbound, plan, answer, snapshot, note, timing, deadline, client.wait)
            with self._program.store.request(plan.route.name):
                await self._attended(job, visit, steering)

    async def _attended(self, job: Job, visit: Visit, steering: Steering) -> None:
        """Answer, with signs of life for a client that must not wait in silence."""
        place = visit.door.place(job.snapshot)
        signs, commit_after = self._signs(job, visit), place.commit_after
        if commit_after is None and job.plan.route.assured:
            commit_after = place.keepalive
        work = self._admitted(job, visit, steering)
        if signs is None or (commit_after is None and not visit.door.keeps_alive):
            await work
            return
        if (
            commit_after is not None and job.patience > commit_after
        ):  # it hears something in time, and then again
            job = replace(job, deadline=job.last, patience=math.inf)
        await attended(work, job.answer, signs, commit_after, place.keepalive)

    def _signs(self, job: Job, visit: Visit) -> Signs | None:
        """The signs of life that this client may get."""
        facts, dialect = job.outbound.inbound.facts, job.answer.dialect
        if facts.stream:
            if facts.operation not in _STREAMED:
                return None
            ctx = context(job.outbound, ChatRequest(()), 0, facts.model)
            return in_stream(dialect.stream_encoder(ctx))
        may_wait = facts.operation in _LONG and visit.door.heads_early(job.snapshot)
        return before_whole(dialect) if may_wait else None

    async def _admitted(self, job: Job, visit: Visit, steering: Steering) -> None:
        """Answer once the listener has room for one more request. Raises RequestRefused."""
        store, snapshot, outbound = self._program.store, job.snapshot, job.outbound
        with Place(partial(client_of, outbound.inbound)) as place:
            patience, door = job.deadline - self._clock.now(), visit.door

            def bounds() -> Bounds:
                return door.place(self._program.current.get() or snapshot).bounds

            await self._program.gate.to_listener(place, door.line, bounds, patience)
            if not job.note.client_retry:  # a retry of the client's is one already, and earns none
                store.retry_budget.deposit(snapshot.retry_budget, self._clock.now())
            plan = await planning.best(job.plan, outbound, snapshot, self._program.images)
            if plan is not job.plan:
                job = replace(job, plan=plan)
            await self._answer(job, visit, steering)

    async def _answer(self, job: Job, visit: Visit, steering: Steering) -> None:
        """An answer, or a failure with what to do about it."""
        try:
            await self._find_answer(job, visit, steering)
        except Exhausted as end:
            on_offer = partial(self._entries, job.snapshot, visit.door)
            raise Exhausted(counsel.advised(end.problem, job, on_offer)) from end

    async def _find_answer(self, job: Job, visit: Visit, steering: Steering) -> None:
        """By a backend, or from what is known without asking one."""
        is_native, facts = self._is_native(job), job.outbound.inbound.facts
        match visit.asked.operation:
            case Operation.COUNT:
                await self._count(job)
                return
            case Operation.SHOW if not (is_native and visit.door.relays_models):
                entries = self._entries(job.snapshot, visit.door)
                if job.plan.candidates:  # it can be asked for, listed or not
                    entries.append(ModelEntry(facts.model or "", offer.OWNER, self._program.born))
                await known.tell_model(job.answer, facts.model, entries, steering)
                return
            case Operation.CHAT | Operation.COMPLETION if not is_native:
                if job.outbound.translation.says_nothing:
                    await known.say_ready(job.answer, job.outbound)
                    return
            case _:
                pass
        try:
            await self._executor.run(job)
        except Exhausted as end:
            is_denied = end.problem.kind is ProblemKind.UNKNOWN_MODEL
            if not is_denied or job.answer.committed or visit.asked.operation is Operation.OPAQUE:
                raise
            told = steering.denied_model(job.plan, facts.model, end.problem)
            raise Exhausted(told) from end

    async def _count(self, job: Job) -> None:
        """The tokens of a request: by a backend that has a count for it, else an estimate."""
        backends = job.snapshot.backends
        able = [
            one
            for one in job.plan.candidates
            if Operation.COUNT in backends[one.backend].dialect.backend_paths
        ]
        if able:
            plan = replace(job.plan, candidates=tuple(able))
            try:
                await self._executor.run(replace(job, plan=plan))
                return
            except Exhausted as end:
                if job.answer.committed or end.problem.kind is ProblemKind.BAD_REQUEST:
                    raise
                job.answer.common[tries.HEADER] = tries.header(job.note.attempts)
        first = next(iter(job.plan.candidates), None)
        await known.tell_estimate(job.answer, job.outbound.moment.tokens(first))

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

    def _steering(self, snapshot: Snapshot, door: Door) -> Steering:
        return Steering(
            door.table(snapshot),
            door.named(snapshot),
            lambda name: snapshot.backends[name].timeouts,
            partial(self._program.store.view, snapshot),
        )

    def _moment(self, translation: Translation, timing: Timing) -> Moment:
        calibration = self._program.store.calibration

        def tokens(one: Candidate | None) -> int:
            key = None if one is None else ModelKey(one.backend, one.model or "")
            ratio = DEFAULT_RATIO if key is None else calibration.ratio(key)
            return estimate(translation.measure, ratio)

        return Moment(
            created=int(self._clock.wall()),
            elapsed=lambda: self._clock.now() - timing.started,
            new_id=self._program.new_id,
            tokens=tokens,
        )

    def _is_native(self, job: Job) -> bool:
        """Whether the first candidate speaks the client's dialect."""
        first = next(iter(job.plan.candidates), None)
        dialect = job.outbound.inbound.dialect
        return first is None or job.snapshot.backends[first.backend].dialect is dialect

    def _entries(self, snapshot: Snapshot, door: Door) -> list[ModelEntry]:
        table = door.table(snapshot)
        return offer.entries(snapshot, table, self._program.store, self._program.born)

    def _content_goes_out(self, timing: Timing) -> None:
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
            advice=advice.past_deadline(note.route),
        )

    def end_all(self) -> None:
        """End every request in flight honestly: with an error, in-band where it has begun."""
        self._is_ending = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)
