"""Signs of life for a client that waits: an early head, and something behind it now and then."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sidecar.dataplane.answer import Answer, State
from sidecar.neutral.events import Ping, StreamFailed
from sidecar.neutral.problem import AttemptFailed, Problem, SidecarError
from sidecar.wire.contract import Dialect, StreamEncoder

# while signs may be sent: of a whole answer only before it, not in it
ALIVE = {False: (State.HEAD, State.CONTENT), True: (State.HEAD,)}


@dataclass(frozen=True, slots=True)
class Signs:
    """A sign of life, and how the client is told of a failure behind an early head."""

    sign: bytes
    fail: Callable[[Problem], bytes]
    as_json: bool = False


def in_stream(encoder: StreamEncoder) -> Signs:
    """For a stream; `encoder` is a new one of the client's dialect."""
    return Signs(encoder.encode(Ping()), lambda problem: encoder.encode(StreamFailed(problem)))


def before_whole(dialect: Dialect) -> Signs:
    """For a whole answer: JSON may have white space in front of it."""
    return Signs(b" ", lambda problem: dialect.encode_error(problem)[1], as_json=True)


async def attended(
    work: Awaitable[None], answer: Answer, signs: Signs, commit_after: float | None, every: float
) -> None:
    """Run `work`, which writes the answer, with signs of life where it is silent.

    After `commit_after` seconds (None: never) the client gets the head; from its head on, early or
    not, it gets a sign whenever it had nothing for `every` seconds. Raises what `work` raises.
    """
    failure: SidecarError | None = None
    async with asyncio.TaskGroup() as group:
        signing = group.create_task(_sign(answer, signs, commit_after, every))
        try:
            await work
        except SidecarError as error:  # as it is, not in a group
            failure = error
        finally:
            signing.cancel()
    if failure is not None:
        raise failure


async def _sign(answer: Answer, signs: Signs, commit_after: float | None, every: float) -> None:
    clock = asyncio.get_running_loop().time
    head_at = math.inf if commit_after is None else clock() + commit_after
    try:
        while answer.is_open:
            if (left := head_at - clock()) <= 0:
                await answer.begin_early(signs.fail, as_json=signs.as_json)
                await answer.stay_alive(signs.sign)
            else:
                await asyncio.sleep(min(left, every))
        while answer.state in ALIVE[signs.as_json]:
            if (left := answer.sent_at + every - clock()) <= 0:
                await answer.stay_alive(signs.sign)
                left = every
            await asyncio.sleep(left)
    except AttemptFailed:
        pass  # the client left, and the work is told so too
