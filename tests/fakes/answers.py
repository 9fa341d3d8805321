"""Right answers of an OpenAI-dialect backend, as JSON values and as lists of stream frames.

Every text names the backend that wrote it, so that a test can tell who answered.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from typing import Literal

from tests.fakes.seen import Seen
from tests.fakes.speech import Speech

TOKENS = 60
CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"
UsageInStream = Literal["on_request", "always", "never"]


def words(who: str, count: int = TOKENS) -> list[str]:
    """The tokens of the usual answer: `p-00 `, `p-01 `, …"""
    return [f"{who}-{number:02d} " for number in range(count)]


def text_of(who: str, count: int = TOKENS) -> str:
    return "".join(words(who, count))


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def frame(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + dump(value) + b"\n\n"


def usage(completion: int) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": completion, "total_tokens": 7 + completion}


def error(message: str, code: str | None = None, kind: str = "server_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def called_tool(seen: Seen) -> str | None:
    """The tool that the fake calls: the first one offered, unless tool_choice is none."""
    tools = seen.json.get("tools")
    if not isinstance(tools, list) or not tools or seen.json.get("tool_choice") == "none":
        return None
    return str(tools[0]["function"]["name"])


ARGUMENTS = '{"city": "Zürich", "days": 3}'


def _message(seen: Seen, said: Sequence[str]) -> tuple[dict[str, object], str]:
    tool = called_tool(seen)
    if tool is None:
        return {"role": "assistant", "content": "".join(said)}, "stop"
    call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": ARGUMENTS}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"


def chat(seen: Seen, said: Sequence[str]) -> dict[str, object]:
    message, finish = _message(seen, said)
    return {
        "id": f"chatcmpl-{seen.backend}",
        "object": "chat.completion",
        "created": CREATED,
        "model": seen.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage(len(said)),
    }


def chunk(seen: Seen, delta: dict[str, object], finish: str | None = None) -> bytes:
    """One frame of a streamed chat answer."""
    return frame(
        {
            "id": f"chatcmpl-{seen.backend}",
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": seen.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


def _usage_frame(seen: Seen, completion: int, shape: str) -> bytes:
    return frame(
        {
            "id": f"chatcmpl-{seen.backend}",
            "object": shape,
            "created": CREATED,
            "model": seen.model,
            "choices": [],
            "usage": usage(completion),
        }
    )


def _tool_deltas(name: str) -> list[dict[str, object]]:
    pieces = [ARGUMENTS[:10], ARGUMENTS[10:]]
    first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name}}
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    return [{"tool_calls": [call]} for call in [first, *rest]]


def chat_speech(
    seen: Seen, said: Sequence[str], usage_in_stream: UsageInStream = "on_request"
) -> Speech:
    """Greeting, one frame a token, finish, usage when it is wanted, and the end marker."""
    tool = called_tool(seen)
    deltas = [{"content": word} for word in said] if tool is None else _tool_deltas(tool)
    closing = [chunk(seen, {}, "stop" if tool is None else "tool_calls")]
    if usage_in_stream == "always" or (usage_in_stream == "on_request" and seen.wants_usage):
        closing.append(_usage_frame(seen, len(said), "chat.completion.chunk"))
    tokens = [chunk(seen, dict(delta)) for delta in deltas]
    return Speech([greeting(seen)], tokens, closing, [DONE])


def greeting(seen: Seen) -> bytes:
    """The frame that many backends send before they know whether they can answer."""
    return chunk(seen, {"role": "assistant", "content": ""})


def completion(seen: Seen, said: Sequence[str]) -> dict[str, object]:
    return {
        "id": f"cmpl-{seen.backend}",
        "object": "text_completion",
        "created": CREATED,
        "model": seen.model,
        "choices": [{"index": 0, "text": "".join(said), "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(len(said)),
    }


def completion_speech(seen: Seen, said: Sequence[str]) -> Speech:
    def piece(text: str, finish: str | None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return frame({**completion(seen, []), "choices": [choice], "usage": None})

    closing = [piece("", "stop")]
    if seen.wants_usage:
        closing.append(_usage_frame(seen, len(said), "text_completion"))
    return Speech([], [piece(word, None) for word in said], closing, [DONE])


def vector(number: int) -> list[float]:
    """A vector of three values that single precision holds exactly."""
    return [number + 0.5, -0.25, 2.0]


def embeddings(seen: Seen) -> dict[str, object]:
    asked = seen.json.get("input")
    count = len(asked) if isinstance(asked, list) else 1

    def encoded(values: list[float]) -> object:
        if seen.json.get("encoding_format") != "base64":
            return values
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()

    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": encoded(vector(number))}
            for number in range(count)
        ],
        "model": seen.model,
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def models(names: Sequence[str]) -> dict[str, object]:
    entries = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in names
    ]
    return {"object": "list", "data": entries}
