"""Where a broken stream may be taken up: only where the events tell all that its client has."""

from typing import Any

import pytest

from sidecar.dialects.anthropic_messages.resume import resume as anthropic
from sidecar.dialects.openai_chat.resume import resume as openai
from sidecar.dialects.openai_responses.resume import resume as responses
from sidecar.wire import json
from tests.sidecar.dialects.anthropic_messages.answers import context as anthropic_context
from tests.sidecar.dialects.openai_chat.crossing import context as openai_context
from tests.sidecar.dialects.openai_responses.crossing import context as responses_context

Told = dict[str, Any]


def frames(*told: Told) -> list[bytes]:
    return [b"data: " + json.dumps(one) + b"\n\n" for one in told]


def chunk(**delta: object) -> Told:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "c", "created": 1, "model": "m", "choices": [choice]}


def call(index: int, arguments: str, **more: object) -> Told:
    return {"index": index, "function": {"arguments": arguments, **more}}


def begun(index: int) -> Told:
    return {**call(index, "", name="weather"), "id": f"call_{index}"}


@pytest.mark.parametrize(
    ("told", "can"),
    [
        ([chunk(content="Hi")], True),
        ([chunk(content="Hi"), chunk(tool_calls=[begun(0)])], True),
        ([chunk(tool_calls=[begun(0)]), chunk(tool_calls=[call(0, "{}")])], True),
        ([chunk(tool_calls=[begun(0), begun(1)]), chunk(tool_calls=[call(1, '{"ci')])], False),
        ([chunk(tool_calls=[begun(0)]), chunk(tool_calls=[call(0, "{")], content="Hi")], False),
        ([chunk(function_call={"name": "weather", "arguments": "{"})], False),
    ],
)
def test_chat_completions(told: list[Told], can: bool) -> None:
    assert (openai(frames(*told), openai_context()) is not None) is can


START: Told = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {}}}


def block(index: int, kind: str, **more: object) -> Told:
    started = {"type": kind, **more}
    return {"type": "content_block_start", "index": index, "content_block": started}


def more(index: int, kind: str, **told: str) -> Told:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **told}}


def stop(index: int) -> Told:
    return {"type": "content_block_stop", "index": index}


TEXT = [block(0, "text", text=""), more(0, "text_delta", text="Hi")]
THOUGHT = [block(0, "thinking", thinking=""), more(0, "thinking_delta", thinking="Hm")]
SERVER = block(1, "server_tool_use", id="s", name="web_search", input={})
PIECE = more(1, "input_json_delta", partial_json='{"query":')


@pytest.mark.parametrize(
    ("told", "can"),
    [
        (TEXT, True),
        ([*TEXT, stop(0)], True),
        ([*TEXT, stop(0), block(1, "text", text="")], False),
        ([*TEXT, stop(0), block(1, "text", text=""), stop(1)], True),
        ([*TEXT, stop(0), block(1, "tool_use", id="t", name="w", input={})], True),
        ([*TEXT, stop(0), block(1, "tool_use", id="t", name="w", input={"city": "Z"})], False),
        (THOUGHT, True),
        ([*THOUGHT, more(0, "signature_delta", signature="s")], False),
        ([*THOUGHT, more(0, "signature_delta", signature="s"), stop(0)], True),
        ([*TEXT, stop(0), SERVER, PIECE], False),
        ([*TEXT, stop(0), SERVER, PIECE, stop(1)], True),
    ],
)
def test_messages(told: list[Told], can: bool) -> None:
    assert (anthropic(frames(START, *told), anthropic_context()) is not None) is can


def event(kind: str, **told: object) -> Told:
    return {"type": f"response.{kind}", "output_index": 0, **told}


def text(step: str, index: int = 0) -> Told:
    told = "delta" if step == "delta" else "text"
    return event(f"output_text.{step}", content_index=index, item_id="i", **{told: "Hi"})


def summary(step: str, index: int = 0) -> Told:
    told = "delta" if step == "delta" else "text"
    return event(f"reasoning_summary_text.{step}", summary_index=index, item_id="i", **{told: "Hm"})


CREATED: Told = {"type": "response.created", "response": {"id": "r", "model": "m", "output": []}}
MESSAGE = event("output_item.added", item={"id": "i", "type": "message", "content": []})
REASONING = event("output_item.added", item={"id": "i", "type": "reasoning", "summary": []})
REASONED: Told = {
    "id": "i",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm"}],
}


@pytest.mark.parametrize(
    ("told", "can"),
    [
        ([MESSAGE, text("delta")], True),
        ([MESSAGE, text("delta"), text("done")], False),
        ([MESSAGE, text("delta"), text("done"), text("delta", 1)], False),
        ([REASONING, summary("delta")], True),
        ([REASONING, summary("delta"), summary("done")], False),
        ([REASONING, summary("delta"), summary("delta", 1)], False),
        (
            [
                REASONING,
                summary("delta"),
                summary("done"),
                event("output_item.done", item=REASONED),
            ],
            True,
        ),
    ],
)
def test_responses(told: list[Told], can: bool) -> None:
    assert (responses(frames(CREATED, *told), responses_context()) is not None) is can
