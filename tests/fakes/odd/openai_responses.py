"""Odd answers of servers that speak OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.answers import DONE
from tests.fakes.odd.oddity import (
    BARE,
    BOOM,
    HALVES,
    JSON,
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

USAGE: Json = {
    "input_tokens": 1,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 3,
}


def _response(*output: Json, status: str = "completed", error: Json | None = None) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "odd",
        "status": status,
        "error": error,
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": USAGE,
    }


def _event(kind: str, **more: object) -> Json:
    return {"type": kind, **more}


def _stream(*told: Json) -> Sequence[bytes]:
    return [event({**each, "sequence_number": number}) for number, each in enumerate(told)]


def _call(number: int, name: str, written: str) -> Json:
    head = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}"}
    return {**head, "name": name, "arguments": written, "status": "completed"}


def _calls(*made: Json) -> Sequence[bytes]:
    """Calls whose arguments come with the end of their item, and never before."""
    told = [OPENED]
    for index, each in enumerate(made):
        opened = {**each, "arguments": "", "status": "in_progress"}
        told += [
            _event("response.output_item.added", output_index=index, item=opened),
            _event("response.output_item.done", output_index=index, item=each),
        ]
    return _stream(*told, _event("response.completed", response=_response(*made)))


PART: Json = {"type": "output_text", "text": TEXT, "annotations": []}
NO_PART: Json = {**PART, "text": ""}
ITEM: Json = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [PART],
}
NO_ITEM: Json = {**ITEM, "status": "in_progress", "content": []}
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
OPENED = _event("response.created", response=_response(status="in_progress"))
QUEUED = _event("response.queued", response=_response(status="queued"))
ADDED = [
    _event("response.output_item.added", output_index=0, item=NO_ITEM),
    _event("response.content_part.added", **AT, part=NO_PART),
]
DELTAS = [_event("response.output_text.delta", **AT, delta=half) for half in HALVES]
CLOSED = [
    _event("response.output_text.done", **AT, text=TEXT),
    _event("response.content_part.done", **AT, part=PART),
    _event("response.output_item.done", output_index=0, item=ITEM),
]
COMPLETED = _event("response.completed", response=_response(ITEM))
ALL = [OPENED, *ADDED, *DELTAS, *CLOSED, COMPLETED]
WHOLE = answers.dump(_response(ITEM))
FAULT: Json = {"code": "server_error", "message": BOOM}
FAILED = _response(status="failed", error=FAULT)

ODDITIES: Sequence[Odd] = [
    text("always whole", JSON, WHOLE),
    text("whole, called a stream", SSE, WHOLE),
    text("whole, of an odd type", "text/plain", WHOLE),
    text("always a stream", SSE, *_stream(*ALL)),
    text("a stream of an odd type", "binary/octet-stream", *_stream(*ALL)),
    text("done without deltas", SSE, *_stream(OPENED, *ADDED, *CLOSED, COMPLETED)),
    text("nothing but the end", SSE, *_stream(OPENED, COMPLETED)),
    text("the other API's end", SSE, *_stream(*ALL), DONE),
    text("queued first", SSE, *_stream(OPENED, QUEUED, *ALL[1:])),
    text("unknown events", SSE, *_stream(OPENED, _event("response.news", x=1), *ALL[1:])),
    text("junk between", SSE, *_stream(*ALL)[:4], b"data: {half\n\n", *_stream(*ALL)[4:]),
    calls(
        "arguments whole",
        TWO,
        SSE,
        *_calls(_call(0, "weather", WRITTEN), _call(1, "clock", WRITTEN_CITY)),
    ),
    calls("no arguments", BARE, SSE, *_calls(_call(0, "clock", "")), stays=True),
    fault("error in a 200", JSON, answers.dump({"error": FAULT})),
    fault("failed in a 200", JSON, answers.dump(FAILED)),
    fault("failed at once", SSE, *_stream(OPENED, _event("response.failed", response=FAILED))),
    fault("error at once", SSE, *_stream(OPENED, _event("error", **FAULT, param=None))),
    fault("a page", "text/html", b"<html><body>Please log in</body></html>"),
    fault("nothing", SSE, b""),
    broken(
        "error in mid-stream",
        SSE,
        *_stream(OPENED, *ADDED, *DELTAS, _event("error", **FAULT, param=None)),
    ),
    broken("no terminal event", SSE, *_stream(*ALL[:-1])),
]
