"""Every dialect that the laws hold for: those of the registry, and the toy."""

from itertools import count
from typing import Any

import pytest

from sidecar.dialects import DIALECTS
from sidecar.neutral.events import Event
from sidecar.neutral.request import ChatRequest
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Dialect, Operation, RequestFacts, Target
from sidecar.wire.json import Json
from tests.toy.dialect import DIALECT as TOY

SPOKEN: tuple[Dialect, ...] = (*DIALECTS, TOY)

# a name that each dialect's vendors may have given a model that can do most
MODELS = {
    "openai": "gpt-4o",
    "anthropic": "claude-sonnet-4-5",
    "ollama": "qwen3:8b",
    "openai-responses": "gpt-4o",
    "toy": "teddy",
}

EVERY = pytest.mark.parametrize("dialect", SPOKEN, ids=lambda dialect: dialect.name)
PAIRS = pytest.mark.parametrize(
    ("client", "backend"),
    [
        pytest.param(client, backend, id=f"{client.name} to {backend.name}")
        for client in SPOKEN
        for backend in SPOKEN
        if client is not backend
    ],
)


def context(
    request: ChatRequest | None = None, operation: Operation = Operation.CHAT
) -> AnswerContext:
    """What a crossing answer knows; its ids are counted."""
    numbers = count(1)
    return AnswerContext(
        facts=RequestFacts(operation, stream=True, wants_usage=True),
        request=request or ChatRequest(()),
        created=1_700_000_000,
        elapsed=lambda: 0.5,
        new_id=lambda: f"new{next(numbers)}",
        estimate=7,
        model="asked-for",
    )


def target(dialect: Dialect, stream: bool = False) -> Target:
    """A backend that holds back nothing."""
    return Target(MODELS[dialect.name], stream, max_output=64_000, context=200_000)


def as_sent(value: object) -> Any:
    """A body as the other side reads it."""
    return json.loads(json.dumps(value))


def asked(dialect: Dialect, request: ChatRequest) -> Json:
    """The request as a client of the dialect would send it."""
    body: Json = as_sent(dialect.encode_request(request, target(dialect)).body)
    return body


def told(dialect: Dialect, events: list[Event], request: ChatRequest | None = None) -> bytes:
    """What a client of the dialect gets for events."""
    encoder = dialect.stream_encoder(context(request))
    return b"".join(encoder.encode(event) for event in events)


def frames_of(dialect: Dialect, stream: bytes) -> list[bytes]:
    """The frames of a stream, a last one without an end included."""
    framer = dialect.framing.framer()
    frames = framer.feed(stream)
    rest = framer.rest()
    return [*frames, rest] if rest else frames


def heard(dialect: Dialect, frames: list[bytes], request: ChatRequest | None = None) -> list[Event]:
    """The events of a stream that ends behind these frames."""
    decoder = dialect.stream_decoder(context(request))
    events = [event for frame in frames for event in decoder.read(frame)]
    return [*events, *decoder.close()]
