"""Odd answers of servers that speak Ollama's API."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.odd.oddity import (
    BARE,
    BOOM,
    CITY,
    HALVES,
    JSON,
    LINES,
    ONE,
    PLACE,
    TEXT,
    TWO,
    WRITTEN,
    Json,
    Odd,
    broken,
    calls,
    fault,
    text,
)

HEAD = {"model": "odd", "created_at": "2026-11-20T22:00:00Z"}
COUNTS = {"prompt_eval_count": 1, "eval_count": 2}


def _line(content: str | None = "", **more: object) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return answers.dump({**HEAD, "message": message, "done": False}) + b"\n"


def _end(content: str | None = "", reason: str | None = "stop", **more: object) -> bytes:
    line = json.loads(_line(content, **more))
    return answers.dump({**line, "done": True, "done_reason": reason, **COUNTS}) + b"\n"


def _call(name: str, arguments: object, **more: object) -> Json:
    return {"function": {"name": name, "arguments": arguments}, **more}


WHOLE = _end(TEXT)
SAID = [_line(half) for half in HALVES]
STREAM = [*SAID, _end()]
WEATHER, CLOCK = _call("weather", PLACE, id="call_a"), _call("clock", CITY, id="call_b")
FAULT = answers.dump({"error": BOOM}) + b"\n"

ODDITIES: Sequence[Odd] = [
    text("always whole", JSON, WHOLE),
    text("whole, called a stream", LINES, WHOLE),
    text("whole, of an odd type", "text/plain", WHOLE),
    text("whole, its own reason", JSON, _end(TEXT, "eos")),
    text("always a stream", LINES, *STREAM),
    # lines begin like a whole answer: only their type tells them from one
    text("a stream of an odd type", "text/plain", *STREAM, fails_whole=True),
    text("a stream, called JSON", "application/json; charset=utf-8", *STREAM, fails_whole=True),
    text("blank lines, junk", LINES, SAID[0], b"\n", b"{half\n", *STREAM[1:]),
    text("no last newline", LINES, *SAID, _end().rstrip(b"\n")),
    text("content of null", LINES, _line(None), *SAID, _end(None)),
    text("its own reason", LINES, *SAID, _end(reason="eos")),
    text("no reason", LINES, *SAID, _end(reason=None)),
    text("text in the last line", LINES, SAID[0], _end(HALVES[1])),
    calls("calls together", TWO, LINES, _line(tool_calls=[WEATHER, CLOCK]), _end()),
    calls(
        "a line for each call",
        TWO,
        LINES,
        _line(tool_calls=[WEATHER]),
        _line(tool_calls=[CLOCK]),
        _end(),
    ),
    calls(
        "calls without ids",
        TWO,
        LINES,
        _line(tool_calls=[_call("weather", PLACE), _call("clock", CITY)]),
        _end(),
    ),
    calls("arguments as text", ONE, LINES, _line(tool_calls=[_call("weather", WRITTEN)]), _end()),
    calls("arguments of null", BARE, LINES, _line(tool_calls=[_call("clock", None)]), _end()),
    calls("calls in the last line", ONE, LINES, _line(), _end(tool_calls=[WEATHER])),
    fault("error in a 200", JSON, FAULT),
    fault("error at once", LINES, _line(), FAULT),
    fault("a page", "text/html", b"<html><body>Please log in</body></html>"),
    fault("nothing", LINES, b""),
    broken("error in mid-stream", LINES, *SAID, FAULT),
    broken("never done", LINES, *SAID),
]
