"""OpenAI's responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.fakes import answers
from tests.fakes.answers import UsageInStream
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech
from tests.fakes.voices import openai
from tests.fakes.voices.anthropic import event
from tests.fakes.voices.voice import Json, Voice

POLICY = answers.error("the prompt was filtered", "invalid_prompt", openai.INVALID)
FAULT: Json = {"code": "server_error", "message": "the engine died"}


def _response(seen: Seen, status: str, **more: object) -> Json:
    return {
        "id": f"resp_{seen.backend}",
        "object": "response",
        "created_at": answers.CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": seen.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        **more,
    }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(seen: Seen, status: str, content: Sequence[Json]) -> Json:
    id = f"msg_{seen.backend}"
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": content}


def _whole(seen: Seen, said: Sequence[str]) -> Json:
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(said),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7 + len(said),
    }
    item = _item(seen, "completed", [_part("".join(said))])
    return _response(seen, "completed", output=[item], usage=usage)


def _events(seen: Seen, said: Sequence[str]) -> Iterator[Json]:
    begun = _response(seen, "in_progress")
    item: Json = {"output_index": 0}
    part: Json = {**item, "item_id": f"msg_{seen.backend}", "content_index": 0}
    text = "".join(said)
    done = _item(seen, "completed", [_part(text)])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    opened = _item(seen, "in_progress", [])
    yield {"type": "response.output_item.added", **item, "item": opened}
    yield {"type": "response.content_part.added", **part, "part": _part("")}
    for word in said:
        yield {"type": "response.output_text.delta", **part, "delta": word, "logprobs": []}
    yield {"type": "response.output_text.done", **part, "text": text, "logprobs": []}
    yield {"type": "response.content_part.done", **part, "part": _part(text)}
    yield {"type": "response.output_item.done", **item, "item": done}
    yield {"type": "response.completed", "response": _whole(seen, said)}


def _speech(seen: Seen, said: Sequence[str], usage: UsageInStream) -> Speech:
    """Its usage is part of the last event, which is the end; nothing marks it once more."""
    numbered = enumerate(_events(seen, said))
    frames = [event({**each, "sequence_number": number}) for number, each in numbered]
    return Speech(frames[:4], frames[4:-4], frames[-4:])


def _failed() -> bytes:
    told: Json = {
        "id": "resp_p",
        "object": "response",
        "created_at": answers.CREATED,
        "status": "failed",
        "error": FAULT,
        "model": "model-p",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    return event({"type": "response.failed", "sequence_number": 44, "response": told})


VOICE = Voice(
    name="openai-responses",
    prefix="/v1",
    path="/responses",
    stream_type=openai.SSE,
    speech=_speech,
    whole=_whole,
    error=openai.VOICE.error,
    refusals={**openai.REFUSALS, "policy": (400, POLICY)},
    failures={
        "error": event({"type": "error", **FAULT, "param": None, "sequence_number": 44}),
        "failed": _failed(),
    },
    marker=answers.DONE,  # of gateways that know no better
    ping=openai.PING,
    not_json=openai.NOT_JSON,
    no_object=openai.NO_OBJECT,
    unending=openai.UNENDING,
)
