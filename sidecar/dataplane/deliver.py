"""An answer that is known to be good → the client: whole, as events, or as it flows."""

from collections.abc import Awaitable, Callable

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.event_stream import EventStream
from sidecar.dataplane.headers import towards_client
from sidecar.dataplane.opening import ANSWER_LIMIT, Opened
from sidecar.dataplane.upstream import RawReply
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind


async def deliver(
    opened: Opened, reply: RawReply, answer: Answer, idle: float, *, held: bool = False
) -> None:
    """Carry an opened answer to its end; `idle` in seconds bounds each gap of a stream.

    A stream that is `held` reaches the client when it is complete, and not before. Raises
    AttemptFailed when the backend breaks off or the client leaves.
    """
    headers = towards_client(reply.headers)
    if opened.tap is None:
        assert opened.whole is not None
        headers["content-type"] = "application/json"
        await answer.whole(opened.status, headers, opened.whole.body)
        return
    first = b"".join(opened.frames)
    if held:
        whole = _Held(first)
        await _flow(opened.stream, reply, whole.take, idle)
        await answer.begin_events(headers, opened.tap.fail)
        await answer.write(bytes(whole.data))
    else:
        await answer.begin_events(headers, opened.tap.fail)
        if first:
            await answer.write(first)
        await _flow(opened.stream, reply, answer.write, idle)
    await answer.finish()
    await reply.settle()


class _Held:
    """A stream that is gathered before any of it is sent."""

    def __init__(self, first: bytes) -> None:
        self.data = bytearray(first)

    async def take(self, more: bytes) -> None:
        """Keep what has come. Raises AttemptFailed past the limit of an answer."""
        self.data += more
        if len(self.data) > ANSWER_LIMIT:
            told = f"sent an answer of more than {ANSWER_LIMIT} bytes"
            raise AttemptFailed(Problem(ProblemKind.PROTOCOL, told))


async def _flow(
    stream: EventStream | None,
    reply: RawReply,
    send: Callable[[bytes], Awaitable[None]],
    idle: float,
) -> None:
    """Send what comes behind the first frames, to the end of the answer. Raises AttemptFailed."""
    if stream is None:
        return
    if not stream.tap.finished:
        reply.limit_gap(idle)
    try:
        async for frames in stream:
            if more := b"".join(frames):
                await send(more)
    except AttemptFailed as error:
        if error.problem.kind is not ProblemKind.TIMEOUT:
            raise
        told = f"fell silent for {idle:g} s in mid-stream"
        silent = Problem(ProblemKind.TIMEOUT, told, setting="timeouts.idle")
        raise AttemptFailed(silent) from error
    stream.check_end()
    if end := stream.tap.end():
        await send(end)
    if stream.tap.problem is not None:  # it came to light in what was held back
        raise AttemptFailed(stream.tap.problem)


async def pass_through(reply: RawReply, answer: Answer, idle: float) -> None:
    """Carry an opaque answer as it flows. Raises AttemptFailed."""
    await answer.begin(reply.status, towards_client(reply.headers))
    reply.limit_gap(idle)
    while chunk := await reply.read():
        await answer.write(chunk)
    await answer.finish()
