"""Owns all attempts of a request: asks `policy.retry` for the next step and carries it out.

Each attempt is settled exactly once, whatever ends it, with the blame where it belongs.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sidecar.config.snapshot import Backend, Snapshot
from sidecar.dataplane import tries
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.deliver import deliver, pass_through
from sidecar.dataplane.opening import Opened, check_status, open_answer
from sidecar.dataplane.prepare import LONGEST_FIELD, Outbound, Prepared, prepare
from sidecar.dataplane.upstream import RawReply, Upstream, UpstreamCall
from sidecar.neutral.problem import AttemptFailed, Exhausted, Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import Loss
from sidecar.neutral.usage import Usage
from sidecar.policy.limits import first_limit
from sidecar.policy.outcome import Disposition, Outcome, disposition_of
from sidecar.policy.retry import GiveUp, Moment, Step, Wait, next_step
from sidecar.policy.routing import Candidate, Plan
from sidecar.policy.verdict import conclude
from sidecar.runtime.calibration import ModelKey
from sidecar.runtime.store import Attempt, RuntimeStore
from sidecar.telemetry.optional import Part
from sidecar.telemetry.recorder import Recorder, RequestNote
from sidecar.wire.contract import Feature, Operation

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
    sent: float | None = None  # its head went out

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
    # what each candidate has refused and is not asked for again
    refused: dict[Candidate, frozenset[Feature]] = field(default_factory=dict)


@dataclass(slots=True)
class _Progress:
    """What is known of an attempt while it runs; times are monotonic seconds."""

    started: float
    attempt: Attempt
    first_byte: float | None = None
    first_content: float | None = None
    usage: Usage | None = None
    model: str | None = None


class Executor:
    """Runs plans."""

    def __init__(
        self,
        upstream: Upstream,
        echo: Upstream,
        store: RuntimeStore,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._upstream = upstream
        self._echo = echo
        self._store = store
        self._recorder = recorder
        self._clock = clock
        self._calibrate_at: dict[str, float] = {}  # by backend, monotonic

    async def run(self, job: Job) -> None:
        """Answer a request from its plan. Raises Exhausted when nothing is left to try."""
        history: list[Outcome] = []
        waited = 0.0
        while True:
            step = self._next(job, history, waited)
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                waited += step.seconds
                continue
            if isinstance(step, GiveUp):
                rests = {
                    one.backend: self._rest_of(job, one.backend) for one in job.plan.candidates
                }
                raise Exhausted(conclude(job.plan, history, rests))
            if step.after > 0:
                await asyncio.sleep(step.after)
            outcome = await self._attempt(job, step.candidate)
            history.append(outcome)
            if outcome.problem is None:
                return
            if outcome.committed or outcome.problem.kind is ProblemKind.CLIENT_GONE:
                raise Exhausted(_named(outcome, outcome.problem))

    def _next(self, job: Job, history: list[Outcome], waited: float) -> Step:
        now = self._clock.now()
        budget, settings = self._store.retry_budget, job.snapshot.retry_budget

        def may_retry() -> bool:
            allowed = budget.withdraw(settings, now)
            if not allowed:
                job.note.budget_exhausted = True
            return allowed

        return next_step(
            job.plan,
            history,
            Moment(job.deadline - now, waited, self._clock.draw()),
            rest_of=lambda name: self._rest_of(job, name),
            may_retry=may_retry,
        )

    def _rest_of(self, job: Job, name: str) -> float:
        return self._store.rest_of(job.snapshot.backends[name], self._clock.now())

    async def _attempt(self, job: Job, place: int) -> Outcome:
        """One try against one backend, settled however it ends."""
        candidate = job.plan.candidates[place]
        backend = job.snapshot.backends[candidate.backend]
        started = self._clock.now()
        attempt = self._store.begin(backend, started)
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
            if attempt.settle(outcome, self._clock.now(), self._clock.wall()):
                await self._upstream.forget(attempt.key)
        return outcome

    def _outcome(
        self, job: Job, place: int, progress: _Progress, problem: Problem | None
    ) -> Outcome:
        candidate = job.plan.candidates[place]
        disposition = Disposition.SUCCESS
        if problem is not None:
            disposition = disposition_of(problem, job.plan.route.on)
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
        )

    async def _carry(
        self, job: Job, candidate: Candidate, backend: Backend, progress: _Progress
    ) -> None:
        """Send, open, deliver. Raises AttemptFailed, and RequestRefused for a body too large."""
        self._describe(job, backend)
        without = job.refused.get(candidate, frozenset())
        prepared = prepare(job.outbound, candidate, backend, without)
        self._tell_losses(job, backend, prepared.losses)
        job.timing.prepared = job.timing.prepared or self._clock.now()
        try:
            await self._exchange(job, candidate, prepared, progress)
        except AttemptFailed as failed:
            upload = job.outbound.inbound.upload
            if upload is not None and upload.refused is not None:
                raise upload.refused from failed
            problem = failed.problem
            if prepared.key.forwarded and problem.kind is ProblemKind.BACKEND_AUTH:
                problem = replace(problem, kind=ProblemKind.CLIENT_AUTH)
            if problem.kind is ProblemKind.UNSUPPORTED:
                problem = self._do_without(job, candidate, backend, prepared, problem)
            raise AttemptFailed(problem) from failed

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
        left = job.deadline - progress.started
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
                progress.first_content = job.timing.opened = self._clock.now()
                try:
                    await deliver(opened, reply, job.answer, limits.idle)
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


def _named(outcome: Outcome, problem: Problem) -> Problem:
    """The problem of a stream under way, with the name of the backend that is at fault."""
    if problem.kind is ProblemKind.CLIENT_GONE:
        return problem
    return replace(problem, message=f"Backend {outcome.backend!r} {problem.message}", raw=None)
