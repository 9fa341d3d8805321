"""Signs of life for a client that waits for a stream: an early head, and keep-alives behind it."""

import asyncio
from collections.abc import Awaitable

from sidecar.dataplane.answer import Answer, State
from sidecar.neutral.events import Ping, StreamFailed
from sidecar.neutral.problem import AttemptFailed, SidecarError
from sidecar.wire.contract import StreamEncoder


async def attended(
    work: Awaitable[None], answer: Answer, encoder: StreamEncoder, commit_after: float, every: float
) -> None:
    """Run `work`, which writes the answer, with signs of life where it is silent.

    After `commit_after` seconds the client gets the head, and a sign whenever it had nothing for
    `every` seconds. `encoder` is a new one of the client's dialect. Raises what `work` raises.
    """
    failure: SidecarError | None = None
    async with asyncio.TaskGroup() as group:
        signs = group.create_task(_signs(answer, encoder, commit_after, every))
        try:
            await work
        except SidecarError as error:  # as it is, not in a group
            failure = error
        finally:
            signs.cancel()
    if failure is not None:
        raise failure


async def _signs(answer: Answer, encoder: StreamEncoder, commit_after: float, every: float) -> None:
    await asyncio.sleep(commit_after)
    sign = encoder.encode(Ping())
    try:
        if answer.is_open:
            await answer.begin_early(lambda problem: encoder.encode(StreamFailed(problem)))
            await answer.stay_alive(sign)
        while answer.state is not State.ENDED:
            seen = answer.written
            await asyncio.sleep(every)
            if answer.written == seen:
                await answer.stay_alive(sign)
    except AttemptFailed:
        pass  # the client left, and the work is told so too
