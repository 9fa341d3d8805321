"""From an opened answer to what the client reads."""

from collections.abc import Sequence

import httpx
import pytest

from sidecar.dataplane.answer import Answer
from sidecar.dataplane.deliver import deliver, pass_through
from sidecar.dataplane.event_stream import AFTER_FINISH
from sidecar.neutral.problem import Problem, ProblemKind
from tests.sidecar.dataplane.exchange import exchange
from tests.sidecar.dataplane.script import (
    DONE,
    SSE_TYPE,
    Reply,
    counts,
    greets,
    inbound,
    open_fully,
    says,
    whole,
)

IDLE = 30.0
STREAM, WHOLE = inbound(stream=True), inbound()
SILENT = Problem(ProblemKind.TIMEOUT, "fell silent")
BROKEN = Problem(ProblemKind.TRUNCATED, "broke off")
ANSWER = [greets(), says("a"), says("b"), says(finish="stop")]


async def delivered(reply: Reply, *, stream: bool = True) -> httpx.Response:
    async def act(answer: Answer) -> None:
        request = STREAM if stream else WHOLE
        found = await open_fully(reply, request)
        await deliver(found, reply, answer, IDLE)

    return await exchange(act)


def streamed(*script: bytes | Problem) -> Reply:
    return Reply(*script, headers=SSE_TYPE)


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param([DONE], id="[DONE]"),
        pytest.param([counts(), DONE], id="usage that nobody asked for"),
        pytest.param([], id="no [DONE]: one is added"),
        pytest.param([BROKEN], id="a break behind the end"),
        pytest.param([SILENT], id="a silence behind the end"),
    ],
)
async def test_a_stream_that_finished_ends_cleanly(tail: Sequence[bytes | Problem]) -> None:
    reply = streamed(*ANSWER, *tail)
    got = await delivered(reply)
    assert got.content == b"".join([*ANSWER, DONE])
    assert reply.gaps == [IDLE, AFTER_FINISH]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([], b"before the answer was complete"),
        ([DONE], b"before the answer was complete"),
        ([BROKEN], b"broke off"),
        ([SILENT], b"fell silent for 30 s in mid-stream"),
    ],
)
async def test_a_cut_stream_never_looks_finished(
    script: Sequence[bytes | Problem], words: bytes
) -> None:
    got = await delivered(streamed(*ANSWER[:-1], *script))
    good, bad = got.content.removesuffix(b"\n\n").rsplit(b"\n\n", 1)
    assert good + b"\n\n" == b"".join(ANSWER[:-1])
    assert words in bad and b'"error"' in bad
    assert b"[DONE]" not in got.content


async def test_a_whole_answer_keeps_its_bytes() -> None:
    body = b" " + whole() + b" "
    head = {"Content-Type": "text/plain", "Set-Cookie": "a=b", "X-RateLimit-Limit": "9"}
    got = await delivered(Reply(body, status=201, headers=head), stream=False)
    assert (got.status_code, got.content) == (201, body)
    assert got.headers.get_list("content-type") == ["application/json"]
    assert got.headers["x-ratelimit-limit"] == "9"
    assert "set-cookie" not in got.headers


async def test_a_whole_answer_to_a_stream_arrives_as_events() -> None:
    got = await delivered(Reply(whole("Hi")))
    assert got.headers["content-type"].startswith("text/event-stream")
    assert got.content.endswith(DONE) and b'"Hi"' in got.content


async def test_what_is_not_parsed_passes_as_it_flows() -> None:
    reply = Reply(b"RIFF", b"\x00\xff", status=206, headers={"Content-Type": "audio/wav"})

    async def act(answer: Answer) -> None:
        await pass_through(reply, answer, IDLE)

    got = await exchange(act)
    assert (got.status_code, got.content) == (206, b"RIFF\x00\xff")
    assert (got.headers["content-type"], reply.gaps) == ("audio/wav", [IDLE])
