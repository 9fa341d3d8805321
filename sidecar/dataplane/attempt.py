"""One try against one backend: send, open, deliver, learn.

It is settled exactly once, whatever ends it, with the blame where it belongs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sidecar.config.snapshot import Backend
from sidecar.dataplane.deliver import deliver, pass_through
from sidecar.dataplane.job import Clock, Job
from sidecar.dataplane.opening import Opened, check_status, open_answer
from sidecar.dataplane.prepare import Prepared, prepare
from sidecar.dataplane.provenance import tell_backend, tell_losses
from sidecar.dataplane.upstream import RawReply, Upstream, UpstreamCall
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind, RequestRefused
from sidecar.neutral.usage import Usage
from sidecar.policy.limits import first_limit
from sidecar.policy.outcome import Disposition, Outcome, disposition_of
from sidecar.policy.routing import Candidate
from sidecar.runtime.calibration import ModelKey
from sidecar.runtime.store import Attempt, RuntimeStore
from sidecar.telemetry.optional import Part
from sidecar.telemetry.recorder import Recorder
from sidecar.wire.contract import Feature, Operation

CALIBRATE_EVERY = 10.0  # seconds, for one backend


@dataclass(slots=True)
class _Progress:
    """What is known of an attempt while it runs; times are monotonic seconds."""

    started: float
    attempt: Attempt
    has_next: Callable[[], bool]
    first_byte: float | None = None
    first_content: float | None = None
    usage: Usage | None = None
    model: str | None = None
    streamed: bool = False
    at_once: bool = False  # the same target may be asked again in another way


class Attempts:
    """Carries out attempts."""

    def __init__(
        self,
        upstream: Upstream,
        echo: Upstream,
        store: RuntimeStore,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._upstream, self._echo = upstream, echo
        self._store, self._recorder, self._clock = store, recorder, clock
        self._calibrate_at: dict[str, float] = {}  # by backend, monotonic

    async def run(
        self, job: Job, place: int, has_next: Callable[[], bool] = lambda: False
    ) -> Outcome:
        """One try against one backend, settled however it ends.

        `has_next` tells whether another target could be asked behind it.
        """
        candidate = job.plan.candidates[place]
        backend = job.snapshot.backends[candidate.backend]
        started = self._clock.now()
        attempt = self._store.begin(backend, started, candidate.model)
        progress = _Progress(started, attempt, has_next)
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
            gone = Problem(ProblemKind.CLIENT_GONE, "the request ended first")
            problem = None if job.answer.delivered else gone
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
        tell_backend(job.answer, backend, job.note.attempts)
        without = job.refused.get(candidate, frozenset())
        turn = self._store.state(backend).key_turn
        outbound = replace(job.outbound, turn=turn) if turn else job.outbound
        prepared = prepare(outbound, candidate, backend, without)
        if prepared.losses:
            tell_losses(job.answer, prepared.losses)
            client = job.outbound.inbound.dialect
            self._recorder.crossed(client.name, backend.dialect.name, prepared.losses)
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
                and job.keys_refused.get(backend.name, 0) < prepared.key.count
            )
            raise AttemptFailed(problem) from failed

    def _key_refused(
        self, job: Job, backend: Backend, prepared: Prepared, turn: int, problem: Problem
    ) -> Problem:
        """Whose key was refused: the client's own, or one of ours, which is not used again soon."""
        if prepared.key.forwarded:
            return replace(problem, kind=ProblemKind.CLIENT_AUTH)
        job.keys_refused[backend.name] = job.keys_refused.get(backend.name, 0) + 1
        state = self._store.state(backend)
        if state.key_turn == turn:  # else another request has found out already
            state.key_turn = turn + 1
        return problem

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
        has_next = progress.has_next
        wait, late = first_limit(limits, left, is_stream=passage.asks_stream, has_next=has_next)
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
