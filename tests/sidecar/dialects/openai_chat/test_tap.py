"""The tap: what each frame says, when an answer is whole, and what clients get."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_chat.stream import fold
from sidecar.dialects.openai_chat.tap import DONE_FRAME, OpenAiTap
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation, Reading, RequestFacts
from sidecar.wire.framing import SseFramer, frame_data, sse

R, K = Reading, ProblemKind
CHAT = RequestFacts(Operation.CHAT, stream=True)
WITH_USAGE = RequestFacts(Operation.CHAT, stream=True, wants_usage=True)
HEAD = {"id": "c1", "object": "chat.completion.chunk", "model": "m"}


def chunk(*choices: Any, **more: Any) -> bytes:
    return sse(json.dumps({**HEAD, "choices": choices, **more}))


def says(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish, **more}
    return chunk(choice)


def read(*frames: bytes) -> tuple[list[Reading], OpenAiTap]:
    tap = OpenAiTap(CHAT)
    return [tap.read(frame)[0] for frame in frames], tap


def test_a_missing_choice_is_missed_until_the_stream_says_it_is_done() -> None:
    tap = OpenAiTap(RequestFacts(Operation.CHAT, stream=True, choices=2))
    for frame in (says({"content": "a"}), says(finish="stop")):
        tap.read(frame)
    assert not tap.finished, "the second choice may still begin"
    tap.read(DONE_FRAME)
    assert tap.finished, "a backend may give fewer choices than were asked for"


# --- the tap: one frame ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reading"),
    [
        pytest.param(says({"role": "assistant", "content": ""}), R.GREETING, id="role"),
        pytest.param(says({"role": "assistant", "content": None}), R.GREETING, id="role, null"),
        pytest.param(says({}), R.GREETING, id="empty delta"),
        pytest.param(chunk(), R.GREETING, id="no choices"),
        pytest.param(chunk(None, 3), R.GREETING, id="choices that are no objects"),
        pytest.param(chunk(prompt_filter_results=[{}]), R.GREETING, id="Azure's first chunk"),
        pytest.param(chunk(usage=None), R.GREETING, id="usage that is null"),
        pytest.param(says({"content": "x"}), R.CONTENT, id="text"),
        pytest.param(says({"content": " "}), R.CONTENT, id="a space is text"),
        pytest.param(says({"refusal": "no"}), R.CONTENT, id="a refusal"),
        pytest.param(says({"reasoning_content": "hm"}), R.CONTENT, id="reasoning"),
        pytest.param(says({"tool_calls": [{"index": 0}]}), R.CONTENT, id="a tool call"),
        pytest.param(says({"audio": {"data": "x"}}), R.CONTENT, id="what we do not know"),
        pytest.param(chunk({"text": "x"}), R.CONTENT, id="a completion"),
        pytest.param(chunk({"text": ""}), R.GREETING, id="an empty completion"),
        pytest.param(chunk({"message": {"content": "x"}}), R.CONTENT, id="message, not delta"),
        pytest.param(chunk({"delta": "x"}), R.GREETING, id="a delta that is no object"),
        pytest.param(says(finish="stop"), R.FINISH, id="finish"),
        pytest.param(says({"content": "x"}, "length"), R.FINISH, id="text and finish"),
        pytest.param(chunk({}, {"finish_reason": "stop"}), R.FINISH, id="finish of the second"),
        pytest.param(chunk(usage={"prompt_tokens": 1}), R.USAGE, id="usage alone"),
        pytest.param(sse(b'{"usage":{}}'), R.USAGE, id="usage without choices"),
        pytest.param(DONE_FRAME, R.DONE, id="done"),
        pytest.param(b"data:[DONE]\r\n\r\n", R.DONE, id="done, written otherwise"),
        pytest.param(b": ping\n\n", R.COMMENT, id="comment"),
        pytest.param(b"event: ping\n\n", R.COMMENT, id="an event without data"),
        pytest.param(b"data: \n\n", R.COMMENT, id="empty data"),
        pytest.param(b"\n\n", R.COMMENT, id="blank"),
        pytest.param(sse(b"{"), R.MALFORMED, id="not JSON"),
        pytest.param(sse(b"[]"), R.MALFORMED, id="not an object"),
        pytest.param(sse(b"\xff"), R.MALFORMED, id="not UTF-8"),
        pytest.param(sse(b'{"error":{"message":"x"}}'), R.FAILURE, id="an error"),
        pytest.param(sse(b'{"error":"x"}'), R.FAILURE, id="an error in words"),
        pytest.param(
            b'event: error\ndata: {"error":{}, "object":"error"}\n\n', R.FAILURE, id="event"
        ),
        pytest.param(says(finish="error"), R.FAILURE, id="a finish that is an error"),
    ],
)
def test_what_a_frame_says(frame: bytes, reading: Reading) -> None:
    found, tap = read(frame)
    assert found == [reading]
    assert (tap.problem is not None) is (reading is R.FAILURE)


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (b": ping\n\n", b": ping\n\n"),
        (b"\n\n", b"\n\n"),
        (b"event: ping\n\n", b""),
        (b"data: \n\n", b""),
    ],
)
def test_an_event_without_data_is_left_out(frame: bytes, told: bytes) -> None:
    assert OpenAiTap(CHAT).read(frame) == (R.COMMENT, told)


def test_what_an_error_says_is_kept() -> None:
    _, tap = read(sse(b'{"error":{"message":"too many","code":429}}'))
    assert tap.problem is not None
    assert (tap.problem.kind, tap.problem.message) == (
        K.RATE_LIMITED, "answered 200 with an error inside: too many",
    )  # fmt: skip


# --- the tap: a whole stream ----------------------------------------------------------------------

TEXT = [says({"role": "assistant", "content": ""}), says({"content": "a"}), says({"content": "b"})]
STOP = says(finish="stop")


@pytest.mark.parametrize(
    ("frames", "finished"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param(TEXT, False, id="cut"),
        pytest.param([*TEXT, DONE_FRAME], False, id="[DONE] without a finish is no finish"),
        pytest.param([DONE_FRAME], False, id="[DONE] alone"),
        pytest.param([*TEXT, STOP], True, id="a finish without [DONE]"),
        pytest.param([*TEXT, STOP, DONE_FRAME], True, id="both"),
        pytest.param([STOP], True, id="a finish alone"),
        pytest.param([*TEXT, STOP, chunk(usage={"prompt_tokens": 1})], True, id="usage behind"),
        pytest.param([*TEXT, STOP, says({"content": ""})], True, id="an empty delta behind"),
        pytest.param([*TEXT, STOP, says({}, content_filter_offsets={})], True, id="Azure's filter"),
        pytest.param(
            [says({"content": "a"}), says({"content": "b"}, index=1), STOP], False, id="one of two"
        ),
        pytest.param(
            [
                says({"content": "a"}),
                says({"content": "b"}, index=1),
                STOP,
                says(finish="stop", index=1),
            ],
            True,
            id="two of two",
        ),
        pytest.param(
            [says({"role": "assistant"}), says({"role": "assistant"}, index=1), STOP],
            False,
            id="a choice that has only greeted is open",
        ),
        pytest.param(
            [chunk({"delta": {"content": "a"}}), chunk({"delta": {}, "finish_reason": "stop"})],
            True,
            id="no index means the first",
        ),
        pytest.param(
            [chunk({"index": [], "delta": {"content": "a"}}), STOP], True, id="a bad index"
        ),
    ],
)
def test_when_an_answer_is_whole(frames: Sequence[bytes], finished: bool) -> None:
    assert read(*frames)[1].finished is finished


def test_the_tap_learns_model_and_usage() -> None:
    told = {"prompt_tokens": 3, "completion_tokens": 2}
    _, tap = read(*TEXT, STOP, chunk(model="other", usage=told), DONE_FRAME)
    assert (tap.model, tap.usage) == ("m", Usage(3, 2))
    _, along = read(chunk({"delta": {"content": "x"}}, usage=told), says({"content": "y"}))
    assert along.usage == Usage(3, 2)


FIELDS = st.sampled_from(
    [
        *("choices", "delta", "message", "index", "finish_reason", "text", "usage", "error"),
        *("model", "tool_calls", "id", "function", "name", "content", "code", "prompt_tokens"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
CHUNKS = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(JSON, max_size=3) | JSON, "usage": JSON, "error": JSON}
)


@given(st.lists(st.binary(max_size=60) | JSON | CHUNKS, max_size=6))
def test_tap_and_fold_never_raise(events: list[object]) -> None:
    frames = [one if isinstance(one, bytes) else sse(json.dumps(one)) for one in events]
    tap = OpenAiTap(CHAT)
    for frame in frames:
        _, out = tap.read(frame)
        assert out is frame or out == b"" or SseFramer().feed(out) == [out]
    assert isinstance(tap.finished, bool)
    assert json.dumps(fold(frames))


# --- the tap: what clients get --------------------------------------------------------------------


def passed(*frames: bytes, facts: RequestFacts = WITH_USAGE) -> list[bytes]:
    tap = OpenAiTap(facts)
    return [tap.read(frame)[1] for frame in frames]


def call(text: str | None = None, name: str | None = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": text}
    return {
        **more,
        "function": {key: value for key, value in function.items() if value is not None},
    }


def calls(*items: dict[str, Any]) -> bytes:
    return says({"tool_calls": list(items)})


REGULAR = [
    b": ping\n\n",
    says({"role": "assistant", "content": ""}),
    says({"content": None, "reasoning_content": "hm"}),
    b'data:{"choices":[{"index":0,"delta":{"content":"1e5"},"n":1e5}]}\r\n\r\n',
    says({"content": "x"}, finish=""),
    says({"tool_calls": None}),
    says({"tool_calls": []}),
    calls(call("", "f", index=0, id="a", type="function")),
    calls(call('{"a":', index=0)),
    calls(call('{"a":1}', index=0)),  # an object that begins like the one around it
    calls(call("}", index=0)),
    calls(call("{}", "g", index=1, id="b", type="function")),
    chunk({"text": "x", "index": 0}),
    says({}, "a finish of its own making"),
    chunk(usage={"prompt_tokens": 1}),
    DONE_FRAME,
]


def test_regular_frames_pass_as_the_very_bytes_they_came_in() -> None:
    for frame, out in zip(REGULAR, passed(*REGULAR), strict=True):
        assert out is frame


@pytest.mark.parametrize(
    ("facts", "passes"),
    [
        (WITH_USAGE, True),
        (CHAT, False),
        (RequestFacts(Operation.CHAT), True),  # a stream that nobody asked for is folded
    ],
)
def test_usage_passes_where_it_was_asked_for(facts: RequestFacts, passes: bool) -> None:
    frame = chunk(usage={"prompt_tokens": 1})
    assert passed(frame, facts=facts) == [frame if passes else b""]
    assert passed(sse(b"junk"), facts=facts) == [b""]


def mended(*frames: bytes) -> list[Any]:
    return [json.loads(frame_data(frame) or b"null") for frame in passed(*frames)]


@pytest.mark.parametrize(
    ("told", "better"),
    [
        pytest.param({"id": "1"}, {"id": "1", "choices": []}, id="choices missing"),
        pytest.param({"choices": None}, {"choices": []}, id="choices null"),
        pytest.param({"usage": {}}, {"usage": {}, "choices": []}, id="usage without choices"),
        pytest.param({"choices": [None]}, {"choices": []}, id="choices that are none"),
        pytest.param(
            {"choices": [{"index": 0, "message": {"content": "x"}}]},
            {"choices": [{"index": 0, "delta": {"content": "x"}}]},
            id="message for delta",
        ),
        pytest.param(
            {"choices": [{"index": 0, "finish_reason": "stop"}]},
            {"choices": [{"index": 0, "finish_reason": "stop", "delta": {}}]},
            id="no delta",
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {}, "finish_reason": 1}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            id="a finish reason that is no text",
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {}, "finish_reason": False}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]},
            id="a finish reason that says no",
        ),
        pytest.param(
            {"choices": [{"text": "x"}]}, {"choices": [{"text": "x", "index": 0}]}, id="no index"
        ),
        pytest.param(
            {"choices": [{"index": 0, "delta": {"tool_calls": {}}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": {}}}]},
            id="empty tool calls of a wrong type say nothing",
        ),
    ],
)
def test_a_chunk_that_clients_would_misread_is_mended(told: Any, better: Any) -> None:
    assert mended(sse(json.dumps(told))) == [better]


def test_a_last_chunk_that_repeats_the_whole_message_says_nothing_new() -> None:
    last = chunk({"index": 0, "message": {"content": "ab"}, "finish_reason": "stop"})
    told = mended(says({"content": "a"}), says({"content": "b"}), last)
    assert [one["choices"][0]["delta"] for one in told] == [{"content": "a"}, {"content": "b"}, {}]


@pytest.mark.parametrize(
    ("told", "better"),
    [
        pytest.param(
            [call("{}", "f", id="a"), call("{}", "g", id="b")],
            [call("{}", "f", id="a", index=0), call("{}", "g", id="b", index=1)],
            id="no index",
        ),
        pytest.param(
            [call('{"x":1}', "f"), call('{"x":2}', "f")],
            [call('{"x":1}', "f", index=0), call('{"x":2}', "f", index=1)],
            id="neither index nor id",
        ),
        pytest.param(
            [call('{"x":', "f", id="a"), call("1}"), call('{"x":2}', "g", id="b")],
            [
                call('{"x":', "f", id="a", index=0),
                call("1}", index=0),
                call('{"x":2}', "g", id="b", index=1),
            ],
            id="pieces without an index",
        ),
        pytest.param(
            [
                call("{}", "f", id="a", index=0),
                call('{"y":', "g", id="b", index=0),
                call("1}", index=0),
            ],
            [
                call("{}", "f", id="a", index=0),
                call('{"y":', "g", id="b", index=1),
                call("1}", index=1),
            ],
            id="index 0 for every call",
        ),
        pytest.param(
            [call('{"x":', "f", id="a", index=0), call("1}", "f", id="a", index=0)],
            [call('{"x":', "f", id="a", index=0), call("1}", index=0)],
            id="id and name with every piece",
        ),
        pytest.param(
            [call('{"x":', "f", id="a", index=0), call("1}", id="made-up", index=0)],
            [call('{"x":', "f", id="a", index=0), call("1}", index=0)],
            id="an id made up for every piece",
        ),
        pytest.param(
            [call(text, "f", id="a", index=0) for text in ('{"x"', '{"x":', '{"x":1}', '{"x":1}')],
            [call('{"x"', "f", id="a", index=0)] + [call(t, index=0) for t in (":", "1}", "")],
            id="all arguments again each time",
        ),
        pytest.param(
            [call('{"x":', "f", id="a", index=0), call("1}", index=0), call('{"x":1}', index=0)],
            [call('{"x":', "f", id="a", index=0), call("1}", index=0), call("", index=0)],
            id="all arguments once more at the end",
        ),
        pytest.param(
            [call("", id="a", index=0), call('{"x":1}', index=0), call(name="f", index=0)],
            [call("", id="a", index=0), call('{"x":1}', index=0), call(name="f", index=0)],
            id="the name behind the arguments",
        ),
        pytest.param(
            [call("{", "f", id="a", index=3), call("{", "g", id="b", index=9)],
            [call("{", "f", id="a", index=3), call("{", "g", id="b", index=9)],
            id="gaps between the indexes",
        ),
    ],
)
def test_tool_calls_are_told_apart(told: list[Any], better: list[Any]) -> None:
    one_by_one = [one["choices"][0]["delta"]["tool_calls"] for one in mended(*map(calls, told))]
    assert [item for items in one_by_one for item in items] == better
    together: Any = mended(calls(*told))[0]
    assert together["choices"][0]["delta"]["tool_calls"] == better


def test_arguments_that_are_an_object_become_text() -> None:
    item = {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
    (told,) = mended(calls(item))
    assert told["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] == '{"x":1}'


def test_the_end_marker_is_added_where_the_stream_has_none() -> None:
    tap = OpenAiTap(CHAT)
    tap.read(STOP)
    assert tap.end() == DONE_FRAME
    tap.read(DONE_FRAME)
    assert tap.end() == b""


def test_a_failure_is_told_in_one_event() -> None:
    frame = OpenAiTap(CHAT).fail(Problem(K.TRUNCATED, "ended early"))
    (reading,), tap = read(frame)
    assert reading is R.FAILURE and tap.problem is not None
    assert "ended early" in tap.problem.message
