"""Answers of other dialects, opened: streams, whole ones, and the one in the place of the other."""

from collections.abc import Sequence

import pytest

from sidecar.dataplane.crossing import ChatCrossing
from sidecar.dataplane.opening import Opened
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Expectation
from tests.sidecar.dataplane.crossings import (
    ANTHROPIC,
    ENDS,
    LINES_TYPE,
    OLLAMA,
    OPENAI,
    PING,
    begins,
    block,
    crossing,
    delta,
    done,
    event,
    message,
    stops,
    text,
    told,
    words,
)
from tests.sidecar.dataplane.script import (
    DONE,
    JSON_TYPE,
    SSE_TYPE,
    Reply,
    open_passage,
    rest_of,
)

K = ProblemKind
TEXT = block(0, type="text", text="")
STOPPED = event("content_block_stop", index=0)
FAULT = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
BROKEN = Problem(K.TRUNCATED, "broke off")
WISH = Expectation(is_json=True)


async def opened(
    passage: ChatCrossing, *script: bytes | Problem, headers: dict[str, str], stream: bool
) -> Opened:
    return await open_passage(Reply(*script, headers=headers), passage, stream)


FROM_ANTHROPIC = [begins(), TEXT, delta(0, '{"a":'), delta(0, "1}"), STOPPED, stops(), ENDS]


@pytest.mark.parametrize("size", [1, 40, 100_000])
async def test_a_stream_crosses_however_it_is_cut(size: int) -> None:
    script = b"".join(FROM_ANTHROPIC)
    pieces = [script[start : start + size] for start in range(0, len(script), size)]
    passage = crossing(ANTHROPIC, OPENAI, stream=True)
    found = await opened(passage, *pieces, headers=SSE_TYPE, stream=True)
    passed = b"".join(await rest_of(found))
    assert words(passed) == '{"a":1}' and passed.endswith(DONE)


async def test_a_stream_that_is_one_frame_crosses_too() -> None:
    passage = crossing(OLLAMA, OPENAI, stream=True)
    found = await opened(passage, done("Hi"), headers=LINES_TYPE, stream=True)
    passed = b"".join(await rest_of(found))
    assert words(passed) == "Hi" and passed.endswith(DONE)


@pytest.mark.parametrize("expects", [None, WISH])
async def test_a_whole_answer_to_the_request_for_a_stream(expects: Expectation | None) -> None:
    passage = crossing(ANTHROPIC, OPENAI, expects, stream=True)
    body = message(text('{"a":1}'))
    found = await opened(passage, body, headers=JSON_TYPE, stream=True)
    assert found.stream is None and found.whole is not None
    passed = b"".join(found.frames)
    assert words(passed) == '{"a":1}' and passed.endswith(DONE)
    assert found.whole.usage == Usage(3, 2)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("expects", [None, WISH])
async def test_a_stream_that_nobody_asked_for_is_gathered(
    expects: Expectation | None, stream: bool
) -> None:
    passage = crossing(ANTHROPIC, OLLAMA, expects, stream=stream and expects is not None)
    found = await opened(passage, *FROM_ANTHROPIC, headers=SSE_TYPE, stream=stream)
    assert found.stream is None and found.whole is not None
    whole_answer = json.loads(found.whole.body)
    assert (whole_answer["message"]["content"], whole_answer["done"]) == ('{"a":1}', True)
    assert bool(found.frames) is stream
    if stream:
        lines = told(b"".join(found.frames))
        assert "".join(one["message"]["content"] for one in lines) == '{"a":1}'
        assert lines[-1]["done"] is True


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([begins(), TEXT, delta(0, "prose"), STOPPED, stops(), ENDS], K.UNMET),
        ([begins(), TEXT, delta(0, "{")], K.TRUNCATED),
        ([begins(), TEXT, delta(0, "{"), FAULT], K.OVERLOADED),
        ([begins(), TEXT, BROKEN], K.TRUNCATED),
    ],
)
async def test_a_gathered_stream_that_is_no_answer_fails(
    script: Sequence[bytes | Problem], kind: ProblemKind
) -> None:
    passage = crossing(ANTHROPIC, OPENAI, WISH, stream=True)
    with pytest.raises(AttemptFailed) as caught:
        await opened(passage, *script, headers=SSE_TYPE, stream=True)
    assert caught.value.problem.kind is kind


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param([begins(), PING, FAULT], K.OVERLOADED, id="a greeting, then an error"),
        pytest.param([begins(), PING], K.PROTOCOL, id="nothing but greetings"),
        pytest.param([begins() + TEXT + delta(0, "a") + FAULT], K.OVERLOADED, id="in one piece"),
    ],
)
async def test_a_stream_that_fails_at_once_leaves_the_choice_to_others(
    script: Sequence[bytes], kind: ProblemKind
) -> None:
    passage = crossing(ANTHROPIC, OPENAI, stream=True)
    with pytest.raises(AttemptFailed) as caught:
        await opened(passage, *script, headers=SSE_TYPE, stream=True)
    assert caught.value.problem.kind is kind


@pytest.mark.parametrize(
    ("script", "kind"),
    [([], K.TRUNCATED), ([FAULT], K.OVERLOADED), ([BROKEN], K.TRUNCATED)],
)
async def test_a_stream_that_fails_later_is_never_ended_well(
    script: Sequence[bytes | Problem], kind: ProblemKind
) -> None:
    passage = crossing(ANTHROPIC, OPENAI, stream=True)
    begun = [begins(), TEXT, delta(0, "a")]
    found = await opened(passage, *begun, *script, headers=SSE_TYPE, stream=True)
    with pytest.raises(AttemptFailed) as caught:
        await rest_of(found)
    assert caught.value.problem.kind is kind


async def test_an_error_answer_is_told_anew() -> None:
    refused = Reply(FAULT.partition(b"data: ")[2].strip(), status=529)
    with pytest.raises(AttemptFailed) as caught:
        await open_passage(refused, crossing(ANTHROPIC, OPENAI), False)
    assert (caught.value.problem.kind, caught.value.problem.raw) == (K.OVERLOADED, None)
