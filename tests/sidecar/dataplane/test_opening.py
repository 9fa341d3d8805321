"""What counts as the beginning of a good answer, and what does not."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dataplane import opening
from sidecar.dataplane.intake import Inbound
from sidecar.dataplane.opening import Opened, retry_after
from sidecar.dataplane.passage import Whole
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation
from sidecar.wire.framing import sse
from tests.sidecar.dataplane.script import (
    DONE,
    SSE_TYPE,
    Reply,
    counts,
    greets,
    inbound,
    open_fully,
    rest_of,
    says,
    whole,
)

K = ProblemKind
HTML = {"content-type": "text/html"}
WHOLE, STREAM = inbound(), inbound(stream=True)
ASKED_USAGE = inbound(stream=True, wants_usage=True)
BROKEN = Problem(K.TRUNCATED, "broke off")
ERROR = sse(b'{"error":{"message":"boom"}}')


async def opened(reply: Reply, request: Inbound = WHOLE) -> Opened:
    return await open_fully(reply, request)


async def refused(reply: Reply, request: Inbound = WHOLE) -> Problem:
    with pytest.raises(AttemptFailed) as caught:
        await opened(reply, request)
    return caught.value.problem


def stream(*script: bytes | Problem, **kind: str) -> Reply:
    return Reply(*script, headers=kind or SSE_TYPE)


def told(found: Opened) -> Whole:
    """The whole answer that was opened."""
    assert found.whole is not None
    return found.whole


# --- whole answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_whole_answer_is_passed_as_it_was_written(size: int) -> None:
    body = b" " + whole() + b"\n"
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    found = await opened(Reply(*pieces))
    assert found == Opened(200, Whole(body, Usage(3, 2), "m1"))


async def test_another_success_keeps_its_status() -> None:
    assert (await opened(Reply(whole(), status=201))).status == 201


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        pytest.param(Reply(), K.PROTOCOL, "answered 200 and nothing", id="empty"),
        pytest.param(Reply(b" \n", b"\n"), K.PROTOCOL, "answered 200 and nothing", id="blank"),
        pytest.param(Reply(status=204), K.PROTOCOL, "answered 204 and nothing", id="204"),
        pytest.param(
            Reply(b"<html>Sign in</html>", headers=HTML),
            K.PROTOCOL,
            "answered text/html instead of JSON: '<html>Sign in</html>'",
            id="HTML",
        ),
        pytest.param(Reply(b"ok", headers={}), K.PROTOCOL, "no content type instead", id="text"),
        pytest.param(Reply(b'{"choices":['), K.PROTOCOL, "instead of JSON", id="half"),
        pytest.param(Reply(b"[]"), K.PROTOCOL, "not an object", id="a list"),
        pytest.param(Reply(b'{"id":1}'), K.PROTOCOL, "without `choices`", id="no answer in it"),
        pytest.param(Reply(b'{"error":"boom"}'), K.PROTOCOL, "boom", id="an error as a 200"),
        pytest.param(Reply(b'{"choices"', BROKEN), K.TRUNCATED, "broke off", id="cut"),
        pytest.param(Reply(status=302, headers={}), K.PROTOCOL, "302, a redirect", id="redirect"),
        pytest.param(Reply(b"x", status=304), K.PROTOCOL, "304, a redirect", id="304"),
    ],
)
@pytest.mark.parametrize("request_", [WHOLE, STREAM], ids=["whole", "stream"])
async def test_what_is_no_answer(
    reply: Reply, kind: ProblemKind, words: str, request_: Inbound
) -> None:
    problem = await refused(reply, request_)
    assert problem.kind is kind
    assert words in problem.message


async def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ANSWER_LIMIT", 100)
    endless = Reply(*[b"{" * 60] * 50)
    problem = await refused(endless)
    assert (problem.kind, endless.taken) == (K.PROTOCOL, 2)
    assert "more than 100 bytes" in problem.message


# --- answers that say what is wrong ---------------------------------------------------------------


async def test_an_error_is_kept_as_it_was_written() -> None:
    body = b'{"error": {"message": "busy"}}'
    problem = await refused(Reply(body, status=503, headers={"Retry-After": "7", "X-A": "b"}))
    assert (problem.kind, problem.retry_after) == (K.OVERLOADED, 7.0)
    assert (problem.status, problem.raw) == (503, body)
    assert problem.headers == {"Retry-After": "7", "X-A": "b"}


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]"])
async def test_an_error_that_a_client_could_not_read_is_told_anew(body: bytes) -> None:
    problem = await refused(Reply(body, status=500))
    assert (problem.kind, problem.raw) == (K.BACKEND_ERROR, None)


async def test_of_an_endless_error_the_status_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ERROR_LIMIT", 100)
    endless = Reply(*[b"x" * 60] * 50, status=500)
    problem = await refused(endless)
    assert (problem.kind, problem.status, problem.raw) == (K.BACKEND_ERROR, 500, None)
    assert endless.taken == 2, "and no more of it is read"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": " 2.5 "}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "1_0"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:45 GMT"}, 5.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 99 Foo 1970"}, None),
        ({"retry-after": "Thu, 01 Jan 99999 00:00:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now_wall=1000.0) == seconds


DATES = st.from_regex(r"\A\w{3}, [0-9]{1,3} (Jan|Feb) [0-9]{1,5} [0-9:]{1,8} [-+0-9A-Z]{0,9}\Z")


@given(st.text(max_size=30) | DATES)
def test_no_retry_after_is_an_error(text: str) -> None:
    seconds = retry_after({"retry-after": text}, now_wall=1000.0)
    assert seconds is None or 0 <= seconds < float("inf")


# --- streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_a_stream_passes_frame_by_frame_as_it_was_written(size: int) -> None:
    frames = [b": hello\n\n", greets(), says("é"), says("b"), says(finish="stop"), DONE]
    text = b"".join(frames)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert await rest_of(await opened(stream(*pieces), STREAM)) == frames


async def test_a_greeting_is_held_back_until_something_is_said() -> None:
    reply = stream(b": wait\n\n", greets(), says("a"), says("b"), says(finish="stop"))
    found = await opened(reply, STREAM)
    assert found.frames == [b": wait\n\n", greets(), says("a")]
    assert reply.taken == 3


async def test_a_finish_tells_too() -> None:
    found = await opened(stream(greets(), says(finish="stop")), STREAM)
    assert await rest_of(found) == [greets(), says(finish="stop")]


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        pytest.param([], K.PROTOCOL, "answered 200 and nothing", id="nothing"),
        pytest.param([greets()], K.PROTOCOL, "before any content", id="a greeting, then the end"),
        pytest.param([b": ping\n\n"], K.PROTOCOL, "before any content", id="a comment"),
        pytest.param([counts()], K.PROTOCOL, "before any content", id="usage alone"),
        pytest.param([sse(b"junk")], K.PROTOCOL, "before any content", id="junk alone"),
        pytest.param([greets(), DONE], K.TRUNCATED, "complete", id="[DONE] without an answer"),
        pytest.param([ERROR], K.PROTOCOL, "boom", id="an error first"),
        pytest.param([greets(), ERROR], K.PROTOCOL, "boom", id="a greeting, then an error"),
        pytest.param([greets() + says("a") + ERROR], K.PROTOCOL, "boom", id="all in one piece"),
        pytest.param([greets(), BROKEN], K.TRUNCATED, "broke off", id="a greeting, then a break"),
        pytest.param([b"data: {", BROKEN], K.TRUNCATED, "broke off", id="half a frame"),
    ],
)
async def test_streams_that_fail_before_they_tell_anything(
    script: Sequence[bytes | Problem], kind: ProblemKind, words: str
) -> None:
    problem = await refused(stream(*script), STREAM)
    assert problem.kind is kind
    assert words in problem.message or not script


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param([says("a")], K.TRUNCATED, id="ends"),
        pytest.param([says("a"), DONE], K.TRUNCATED, id="ends with [DONE] only"),
        pytest.param([says("a"), BROKEN], K.TRUNCATED, id="breaks"),
        pytest.param([says("a"), ERROR], K.PROTOCOL, id="tells an error"),
        pytest.param([says("a"), says("b")[:-20]], K.TRUNCATED, id="ends in half a frame"),
    ],
)
async def test_streams_that_fail_later(
    script: Sequence[bytes | Problem], kind: ProblemKind
) -> None:
    found = await opened(stream(*script), STREAM)
    with pytest.raises(AttemptFailed) as caught:
        await rest_of(found)
    assert caught.value.problem.kind is kind


async def test_what_came_before_an_error_is_still_passed_on() -> None:
    found = await opened(stream(says("a"), says("b") + ERROR), STREAM)
    assert found.stream is not None
    passed: list[bytes] = []
    with pytest.raises(AttemptFailed, match="boom"):
        async for frames in found.stream:
            passed += frames
    assert passed == [says("b")]


async def test_junk_in_a_stream_is_skipped_and_counted() -> None:
    script = [says("a"), sse(b"{junk"), sse(b"[]"), says("b"), says(finish="stop"), DONE]
    found = await opened(stream(*script), STREAM)
    assert await rest_of(found) == [says("a"), says("b"), says(finish="stop"), DONE]
    assert found.stream is not None and found.stream.skipped == 2


@pytest.mark.parametrize(("request_", "kept"), [(STREAM, False), (ASKED_USAGE, True)])
async def test_usage_is_passed_to_who_asked(request_: Inbound, kept: bool) -> None:
    found = await opened(stream(says("a"), says(finish="stop"), counts(), DONE), request_)
    assert (counts() in await rest_of(found)) is kept
    assert found.stream is not None and found.stream.tap.usage == Usage(3, 2)


async def test_a_last_frame_without_its_blank_line_counts() -> None:
    found = await opened(stream(says("a"), says(finish="stop").rstrip()), STREAM)
    assert await rest_of(found) == [says("a"), says(finish="stop")]


async def test_nothing_behind_the_end_is_read() -> None:
    reply = stream(says("a"), says(finish="stop"), DONE, says("late"))
    assert await rest_of(await opened(reply, STREAM)) == [says("a"), says(finish="stop"), DONE]
    assert reply.taken == 3


async def test_an_event_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.wire.framing.FRAME_LIMIT", 100)
    endless = stream(b"data: ", *[b"x" * 60] * 50)
    assert (await refused(endless, STREAM)).kind is K.PROTOCOL
    assert endless.taken == 3


@pytest.mark.parametrize("piece", [b": ping\n\n", b" " * 60, greets()])
async def test_endless_greetings_are_given_up(
    monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr(opening, "GREETING_LIMIT", 500)
    monkeypatch.setattr("sidecar.wire.framing.FRAME_LIMIT", 500)
    endless = stream(*[piece] * 1000)
    assert (await refused(endless, STREAM)).kind is K.PROTOCOL
    assert endless.taken < 200


@pytest.mark.parametrize(
    "kind", ["text/event-stream; charset=utf-8", "application/json", "text/plain"]
)
async def test_what_a_backend_sends_decides_not_what_it_calls_it(kind: str) -> None:
    frames = [says("a"), says(finish="stop"), DONE]
    called = {"content-type": kind}
    assert await rest_of(await opened(Reply(*frames, headers=called), STREAM)) == frames
    assert told(await opened(Reply(whole(), headers=called))).body == whole()


# --- crossings ------------------------------------------------------------------------------------


async def test_a_whole_answer_becomes_a_stream() -> None:
    begun: list[None] = []
    found = await open_fully(Reply(whole("Hi")), STREAM, lambda: begun.append(None))
    assert (found.stream, len(begun)) == (None, 1)
    assert found.frames[-1] == DONE
    assert b'"Hi"' in found.frames[0]
    assert (told(found).usage, told(found).model) == (Usage(3, 2), "m1")


async def test_a_stream_becomes_a_whole_answer() -> None:
    script = [b": x\n\n", greets(), says("Hel"), says("lo"), says(finish="stop"), counts(), DONE]
    found = await opened(stream(*script))
    answer = json.loads(told(found).body)
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}
    assert (told(found).usage, told(found).model) == (Usage(3, 2), "m1")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([says("a")], K.TRUNCATED),
        ([says("a"), DONE], K.TRUNCATED),
        ([says("a"), ERROR], K.PROTOCOL),
        ([says("a"), BROKEN], K.TRUNCATED),
    ],
)
async def test_a_cut_stream_never_becomes_a_whole_answer(
    script: Sequence[bytes | Problem], kind: ProblemKind
) -> None:
    assert (await refused(stream(*script))).kind is kind


async def test_an_endless_stream_never_becomes_one_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ANSWER_LIMIT", 500)
    endless = stream(*[says("x")] * 100)
    assert (await refused(endless)).kind is K.PROTOCOL
    assert endless.taken < 20


async def test_embeddings_are_whole() -> None:
    body = b'{"data":[{"embedding":"AAAA"}],"model":"e","usage":{"prompt_tokens":1}}'
    found = await opened(Reply(body), inbound(operation=Operation.EMBED))
    assert told(found) == Whole(body, Usage(1, 0), "e")


async def test_a_model_that_is_no_name_is_not_believed() -> None:
    found = await opened(Reply(b'{"model":3,"choices":[{"message":{}}]}'))
    assert told(found).model is None
