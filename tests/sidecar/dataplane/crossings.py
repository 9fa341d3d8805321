"""Requests and answers in every dialect, and what a crossing needs to know beside them."""

from typing import Any

from sidecar.config.snapshot import Backend
from sidecar.dataplane.crossing import ChatCrossing
from sidecar.dataplane.intake import Inbound
from sidecar.dialects import DIALECTS
from sidecar.neutral.request import ChatRequest
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Dialect, Expectation, Operation, RequestFacts
from sidecar.wire.framing import frame_data, sse
from tests.sidecar.dataplane.script import inbound
from tests.sidecar.examples import backend

OPENAI, RESPONSES, ANTHROPIC, OLLAMA = DIALECTS
HI = [{"role": "user", "content": "Hi"}]
LINES_TYPE = {"content-type": "application/x-ndjson"}


def asks(dialect: Dialect = OPENAI, **changes: Any) -> Inbound:
    """A chat request for the model `m`."""
    paths: dict[str, tuple[str, dict[str, Any]]] = {
        "openai": ("/v1/chat/completions", {"messages": HI}),
        "openai-responses": ("/v1/responses", {"input": "Hi"}),
        "anthropic": ("/v1/messages", {"messages": HI, "max_tokens": 9}),
        "ollama": ("/api/chat", {"messages": HI}),
    }
    path, body = paths[dialect.name]
    raw = json.dumps({"model": "m"} | body | changes.pop("body", {}))
    return inbound(raw, dialect=dialect, path=path, **changes)


def there(dialect: Dialect, name: str = "home", **changes: Any) -> Backend:
    """A backend that speaks a dialect."""
    base = f"http://{name}.invalid{dialect.base_prefix}"
    return backend(name, dialect=dialect, base_url=base, **changes)


def context(operation: Operation = Operation.CHAT, *, stream: bool = False) -> AnswerContext:
    """Of a request that was estimated at 7 tokens."""
    return AnswerContext(
        facts=RequestFacts(operation, "m", stream=stream, wants_usage=True),
        request=ChatRequest(()),
        created=1_700_000_000,
        elapsed=lambda: 2.5,
        new_id=lambda: "new",
        estimate=7,
        model="asked",
    )


def crossing(
    backend: Dialect,
    client: Dialect,
    expects: Expectation | None = None,
    original: dict[str, str] | None = None,
    *,
    stream: bool = False,
) -> ChatCrossing:
    """The passage of an answer from one dialect to another."""
    return ChatCrossing(backend, client, context(stream=stream), expects, original or {})


def told(frames: bytes) -> list[Any]:
    """The JSON that a client reads in the frames of a stream, of either framing."""
    if not frames.startswith((b"data:", b"event:", b":")):
        return [json.loads(line) for line in frames.splitlines()]
    data = [frame_data(frame) for frame in frames.split(b"\n\n")]
    return [json.loads(one) for one in data if one and one != b"[DONE]"]


def words(frames: bytes) -> str:
    """The text in the chunks that a client of OpenAI's dialect reads."""
    choices = [choice for chunk in told(frames) for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


# --- Anthropic's ----------------------------------------------------------------------------------


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return sse(json.dumps({"type": kind, **fields}), kind)


def begins(**more: Any) -> bytes:
    """The first event of a stream."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "content": []}
    return event("message_start", message=message | more)


def block(index: int, **start: Any) -> bytes:
    """A block begins."""
    return event("content_block_start", index=index, content_block=start)


def delta(index: int, text: str) -> bytes:
    """More of a text."""
    return event("content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def stops(reason: str = "end_turn", **usage: int) -> bytes:
    """The reason of the end, and the usage, if any."""
    told_usage = {"usage": usage} if usage else {}
    return event("message_delta", delta={"stop_reason": reason}, **told_usage)


ENDS = event("message_stop")
PING = event("ping")


def message(*content: dict[str, Any], stop: str = "end_turn", **more: Any) -> bytes:
    """A whole answer."""
    usage = {"input_tokens": 3, "output_tokens": 2}
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "usage": usage}
    return json.dumps(told | {"content": list(content), "stop_reason": stop} | more)


def text(words: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": words}


def use(name: str, **arguments: Any) -> dict[str, Any]:
    """A block that calls a tool."""
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments}


# --- Ollama's -------------------------------------------------------------------------------------


def line(content: str = "", **more: Any) -> bytes:
    """A line of a stream, or a whole answer where it is done."""
    said = {"role": "assistant", "content": content}
    return json.dumps({"model": "m1", "message": said, "done": False} | more) + b"\n"


def done(content: str = "", **more: Any) -> bytes:
    """The last line of a stream, or a whole answer."""
    usage = {"prompt_eval_count": 3, "eval_count": 2}
    return line(content, done=True, done_reason="stop", **usage | more)
