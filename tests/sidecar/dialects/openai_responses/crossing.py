"""What the tests of this dialect share: contexts, frames, and answers to cross with."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from sidecar.dialects.openai_responses import DIALECT
from sidecar.neutral.events import Event, follow
from sidecar.neutral.request import (
    ChatRequest,
    Message,
    Refusal,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
)
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Operation, RequestFacts
from sidecar.wire.framing import SseFramer, frame_data, sse

FACTS = RequestFacts(Operation.CHAT, stream=True, wants_usage=True)
ASKED = ChatRequest((Message(Role.USER, (Text("Grüezi"),)),), model="small")
USAGE = Usage(20, 12, cached_input_tokens=8, reasoning_output_tokens=5, cache_write_input_tokens=2)


def context(request: ChatRequest = ASKED) -> AnswerContext:
    """A context whose ids are 1, 2, 3, …"""
    ids = count(1)
    return AnswerContext(
        FACTS, request, 1_700_000_000, lambda: 2.5, lambda: str(next(ids)), model="small"
    )


def frame(kind: str, **told: object) -> bytes:
    """An event as a backend sends it."""
    return sse(json.dumps({"type": kind, **told}), kind)


def told(frames: bytes) -> list[dict[str, Any]]:
    """The events in what the encoder or the tap gives."""
    return [json.loads(frame_data(one) or b"null") for one in SseFramer().feed(frames)]


def decoded(frames: Iterable[bytes], request: ChatRequest = ASKED) -> list[Event]:
    """The events of a whole stream, in an order that is legal."""
    decoder = DIALECT.stream_decoder(context(request))
    events = [event for one in frames for event in decoder.read(one)] + decoder.close()
    follow(events)
    return events


def encoded(events: Iterable[Event], request: ChatRequest = ASKED) -> bytes:
    encoder = DIALECT.stream_encoder(context(request))
    return b"".join(map(encoder.encode, events))


APPLY_PATCH = Tool("apply_patch", "Edits files", custom=True)
WEATHER = Tool("weather", "Tells the weather", {"type": "object", "properties": {"city": {}}})
# one name in two namespaces; what each is called elsewhere, where no namespaces are
GROUPED: Mapping[str, Tool] = {
    "mcp__a__search": Tool("mcp__a__search", "Finds", origin=("mcp__a__", "search")),
    "mcp__b__search": Tool("mcp__b__search", "Finds", origin=("mcp__b__", "search")),
    "mcp__b__edit": Tool("mcp__b__edit", "Edits", custom=True, origin=("mcp__b__", "edit")),
}
WITH_TOOLS = ChatRequest(ASKED.messages, model="small", tools=(WEATHER, APPLY_PATCH))

ANSWERS: Sequence[ChatResponse] = (
    ChatResponse((Text("Grüezi 👋"),), StopReason.END, usage=USAGE, model="small"),
    ChatResponse((Text("Gr"),), StopReason.MAX_TOKENS, usage=USAGE),
    ChatResponse((Refusal("No."),), StopReason.REFUSAL, usage=USAGE),
    ChatResponse((Text("Well, no"),), StopReason.REFUSAL, usage=USAGE),
    ChatResponse(
        (
            Thinking("Hm.", "c2ln", "anthropic"),
            Thinking("", "cmVk", "anthropic", redacted=True),
            Thinking("", "c2ln", "anthropic"),
            Thinking("So.", "gAAA", "openai-responses"),
            Thinking("", "gBBB", "openai-responses", redacted=True),
            Text("Let me look."),
            ToolCall("call_1", "weather", '{"city":"Zürich"}'),
            ToolCall("call_2", "weather", "{}"),
            ToolCall("call_3", "apply_patch", '{"input":"*** Begin \\"Patch\\"\\n"}', custom=True),
        ),
        StopReason.TOOL_CALLS,
        usage=USAGE,
    ),
)
