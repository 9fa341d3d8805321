"""The tap beside a relayed stream, and the two crossings between whole and streamed answers."""

from typing import Any

import pytest

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.wire.contract import Reading
from sidecar.wire.fold import folded
from tests.sidecar.dialects.openai_responses.crossing import (
    ANSWERS,
    FACTS,
    USAGE,
    context,
    decoded,
    frame,
    told,
)

DOWN = Problem(ProblemKind.RATE_LIMITED, "Too many requests.")
CREATED = frame("response.created", sequence_number=0, response={"id": "resp_1", "model": "gpt"})
DELTA = frame("response.output_text.delta", sequence_number=4, delta="a")
USED = {"input_tokens": 3, "output_tokens": 2}
COMPLETED = frame("response.completed", sequence_number=9, response={"usage": USED})


@pytest.mark.parametrize(
    ("given", "reading"),
    [
        (CREATED, Reading.GREETING),
        (frame("response.in_progress", response={}), Reading.GREETING),
        (frame("response.queued", response={}), Reading.GREETING),
        (frame("response.output_item.added", item={"type": "message"}), Reading.GREETING),
        (frame("response.output_item.added", item={"type": "reasoning"}), Reading.GREETING),
        (frame("response.output_item.added", item={"type": "function_call"}), Reading.CONTENT),
        (frame("response.content_part.added", part={}), Reading.GREETING),
        (frame("response.output_text.delta", delta=""), Reading.GREETING),
        (DELTA, Reading.CONTENT),
        (frame("response.reasoning_summary_text.delta", delta="a"), Reading.CONTENT),
        (frame("response.output_text.done", text="a"), Reading.CONTENT),
        (frame("response.output_item.done", item={}), Reading.CONTENT),
        (frame("response.of_later_times"), Reading.GREETING),
        (COMPLETED, Reading.FINISH),
        (frame("response.incomplete", response={}), Reading.FINISH),
        (frame("response.failed", response={}), Reading.FAILURE),
        (frame("response.completed", response={"status": "failed"}), Reading.FAILURE),
        (frame("error", message="Oh"), Reading.FAILURE),
        (b'data: {"error": {"message": "Oh"}}\n\n', Reading.FAILURE),
        (b"data: [DONE]\n\n", Reading.DONE),
        (b": keepalive\n\n", Reading.COMMENT),
        (b"data: {}\n\n", Reading.GREETING),
    ],
)
def test_what_frames_say(given: bytes, reading: Reading) -> None:
    tap = DIALECT.tap(FACTS)
    assert tap.read(given) == (reading, given)
    assert (tap.problem is not None) is (reading is Reading.FAILURE)
    assert tap.finished is (reading is Reading.FINISH)


@pytest.mark.parametrize("frame", [b"event: response.output_text.del\n\n", b"data: \n\n"])
def test_an_event_without_data_is_not_passed_on(frame: bytes) -> None:
    assert DIALECT.tap(FACTS).read(frame) == (Reading.COMMENT, b"")


@pytest.mark.parametrize("junk", [b"data: {\n\n", b"data: 7\n\n"])
def test_junk_is_not_passed_on(junk: bytes) -> None:
    assert DIALECT.tap(FACTS).read(junk) == (Reading.MALFORMED, b"")


def test_what_it_remembers() -> None:
    tap = DIALECT.tap(FACTS)
    for one in (CREATED, DELTA, COMPLETED):
        tap.read(one)
    assert tap.model == "gpt"
    assert tap.usage == DIALECT.usage({"usage": USED})
    assert tap.end() == b""


@pytest.mark.parametrize(
    ("frames", "number", "id"),
    [
        ([], 0, ""),
        ([CREATED], 1, "resp_1"),
        ([CREATED, DELTA], 5, "resp_1"),
        ([frame("response.created", response={"id": "resp_2"})], 1, "resp_2"),
    ],
)
def test_a_failure_continues_the_stream(frames: list[bytes], number: int, id: str) -> None:
    tap = DIALECT.tap(FACTS)
    for one in frames:
        tap.read(one)
    (event,) = told(tap.fail(DOWN))
    assert (event["type"], event["sequence_number"]) == ("response.failed", number)
    response = event["response"]
    assert (response["id"], response["status"]) == (id, "failed")
    assert response["error"] == {"code": "rate_limit_exceeded", "message": "Too many requests."}
    again = DIALECT.tap(FACTS)
    assert again.read(tap.fail(DOWN))[0] is Reading.FAILURE
    assert again.problem is not None and again.problem.kind is ProblemKind.RATE_LIMITED


# --- whole and streamed ---------------------------------------------------------------------------

WHOLE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt",
    "x-later": 1,
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}]},
                {"type": "refusal", "refusal": "No."},
            ],
        },
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c1",
            "name": "f",
            "arguments": "{}",
        },
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "g", "input": "a"},
    ],
    "usage": USED,
}


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        {**WHOLE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        {"output": []},
        *(DIALECT.encode_response(answer, context()) for answer in ANSWERS),
    ],
)
def test_a_whole_answer_becomes_a_stream_and_whole_again(answer: dict[str, Any]) -> None:
    frames = DIALECT.unfold(answer, FACTS)
    assert DIALECT.fold(frames) == answer
    tap = DIALECT.tap(FACTS)
    readings = [tap.read(one)[0] for one in frames]
    assert tap.finished and readings[-1] is Reading.FINISH
    whole = DIALECT.decode_response(answer, context())
    streamed = folded(decoded(frames))
    assert (streamed.parts, streamed.stop) == (whole.parts, whole.stop)


def test_a_stream_whose_end_leaves_out_the_items_is_folded_with_them() -> None:
    """So does the backend behind ChatGPT."""
    item = {"type": "message", "content": []}
    done = frame("response.output_item.done", output_index=0, item=item)
    ended = frame("response.completed", response={"id": "resp_1", "output": []})
    folded_again = DIALECT.fold([CREATED, b"data: {\n\n", done, ended, b"data: [DONE]\n\n"])
    assert folded_again == {"id": "resp_1", "output": [item]}


def test_usage_is_read_from_what_the_encoder_writes() -> None:
    assert DIALECT.usage(DIALECT.encode_response(ANSWERS[0], context())) == USAGE
