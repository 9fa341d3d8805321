"""What a client gets while nothing comes for it."""

import asyncio

import pytest

from sidecar.dataplane.answer import KEPT_LIMIT, Answer, State
from sidecar.dataplane.waiting import Signs, attended, in_stream
from sidecar.dialects.openai_chat import DIALECT
from sidecar.neutral.problem import Exhausted, Problem, ProblemKind
from sidecar.neutral.request import ChatRequest
from sidecar.wire.contract import AnswerContext, Operation, RequestFacts
from tests.sidecar.dataplane.exchange import exchange

SIGN = b": keepalive\n\n"
FAULT = Problem(ProblemKind.TRUNCATED, "broke off")
FACTS = RequestFacts(Operation.CHAT, "m", stream=True)
ALWAYS, NEVER = 0.0, 3600.0  # seconds


def signs() -> Signs:
    ctx = AnswerContext(FACTS, ChatRequest(()), 0, lambda: 0.0, lambda: "id")
    return in_stream(DIALECT.stream_encoder(ctx))


def fail(problem: Problem) -> bytes:
    return b"data: failed\n\n"


async def until_written(answer: Answer, pieces: int) -> None:
    """Wait for signs of life, which come by a timer."""
    async with asyncio.timeout(30):
        while answer.written < pieces:  # noqa: ASYNC110  # what writes is another task
            await asyncio.sleep(0.005)


async def test_an_early_head_then_signs_then_the_answer() -> None:
    async def act(answer: Answer) -> None:
        async def work() -> None:
            await until_written(answer, 3)
            assert answer.state is State.HEAD and not answer.committed
            answer.common["x-sidecar-backend"] = "too-late"
            await answer.begin_events({"x-late": "1"}, fail)
            await answer.write(b"data: {}\n\n")
            await answer.finish()

        await attended(work(), answer, signs(), ALWAYS, 0.01)

    got = await exchange(act)
    assert got.status_code == 200
    assert "x-late" not in got.headers and "x-sidecar-backend" not in got.headers
    head, _, tail = got.content.rpartition(SIGN)
    assert tail == b"data: {}\n\n" and head.replace(SIGN, b"") == b""


async def test_a_client_that_is_served_in_time_gets_no_sign() -> None:
    async def act(answer: Answer) -> None:
        async def work() -> None:
            await answer.begin_events({"x-early": "1"}, fail)
            await answer.write(b"data: {}\n\n")
            await answer.finish()

        await attended(work(), answer, signs(), NEVER, NEVER)

    got = await exchange(act)
    assert (got.headers["x-early"], got.content) == ("1", b"data: {}\n\n")


@pytest.mark.parametrize("commit_after", [NEVER, None])
async def test_a_stream_that_has_begun_gets_signs_whenever_the_head_was_due(
    commit_after: float | None,
) -> None:
    async def act(answer: Answer) -> None:
        async def work() -> None:
            await answer.begin_events({}, fail)
            await answer.write(b"data: 1\n\n")
            await until_written(answer, 4)
            await answer.write(b"data: 2\n\n")
            await answer.finish()

        await attended(work(), answer, signs(), commit_after, 0.01)

    got = await exchange(act)
    said = got.content.split(SIGN)
    assert (said[0], said[-1]) == (b"data: 1\n\n", b"data: 2\n\n") and len(said) >= 4


async def test_what_fails_behind_the_head_is_told_in_band_and_raised_as_it_is() -> None:
    async def act(answer: Answer) -> None:
        async def work() -> None:
            await until_written(answer, 1)
            raise Exhausted(FAULT)

        with pytest.raises(Exhausted):
            await attended(work(), answer, signs(), ALWAYS, NEVER)
        assert not answer.has_content
        await answer.fail(FAULT)

    got = await exchange(act)
    assert got.content.startswith(SIGN + b'data: {"error":') and b"broke off" in got.content


async def test_no_sign_while_the_client_reads_slowly() -> None:
    async def act(answer: Answer) -> None:
        await answer.begin_events({}, fail)
        answer._writing = 1  # a write waits for the client
        await answer.stay_alive(SIGN)
        answer._writing = 0
        await answer.stay_alive(SIGN)
        await answer.finish()
        await answer.stay_alive(SIGN)

    assert (await exchange(act)).content == SIGN


async def test_what_was_sent_is_kept_up_to_a_limit() -> None:
    async def act(answer: Answer) -> None:
        def kept() -> bytes | None:
            return answer.kept

        assert kept() is None
        answer.keep()
        await answer.begin_events({}, fail)
        await answer.write(b"data: 1\n\n")
        await answer.stay_alive(SIGN)
        assert kept() == b"data: 1\n\n"
        await answer.write(b"x" * KEPT_LIMIT)
        assert kept() is None
        await answer.finish()

    await exchange(act)
