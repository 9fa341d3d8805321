"""Odd answers of servers that call themselves compatible with OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.answers import DONE
from tests.fakes.odd.oddity import (
    BARE,
    BOOM,
    CITY,
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

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "odd"}


def _chunk(delta: Json | None = None, finish: object = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish, **more}
    return answers.frame({**HEAD, "choices": [choice]})


def _message(content: str) -> Json:
    return {"role": "assistant", "content": content}


def _call(written: object, name: str | None = None, **more: object) -> bytes:
    """A fragment of a tool call, without id and index unless they are given."""
    function = {"arguments": written} if name is None else {"name": name, "arguments": written}
    return _chunk({"tool_calls": [{"type": "function", "function": function, **more}]})


def _whole(finish: object = "stop") -> bytes:
    choice = {"index": 0, "message": _message(TEXT), "finish_reason": finish}
    return answers.dump({**HEAD, "object": "chat.completion", "choices": [choice]})


HELLO = _chunk({"role": "assistant", "content": ""})
SAID = [HELLO, *[_chunk({"content": half}) for half in HALVES]]
STOP, TOOLS = _chunk(finish="stop"), _chunk(finish="tool_calls")
STREAM = [*SAID, STOP, DONE]
FAULT = answers.frame(answers.error(BOOM))
A, B = {"id": "call_a"}, {"id": "call_b"}

ODDITIES: Sequence[Odd] = [
    text("always whole", JSON, _whole()),
    text("whole, called a stream", SSE, _whole()),
    text("whole, of an odd type", "text/plain", _whole()),
    text("whole, its own finish", JSON, _whole("eos_token")),
    text("always a stream", SSE, *STREAM),
    text("a stream of an odd type", "application/octet-stream", *STREAM),
    text("a stream, called JSON", "application/json; charset=utf-8", *STREAM),
    text(
        "message for delta",
        SSE,
        *[_chunk(message=_message(half)) for half in HALVES],
        STOP,
        DONE,
    ),
    text(
        "message again at the end", SSE, *SAID, _chunk(None, "stop", message=_message(TEXT)), DONE
    ),
    text(
        "chunks without choices",
        SSE,
        answers.frame({"id": "chatcmpl-1"}),
        *SAID[:2],
        answers.frame(HEAD),
        answers.frame({**HEAD, "choices": None}),
        *SAID[2:],
        answers.frame({**HEAD, "choices": []}),
        STOP,
        DONE,
    ),
    text("choices without index", SSE, *[each.replace(b'"index": 0, ', b"") for each in STREAM]),
    text("junk between", SSE, *SAID, b"data: {half\n\n", b": ping\n\n", STOP, DONE),
    text(
        "no space, CRLF",
        SSE,
        *[each.replace(b"data: ", b"data:").replace(b"\n", b"\r\n") for each in STREAM],
    ),
    text("its own finish", SSE, *SAID, _chunk(finish="eos_token"), DONE),
    text("finish in capitals", SSE, *SAID, _chunk(finish="STOP"), DONE),
    text("finish that is true", SSE, *SAID, _chunk(finish=True), DONE),
    text("text in the finish", SSE, *SAID[:2], _chunk({"content": HALVES[1]}, "stop"), DONE),
    text("no end marker", SSE, *SAID, STOP),
    text(
        "empty lists of calls",
        SSE,
        HELLO,
        _chunk({"content": HALVES[0], "tool_calls": []}),
        _chunk({"content": HALVES[1], "tool_calls": None}),
        STOP,
        DONE,
    ),
    calls("arguments whole", ONE, SSE, _call(WRITTEN, "weather", index=0, **A), TOOLS, DONE),
    calls(
        "arguments cumulative",
        ONE,
        SSE,
        _call("", "weather", index=0, **A),
        *[_call(WRITTEN[:size], index=0) for size in (5, 12, 20, len(WRITTEN))],
        TOOLS,
        DONE,
    ),
    calls(
        "arguments interleaved",
        TWO,
        SSE,
        _call("", "weather", index=0, **A),
        _call("", "clock", index=1, **B),
        _call(WRITTEN[:9], index=0),
        _call(WRITTEN_CITY[:4], index=1),
        _call(WRITTEN[9:], index=0),
        _call(WRITTEN_CITY[4:], index=1),
        TOOLS,
        DONE,
    ),
    calls(
        "calls without index",
        TWO,
        SSE,
        _call(WRITTEN[:9], "weather", **A),
        _call(WRITTEN[9:]),
        _call(WRITTEN_CITY[:4], "clock", **B),
        _call(WRITTEN_CITY[4:]),
        TOOLS,
        DONE,
    ),
    calls(
        "always the first index",
        TWO,
        SSE,
        _call(WRITTEN, "weather", index=0, **A),
        _call(WRITTEN_CITY, "clock", index=0, **B),
        TOOLS,
        DONE,
    ),
    calls(
        "id and name every time",
        ONE,
        SSE,
        _call(WRITTEN[:9], "weather", index=0, **A),
        _call(WRITTEN[9:], "weather", index=0, **A),
        TOOLS,
        DONE,
    ),
    calls(
        "calls without ids",
        TWO,
        SSE,
        _call(WRITTEN, "weather", index=0),
        _call(WRITTEN_CITY, "clock", index=1),
        TOOLS,
        DONE,
        stays=True,
    ),
    calls("arguments as object", ONE, SSE, _call(PLACE, "weather", index=0, **A), TOOLS, DONE),
    calls("no arguments", BARE, SSE, _call("", "clock", index=0, **B), TOOLS, DONE, stays=True),
    calls("finish forgets calls", ONE, SSE, _call(WRITTEN, "weather", index=0, **A), STOP, DONE),
    calls(
        "object cut over chunks",
        (("weather", PLACE), ("clock", CITY)),
        SSE,
        *[
            _call(letter, None if place else "weather", index=0, **({} if place else A))
            for place, letter in enumerate(WRITTEN)
        ],
        _call(WRITTEN_CITY, "clock", index=1, **B),
        TOOLS,
        DONE,
    ),
    fault("error in a 200", JSON, answers.dump(answers.error(BOOM))),
    fault("error at once", SSE, HELLO, FAULT),
    fault("a page", "text/html", b"<html><body>Please log in</body></html>"),
    fault("nothing", SSE, b""),
    fault("a choice of nothing", JSON, answers.dump({**HEAD, "choices": [{"index": 0}]})),
    broken("error in mid-stream", SSE, *SAID, FAULT, DONE),
    broken("a finish of error", SSE, *SAID, _chunk(finish="error"), DONE),
    broken("no finish", SSE, *SAID, DONE),
]
