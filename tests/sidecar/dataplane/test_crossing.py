"""Answers that cross into the client's dialect: as they come, whole, folded, unfolded, verified."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sidecar.dataplane.crossing import ChatCrossing, CountCrossing, CrossingTap
from sidecar.dataplane.passage import Whole
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import ChatRequest, JsonOutput
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Expectation, Operation, Reading
from sidecar.wire.framing import sse
from tests.sidecar.dataplane.crossings import (
    ANTHROPIC,
    ENDS,
    OLLAMA,
    OPENAI,
    PING,
    RESPONSES,
    begins,
    block,
    context,
    crossing,
    delta,
    done,
    event,
    line,
    message,
    stops,
    text,
    told,
    use,
    words,
)
from tests.sidecar.dataplane.script import (
    DONE,
    Reply,
    counts,
    greets,
    open_passage,
    says,
    whole,
)

K, R = ProblemKind, Reading
TEXT = block(0, type="text", text="")
CALL = block(0, type="tool_use", id="toolu_1", name="short", input={})
STOPPED = event("content_block_stop", index=0)
FAULT = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
BROKEN = Problem(K.TRUNCATED, "broke off")
WISH = Expectation(is_json=True)
CALLED = Expectation(calls=True, tool="short")
LONG = {"short": "a_name_that_only_the_client_knows"}


def tap(backend: Dialect, client: Dialect, original: dict[str, str] | None = None) -> CrossingTap:
    ctx = context(stream=True)
    return CrossingTap(backend, client.stream_encoder(ctx), ctx, None, original or {})


def read(one: CrossingTap, frames: Sequence[bytes]) -> tuple[list[Reading], bytes]:
    """What the frames say, and all that the client gets."""
    readings = [one.read(frame) for frame in frames]
    return [reading for reading, _ in readings], b"".join(passed for _, passed in readings)


# --- streams as they come -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "frames", "readings"),
    [
        pytest.param(
            ANTHROPIC,
            [begins(), PING, TEXT, delta(0, "Hi"), STOPPED, stops(input_tokens=3), ENDS],
            [R.GREETING, R.GREETING, R.GREETING, R.CONTENT, R.GREETING, R.FINISH, R.DONE],
            id="Anthropic's",
        ),
        pytest.param(
            ANTHROPIC,
            [begins(), CALL],
            [R.GREETING, R.CONTENT],
            id="a call of a tool tells something before its arguments come",
        ),
        pytest.param(
            ANTHROPIC,
            [begins(), block(0, type="redacted_thinking", data="x"), STOPPED],
            [R.GREETING, R.GREETING, R.CONTENT],
            id="so does thinking that nobody can read",
        ),
        pytest.param(
            ANTHROPIC,
            [begins(), sse(b"{junk"), FAULT],
            [R.GREETING, R.MALFORMED, R.FAILURE],
            id="junk, and an error",
        ),
        pytest.param(
            OPENAI,
            [greets(), says("Hi"), says(finish="stop"), counts()],
            [R.GREETING, R.CONTENT, R.FINISH, R.DONE],
            id="OpenAI's: done with the usage",
        ),
        pytest.param(
            OPENAI,
            [says("Hi"), says(finish="stop"), DONE],
            [R.CONTENT, R.FINISH, R.DONE],
            id="OpenAI's without usage: done with its end marker",
        ),
        pytest.param(
            OPENAI,
            [says("Hi", finish="stop"), DONE],
            [R.FINISH, R.DONE],
            id="content and the reason of the end in one chunk",
        ),
        pytest.param(OLLAMA, [line("Hi"), done()], [R.CONTENT, R.DONE], id="Ollama's"),
        pytest.param(OLLAMA, [done("Hi")], [R.DONE], id="all of it in one frame"),
        pytest.param(OLLAMA, [line(), done()], [R.GREETING, R.DONE], id="an empty answer"),
    ],
)
def test_what_a_frame_of_another_dialect_says(
    backend: Dialect, frames: Sequence[bytes], readings: list[Reading]
) -> None:
    assert read(tap(backend, OPENAI), frames)[0] == readings


def test_the_client_reads_its_own_dialect_frame_by_frame() -> None:
    one = tap(ANTHROPIC, OPENAI)
    frames = [begins(), TEXT, delta(0, "Hel"), delta(0, "lo")]
    passed = [one.read(frame)[1] for frame in frames]
    assert [words(frame) for frame in passed] == ["", "", "Hel", "lo"]
    finished = one.finished
    _, last = read(one, [STOPPED, stops(input_tokens=3, output_tokens=2), ENDS])
    assert (finished, one.finished) == (False, True)
    assert last.endswith(DONE)
    assert (one.model, one.usage) == ("m1", Usage(3, 2))
    assert told(last)[-1]["usage"]["prompt_tokens"] == 3
    assert one.end() == b"", "all of it has been told"


def test_what_a_stream_holds_back_is_told_at_its_end() -> None:
    one = tap(OPENAI, ANTHROPIC)
    _, passed = read(one, [greets(), says("Hi"), says(finish="stop")])
    assert one.finished and b"message_stop" not in passed
    assert b"message_stop" in one.end()
    assert one.end() == b""


@pytest.mark.parametrize("client", [OPENAI, ANTHROPIC, OLLAMA, RESPONSES])
def test_a_failure_is_told_in_the_clients_own_words(client: Dialect) -> None:
    one = tap(OPENAI, client)
    read(one, [greets(), says("Hi")])
    failed = one.fail(BROKEN)
    assert b"broke off" in failed
    assert DONE not in failed and b"message_stop" not in failed and b'"done":true' not in failed


def test_what_comes_before_a_failure_in_the_same_frame_is_not_lost() -> None:
    nameless = {"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "{}"}}]}
    choice = {"index": 0, "delta": {"content": "Hi"} | nameless, "finish_reason": "tool_calls"}
    one = tap(OPENAI, OLLAMA)
    reading, passed = one.read(sse(json.dumps({"choices": [choice]})))
    assert [chunk["message"]["content"] for chunk in told(passed)] == ["Hi"]
    assert reading is not Reading.FAILURE, "or nobody would pass it on"
    assert one.problem is not None and one.problem.kind is K.PROTOCOL


def test_an_end_marker_before_any_content_is_a_failure() -> None:
    one = tap(OPENAI, ANTHROPIC)
    assert one.read(DONE) == (Reading.FAILURE, b"")
    assert one.problem is not None and one.problem.kind is K.TRUNCATED


def test_tools_get_their_names_back() -> None:
    _, passed = read(tap(ANTHROPIC, OPENAI, LONG), [begins(), CALL])
    (call,) = told(passed)[-1]["choices"][0]["delta"]["tool_calls"]
    assert call["function"]["name"] == LONG["short"]


@pytest.mark.parametrize(
    ("backend", "client", "frames"),
    [
        (OPENAI, ANTHROPIC, [says("Hello"), says(finish="stop"), DONE]),
        (OPENAI, OLLAMA, [says("Hello"), says(finish="stop"), DONE]),
        (OLLAMA, OPENAI, [done("Hello", prompt_eval_count=0, eval_count=0)]),
        (ANTHROPIC, RESPONSES, [begins(), TEXT, delta(0, "Hello"), STOPPED, stops(), ENDS]),
    ],
)
def test_usage_that_nobody_told_is_estimated(
    backend: Dialect, client: Dialect, frames: Sequence[bytes]
) -> None:
    one = tap(backend, client)
    read(one, frames)
    assert one.usage == Usage(7, 2, is_estimated=True)  # 5 characters are 2 tokens


def test_an_estimate_reaches_the_client() -> None:
    _, passed = read(tap(OPENAI, OLLAMA), [says("Hello"), says(finish="stop"), DONE])
    last = told(passed)[-1]
    assert (last["prompt_eval_count"], last["eval_count"]) == (7, 2)


def test_a_stream_is_estimated_as_a_whole_answer_is() -> None:
    one = tap(ANTHROPIC, OPENAI)
    piece = {"type": "input_json_delta", "partial_json": '{"a":1}'}
    arguments = event("content_block_delta", index=0, delta=piece)
    read(one, [begins(), CALL, arguments, STOPPED, stops("tool_use"), ENDS])
    body = message(use("short", a=1), stop="tool_use", usage={})
    assert one.usage == crossing(ANTHROPIC, OPENAI).whole(json.loads(body), body).usage


# --- whole answers --------------------------------------------------------------------------------


def answer(passage: ChatCrossing, body: bytes) -> Any:
    return json.loads(passage.whole(json.loads(body), body).body)


def test_a_whole_answer_is_told_in_the_clients_dialect() -> None:
    body = message(text("Hello"))
    found = crossing(ANTHROPIC, OPENAI).whole(json.loads(body), body)
    assert (found.usage, found.model) == (Usage(3, 2), "m1")
    chat = json.loads(found.body)
    assert chat["choices"][0]["message"]["content"] == "Hello"
    assert chat["usage"]["completion_tokens"] == 2


def test_the_asked_model_stands_for_one_that_is_not_named() -> None:
    assert (
        answer(crossing(ANTHROPIC, OLLAMA), message(text("Hello"), model=None))["model"] == "asked"
    )
    nameless = whole().replace(b'"model":"m1",', b"")
    found = crossing(OPENAI, OLLAMA).whole(json.loads(nameless), nameless)
    assert (found.model, json.loads(found.body)["model"]) == (None, "asked")


def test_usage_of_a_whole_answer_is_estimated() -> None:
    body = message(text("Hello"), usage={})
    found = crossing(ANTHROPIC, OPENAI).whole(json.loads(body), body)
    assert found.usage == Usage(7, 2, is_estimated=True)
    assert json.loads(found.body)["usage"]["prompt_tokens"] == 7


def test_tools_of_a_whole_answer_get_their_names_back() -> None:
    told_client = answer(crossing(ANTHROPIC, OPENAI, None, LONG), message(use("short", a=1)))
    (call,) = told_client["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": LONG["short"], "arguments": '{"a":1}'}


@pytest.mark.parametrize(
    ("backend", "body", "kind"),
    [
        (ANTHROPIC, whole(), K.PROTOCOL),
        (OPENAI, b"[]", K.PROTOCOL),
        (ANTHROPIC, FAULT.partition(b"data: ")[2].strip(), K.OVERLOADED),
        (OLLAMA, line("only the beginning"), K.TRUNCATED),
    ],
)
def test_what_is_no_answer_of_the_backends_dialect_is_refused(
    backend: Dialect, body: bytes, kind: ProblemKind
) -> None:
    with pytest.raises(AttemptFailed) as caught:
        answer(crossing(backend, RESPONSES), body)
    assert caught.value.problem.kind is kind


def test_a_prompt_that_was_asked_for_its_completion_is_answered_as_one() -> None:
    passage = ChatCrossing(ANTHROPIC, OPENAI, context(Operation.COMPLETION), None, {})
    told_client = answer(passage, message(text("Hello")))
    assert (told_client["object"], told_client["choices"][0]["text"]) == (
        "text_completion",
        "Hello",
    )


# --- what was only asked for ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expects", "content"),
    [
        pytest.param(WISH, [text("Certainly!")], id="no JSON"),
        pytest.param(WISH, [text("[1]")], id="JSON that is no object"),
        pytest.param(CALLED, [text("I had rather not")], id="no call"),
        pytest.param(CALLED, [use("other")], id="another tool"),
        pytest.param(CALLED, [use(LONG["short"])], id="a name that the backend was never told"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_fails_the_attempt(
    expects: Expectation, content: list[dict[str, Any]]
) -> None:
    with pytest.raises(AttemptFailed) as caught:
        answer(crossing(ANTHROPIC, OPENAI, expects, LONG), message(*content))
    assert caught.value.problem.kind is K.UNMET


def test_the_call_is_looked_for_under_the_name_that_the_backend_knows() -> None:
    passage = crossing(ANTHROPIC, OPENAI, CALLED, LONG)
    told_client = answer(passage, message(use("short"), stop="tool_use"))
    (call,) = told_client["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == LONG["short"]


@pytest.mark.parametrize(
    ("expects", "content"), [(WISH, '{"a":1}'), (None, 'Here:\n```json\n{"a":1}\n```')]
)
def test_fences_are_taken_off_where_json_was_asked_for(
    expects: Expectation | None, content: str
) -> None:
    fenced = message(text('Here:\n```json\n{"a":1}\n```'))
    told_client = answer(crossing(ANTHROPIC, OPENAI, expects), fenced)
    assert told_client["choices"][0]["message"]["content"] == content


@pytest.mark.parametrize(
    ("stream", "expects", "asks"),
    [(True, None, True), (False, None, False), (True, WISH, False), (False, WISH, False)],
)
def test_what_must_be_verified_is_never_asked_for_as_a_stream(
    stream: bool, expects: Expectation | None, asks: bool
) -> None:
    assert crossing(ANTHROPIC, OPENAI, expects, stream=stream).asks_stream is asks


# --- counts ---------------------------------------------------------------------------------------


def test_a_count_is_told_in_the_clients_words() -> None:
    passage = CountCrossing(RESPONSES, ANTHROPIC)
    body = b'{"object":"response.input_tokens","input_tokens":14}'
    assert passage.whole(json.loads(body), body) == Whole(b'{"input_tokens":14}')
    assert not passage.asks_stream and not passage.is_relay


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"input_tokens":"many"}'])
def test_what_is_no_count_is_refused(body: bytes) -> None:
    with pytest.raises(AttemptFailed) as caught:
        CountCrossing(RESPONSES, ANTHROPIC).whole(json.loads(body), body)
    assert caught.value.problem.kind is K.PROTOCOL


async def test_a_stream_is_no_count() -> None:
    frames = [begins(), TEXT, delta(0, "14"), STOPPED, stops(), ENDS]
    reply = Reply(*frames, headers={"content-type": "text/event-stream"})
    with pytest.raises(AttemptFailed) as caught:
        await open_passage(reply, CountCrossing(ANTHROPIC, RESPONSES), False)
    assert caught.value.problem.kind is K.PROTOCOL


# --- what a backend is made to give ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "content", "is_well"),
    [
        (JsonOutput(), '{"a": 1}', True),
        (JsonOutput(), "no JSON", False),
        (JsonOutput({"required": ["a"]}), '{"a": 1}', True),
        (JsonOutput({"required": ["a"]}), '{"b": 1}', False),
        (JsonOutput({"required": ["a"]}, strict=False), '{"b": 1}', True),
        (None, "no JSON", True),
    ],
)
async def test_json_is_looked_at_though_the_backend_was_made_to_give_it(
    output: JsonOutput | None, content: str, is_well: bool
) -> None:
    ctx = replace(context(stream=True), request=ChatRequest((), output=output))
    passage = ChatCrossing(OPENAI, ANTHROPIC, ctx, None, {})
    assert passage.asks_stream, "it is told as it comes"
    frames = [says(content), says(finish="stop"), DONE]
    one = passage.tap()
    readings = [one.read(frame)[0] for frame in frames]
    assert (one.problem is None) is is_well
    assert (readings[-1] is R.DONE) is is_well
    if is_well:
        passage.whole(json.loads(whole(content)), b"")
        return
    assert one.problem is not None and one.problem.kind is K.UNMET
    with pytest.raises(AttemptFailed):
        passage.whole(json.loads(whole(content)), b"")
