"""What Anthropic's API answers: messages, streams, errors, the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.backend import event
from tests.fakes.strict.model import Said
from tests.fakes.strict.shapes import Json, part

INPUT: Json = {
    "input_tokens": model.INPUT - model.CACHED - model.WRITTEN,  # without what the caches did
    "cache_read_input_tokens": model.CACHED,
    "cache_creation_input_tokens": model.WRITTEN,
    "cache_creation": {"ephemeral_5m_input_tokens": model.WRITTEN, "ephemeral_1h_input_tokens": 0},
}
OUTPUT: Json = {
    "output_tokens": model.OUTPUT,
    "output_tokens_details": {"thinking_tokens": model.REASONED},
}
MODELS = ("claude-opus-4-8:text", "claude-opus-4-8:thinking")
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _blocks(said: Said, body: Json) -> list[Json]:
    """What the model says. Its thinking is told only when that is asked for."""
    made: list[Json] = []
    if said.thinking is not None:
        is_told = part(body["thinking"]).get("display") == "summarized"
        thinking = said.thinking if is_told else ""
        proof = model.signature("anthropic", thinking)
        made.append({"type": "thinking", "thinking": thinking, "signature": proof})
    if said.text:
        made.append({"type": "text", "text": said.text})
    made += [
        {"type": "tool_use", "id": f"toolu_{each.id}", "name": each.name, "input": each.arguments}
        for each in said.calls
    ]
    return made


def _end(said: Said) -> Json:
    reason = "tool_use" if said.calls else "stop_sequence" if said.matched else "end_turn"
    if said.is_short:
        reason = "max_tokens"
    return {"stop_reason": reason, "stop_sequence": said.matched}


def whole(said: Said, body: Json) -> Json:
    return {
        "id": "msg_01Strict",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": _blocks(said, body),
        **_end(said),
        "usage": {**INPUT, **OUTPUT, "service_tier": "standard"},
    }


def frames(said: Said, body: Json) -> Sequence[bytes]:
    return [event(each) for each in _events(said, body)]


def _events(said: Said, body: Json) -> Iterator[Json]:
    start = {
        **whole(said, body),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**INPUT, "output_tokens": 1, "service_tier": "standard"},
    }
    yield {"type": "message_start", "message": start}
    for index, block in enumerate(_blocks(said, body)):
        yield {"type": "content_block_start", "index": index, "content_block": _opened(block)}
        if index == 0:
            yield {"type": "ping"}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": _end(said), "usage": {**INPUT, **OUTPUT}}
    yield {"type": "message_stop"}


def _opened(block: Json) -> Json:
    """A block before anything is in it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case _:
            return {**block, "input": {}}


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "text":
            for piece in model.pieces(str(block["text"])):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in model.pieces(str(block["thinking"])):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            written = json.dumps(part(block["input"]), ensure_ascii=False)
            for piece in ("", *model.halves(written)):
                yield {"type": "input_json_delta", "partial_json": piece}


def error(status: int, message: str) -> Json:
    fault = {"type": TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": fault, "request_id": "req_01Strict"}


def failure(after: int) -> bytes:
    return event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})


def models(seen: Seen) -> Json:
    entries = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in MODELS
    ]
    return {"data": entries, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
