"""Relayed streams: what each line says, what is dropped or mended, and whole answers of streams."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.ollama_chat.stream import OllamaTap, fold, unfold
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation, Reading, RequestFacts

CHAT = RequestFacts(Operation.CHAT, stream=True, wants_usage=True)
COMPLETION = RequestFacts(Operation.COMPLETION, stream=True, wants_usage=True)
R = Reading


def said(content: str = "", **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return json.dumps({"model": "m", "message": message, "done": False}) + b"\n"


def generated(text: str = "", **more: Any) -> bytes:
    return json.dumps({"model": "m", "response": text, **more, "done": False}) + b"\n"


END = (
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"prompt_eval_count":3,"eval_count":4}\n'
)
CALL = {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}


@pytest.mark.parametrize(
    ("facts", "line", "reading"),
    [
        (CHAT, said("Hi"), R.CONTENT),
        (CHAT, said(thinking="Hm"), R.CONTENT),
        (CHAT, said(tool_calls=[CALL]), R.CONTENT),
        (CHAT, said(""), R.GREETING),
        (CHAT, said("", tool_calls=[]), R.GREETING),
        (CHAT, END, R.FINISH),
        (COMPLETION, generated("Hi"), R.CONTENT),
        (COMPLETION, generated("", thinking="Hm"), R.CONTENT),
        (COMPLETION, generated(), R.GREETING),
        (COMPLETION, b'{"response":"","done":true,"context":[1,2]}\n', R.FINISH),
    ],
)
def test_lines_pass_as_they_are(facts: RequestFacts, line: bytes, reading: Reading) -> None:
    assert OllamaTap(facts).read(line) == (reading, line)


@pytest.mark.parametrize(
    ("line", "reading"),
    [
        (b"\n", R.COMMENT),  # ollama-python parses every line
        (b"  \r\n", R.COMMENT),
        (b"junk\n", R.MALFORMED),
        (b'{"half": \n', R.MALFORMED),
        (b"[1]\n", R.MALFORMED),
        (b"\xff\xfe\n", R.MALFORMED),
    ],
)
def test_lines_that_are_dropped(line: bytes, reading: Reading) -> None:
    assert OllamaTap(CHAT).read(line) == (reading, b"")


@pytest.mark.parametrize(
    ("message", "mended"),
    [
        ("null", {"role": "assistant", "content": ""}),
        ('{"content":"x"}', {"role": "assistant", "content": "x"}),
        (
            '{"role":"assistant","content":"","tool_calls":'
            '[{"function":{"name":"f","arguments":"{\\"x\\":1}"}}]}',
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}],
            },
        ),
        (
            '{"role":"assistant","content":"","tool_calls":[null,{"function":{"name":"f"}}]}',
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [None, {"function": {"name": "f", "arguments": {}}}],
            },
        ),
    ],
    ids=["no message", "no role", "arguments as text", "no arguments"],
)
def test_lines_that_clients_would_misread_are_mended(message: str, mended: Any) -> None:
    line = b'{"model":"m","message":' + message.encode() + b',"done":false,"more":1e5}\n'
    _, told = OllamaTap(CHAT).read(line)
    assert told.endswith(b"\n")
    assert json.loads(told) == {"model": "m", "message": mended, "done": False, "more": 1e5}
    assert OllamaTap(COMPLETION).read(line)[1] == line


def test_the_end_tells_the_usage_and_nothing_follows_it() -> None:
    tap = OllamaTap(CHAT)
    told = [(tap.read(line)[1], tap.finished) for line in (said("Hi"), END)]
    assert told == [(said("Hi"), False), (END, True)]
    assert (tap.model, tap.usage, tap.end()) == ("m", Usage(3, 4), b"")
    assert tap.read(said("more")) == (Reading.COMMENT, b"")


def test_an_error_in_a_line() -> None:
    tap = OllamaTap(CHAT)
    tap.read(said("Hi"))
    line = b'{"error":"an error was encountered while running the model"}\n'
    assert tap.read(line) == (Reading.FAILURE, line)
    assert tap.problem is not None
    assert tap.problem.kind is ProblemKind.BACKEND_ERROR
    assert not tap.finished


def test_a_stream_that_we_fail_reads_as_failed() -> None:
    line = OllamaTap(CHAT).fail(Problem(ProblemKind.TIMEOUT, "It is late."))
    assert line == b'{"error":"It is late.","code":"timeout"}\n'
    assert OllamaTap(CHAT).read(line)[0] is Reading.FAILURE


@given(lines=st.lists(st.binary(max_size=60)))
def test_nothing_makes_the_tap_raise(lines: list[bytes]) -> None:
    tap = OllamaTap(CHAT)
    for line in lines:
        assert isinstance(tap.read(line)[0], Reading)
    assert not tap.finished


# --- whole answers and streams --------------------------------------------------------------------

TAIL = {"done": True, "done_reason": "stop", "total_duration": 5, "eval_count": 4}


def whole(**message: Any) -> Any:
    told = {"role": "assistant", "content": "", **message}
    return {"model": "m", "created_at": "2023-11-14T22:13:20Z", "message": told, **TAIL}


ANSWERS = [
    pytest.param(CHAT, whole(content="Hi"), 2, id="text"),
    pytest.param(CHAT, whole(content="Hi", thinking="Hm"), 2, id="thinking"),
    pytest.param(CHAT, whole(tool_calls=[CALL, CALL]), 2, id="tool calls"),
    pytest.param(CHAT, whole(content="Hi") | {"logprobs": [{"token": "Hi"}]}, 2, id="logprobs"),
    pytest.param(CHAT, whole(content="Hi") | {"remote_host": "h"}, 2, id="an unknown field"),
    pytest.param(CHAT, whole() | {"done_reason": "load"}, 1, id="loaded"),
    pytest.param(
        COMPLETION,
        {"model": "m", "response": "Hi", "thinking": "Hm", "context": [1, 2], **TAIL},
        2,
        id="completion",
    ),
]


@pytest.mark.parametrize(("facts", "answer", "lines"), ANSWERS)
def test_a_stream_says_what_the_whole_answer_says(
    facts: RequestFacts, answer: Any, lines: int
) -> None:
    frames = unfold(answer, facts)
    assert len(frames) == lines
    tap = OllamaTap(facts)
    assert all(tap.read(frame)[1] == frame for frame in frames)
    assert tap.finished
    assert fold(frames) == answer


def test_folding_joins_pieces_and_stops_at_the_end() -> None:
    frames = [
        said(thinking="H"),
        said(thinking="m", images=None),
        b"junk\n",
        b"\n",
        said("Hel"),
        said("lo"),
        said(tool_calls=[CALL]),
        said(tool_calls=[{"function": {"name": "g", "arguments": "{}"}}]),
        END,
        said("behind the end"),
    ]
    assert fold(frames) == {
        "model": "m",
        "message": {
            "role": "assistant",
            "content": "Hello",
            "thinking": "Hm",
            "images": None,
            "tool_calls": [CALL, {"function": {"name": "g", "arguments": {}}}],
        },
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }


def test_what_has_not_ended_does_not_say_so() -> None:
    assert fold([said("Hi")])["done"] is False
