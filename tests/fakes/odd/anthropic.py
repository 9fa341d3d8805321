"""Odd answers of gateways that speak Anthropic's messages."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.odd.oddity import (
    BARE,
    BOOM,
    HALVES,
    JSON,
    ONE,
    PLACE,
    SSE,
    TEXT,
    TWO,
    WRITTEN,
    WRITTEN_CITY,
    Json,
    Odd,
    broken,
    calls,
    fault,
    text,
)
from tests.fakes.strict.backend import event


def _told(stop: str | None, *content: Json) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "odd",
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }


def _block(index: int, opened: Json, *deltas: Json) -> list[bytes]:
    place = {"index": index}
    return [
        event({"type": "content_block_start", **place, "content_block": opened}),
        *[event({"type": "content_block_delta", **place, "delta": each}) for each in deltas],
        event({"type": "content_block_stop", **place}),
    ]


def _tool(index: int, name: str, written: str = "", input: Json | None = None) -> list[bytes]:
    opened = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": input or {}}
    delta = {"type": "input_json_delta", "partial_json": written}
    return _block(index, opened, *([delta] if written else []))


def _end(stop: str) -> list[bytes]:
    delta = {"stop_reason": stop, "stop_sequence": None}
    told = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 2}}
    return [event(told), event({"type": "message_stop"})]


WHOLE = answers.dump(_told("end_turn", {"type": "text", "text": TEXT}))
START = event({"type": "message_start", "message": _told(None)})
PING = event({"type": "ping"})
SAID = [
    START,
    *_block(
        0, {"type": "text", "text": ""}, *[{"type": "text_delta", "text": each} for each in HALVES]
    ),
]
STREAM = [*SAID, *_end("end_turn")]
FAULT: Json = {"type": "error", "error": {"type": "api_error", "message": BOOM}}

ODDITIES: Sequence[Odd] = [
    text("always whole", JSON, WHOLE),
    text("whole, called a stream", SSE, WHOLE),
    text("whole, of an odd type", "text/plain", WHOLE),
    text("whole, its own stop", JSON, WHOLE.replace(b"end_turn", b"eos")),
    text("always a stream", SSE, *STREAM),
    text("a stream of an odd type", "binary/octet-stream", *STREAM),
    text("events without names", SSE, *[each.partition(b"\n")[2] for each in STREAM]),
    text("unknown events", SSE, START, event({"type": "vendor_news", "x": 1}), PING, *STREAM[1:]),
    text("junk between", SSE, START, b"data: {half\n\n", b": ping\n\n", *STREAM[1:]),
    text("its own stop", SSE, *SAID, *_end("eos")),
    text("no message_stop", SSE, *STREAM[:-1]),
    calls("arguments whole", ONE, SSE, START, *_tool(0, "weather", WRITTEN), *_end("tool_use")),
    calls(
        "arguments in the start",
        ONE,
        SSE,
        START,
        *_tool(0, "weather", input=PLACE),
        *_end("tool_use"),
    ),
    calls("no arguments", BARE, SSE, START, *_tool(0, "clock"), *_end("tool_use")),
    calls(
        "stop forgets calls",
        TWO,
        SSE,
        START,
        *_tool(0, "weather", WRITTEN),
        *_tool(1, "clock", WRITTEN_CITY),
        *_end("end_turn"),
    ),
    fault("error in a 200", JSON, answers.dump(FAULT)),
    fault("error at once", SSE, START, PING, event(FAULT)),
    fault("a page", "text/html", b"<html><body>Please log in</body></html>"),
    fault("nothing", SSE, b""),
    fault("no content", JSON, answers.dump({"id": "msg_1", "type": "message"})),
    broken("error in mid-stream", SSE, *SAID, event(FAULT)),
    broken("no stop", SSE, *SAID),
]
