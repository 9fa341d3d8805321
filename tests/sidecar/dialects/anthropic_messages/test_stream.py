"""Streams and whole answers into each other: nothing is lost on the way."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.stream import fold, unfold
from sidecar.dialects.anthropic_messages.tap import AnthropicTap
from sidecar.wire.contract import Reading
from tests.sidecar.dialects.anthropic_messages.answers import (
    FACTS,
    adds,
    closes,
    ends,
    event,
    message,
    opens,
    start,
    text,
)

CITATION = {"type": "char_location", "cited_text": "a"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(message(), id="nothing"),
        pytest.param(message({"type": "text", "text": "a"}), id="text"),
        pytest.param(
            message({"type": "text", "text": "a", "citations": [CITATION, CITATION]}),
            id="citations",
        ),
        pytest.param(
            message(
                {"type": "thinking", "thinking": "t", "signature": "S"},
                {"type": "redacted_thinking", "data": "D"},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"b": {"c": [1.5, None]}}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}, "caller": {}},
                stop="tool_use",
            ),
            id="thinking and calls",
        ),
        pytest.param(
            message(
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
                usage={"input_tokens": 1, "output_tokens": 2, "server_tool_use": {"x": 1}},
                container={"id": "c"},
                extra="e",
            ),
            id="the vendor's tools",
        ),
        pytest.param(
            message(stop="refusal", stop_details={"type": "refusal", "explanation": "No."}),
            id="a refusal",
        ),
        pytest.param(message(stop="stop_sequence", stop_sequence="END"), id="a stop sequence"),
    ],
)
def test_there_and_back(answer: dict[str, Any]) -> None:
    frames = unfold(answer, FACTS)
    assert fold(frames) == answer
    tap = AnthropicTap(FACTS)
    readings = [tap.read(frame) for frame in frames]
    assert [told for _, told in readings] == list(frames)
    assert readings[-1][0] is Reading.DONE
    assert tap.finished


def test_an_answer_without_a_reason_is_whole_all_the_same() -> None:
    frames = unfold({"content": []}, FACTS)
    assert fold(frames)["stop_reason"] == "end_turn"


def test_folding_a_stream() -> None:
    frames = [
        start(),
        event("ping"),
        *text(0, "a", "b"),
        opens(1, type="tool_use", id="i", name="f", input={}),
        adds(1, type="input_json_delta", partial_json='{"x"'),
        adds(1, type="input_json_delta", partial_json=": 1}"),
        closes(1),
        *ends("tool_use", input_tokens=6),
    ]
    assert fold(frames) == message(
        {"type": "text", "text": "ab"},
        {"type": "tool_use", "id": "i", "name": "f", "input": {"x": 1}},
        stop="tool_use",
        usage={"input_tokens": 6, "output_tokens": 9},
    )


def test_folding_what_is_loose() -> None:
    frames = [
        b"data: {half\n\n",
        b": comment\n\n",
        b"data: [1]\n\n",
        adds(1, type="text_delta", text="b"),
        adds(0, type="thinking_delta", thinking="t"),
        opens(2, type="tool_use", id="i", name="f"),
        adds(2, type="input_json_delta", partial_json='{"x"'),
        adds(2, type="new_delta"),
        ends()[0],
    ]
    assert fold(frames)["content"] == [
        {"type": "thinking", "thinking": "t", "signature": ""},
        {"type": "text", "text": "b"},
        {"type": "tool_use", "id": "i", "name": "f", "input": {"_raw": '{"x"'}},
    ]
