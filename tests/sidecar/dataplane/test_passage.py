"""Answers in the client's own dialect: the same bytes, whatever was asked."""

import pytest

from sidecar.dataplane.passage import Relay, Whole
from sidecar.neutral.problem import AttemptFailed, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation, Reading, RequestFacts
from tests.sidecar.dataplane.crossings import ANTHROPIC, OLLAMA, OPENAI, RESPONSES, done, message
from tests.sidecar.dataplane.crossings import text as block_of
from tests.sidecar.dataplane.script import DONE, counts, greets, says, whole

COMPLETED = {"text": "Hi", "index": 0, "finish_reason": "stop"}


def relay(
    operation: Operation = Operation.CHAT, dialect: Dialect = OPENAI, *, stream: bool = False
) -> Relay:
    return Relay(dialect, RequestFacts(operation, stream=stream, wants_usage=True))


@pytest.mark.parametrize(
    ("dialect", "operation", "body", "usage", "model"),
    [
        pytest.param(OPENAI, Operation.CHAT, whole(), Usage(3, 2), "m1", id="chat"),
        pytest.param(
            OPENAI,
            Operation.COMPLETION,
            json.dumps({"model": "m1", "choices": [COMPLETED]}),
            None,
            "m1",
            id="completion",
        ),
        pytest.param(
            ANTHROPIC, Operation.CHAT, message(block_of("Hi")), Usage(3, 2), "m1", id="Anthropic's"
        ),
        pytest.param(ANTHROPIC, Operation.COUNT, b'{"input_tokens": 14}', None, None, id="count"),
        pytest.param(OLLAMA, Operation.CHAT, done("Hi"), Usage(3, 2), "m1", id="Ollama's"),
        pytest.param(
            OLLAMA,
            Operation.COMPLETION,
            b'{"model":"m1","response":"Hi","done":true}',
            None,
            "m1",
            id="generate",
        ),
        pytest.param(
            OLLAMA,
            Operation.SHOW,
            b'{"details":{},"capabilities":["tools"]}',
            None,
            None,
            id="show",
        ),
        pytest.param(OLLAMA, Operation.EMBED, b'{"embeddings":[[1.50]]}', None, None, id="embed"),
    ],
)
def test_a_whole_answer_is_passed_as_it_was_written(
    dialect: Dialect, operation: Operation, body: bytes, usage: Usage | None, model: str | None
) -> None:
    passed = relay(operation, dialect).whole(json.loads(body), body)
    assert passed == Whole(body, usage, model)
    assert passed.body is body


@pytest.mark.parametrize(
    ("dialect", "operation", "body"),
    [
        (OPENAI, Operation.CHAT, b"[]"),
        (OPENAI, Operation.COMPLETION, b'{"id":"c1"}'),
        (OPENAI, Operation.EMBED, whole()),
        (RESPONSES, Operation.CHAT, whole()),
        (ANTHROPIC, Operation.CHAT, whole()),
        (ANTHROPIC, Operation.COUNT, b'{"input_tokens":"many"}'),
        (ANTHROPIC, Operation.COUNT, message(block_of("Hi"), usage={})),
        (OLLAMA, Operation.COMPLETION, done("Hi")),
        (OLLAMA, Operation.SHOW, b"[]"),
    ],
)
def test_what_is_no_answer_to_that_is_refused(
    dialect: Dialect, operation: Operation, body: bytes
) -> None:
    with pytest.raises(AttemptFailed) as caught:
        relay(operation, dialect).whole(json.loads(body), body)
    assert caught.value.problem.kind is ProblemKind.PROTOCOL


@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_is_asked_for_where_the_client_wants_one(stream: bool) -> None:
    assert relay(stream=stream).asks_stream is stream


def test_a_stream_that_is_gathered_loses_nothing() -> None:
    passage = relay()
    frames = [greets(), says("Hel"), says("lo"), says(finish="stop"), counts()]
    tap = passage.listener()
    readings = [tap.read(frame) for frame in frames]
    assert [passed for _, passed in readings] == frames
    assert readings[-1][0] is Reading.USAGE
    made = passage.fold(frames, tap)
    assert (made.usage, made.model) == (Usage(3, 2), "m1")
    assert json.loads(made.body)["choices"][0]["message"]["content"] == "Hello"


def test_a_whole_answer_becomes_the_stream_that_the_client_asked_for() -> None:
    passage = relay(stream=True)
    frames = passage.unfold(passage.whole(json.loads(whole("Hi")), whole("Hi")))
    assert frames[-1] == DONE
    tap = passage.tap()
    readings = [tap.read(frame)[0] for frame in frames]
    assert Reading.CONTENT in readings and readings[-1] is Reading.DONE
    assert (tap.usage, tap.finished) == (Usage(3, 2), True)
