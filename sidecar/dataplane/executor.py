"""Owns all attempts of a request: asks `policy.retry` for the next step and carries it out.

Each attempt is settled exactly once, whatever ends it, with the blame where it belongs.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from sidecar.config.snapshot import Backend, Snapshot
from sidecar.dataplane import tries
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.deliver import deliver, pass_through
from sidecar.dataplane.gate import Gate, Place, client_of
from sidecar.dataplane.opening import Opened, check_status, open_answer
from sidecar.dataplane.prepare import LONGEST_FIELD, Outbound, Prepared, context, prepare
from sidecar.dataplane.resuming import Resumption, can_continue
from sidecar.dataplane.upstream import RawReply, Upstream, UpstreamCall
from sidecar.neutral.problem import AttemptFailed, Exhausted, Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import Loss
from sidecar.neutral.usage import Usage
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.limits import first_limit
from sidecar.policy.outcome import Disposition, Outcome, disposition_of
from sidecar.policy.recovery import Recovery, can_recover, next_recovery
from sidecar.policy.retry import GiveUp, Moment, Step, Wait, next_step
from sidecar.policy.routing import Candidate, Plan, Way
from sidecar.policy.verdict import conclude
from sidecar.runtime.calibration import ModelKey
from sidecar.runtime.store import Attempt, RuntimeStore
from sidecar.telemetry.optional import Part
from sidecar.telemetry.recorder import Recorder, RequestNote
from sidecar.wire.contract import Feature, Operation, Resumed

CALIBRATE_EVERY = 10.0  # seconds, for one backend
LOSSES_NAMED = 32  # in a header


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and chance come from: monotonic seconds, epoch seconds, a draw in [0, 1)."""

    now: Callable[[], float]
    wall: Callable[[], float]
    draw: Callable[[], float]


@dataclass(slots=True)
class Timing:
    """When a request reached which point, in monotonic seconds."""

    started: float
    prepared: float | None = None  # the first call to a backend was ready
    opened: float | None = None  # the answer was known to be good
    sent: float | None = None  # its content began to go out

    @property
    def overhead(self) -> float | None:
        """The sidecar's own time: before the first call, and between answer and client."""
        if self.prepared is None or self.opened is None or self.sent is None:
            return None
        return self.prepared - self.started + self.sent - self.opened


@dataclass(frozen=True, slots=True)
class Job:
    """One request on its way: what was asked, of whom, and where the answer goes."""

    outbound: Outbound
    plan: Plan
    answer: Answer
    snapshot: Snapshot
    note: RequestNote
    timing: Timing
    deadline: float  # monotonic
    patience: float = math.inf  # seconds that the client waits for more of an answer
    # what each candidate has refused and is not asked for again
    refused: dict[Candidate, frozenset[Feature]] = field(default_factory=dict)
    keys_refused: Counter[str] = field(default_factory=Counter)  # by backend
    # the backends that had no room for it, and why, behind the name
    full: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> float:
        """When the route ends the request, whatever the client's patience."""
        limit = self.plan.route.deadline
        return math.inf if limit is None else self.timing.started + limit


@dataclass(slots=True)
class _Progress:
    """What is known of an attempt while it runs; times are monotonic seconds."""

    started: float
    attempt: Attempt
    first_byte: float | None = None
    first_content: float | None = None
    usage: Usage | None = None
    model: str | None = None
    streamed: bool = False
    at_once: bool = False  # the same target may be asked again in another way


class Executor:
    """Runs plans."""

    def __init__(
        self,
        upstream: Upstream,
        echo: Upstream,
        store: RuntimeStore,
        gate: Gate,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._upstream = upstream
        self._echo = echo
        self._store = store
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._calibrate_at: dict[str, float] = {}  # by backend, monotonic

    async def run(self, job: Job) -> None:
        """Answer a request from its plan. Raises Exhausted when nothing is left to try."""
        with Place(partial(client_of, job.outbound.inbound)) as place:
            await self._run(job, place)

    async def _run(self, job: Job, place: Place) -> None:
        history: list[Outcome] = []
        waited = 0.0
        if _can_be_resumed(job):
            job.answer.keep()
        while True:
            step = self._next(job, history, waited)
            if isinstance(step, Wait):
                place.leave()
                await asyncio.sleep(step.seconds)
                waited += step.seconds
                continue
            if isinstance(step, GiveUp):
                places = range(len(job.plan.candidates))
                standings = {place: self._standing(job, place) for place in places}
                raise Exhausted(conclude(job.plan, history, standings))
            if step.after > 0:
                await asyncio.sleep(step.after)
                if not self._is_still_open(job, step.candidate):
                    continue
            if not history and step.candidate > 0:
                job.note.passed_over = self._standing(job, 0)
            if not await self._has_room(job, place, step.candidate):
                continue
            outcome = await self._attempt(job, step.candidate)
            history.append(outcome)
            if outcome.problem is None:
                return
            if outcome.problem.kind is ProblemKind.CLIENT_GONE:
                raise Exhausted(outcome.problem)
            if outcome.committed:
                await self._recover(job, place, history)
                return

    async def _recover(self, job: Job, place: Place, history: list[Outcome]) -> None:
        """Have another answer go on where the stream broke. Raises Exhausted where none can.

        Whatever comes of that, the problem is the one that broke the stream.
        """
        broken = history[-1]
        assert broken.problem is not None
        tried: list[Recovery] = []
        heard, since = job.answer.written, self._clock.now()
        while can_recover(broken) and (resumed := _resumed(job)) is not None:
            step = self._next_recovery(job, history, tried, resumed)
            if step is None:
                break
            if job.answer.written != heard:
                heard, since = job.answer.written, self._clock.now()
            onward = _onward(job, Resumption(step.way, resumed), since)
            if self._clock.now() >= onward.deadline:
                break  # nobody waits for it any more
            if not await self._has_room(onward, place, step.candidate):
                continue
            outcome = await self._attempt(onward, step.candidate)
            history.append(outcome)
            tried.append(step)
            job.note.recoveries.append((step.way, outcome.problem is None))
            if outcome.problem is None:
                return
            if outcome.problem.kind is ProblemKind.CLIENT_GONE:
                raise Exhausted(outcome.problem)
        told = f"Backend {broken.backend!r} {broken.problem.message}"
        raise Exhausted(replace(broken.problem, message=told, raw=None))

    def _next_recovery(
        self,
        job: Job,
        history: Sequence[Outcome],
        tried: Sequence[Recovery],
        resumed: Resumed,
    ) -> Recovery | None:
        return next_recovery(
            job.plan,
            history,
            tried,
            may_continue=can_continue(resumed, job.outbound.translation.request),
            is_ready=lambda place: self._standing(job, place).is_ready,
            may_retry=lambda: self._may_retry(job),
        )

    def _next(self, job: Job, history: list[Outcome], waited: float) -> Step:
        now = self._clock.now()
        if job.full and now >= job.deadline:
            return GiveUp()  # it has waited for all its time
        return next_step(
            job.plan,
            history,
            Moment(job.deadline - now, waited, self._clock.draw()),
            standing_of=lambda place: self._standing(job, place),
            may_retry=lambda: self._may_retry(job),
        )

    def _may_retry(self, job: Job) -> bool:
        """Takes one retry from the budget, if it is there."""
        settings = job.snapshot.retry_budget
        allowed = self._store.retry_budget.withdraw(settings, self._clock.now())
        job.note.budget_exhausted = job.note.budget_exhausted or not allowed
        return allowed

    def _standing(self, job: Job, number: int) -> Standing:
        candidate = job.plan.candidates[number]
        if why := job.full.get(candidate.backend):
            return Standing(Availability.FULL, math.inf, why=why)
        backend = job.snapshot.backends[candidate.backend]
        return self._store.standing(backend, candidate.model, self._clock.now())

    def _is_still_open(self, job: Job, number: int) -> bool:
        """Whether the pause before a retry has not seen the backend ejected by others."""
        return self._standing(job, number).availability in (
            Availability.READY,
            Availability.RESTING,
        )

    async def _has_room(self, job: Job, place: Place, number: int) -> bool:
        """Take a place at a candidate's backend; where there is none, it is asked no more.

        Who has waited for one looks again: the backend may have been ejected meanwhile.
        """
        backend = job.snapshot.backends[job.plan.candidates[number].backend]
        was_ready = backend.bounds.in_flight is not None and self._standing(job, number).is_ready
        why = await self._gate.to_backend(place, backend, job.deadline - self._clock.now())
        if why is None:
            return not was_ready or self._standing(job, number).is_ready
        job.full[backend.name] = why
        job.note.full.append(len(job.note.attempts))
        return False

    async def _attempt(self, job: Job, place: int) -> Outcome:
        """One try against one backend, settled however it ends."""
        candidate = job.plan.candidates[place]
        backend = job.snapshot.backends[candidate.backend]
        started = self._clock.now()
        attempt = self._store.begin(backend, started, candidate.model)
        progress = _Progress(started, attempt)
        problem: Problem | None = Problem(ProblemKind.INTERNAL, "failed by a fault of the sidecar")
        try:
            await self._carry(job, candidate, backend, progress)
            problem = None
        except AttemptFailed as failed:
            problem = failed.problem
        except RequestRefused as refused:  # a body that flowed turned out to be too large
            problem = refused.problem
            raise
        except asyncio.CancelledError:
            problem = Problem(ProblemKind.CLIENT_GONE, "the request ended first")
            raise
        finally:
            outcome = self._outcome(job, place, progress, problem)
            job.note.attempts.append(outcome)
            self._recorder.attempt_ended(outcome)
            now, wall = self._clock.now(), self._clock.wall()
            is_gone = attempt.settle(outcome, now, wall, self._clock.draw())
            self._recorder.breakers_changed(attempt.changes)
            if is_gone:
                await self._upstream.forget(attempt.key)
        return outcome

    def _outcome(
        self, job: Job, place: int, progress: _Progress, problem: Problem | None
    ) -> Outcome:
        candidate = job.plan.candidates[place]
        disposition = Disposition.SUCCESS
        if problem is not None:
            disposition = disposition_of(problem, job.plan.route.on)
            if progress.at_once and disposition is Disposition.FAIL_OVER:
                disposition = Disposition.RETRY_SAME  # by another key
            upload = job.outbound.inbound.upload
            if upload is not None and upload.started:
                disposition = Disposition.FINAL  # its body is gone

        def since(moment: float | None) -> float | None:
            return None if moment is None else moment - progress.started

        return Outcome(
            candidate=place,
            backend=candidate.backend,
            model=progress.model or candidate.model,
            disposition=disposition,
            problem=problem,
            first_byte=since(progress.first_byte),
            ttft=since(progress.first_content),
            duration=self._clock.now() - progress.started,
            usage=progress.usage,
            committed=job.answer.committed,
            at_once=progress.at_once,
            streamed=progress.streamed,
            load=progress.usage.load if progress.usage is not None else 0.0,
        )

    async def _carry(
        self, job: Job, candidate: Candidate, backend: Backend, progress: _Progress
    ) -> None:
        """Send, open, deliver. Raises AttemptFailed, and RequestRefused for a body too large."""
        self._describe(job, backend)
        without = job.refused.get(candidate, frozenset())
        turn = self._store.state(backend).key_turn
        outbound = replace(job.outbound, turn=turn) if turn else job.outbound
        prepared = prepare(outbound, candidate, backend, without)
        self._tell_losses(job, backend, prepared.losses)
        job.timing.prepared = job.timing.prepared or self._clock.now()
        try:
            await self._exchange(job, candidate, prepared, progress)
        except AttemptFailed as failed:
            upload = job.outbound.inbound.upload
            if upload is not None and upload.refused is not None:
                raise upload.refused from failed
            problem = failed.problem
            if problem.kind is ProblemKind.BACKEND_AUTH:
                problem = self._key_refused(job, backend, prepared, turn, problem)
            if problem.kind is ProblemKind.UNSUPPORTED:
                problem = self._do_without(job, candidate, backend, prepared, problem)
            progress.at_once = problem.kind is ProblemKind.UNSUPPORTED or (
                problem.kind is ProblemKind.BACKEND_AUTH
                and job.keys_refused[backend.name] < prepared.key.count
            )
            raise AttemptFailed(problem) from failed

    def _key_refused(
        self, job: Job, backend: Backend, prepared: Prepared, turn: int, problem: Problem
    ) -> Problem:
        """Whose key was refused: the client's own, or one of ours, which is not used again soon."""
        if prepared.key.forwarded:
            return replace(problem, kind=ProblemKind.CLIENT_AUTH)
        job.keys_refused[backend.name] += 1
        state = self._store.state(backend)
        if state.key_turn == turn:  # else another request has found out already
            state.key_turn = turn + 1
        return problem

    def _describe(self, job: Job, backend: Backend) -> None:
        """Tell the client whom it hears."""
        common = job.answer.common
        common["x-sidecar-backend"] = backend.name
        common["x-sidecar-attempts"] = str(len(job.note.attempts) + 1)
        common[tries.HEADER] = tries.header(job.note.attempts, backend.name)
        for name in ("x-sidecar-echo", "x-sidecar-losses"):
            common.pop(name, None)
        if backend.echo:
            common["x-sidecar-echo"] = "true"

    def _tell_losses(self, job: Job, backend: Backend, losses: Sequence[Loss]) -> None:
        """Tell the client, and count, what its request loses on the way to a backend."""
        if not losses:
            return
        named = [*dict.fromkeys(_printable(loss.field) for loss in losses)]
        more = ["..."] if len(named) > LOSSES_NAMED else []
        job.answer.common["x-sidecar-losses"] = ", ".join(named[:LOSSES_NAMED] + more)
        client = job.outbound.inbound.dialect
        self._recorder.crossed(client.name, backend.dialect.name, losses)

    def _do_without(
        self,
        job: Job,
        candidate: Candidate,
        backend: Backend,
        prepared: Prepared,
        problem: Problem,
    ) -> Problem:
        """Note a feature that the backend refused, if the request can do without it.

        It can where leaving the feature out changes what is sent; else the refusal is final.
        """
        without = job.refused.get(candidate, frozenset()) | {Feature(problem.param or "")}
        job.refused[candidate] = without
        again = prepare(job.outbound, candidate, backend, without)
        if again.call.body != prepared.call.body:
            return problem
        return replace(problem, kind=ProblemKind.BAD_REQUEST, param=None)

    async def _exchange(
        self, job: Job, candidate: Candidate, prepared: Prepared, progress: _Progress
    ) -> None:
        """One call and its answer, under the limits of the candidate."""
        limits, facts, passage = candidate.timeouts, job.outbound.inbound.facts, prepared.passage
        left, progress.streamed = job.deadline - progress.started, passage.asks_stream
        wait, late = first_limit(limits, left, is_stream=passage.asks_stream)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with (
                asyncio.timeout_at(began + wait) as limit,
                self._sent(prepared.call) as reply,
            ):
                progress.first_byte = self._clock.now()

                def whole_begins() -> None:
                    nonlocal late
                    progress.streamed = False
                    wait, late = first_limit(limits, left, is_stream=False)
                    limit.reschedule(began + wait)

                await check_status(reply, passage, self._clock.wall())
                progress.attempt.was_taken()
                if facts.operation is Operation.OPAQUE:
                    limit.reschedule(None)
                    job.timing.opened = self._clock.now()
                    await pass_through(reply, job.answer, limits.idle)
                    return
                opened = await open_answer(
                    reply, passage, wants_stream=facts.stream, whole_begins=whole_begins
                )
                for call in prepared.further:
                    async with self._sent(call) as more:
                        await check_status(more, passage, self._clock.wall())
                        opened = await open_answer(
                            more, passage, wants_stream=False, whole_begins=whole_begins
                        )
                limit.reschedule(None)
                progress.first_content = self._clock.now()
                if not job.answer.committed:
                    job.timing.opened = progress.first_content
                held = job.plan.route.assured
                try:
                    await deliver(opened, reply, job.answer, limits.idle, held=held)
                finally:
                    self._learn(job, candidate, opened, progress)
        except TimeoutError:
            raise AttemptFailed(late) from None

    @asynccontextmanager
    async def _sent(self, call: UpstreamCall) -> AsyncIterator[RawReply]:
        """The reply to a call, closed whatever happens."""
        door = self._echo if call.backend.echo else self._upstream
        reply = await door.send(call)
        try:
            yield reply
        finally:
            await reply.aclose()

    def _learn(self, job: Job, candidate: Candidate, opened: Opened, progress: _Progress) -> None:
        """Keep what the answer told of itself."""
        stream, told = opened.stream, opened.whole
        if stream is not None:
            progress.usage, progress.model = stream.tap.usage, stream.tap.model
            job.note.skipped_events += stream.skipped
        elif told is not None:
            progress.usage, progress.model = told.usage, told.model
        job.note.answered_model = progress.model or job.note.answered_model
        self._recorder.optional.run(
            Part.CALIBRATION, lambda: self._calibrate(job, candidate, progress.usage)
        )

    def _calibrate(self, job: Job, candidate: Candidate, usage: Usage | None) -> None:
        """Learn now and then how many tokens this backend makes of a request; it takes time."""
        is_chat = job.outbound.inbound.facts.operation is Operation.CHAT
        if usage is None or usage.is_estimated or not is_chat:
            return
        now = self._clock.now()
        if now < self._calibrate_at.get(candidate.backend, 0.0):
            return
        self._calibrate_at[candidate.backend] = now + CALIBRATE_EVERY
        key = ModelKey(candidate.backend, candidate.model or "")
        size = job.outbound.translation.measure
        self._store.calibration.learn(key, size, usage.input_tokens)


def _printable(name: str) -> str:
    """A field's name as it may stand in a header; a client may have made it up."""
    return re.sub(r"[^A-Za-z0-9_.\[\]-]", "?", name[:LONGEST_FIELD])


def _can_be_resumed(job: Job) -> bool:
    """Whether the stream may go on elsewhere if it breaks."""
    facts, recover = job.outbound.inbound.facts, job.plan.route.recover
    is_one_chat = facts.operation is Operation.CHAT and facts.stream and facts.choices == 1
    return is_one_chat and recover[0] is not Way.FAIL and not job.plan.route.assured


def _resumed(job: Job) -> Resumed | None:
    """What the client has, read back; None where nothing can go on from there."""
    kept, translation = job.answer.kept, job.outbound.translation
    if kept is None or not translation.is_understood:
        return None
    dialect = job.answer.dialect
    ctx = context(job.outbound, translation.request, 0, job.note.answered_model)
    return dialect.resume(dialect.framing.framer().feed(kept), ctx)


def _onward(job: Job, resumption: Resumption, since: float) -> Job:
    """The same request, to go on with a broken stream.

    The client has read something: its patience counts anew since it has heard the last of it.
    """
    outbound = replace(job.outbound, resumption=resumption)
    if resumption.way is Way.CONTINUE:
        outbound = replace(outbound, translation=outbound.translation.continued(resumption.opening))
    return replace(job, outbound=outbound, deadline=min(job.last, since + job.patience))
