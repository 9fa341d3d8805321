"""What Ollama answers: whole, streams of lines, errors, what it knows of its models."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fakes import answers
from tests.fakes.seen import Seen
from tests.fakes.strict import model
from tests.fakes.strict.model import Said
from tests.fakes.strict.shapes import Json

END: dict[str, object] = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 5_000_000_000,
    "load_duration": 1_000_000,
    "prompt_eval_count": model.INPUT,
    "prompt_eval_duration": 300_000_000,
    "eval_count": model.OUTPUT,
    "eval_duration": 4_000_000_000,
}


def _calls(said: Said) -> list[Json]:
    return [
        {
            "id": f"call_{call.id}",
            "function": {"index": index, "name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(said.calls)
    ]


def _part(said: Said, **message: object) -> dict[str, object]:
    return {
        "model": said.model,
        "created_at": "2026-11-20T22:00:00.123456789Z",
        "message": {"role": "assistant", "content": "", **message},
    }


def whole(said: Said, body: Json) -> Json:
    message: dict[str, object] = {"content": said.text}
    if said.thinking is not None:
        message["thinking"] = said.thinking
    if said.calls:
        message["tool_calls"] = _calls(said)
    return {**_part(said, **message), **_end(said)}


def _end(said: Said) -> Json:
    return {**END, "done_reason": "length" if said.is_short else "stop"}


def frames(said: Said, body: Json) -> Sequence[bytes]:
    thoughts = model.pieces(said.thinking) if said.thinking else ()
    texts = model.pieces(said.text) if said.text else ()
    parts = [
        *[_part(said, thinking=piece) for piece in thoughts],
        *[_part(said, content=piece) for piece in texts],
        *[_part(said, tool_calls=[call]) for call in _calls(said)],
    ]
    lines = [*[{**each, "done": False} for each in parts], {**_part(said), **_end(said)}]
    return [answers.dump(line) + b"\n" for line in lines]


def error(status: int, message: str) -> Json:
    return {"error": message}


def failure(after: int) -> bytes:
    return answers.dump({"error": "an error was encountered while running the model"}) + b"\n"


def show(seen: Seen) -> Json:
    thinks = ["thinking"] if model.can_think(seen.model) else []
    return {
        "details": {"family": "strict", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"},
        "model_info": {"general.architecture": "strict", "strict.context_length": 32768},
        "capabilities": ["completion", "tools", "vision", *thinks],
    }


def tags(seen: Seen) -> Json:
    details = {"format": "gguf", "family": "strict", "parameter_size": "8.0B"}
    return {
        "models": [
            {"name": name, "model": name, "size": 1, "digest": "0", "details": details}
            for name in ("qwen3:text", "qwen3:thinking")
        ]
    }


def version(seen: Seen) -> Json:
    return {"version": "0.20.0"}
