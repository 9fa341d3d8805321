"""Streams: what each frame says, and the two crossings between whole and streamed answers."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dialects.openai_chat.stream import DONE_FRAME, OpenAiTap, fold, unfold
from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation, Reading, RequestFacts
from sidecar.wire.framing import frame_data, sse

R, K = Reading, ProblemKind
CHAT = RequestFacts(Operation.CHAT, stream=True)
WITH_USAGE = RequestFacts(Operation.CHAT, stream=True, wants_usage=True)
COMPLETION = RequestFacts(Operation.COMPLETION, stream=True, wants_usage=True)
HEAD = {"id": "c1", "object": "chat.completion.chunk", "model": "m"}


def chunk(*choices: Any, **more: Any) -> bytes:
    return sse(json.dumps({**HEAD, "choices": choices, **more}))


def says(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish, **more}
    return chunk(choice)


def read(*frames: bytes) -> tuple[list[Reading], OpenAiTap]:
    tap = OpenAiTap(CHAT)
    return [tap.read(frame) for frame in frames], tap


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
        assert isinstance(tap.read(frame), Reading)
    assert isinstance(tap.finished, bool)
    assert json.dumps(fold(frames))


# --- whole → stream → whole -----------------------------------------------------------------------

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
}
LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": []}], "refusal": None}


def choice(index: int = 0, finish: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": None, **message}
    return {"index": index, "message": said, "finish_reason": finish}


def answer(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"id": "c1", "object": "chat.completion", "created": 1_700_000_000, "model": "m"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {**head, "choices": list(choices), "usage": usage, **more}


WHOLE = [
    pytest.param(answer(choice(content="Hello")), id="text"),
    pytest.param(answer(choice(content="")), id="nothing"),
    pytest.param(answer(choice(finish="length", content="Hel")), id="cut by length"),
    pytest.param(answer(choice(content=None, refusal="I will not.")), id="refusal"),
    pytest.param(answer(choice(finish="tool_calls", tool_calls=[CALL])), id="a tool call"),
    pytest.param(
        answer(choice(finish="tool_calls", tool_calls=[CALL, CALL | {"id": "call_2"}])),
        id="two calls of one tool",
    ),
    pytest.param(answer(choice(content="x", tool_calls=[CALL])), id="text and a tool call"),
    pytest.param(
        answer(choice(finish="function_call", function_call={"name": "f", "arguments": "{}"})),
        id="the old form of tool calls",
    ),
    pytest.param(answer(choice(content="Hi") | {"logprobs": LOGPROBS}), id="log probabilities"),
    pytest.param(answer(choice(0, content="a"), choice(1, content="b")), id="n = 2"),
    pytest.param(
        answer(choice(content="x", reasoning_content="hm", audio={"id": "a1", "data": "AA"})),
        id="unknown fields of a message",
    ),
    pytest.param(
        answer(
            choice(content="x") | {"stop_reason": "</s>", "content_filter_results": {"hate": {}}}
        ),
        id="unknown fields of a choice",
    ),
    pytest.param(
        answer(
            choice(content="x"), service_tier="default", system_fingerprint="fp", x_groq={"id": "r"}
        ),
        id="unknown fields of the answer",
    ),
]


@pytest.mark.parametrize("whole", WHOLE)
def test_a_crossing_there_and_back_keeps_everything(whole: dict[str, Any]) -> None:
    assert fold(unfold(whole, WITH_USAGE)) == whole


@pytest.mark.parametrize("whole", WHOLE)
def test_an_unfolded_answer_is_a_stream_that_finished(whole: dict[str, Any]) -> None:
    frames = unfold(whole, WITH_USAGE)
    readings, tap = read(*frames)
    assert frames[-1] == DONE_FRAME
    assert tap.finished and tap.usage == Usage(3, 2)
    assert set(readings) <= {R.GREETING, R.CONTENT, R.FINISH, R.USAGE, R.DONE}


def test_usage_is_unfolded_only_for_who_asked() -> None:
    whole = answer(choice(content="x"))
    assert R.USAGE not in read(*unfold(whole, CHAT))[0]
    assert fold(unfold(whole, CHAT)) == {key: whole[key] for key in whole if key != "usage"}
    assert R.USAGE not in read(*unfold(whole | {"usage": None}, WITH_USAGE))[0]


def test_chunks_look_like_chunks() -> None:
    first, last, _ = [frame_data(frame) for frame in unfold(answer(choice(content="x")), CHAT)]
    begun, ended = json.loads(first or b""), json.loads(last or b"")
    assert begun["object"] == ended["object"] == "chat.completion.chunk"
    assert begun["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": "x"}, "finish_reason": None}
    ]
    assert ended["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]


def test_completions_cross_too() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "text_offset": [0]}
    one = {"index": 0, "text": "abc", "logprobs": logprobs, "finish_reason": "stop"}
    whole = answer(one) | {"object": "text_completion"}
    frames = unfold(whole, COMPLETION)
    assert read(*frames)[1].finished
    assert fold(frames) == whole


def test_choices_that_lack_an_index_are_told_apart() -> None:
    bare = [{"message": {"content": text}, "finish_reason": None} for text in ("a", "b")]
    told = fold(unfold(answer(*bare), CHAT))["choices"]
    assert told == [choice(0, content="a"), choice(1, content="b")]


@pytest.mark.parametrize("message", [None, "x", {"tool_calls": [None, "x"]}, {"tool_calls": "x"}])
def test_a_message_that_is_none_still_makes_a_stream(message: object) -> None:
    frames = unfold({"choices": [{"message": message}]}, CHAT)
    assert read(*frames)[1].finished


# --- stream → whole -------------------------------------------------------------------------------


def folded(*deltas: Any) -> Any:
    choices: Any = fold([*map(says, deltas), STOP, DONE_FRAME])["choices"]
    return choices[0]["message"]


def test_texts_are_joined() -> None:
    assert folded({"role": "assistant"}, {"content": "He"}, {"content": "llo"}) == {
        "role": "assistant", "content": "Hello",
    }  # fmt: skip


def part(index: int = 0, text: str = "", **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    function = {"arguments": text} | ({} if name is None else {"name": name})
    return {"tool_calls": [{"index": index, **more, "function": function}]}


SENT = [CALL]
BOTH = [CALL, CALL | {"id": "call_2", "function": {"name": "time", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        pytest.param(
            [
                part(0, "", id="call_1", type="function", name="weather"),
                part(0, '{"city":'),
                part(0, '"Paris"}'),
            ],
            SENT,
            id="as OpenAI sends them",
        ),
        pytest.param(
            [
                part(0, '{"city":', id="call_1", type="function", name="weather"),
                part(0, '"Paris"}', id="call_1", type="function", name="weather"),
            ],
            SENT,
            id="id, type and name repeated",
        ),
        pytest.param(
            [
                part(0, '{"city":', id="call_1", type="function", name="weather"),
                part(0, '"Paris"}', id="", type="function", name=""),
            ],
            SENT,
            id="id and name empty in later chunks (Qwen)",
        ),
        pytest.param(
            [
                part(0, '{"city":', id="call_1", type="function", name="weather"),
                part(0, '"Paris"}', id="made-up", type="function"),
            ],
            SENT,
            id="another id in every chunk (old vLLM)",
        ),
        pytest.param(
            [
                part(0, '{"city":', id="call_1", type="function", name="weather"),
                part(1, "{}", id="call_2", type="function", name="time"),
                part(0, '"Paris"}'),
            ],
            BOTH,
            id="two calls, interleaved",
        ),
        pytest.param(
            [
                part(0, '{"city":"Paris"}', id="call_1", type="function", name="weather"),
                part(0, "{}", id="call_2", type="function", name="time"),
            ],
            BOTH,
            id="two calls, both with index 0 (Gemini)",
        ),
        pytest.param([{"tool_calls": BOTH}], BOTH, id="whole calls without an index"),
    ],
)
def test_tool_calls_are_put_together(deltas: list[Any], calls: list[Any]) -> None:
    assert folded(*deltas)["tool_calls"] == calls


def test_log_probabilities_are_collected() -> None:
    one, two = {"token": "a", "logprob": -1}, {"token": "b", "logprob": -2}
    frames = [
        chunk({"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [one]}}),
        chunk({"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [two]}}),
        chunk({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}),
    ]
    choices: Any = fold(frames)["choices"]
    assert choices[0]["logprobs"] == {"content": [one, two]}


def test_a_reason_that_is_repeated_is_not_doubled() -> None:
    frames = [
        says({"content": "x"}, "stop", native_finish_reason="stop"),
        says({"content": ""}, "stop", native_finish_reason="stop"),
    ]
    choices: Any = fold(frames)["choices"]
    assert (choices[0]["finish_reason"], choices[0]["native_finish_reason"]) == ("stop", "stop")


def test_message_and_delta_add_up() -> None:
    frames = [chunk({"index": 0, "message": {"content": "x"}}), STOP]
    choices: Any = fold(frames)["choices"]
    assert choices[0]["message"] == {"role": "assistant", "content": "x"}


def test_choices_come_in_order_and_usage_stays() -> None:
    frames = [
        says({"content": "b"}, index=1),
        says({"content": "a"}),
        says(finish="stop", index=1),
        STOP,
        b": ping\n\n",
        sse(b"not JSON"),
        chunk(usage={"prompt_tokens": 1}),
        DONE_FRAME,
    ]
    whole: Any = fold(frames)
    assert [one["message"]["content"] for one in whole["choices"]] == ["a", "b"]
    assert (whole["object"], whole["usage"]) == ("chat.completion", {"prompt_tokens": 1})
