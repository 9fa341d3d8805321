"""The official `openai` client: chat completions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
from openai.types.chat import ChatCompletion

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

REASONS: Reasons = [
    (openai.RateLimitError, Why.RATE_LIMITED),
    (openai.BadRequestError, Why.REFUSED),
    (openai.InternalServerError, Why.SERVER),
    (openai.APIConnectionError, Why.CONNECTION),
    (openai.APIStatusError, Why.STATUS),
    (openai.APIError, Why.IN_STREAM),  # the base class itself: an error object in a stream
    (TypeError, Why.UNASKED),
]
STOPS = {"stop": Stop.END, "tool_calls": Stop.TOOLS, "length": Stop.LENGTH}
KEPT = ("role", "content", "tool_calls", "reasoning_content", "reasoning_details")


def connect(base_url: str, key: str, losses: Losses) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=base_url + "/v1",
        api_key=key,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [losses.note]}),
    )


class OpenAIChat:
    dialect = "openai"

    def __init__(self, base_url: str, key: str) -> None:
        self.losses = Losses()
        self._client = connect(base_url, key, self.losses)

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, ask: Ask) -> Answer:
        heard: list[str] = []
        try:
            if ask.stream:
                return await self._streamed(ask, heard)
            whole = await self._client.chat.completions.create(**_request(ask))
        except Exception as error:
            raise failure(error, REASONS, heard) from error
        return _answer(whole, (whole.choices[0].model_extra or {}).get("stop_reason"))

    async def _streamed(self, ask: Ask, heard: list[str]) -> Answer:
        matched = None
        request = {**_request(ask), "stream_options": {"include_usage": True}}
        async with self._client.chat.completions.stream(**request) as stream:
            async for event in stream:
                if event.type == "content.delta":
                    heard.append(event.delta)
                    ask.heard.set()
                elif event.type == "chunk" and event.chunk.choices:
                    more = event.chunk.choices[0].model_extra or {}
                    matched = more.get("stop_reason") or matched
            try:
                return _answer(await stream.get_final_completion(), matched)
            except openai.LengthFinishReasonError as short:  # the helper parses whole answers only
                return _answer(short.completion, matched)

    async def leave(self, ask: Ask) -> None:
        create = self._client.chat.completions.create
        stream = await create(**_request(ask), stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.close()


def _request(ask: Ask) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": ask.model,
        "messages": list(_messages(ask)),
        "max_completion_tokens": MAX_TOKENS,
    }
    if ask.tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": each.name,
                    "description": each.description,
                    "parameters": each.schema,
                },
            }
            for each in ask.tools
        ]
    if ask.thinks:
        request["reasoning_effort"] = "medium"
    if ask.schema is not None:
        form = {"name": "place", "schema": ask.schema, "strict": True}
        request["response_format"] = {"type": "json_schema", "json_schema": form}
    if ask.as_json:
        request["response_format"] = {"type": "json_object"}
    if ask.stops:
        request["stop"] = list(ask.stops)
    return request


def _messages(ask: Ask) -> Iterator[dict[str, Any]]:
    if ask.prompt is not None:
        yield {"role": "system", "content": ask.prompt}
    for turn in ask.turns:
        if isinstance(turn, Earlier):
            yield from turn.answer.kept  # type: ignore[misc]
            for id, said in turn.results.items():
                if isinstance(said, bytes):
                    raise TypeError("the result of a tool is text")
                yield {"role": "tool", "tool_call_id": id, "content": said}
        elif turn.text:
            yield {"role": "user", "content": list(_parts(turn))}


def _parts(ask: Ask) -> Iterator[dict[str, Any]]:
    yield {"type": "text", "text": ask.text}
    url = ask.image_url
    if ask.image is not None:
        url = "data:image/png;base64," + base64.b64encode(ask.image).decode()
    if url is not None:
        yield {"type": "image_url", "image_url": {"url": url}}
    if ask.document is not None:
        data = "data:application/pdf;base64," + base64.b64encode(ask.document).decode()
        yield {"type": "file", "file": {"filename": "page.pdf", "file_data": data}}


def _answer(whole: ChatCompletion, matched: object) -> Answer:
    choice = whole.choices[0]
    message = choice.message
    kept = {
        name: value
        for name, value in message.to_dict().items()
        if name in KEPT and value is not None
    }
    for call in kept.get("tool_calls", []):  # type: ignore[attr-defined]
        call.pop("index", None)  # of the stream's deltas
        call["function"].pop("parsed_arguments", None)  # the SDK's own
    stop = STOPS.get(str(choice.finish_reason), Stop.OTHER)
    return Answer(
        model=whole.model,
        text=message.content or "",
        stop=Stop.STOP_SEQUENCE if matched and stop is Stop.END else stop,
        calls=[
            Called(call.id, call.function.name, json.loads(call.function.arguments))
            for call in message.tool_calls or []
            if call.type == "function"
        ],
        thinking=(message.model_extra or {}).get("reasoning_content") or "",
        matched=None if matched is None else str(matched),
        tokens=_tokens(whole),
        kept=[kept],
    )


def _tokens(whole: ChatCompletion) -> Tokens | None:
    if (usage := whole.usage) is None:
        return None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    told, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return Tokens(
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        cached=(told.cached_tokens if told else None) or 0,
        written=(told.cache_write_tokens if told else None) or 0,
        reasoned=(made.reasoning_tokens if made else None) or 0,
    )
