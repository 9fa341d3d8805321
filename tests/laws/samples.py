"""Whole answers of each dialect, one for each thing that an answer may hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.wire.contract import Operation


@dataclass(frozen=True, slots=True)
class Sample:
    """A whole answer with usage."""

    name: str
    answer: Mapping[str, Any]
    operation: Operation = Operation.CHAT


def _openai(*messages: Mapping[str, Any], finish: str = "stop") -> Mapping[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish}
            for index, message in enumerate(messages)
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }


_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Zürich"}'},
}

SAMPLES: Mapping[str, tuple[Sample, ...]] = {
    "openai": (
        Sample("text", _openai({"content": "Grüezi, wie geht's? 👋"})),
        Sample("tool call", _openai({"content": None, "tool_calls": [_CALL]}, finish="tool_calls")),
        Sample("two choices", _openai({"content": "a"}, {"content": "b"})),
        Sample("cut by length", _openai({"content": "Gr"}, finish="length")),
        Sample(
            "completion",
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1_700_000_000,
                "model": "gpt-4o-mini",
                "choices": [{"index": 0, "text": "Once", "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            },
            Operation.COMPLETION,
        ),
    ),
}
