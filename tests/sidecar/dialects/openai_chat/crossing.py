"""What the tests of crossings share."""

from itertools import count
from typing import Any

from sidecar.neutral.request import ChatRequest, Message, Role, Text
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Operation, RequestFacts
from sidecar.wire.framing import SseFramer, frame_data, sse

HELLO = ChatRequest((Message(Role.USER, (Text("Hello"),)),))
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m-1"}


def context(
    operation: Operation = Operation.CHAT,
    request: ChatRequest = HELLO,
    *,
    wants_usage: bool = True,
    old_calls: bool = False,
) -> AnswerContext:
    numbers = count(1)
    return AnswerContext(
        facts=RequestFacts(operation, stream=True, wants_usage=wants_usage, old_calls=old_calls),
        request=request,
        created=1_700_000_000,
        elapsed=lambda: 0.5,
        new_id=lambda: f"new{next(numbers)}",
        estimate=7,
        model="asked-for",
    )


def chunk(*choices: Any, **more: Any) -> bytes:
    return sse(json.dumps({**HEAD, "choices": choices, **more}))


def says(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    return chunk({"index": 0, "delta": delta or {}, "finish_reason": finish, **more})


def chunks(stream: bytes) -> list[Any]:
    """The JSON of every frame; the end marker as a text."""
    told = [frame_data(frame) for frame in SseFramer().feed(stream)]
    return ["[DONE]" if data == b"[DONE]" else data and json.loads(data) for data in told]
