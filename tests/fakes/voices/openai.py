"""OpenAI's chat completions; and its completions and embeddings, for which nobody else speaks.

Sources: https://platform.openai.com/docs/api-reference/chat, …/guides/error-codes
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.answers import UsageInStream, error, frame
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech
from tests.fakes.voices.voice import Json, Voice

INVALID = "invalid_request_error"
ENGINE_DIED = error("the engine died", "engine_error")
NOT_JSON, NO_OBJECT = b"data: {not json\n\n", b"data: 17\n\n"
PING = b": ping\n\n"
UNENDING = b'data: {"id": "'
SSE = "text/event-stream; charset=utf-8"
REFUSALS: dict[str, tuple[int, Json]] = {
    "too long": (
        400,
        error("maximum context length is 1000 tokens", "context_length_exceeded", INVALID),
    ),
    "policy": (400, error("the prompt was filtered", "content_filter", INVALID)),
    "unknown model": (404, error("no such model", "model_not_found", INVALID)),
    "prefill": (400, error("an assistant prefill is not supported", None, INVALID)),
}
INTERRUPTED = frame(
    {
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        **error("the engine died", "502"),
    }
)


def _speech(seen: Seen, said: Sequence[str], usage: UsageInStream) -> Speech:
    if seen.path.endswith("/chat/completions"):
        return answers.chat_speech(seen, said, usage)
    return answers.completion_speech(seen, said)


def _whole(seen: Seen, said: Sequence[str]) -> Json:
    if seen.path.endswith("/chat/completions"):
        return answers.chat(seen, said)
    if seen.path.endswith("/completions"):
        return answers.completion(seen, said)
    if seen.path.endswith("/embeddings"):
        return answers.embeddings(seen)
    return {"relayed": seen.target, "bytes": len(seen.body), "by": seen.backend}


def _error(status: int, message: str, code: str | None, kind: str) -> Json:
    return error(message, code, kind)


VOICE = Voice(
    name="openai",
    prefix="/v1",
    path="/chat/completions",
    stream_type=SSE,
    speech=_speech,
    whole=_whole,
    error=_error,
    refusals=REFUSALS,
    failures={"error": frame(ENGINE_DIED), "finish": INTERRUPTED},
    marker=answers.DONE,
    ping=PING,
    not_json=NOT_JSON,
    no_object=NO_OBJECT,
    unending=UNENDING,
)
