"""An answer that is known to be good → the client: whole, as events, or as it flows."""

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.headers import towards_client
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.opening import EventStream, Opened
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind

AFTER_FINISH = 1.0  # seconds to wait for usage and end marker of an answer that is complete


async def deliver(
    opened: Opened, reply: RawReply, inbound: Inbound, answer: Answer, idle: float
) -> None:
    """Carry an opened answer to its end; `idle` in seconds bounds each gap of a stream.

    Raises AttemptFailed when the backend breaks off or the client leaves.
    """
    headers = towards_client(reply.headers)
    if opened.body is not None:
        headers["content-type"] = "application/json"
        await answer.whole(opened.status, headers, opened.body)
        return
    await answer.begin_events(headers)
    await answer.write(b"".join(opened.frames))
    if opened.stream is not None:
        await _relay(opened.stream, reply, inbound, answer, idle)
    await answer.finish()


async def _relay(
    stream: EventStream, reply: RawReply, inbound: Inbound, answer: Answer, idle: float
) -> None:
    reply.limit_gap(idle)
    is_ending = False
    try:
        async for frames in stream:
            if frames:
                await answer.write(b"".join(frames))
            if stream.tap.finished and not is_ending:
                is_ending = True
                reply.limit_gap(AFTER_FINISH)
    except AttemptFailed as error:
        if error.problem.kind is ProblemKind.CLIENT_GONE or not stream.tap.finished:
            raise AttemptFailed(_told(error.problem, idle)) from error
        # the answer is complete; what broke is only the silence behind it
    stream.check_end()
    if not stream.is_done:
        await answer.write(inbound.dialect.stream_done)


def _told(problem: Problem, idle: float) -> Problem:
    if problem.kind is not ProblemKind.TIMEOUT:
        return problem
    return Problem(problem.kind, f"fell silent for {idle:g} s in mid-stream")


async def pass_through(reply: RawReply, answer: Answer, idle: float) -> None:
    """Carry an opaque answer as it flows. Raises AttemptFailed."""
    await answer.begin(reply.status, towards_client(reply.headers))
    reply.limit_gap(idle)
    async for chunk in reply.chunks():
        await answer.write(chunk)
    await answer.finish()
