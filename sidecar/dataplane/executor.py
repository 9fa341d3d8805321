"""Walks a request's plan: asks `policy.retry` for the next step, and carries it out.

A stream that breaks behind its first token is another walk, by `policy.recovery`.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sidecar.dataplane.attempt import Attempts
from sidecar.dataplane.gate import Gate, Place, client_of
from sidecar.dataplane.job import Clock, Job
from sidecar.dataplane.prepare import context
from sidecar.dataplane.resuming import Resumption, can_continue
from sidecar.dataplane.upstream import Upstream
from sidecar.neutral.problem import Exhausted, ProblemKind
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.outcome import Outcome
from sidecar.policy.recovery import Recovery, can_recover, next_recovery
from sidecar.policy.retry import GiveUp, Moment, Step, Wait, next_step
from sidecar.policy.routing import Way
from sidecar.policy.verdict import conclude
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.recorder import Recorder
from sidecar.wire.contract import Operation, Resumed


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
        self._attempts = Attempts(upstream, echo, store, recorder, clock)
        self._store, self._gate, self._clock = store, gate, clock

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
                numbers = range(len(job.plan.candidates))
                standings = {number: self._standing(job, number) for number in numbers}
                raise Exhausted(conclude(job.plan, history, standings))
            if step.after > 0:
                await asyncio.sleep(step.after)
                if not self._is_still_open(job, step.candidate):
                    continue
            if not history and step.candidate > 0:
                job.note.passed_over = self._standing(job, 0)
            if not await self._has_room(job, place, step.candidate):
                continue
            has_next = partial(self._has_next, job, history, step.candidate)
            outcome = await self._attempts.run(job, step.candidate, has_next)
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
            outcome = await self._attempts.run(onward, step.candidate)
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

    def _has_next(self, job: Job, history: Sequence[Outcome], number: int) -> bool:
        """Whether a target is left that has not been asked and may be."""
        asked = {number, *(one.candidate for one in history)}
        others = (one for one in range(len(job.plan.candidates)) if one not in asked)
        return any(self._standing(job, one).is_ready for one in others)

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
