"""The official `anthropic` client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
from anthropic.types import Message

from tests.e2e.matrix.talk import (
    MAX_TOKENS,
    Answer,
    Ask,
    Called,
    Earlier,
    Losses,
    Reasons,
    Stop,
    Tokens,
    Why,
    failure,
)

STOPS = {
    "end_turn": Stop.END,
    "tool_use": Stop.TOOLS,
    "max_tokens": Stop.LENGTH,
    "stop_sequence": Stop.STOP_SEQUENCE,
}
REASONS: Reasons = [
    (anthropic.RateLimitError, Why.RATE_LIMITED),
    (anthropic.BadRequestError, Why.REFUSED),
    (anthropic.InternalServerError, Why.SERVER),
    *((kind, Why.STATUS) for kind in anthropic.APIStatusError.__subclasses__()),
    (anthropic.APIStatusError, Why.IN_STREAM),  # the base class itself: an error event in a stream
    (anthropic.APIConnectionError, Why.CONNECTION),
    (httpx2.TransportError, Why.CONNECTION),
    (TypeError, Why.UNASKED),
]


class AnthropicMessages:
    dialect = "anthropic"

    def __init__(self, base_url: str, key: str) -> None:
        self.losses = Losses()
        self._client = anthropic.AsyncAnthropic(
            base_url=base_url,
            api_key=key,
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(
                event_hooks={"response": [self.losses.note]}
            ),
        )

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, ask: Ask) -> Answer:
        heard: list[str] = []
        try:
            if not ask.stream:
                return _answer(await self._client.messages.create(**_request(ask)))
            async with self._client.messages.stream(**_request(ask)) as stream:
                async for text in stream.text_stream:
                    heard.append(text)
                    ask.heard.set()
                return _answer(await stream.get_final_message())
        except Exception as error:
            raise failure(error, REASONS, heard) from error

    async def leave(self, ask: Ask) -> None:
        async with self._client.messages.stream(**_request(ask)) as stream:
            await anext(aiter(stream.text_stream))


def _request(ask: Ask) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": ask.model,
        "messages": list(_messages(ask)),
        "max_tokens": MAX_TOKENS,
    }
    if ask.prompt is not None:
        request["system"] = ask.prompt
    if ask.tools:
        request["tools"] = [
            {"name": each.name, "description": each.description, "input_schema": each.schema}
            for each in ask.tools
        ]
    if ask.thinks:
        request["thinking"] = {"type": "adaptive", "display": "summarized"}
    if ask.schema is not None:
        request["output_config"] = {"format": {"type": "json_schema", "schema": ask.schema}}
    if ask.as_json:
        request["format"] = "json"  # the SDK has no such parameter, and says so
    if ask.stops:
        request["stop_sequences"] = list(ask.stops)
    return request


def _messages(ask: Ask) -> Iterator[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for turn in ask.turns:
        if isinstance(turn, Earlier):
            yield {"role": "assistant", "content": list(turn.answer.kept)}
            results = [
                {
                    "type": "tool_result",
                    "tool_use_id": id,
                    "content": said if isinstance(said, str) else [_file("image", said)],
                }
                for id, said in turn.results.items()
            ]
        else:
            yield {"role": "user", "content": [*results, *_parts(turn)]}


def _parts(ask: Ask) -> Iterator[dict[str, Any]]:
    if ask.text:
        yield {"type": "text", "text": ask.text}
    if ask.image is not None:
        yield _file("image", ask.image)
    if ask.document is not None:
        yield _file("document", ask.document)
    if ask.image_url is not None:
        yield {"type": "image", "source": {"type": "url", "url": ask.image_url}}


def _file(kind: str, data: bytes) -> dict[str, Any]:
    media_type = "image/png" if kind == "image" else "application/pdf"
    coded = base64.b64encode(data).decode()
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": coded}}


def _answer(message: Message) -> Answer:
    return Answer(
        model=message.model,
        text="".join(block.text for block in message.content if block.type == "text"),
        stop=STOPS.get(str(message.stop_reason), Stop.OTHER),
        calls=[
            Called(block.id, block.name, block.input)
            for block in message.content
            if block.type == "tool_use"
        ],
        thinking="".join(block.thinking for block in message.content if block.type == "thinking"),
        matched=message.stop_sequence,
        tokens=_tokens(message),
        kept=message.to_param()["content"],  # type: ignore[arg-type]
    )


def _tokens(message: Message) -> Tokens:
    """Its input leaves out what the caches read and wrote."""
    usage = message.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    made = usage.output_tokens_details
    return Tokens(
        input=usage.input_tokens + cached + written,
        output=usage.output_tokens,
        cached=cached,
        written=written,
        reasoned=made.thinking_tokens if made else 0,
    )
