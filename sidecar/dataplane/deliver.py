"""An answer that is known to be good → the client: whole, as events, or as it flows."""

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.event_stream import EventStream
from sidecar.dataplane.headers import towards_client
from sidecar.dataplane.opening import Opened
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind


async def deliver(opened: Opened, reply: RawReply, answer: Answer, idle: float) -> None:
    """Carry an opened answer to its end; `idle` in seconds bounds each gap of a stream.

    Raises AttemptFailed when the backend breaks off or the client leaves.
    """
    headers = towards_client(reply.headers)
    if opened.tap is None:
        assert opened.whole is not None
        headers["content-type"] = "application/json"
        await answer.whole(opened.status, headers, opened.whole.body)
        return
    await answer.begin_events(headers, opened.tap.fail)
    await answer.write(b"".join(opened.frames))
    if opened.stream is not None:
        await _flow(opened.stream, reply, answer, idle)
    await answer.finish()
    await reply.settle()


async def _flow(stream: EventStream, reply: RawReply, answer: Answer, idle: float) -> None:
    if not stream.tap.finished:
        reply.limit_gap(idle)
    try:
        async for frames in stream:
            if frames:
                await answer.write(b"".join(frames))
    except AttemptFailed as error:
        if error.problem.kind is not ProblemKind.TIMEOUT:
            raise
        told = f"fell silent for {idle:g} s in mid-stream"
        silent = Problem(ProblemKind.TIMEOUT, told, setting="timeouts.idle")
        raise AttemptFailed(silent) from error
    stream.check_end()
    if end := stream.tap.end():
        await answer.write(end)
    if stream.tap.problem is not None:  # it came to light in what was held back
        raise AttemptFailed(stream.tap.problem)


async def pass_through(reply: RawReply, answer: Answer, idle: float) -> None:
    """Carry an opaque answer as it flows. Raises AttemptFailed."""
    await answer.begin(reply.status, towards_client(reply.headers))
    reply.limit_gap(idle)
    while chunk := await reply.read():
        await answer.write(chunk)
    await answer.finish()
