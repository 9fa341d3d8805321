"""The writer towards the client: states, compression, and honest ends."""

import httpx
import pytest

from sidecar.dataplane.answer import WORTH_COMPRESSING, Answer, State
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire import json
from sidecar.wire.framing import sse
from tests.sidecar.dataplane.exchange import exchange

LARGE = b"x" * (WORTH_COMPRESSING + 1)
FAULT = Problem(ProblemKind.TRUNCATED, "broke off")
TYPE = {"content-type": "text/plain"}


def fail(problem: Problem) -> bytes:
    return sse(json.dumps({"error": {"message": problem.message}}))


async def whole(answer: Answer) -> None:
    await answer.whole(200, TYPE, LARGE)


@pytest.mark.parametrize(
    ("accepted", "zipped"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip; q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("x-gzip", False),
        ("br", False),
        ("", False),
    ],
)
async def test_gzip_for_clients_that_ask(accepted: str, zipped: bool) -> None:
    got = await exchange(whole, {"Accept-Encoding": accepted})
    assert got.content == LARGE
    assert ("content-encoding" in got.headers) is zipped
    assert ("vary" in got.headers) is zipped


async def test_small_answers_are_not_worth_it() -> None:
    async def small(answer: Answer) -> None:
        await answer.whole(404, TYPE, LARGE[1:])

    got = await exchange(small, {"Accept-Encoding": "gzip"})
    assert (got.status_code, got.content) == (404, LARGE[1:])
    assert "content-encoding" not in got.headers


async def test_streams_are_never_zipped() -> None:
    async def stream(answer: Answer) -> None:
        assert not answer.committed and answer.status is None
        await answer.begin_events({"x-ratelimit-limit": "9", "content-type": "text/plain"}, fail)
        assert answer.has_content
        await answer.write(LARGE)
        await answer.finish()
        assert answer.state is State.ENDED

    got = await exchange(stream, {"Accept-Encoding": "gzip"})
    assert got.content == LARGE
    assert "content-encoding" not in got.headers
    assert got.headers.get_list("content-type") == ["text/event-stream; charset=utf-8"]
    assert (got.headers["cache-control"], got.headers["x-ratelimit-limit"]) == ("no-cache", "9")


async def test_every_answer_has_its_id_and_one_content_type() -> None:
    got = await exchange(whole)
    assert got.headers["x-request-id"] == "r1"
    assert got.headers.get_list("content-type") == ["text/plain"]


async def test_a_closing_answer_says_so() -> None:
    async def closing(answer: Answer) -> None:
        answer.closing = True
        await answer.whole(200, TYPE, b"x")

    assert (await exchange(closing)).headers["connection"] == "close"


async def test_a_broken_stream_ends_in_an_error_event_and_no_done() -> None:
    async def broken(answer: Answer) -> None:
        await answer.begin_events({}, fail)
        await answer.write(b"data: {}\n\n")
        await answer.fail(FAULT)
        await answer.fail(FAULT)  # once is enough

    got = await exchange(broken)
    frames = got.content.split(b"\n\n")
    assert len(frames) == 3 and b'"broke off"' in frames[1]
    assert b"[DONE]" not in got.content


async def test_a_broken_body_without_events_is_cut_off() -> None:
    async def broken(answer: Answer) -> None:
        await answer.begin(200, TYPE)
        await answer.write(b"half")
        assert answer.committed and not answer.has_content
        await answer.fail(FAULT)

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await exchange(broken)
