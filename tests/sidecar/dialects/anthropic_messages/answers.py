"""Answers and what an answer needs to know, shared by the tests of this dialect."""

from itertools import count
from typing import Any

from sidecar.neutral.request import ChatRequest
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Operation, RequestFacts
from sidecar.wire.framing import sse

FACTS = RequestFacts(Operation.CHAT, wants_usage=True)


def context() -> AnswerContext:
    ids = count(1)
    return AnswerContext(
        facts=FACTS,
        request=ChatRequest(()),
        created=0,
        elapsed=lambda: 0.0,
        new_id=lambda: f"n{next(ids)}",
        estimate=7,
        model="asked",
    )


def event(kind: str, **fields: Any) -> bytes:
    return sse(json.dumps({"type": kind, **fields}), kind)


def start(**more: Any) -> bytes:
    begun: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }  # fmt: skip
    return event("message_start", message=begun | more)


def opens(index: int, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def adds(index: int, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


def closes(index: int) -> bytes:
    return event("content_block_stop", index=index)


def text(index: int, *pieces: str) -> list[bytes]:
    deltas = [adds(index, type="text_delta", text=piece) for piece in pieces]
    return [opens(index, type="text", text=""), *deltas, closes(index)]


def ends(reason: str = "end_turn", sequence: str | None = None, **usage: Any) -> list[bytes]:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [
        event("message_delta", delta=delta, usage={"output_tokens": 9} | usage),
        event("message_stop"),
    ]


def message(*content: object, stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": list(content), "stop_reason": stop, "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 9},
    } | more  # fmt: skip
