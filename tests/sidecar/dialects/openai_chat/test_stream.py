"""The two crossings between whole and streamed answers."""

from typing import Any

import pytest

from sidecar.dialects.openai_chat.stream import fold, unfold
from sidecar.dialects.openai_chat.tap import DONE_FRAME, OpenAiTap
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


STOP = says(finish="stop")


def read(*frames: bytes) -> tuple[list[Reading], OpenAiTap]:
    tap = OpenAiTap(CHAT)
    return [tap.read(frame)[0] for frame in frames], tap


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
