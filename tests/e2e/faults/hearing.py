"""What a client of each dialect hears in an answer, read strictly and without the sidecar's code.

A reader asserts what the vendor's grammar promises of every stream, whole or broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.client import Got
from tests.e2e.crossing import ANTHROPIC, OLLAMA, OPENAI, RESPONSES

Json = dict[str, Any]
STREAM_TYPES = {OLLAMA: "application/x-ndjson"}
SSE = "text/event-stream"
FINISHED = {"stop": "stop", "end_turn": "stop", "completed": "stop"}
ERROR_TYPES = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
}


@dataclass
class Heard:
    """One answer. `usage` is input and output tokens; `ended`: it bears the mark of a clean end."""

    texts: list[str] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int, int] | None = None
    models: set[str] = field(default_factory=set)
    error: Json | None = None  # its fields; a text alone is its `message`
    error_is_last: bool = False
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def message(self) -> str:
        return str((self.error or {}).get("message", ""))

    def fail(self, error: object) -> None:
        assert isinstance(error, dict)
        assert isinstance(error["message"], str)
        self.error, self.error_is_last = error, True

    def end(self, reason: object) -> None:
        if reason:
            self.finish = FINISHED.get(str(reason), str(reason))

    def count(self, usage: object, names: tuple[str, str]) -> None:
        if isinstance(usage, dict):
            self.usage = usage[names[0]], usage[names[1]]


def is_stream(dialect: str, got: Got) -> bool:
    """Whether the answer is a stream by its content type."""
    return got.headers.get("content-type", "").startswith(STREAM_TYPES.get(dialect, SSE))


def hear(dialect: str, got: Got) -> Heard:
    """All that an answer says. Raises AssertionError and ValueError for what no client can read."""
    heard = Heard()
    if not is_stream(dialect, got):
        body = json.loads(got.raw)
        assert isinstance(body, dict)
        if got.status == 200:
            _WHOLE[dialect](body, heard)
            heard.ended = True
        else:
            heard.fail(_ERRORS[dialect](body))
        return heard
    assert got.status == 200
    told = _lines(got.raw) if dialect == OLLAMA else _events(got.raw)
    for name, event in told:
        assert not heard.ended, f"{event} behind the end"
        assert not heard.error_is_last, f"{event} behind an error"
        _STREAMS[dialect](name, event, heard)
    return heard


def _events(raw: bytes) -> Iterator[tuple[str, Any]]:
    """Server-sent events with their names; None for the data `[DONE]`."""
    text = raw.decode().replace("\r\n", "\n")
    assert not text or text.endswith("\n\n"), "half an event at the end"
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        name = "".join(line[6:].strip() for line in lines if line.startswith("event:"))
        data = "\n".join(line[5:].strip() for line in lines if line.startswith("data:"))
        assert data or not name, "an event without data: clients take it for JSON"
        if data:
            yield name, None if data == "[DONE]" else json.loads(data)


def _lines(raw: bytes) -> Iterator[tuple[str, Any]]:
    assert not raw or raw.endswith(b"\n"), "half a line at the end"
    for line in raw.split(b"\n")[:-1]:
        yield "", json.loads(line)  # a blank line is none that a client can read


# --- OpenAI chat ---------------------------------------------------------------------------------


def _openai_error(body: Json) -> Json:
    error: Json = body["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


def _openai_parts(body: Json, heard: Heard, name: str) -> None:
    heard.models.add(body["model"])
    heard.count(body.get("usage"), ("prompt_tokens", "completion_tokens"))
    for choice in body["choices"]:
        heard.texts.append(choice[name].get("content") or "")
        heard.end(choice["finish_reason"])


def _openai_whole(body: Json, heard: Heard) -> None:
    assert body["object"] == "chat.completion"
    _openai_parts(body, heard, "message")


def _openai_event(name: str, event: Any, heard: Heard) -> None:
    if event is None:
        heard.ended = True
    elif "error" in event:
        heard.fail(_openai_error(event))
    else:
        assert event["object"] == "chat.completion.chunk"
        _openai_parts(event, heard, "delta")


# --- OpenAI responses ----------------------------------------------------------------------------


def _response(response: Json, heard: Heard) -> None:
    assert response["object"] == "response"
    heard.models.add(response["model"])
    heard.count(response.get("usage"), ("input_tokens", "output_tokens"))


def _said(response: Json) -> str:
    parts = [part for item in response["output"] for part in item.get("content", ())]
    return "".join(part["text"] for part in parts)


def _responses_whole(body: Json, heard: Heard) -> None:
    _response(body, heard)
    assert body["error"] is None
    heard.texts.append(_said(body))
    heard.end(body["status"])


def _responses_event(name: str, event: Any, heard: Heard) -> None:
    if event is None:
        return  # some servers send [DONE]; it says nothing here
    kind = event["type"]
    assert name in ("", kind)
    assert isinstance(event["sequence_number"], int)
    match kind:
        case "response.created" | "response.in_progress":
            _response(event["response"], heard)
        case "response.output_text.delta":
            heard.texts.append(event["delta"])
        case "response.completed" | "response.incomplete":
            _response(event["response"], heard)
            heard.end(event["response"]["status"])
            assert _said(event["response"]) == heard.text
            heard.ended = True
        case "response.failed":
            assert event["response"]["status"] == "failed"
            heard.fail(event["response"]["error"])
        case "error":
            heard.fail(event)
        case _:
            pass


# --- Anthropic -----------------------------------------------------------------------------------


def _anthropic_error(body: Json) -> Json:
    assert body["type"] == "error"
    error: Json = body["error"]
    assert error["type"] in ERROR_TYPES
    return error


def _anthropic_whole(body: Json, heard: Heard) -> None:
    assert (body["type"], body["role"]) == ("message", "assistant")
    heard.models.add(body["model"])
    heard.texts += [block["text"] for block in body["content"]]
    heard.count(body["usage"], ("input_tokens", "output_tokens"))
    heard.end(body["stop_reason"])


def _anthropic_event(name: str, event: Any, heard: Heard) -> None:
    kind = event["type"]
    assert name == kind, "the vendor's clients go by the name"
    assert heard.models or kind in ("message_start", "ping", "error")
    match kind:
        case "message_start":
            assert not heard.models, "two beginnings"
            heard.models.add(event["message"]["model"])
            heard.count(event["message"]["usage"], ("input_tokens", "output_tokens"))
        case "content_block_delta":
            heard.texts.append(event["delta"]["text"])
        case "message_delta":
            told = event["usage"]
            before = heard.usage or (0, 0)
            heard.usage = told.get("input_tokens") or before[0], told["output_tokens"]
            heard.end(event["delta"]["stop_reason"])
        case "message_stop":
            heard.ended = True
        case "error":
            heard.fail(_anthropic_error(event))
        case _:
            pass


# --- Ollama --------------------------------------------------------------------------------------


def _ollama_error(body: Json) -> Json:
    assert isinstance(body["error"], str)
    return {**body, "message": body["error"]}


def _ollama_part(name: str, body: Any, heard: Heard) -> None:
    if "error" in body:
        heard.fail(_ollama_error(body))
        return
    assert body["message"]["role"] == "assistant"
    heard.models.add(body["model"])
    heard.texts.append(body["message"]["content"])
    if body["done"]:
        heard.ended = True
        heard.end(body["done_reason"])
        heard.count(body, ("prompt_eval_count", "eval_count"))


def _ollama_whole(body: Json, heard: Heard) -> None:
    assert body["done"] is True
    _ollama_part("", body, heard)


_ERRORS: Mapping[str, Callable[[Json], Json]] = {
    OPENAI: _openai_error,
    RESPONSES: _openai_error,
    ANTHROPIC: _anthropic_error,
    OLLAMA: _ollama_error,
}
_WHOLE: Mapping[str, Callable[[Json, Heard], None]] = {
    OPENAI: _openai_whole,
    RESPONSES: _responses_whole,
    ANTHROPIC: _anthropic_whole,
    OLLAMA: _ollama_whole,
}
_STREAMS: Mapping[str, Callable[[str, Any, Heard], None]] = {
    OPENAI: _openai_event,
    RESPONSES: _responses_event,
    ANTHROPIC: _anthropic_event,
    OLLAMA: _ollama_part,
}
