"""Anthropic's messages.

Sources: https://docs.anthropic.com/en/api/messages-streaming, …/en/api/errors
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.fakes.answers import UsageInStream, frame
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech
from tests.fakes.voices import openai
from tests.fakes.voices.voice import Json, Voice

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def event(value: Json) -> bytes:
    """A server-sent event that bears its type as its name."""
    return b"event: " + str(value["type"]).encode() + b"\n" + frame(value)


def _error(status: int, message: str, code: str | None = None, kind: str = "") -> Json:
    fault = {"type": TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": fault, "request_id": "req_fake"}


def _message(seen: Seen, output: int, **more: object) -> Json:
    return {
        "id": f"msg_{seen.backend}",
        "type": "message",
        "role": "assistant",
        "model": seen.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": output},
        **more,
    }


def _whole(seen: Seen, said: Sequence[str]) -> Json:
    content = [{"type": "text", "text": "".join(said)}] if said else []
    return _message(seen, len(said), content=content, stop_reason="end_turn")


def _deltas(said: Sequence[str]) -> Iterator[bytes]:
    for word in said:
        delta = {"type": "text_delta", "text": word}
        yield event({"type": "content_block_delta", "index": 0, "delta": delta})


def _speech(seen: Seen, said: Sequence[str], usage: UsageInStream) -> Speech:
    """Its usage is always told."""
    block = {"type": "text", "text": ""}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    counts = {"output_tokens": len(said)}
    return Speech(
        greeting=[
            event({"type": "message_start", "message": _message(seen, 1)}),
            event({"type": "content_block_start", "index": 0, "content_block": block}),
            PING,
        ],
        tokens=list(_deltas(said)),
        closing=[
            event({"type": "content_block_stop", "index": 0}),
            event({"type": "message_delta", "delta": stop, "usage": counts}),
        ],
        end=[STOP],
    )


STOP = event({"type": "message_stop"})
PING = event({"type": "ping"})
VOICE = Voice(
    name="anthropic",
    prefix="",
    path="/v1/messages",
    stream_type=openai.SSE,
    speech=_speech,
    whole=_whole,
    error=_error,
    refusals={
        "too long": (400, _error(400, "prompt is too long: 1200 tokens > 1000 tokens maximum")),
        "policy": (
            400,
            _error(400, "the prompt was filtered: blocked by content filtering policy"),
        ),
        "unknown model": (404, _error(404, "no such model: model-p")),
        "prefill": (
            400,
            _error(400, "This model does not support assistant message prefill."),
        ),
    },
    failures={"error": event(_error(529, "the engine died"))},
    marker=STOP,
    ping=PING,
    not_json=b"event: content_block_delta\ndata: {not json\n\n",
    no_object=b"event: content_block_delta\ndata: 17\n\n",
    unending=b'event: message_start\ndata: {"id": "',
)
