"""What the API of OpenAI's responses answers: whole, the sequence of events, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from tests.fakes import answers
from tests.fakes.strict import model, openai_chat_answers
from tests.fakes.strict.backend import event
from tests.fakes.strict.model import Said
from tests.fakes.strict.shapes import Json, items, part

USAGE: Json = {
    "input_tokens": model.INPUT,
    "input_tokens_details": {
        "cached_tokens": model.CACHED,
        "cache_write_tokens": model.WRITTEN,
    },
    "output_tokens": model.OUTPUT,
    "output_tokens_details": {"reasoning_tokens": model.REASONED},
    "total_tokens": model.INPUT + model.OUTPUT,
}
error = openai_chat_answers.error


def _output(said: Said, body: Json) -> list[Json]:
    made: list[Json] = []
    if said.thinking is not None:
        made.append(_reasoning(said.thinking, body))
    if said.text:
        words = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        made.append({**_done("message", "msg_Strict"), "role": "assistant", "content": [words]})
    for call in said.calls:
        written = json.dumps(call.arguments, ensure_ascii=False)
        told = {"call_id": f"call_{call.id}", "name": call.name, "arguments": written}
        made.append({**_done("function_call", f"fc_{call.id}"), **told})
    return made


def _done(kind: str, id: str) -> Json:
    return {"type": kind, "id": id, "status": "completed"}


def _reasoning(thinking: str, body: Json) -> Json:
    """The summary comes only when it is asked for, and so does what proves the thinking."""
    asked_summary = part(body.get("reasoning")).get("summary") is not None
    included = body.get("include")
    item: dict[str, object] = {"type": "reasoning", "id": "rs_Strict"}
    item["summary"] = [{"type": "summary_text", "text": thinking}] if asked_summary else []
    if isinstance(included, list) and "reasoning.encrypted_content" in included:
        item["encrypted_content"] = model.signature("openai-responses", thinking)
    return item


def whole(said: Said, body: Json) -> Json:
    state: dict[str, object] = {"status": "completed"}
    if said.is_short:
        state = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return _response(said, body, **state, output=_output(said, body), usage=USAGE)


def _response(said: Said, body: Json, **state: object) -> Json:
    return {
        "id": "resp_Strict",
        "object": "response",
        "created_at": answers.CREATED,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": said.model,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        **state,
    }


def frames(said: Said, body: Json) -> Sequence[bytes]:
    return [
        event({**each, "sequence_number": number})
        for number, each in enumerate(_events(said, body))
    ]


def _events(said: Said, body: Json) -> Iterator[Json]:
    begun = _response(said, body, status="in_progress", output=[])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(_output(said, body)):
        place = {"output_index": index}
        yield {"type": "response.output_item.added", **place, "item": _opened(item)}
        for each in _within(item):
            yield {**each, **place, "item_id": item["id"]}
        yield {"type": "response.output_item.done", **place, "item": item}
    told = whole(said, body)
    yield {"type": f"response.{told['status']}", "response": told}


def _opened(item: Json) -> Json:
    """An item before anything is in it."""
    match item["type"]:
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case "reasoning":
            return {**item, "summary": []}
        case _:
            return {**item, "status": "in_progress", "arguments": ""}


def _within(item: Json) -> Iterator[Json]:
    match item["type"]:
        case "message":
            yield from _message(items(item["content"])[0])
        case "reasoning":
            for index, part_ in enumerate(items(item["summary"])):
                for each in _summary(part_):
                    yield {**each, "summary_index": index}
        case _:
            written = str(item["arguments"])
            name = "response.function_call_arguments"
            for piece in model.halves(written):
                yield {"type": f"{name}.delta", "delta": piece}
            yield {"type": f"{name}.done", "name": item["name"], "arguments": written}


def _message(part_: Json) -> Iterator[Json]:
    place = {"content_index": 0}
    told = str(part_["text"])
    yield {"type": "response.content_part.added", **place, "part": {**part_, "text": ""}}
    for piece in model.pieces(told):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": told, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part_}


def _summary(part_: Json) -> Iterator[Json]:
    told = str(part_["text"])
    yield {"type": "response.reasoning_summary_part.added", "part": {**part_, "text": ""}}
    for piece in model.pieces(told):
        yield {"type": "response.reasoning_summary_text.delta", "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", "text": told}
    yield {"type": "response.reasoning_summary_part.done", "part": part_}


def failure(after: int) -> bytes:
    fault = {"code": "server_error", "message": "The server had an error.", "param": None}
    return event({"type": "error", **fault, "sequence_number": after})
