"""Ollama's chat: a line for each token, and a last one that says all at once.

Sources: https://github.com/ollama/ollama/blob/main/docs/api.md, …/docs/api/errors.mdx
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes.answers import UsageInStream, dump
from tests.fakes.seen import Seen
from tests.fakes.speech import Speech
from tests.fakes.voices.voice import Json, Voice


def _line(value: Json) -> bytes:
    return dump(value) + b"\n"


def _part(seen: Seen, content: str) -> Json:
    return {
        "model": seen.model,
        "created_at": "2026-11-20T22:00:00.123456789Z",
        "message": {"role": "assistant", "content": content},
    }


def _counts(output: int) -> Json:
    return {
        "done": True,
        "done_reason": "stop",
        "total_duration": 5_000_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": 7,
        "prompt_eval_duration": 300_000_000,
        "eval_count": output,
        "eval_duration": 4_000_000_000,
    }


def _whole(seen: Seen, said: Sequence[str]) -> Json:
    return {**_part(seen, "".join(said)), **_counts(len(said))}


def _speech(seen: Seen, said: Sequence[str], usage: UsageInStream) -> Speech:
    """Its last line is finish, usage and end; an empty line of content greets, as some servers'."""
    return Speech(
        greeting=[_line({**_part(seen, ""), "done": False})],
        tokens=[_line({**_part(seen, word), "done": False}) for word in said],
        closing=[_line({**_part(seen, ""), **_counts(len(said))})],
    )


def _error(status: int, message: str, code: str | None = None, kind: str = "") -> Json:
    return {"error": message}


TOO_LONG = "the input length exceeds the context length of 1000 tokens"
VOICE = Voice(
    name="ollama",
    prefix="",
    path="/api/chat",
    stream_type="application/x-ndjson",
    speech=_speech,
    whole=_whole,
    error=_error,
    refusals={
        "too long": (400, _error(400, TOO_LONG)),
        "unknown model": (404, _error(404, 'no such model: model "model-p" not found')),
        "prefill": (400, _error(400, "an assistant prefill is not supported")),
    },
    failures={"error": _line({"error": "the engine died"})},
    marker=b"",
    ping=_line({"message": {"role": "assistant", "content": ""}, "done": False}),
    not_json=b"{not json\n",
    no_object=b"17\n",
    unending=b'{"model": "',
)
