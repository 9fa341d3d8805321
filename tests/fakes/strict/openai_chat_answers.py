"""What the API of OpenAI's chat completions answers: whole, streams, errors, the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.fakes import answers
from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.model import Said
from tests.fakes.strict.shapes import Json, part

USAGE: Json = {
    "prompt_tokens": model.INPUT,
    "completion_tokens": model.OUTPUT,
    "total_tokens": model.INPUT + model.OUTPUT,
    "prompt_tokens_details": {
        "cached_tokens": model.CACHED,
        "cache_write_tokens": model.WRITTEN,
        "audio_tokens": 0,
    },
    "completion_tokens_details": {"reasoning_tokens": model.REASONED, "audio_tokens": 0},
}
TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_exceeded"}
CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def _calls(said: Said) -> list[dict[str, object]]:
    return [
        {
            "id": f"call_{each.id}",
            "type": "function",
            "function": {
                "name": each.name,
                "arguments": json.dumps(each.arguments, ensure_ascii=False),
            },
        }
        for each in said.calls
    ]


def _finish(said: Said) -> str:
    return "length" if said.is_short else "tool_calls" if said.calls else "stop"


def whole(said: Said, body: Json) -> Json:
    message: dict[str, object] = {
        "role": "assistant",
        "content": said.text or None,
        "refusal": None,
        "annotations": [],
    }
    if said.thinking is not None:
        message["reasoning_content"] = said.thinking
    if said.calls:
        message["tool_calls"] = _calls(said)
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": _finish(said),
        "stop_reason": said.matched,
    }
    return {
        "id": "chatcmpl-Strict",
        "object": "chat.completion",
        "created": answers.CREATED,
        "model": said.model,
        "choices": [choice],
        "usage": USAGE,
        "system_fingerprint": "fp_strict",
    }


def frames(said: Said, body: Json) -> Sequence[bytes]:
    asks_usage = part(body.get("stream_options")).get("include_usage") is True
    head: dict[str, object] = {
        "id": "chatcmpl-Strict",
        "object": "chat.completion.chunk",
        "created": answers.CREATED,
        "model": said.model,
        "system_fingerprint": "fp_strict",
    }
    if asks_usage:
        head["usage"] = None
    told = [answers.frame({**head, "choices": [choice]}) for choice in _choices(said)]
    if asks_usage:
        told.append(answers.frame({**head, "choices": [], "usage": USAGE}))
    return [*told, answers.DONE]


def _choices(said: Said) -> Iterator[Json]:
    for delta in _deltas(said):
        yield {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    end = {"finish_reason": _finish(said), "stop_reason": said.matched}
    yield {"index": 0, "delta": {}, "logprobs": None, **end}


def _deltas(said: Said) -> Iterator[Json]:
    yield {"role": "assistant", "content": None if said.calls else "", "refusal": None}
    for piece in model.pieces(said.thinking) if said.thinking else ():
        yield {"reasoning_content": piece}
    for piece in model.pieces(said.text) if said.text else ():
        yield {"content": piece}
    for index, call in enumerate(_calls(said)):
        function = part(call["function"])
        opened = {**call, "index": index, "function": {**function, "arguments": ""}}
        yield {"tool_calls": [opened]}
        for piece in model.halves(str(function["arguments"])):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def error(status: int, message: str) -> Json:
    return answers.error(message, CODES.get(status), TYPES.get(status, "server_error"))


def failure(after: int) -> bytes:
    return answers.frame(answers.error("The server had an error while processing your request."))


def models(seen: Seen) -> Json:
    return answers.models(("gpt-5.1:text", "gpt-5.1:thinking"))
