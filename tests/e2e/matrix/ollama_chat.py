"""The official `ollama` client: chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import ollama

from tests.e2e.matrix.talk import (
    MAX_TOKENS,
    Answer,
    Ask,
    Called,
    Earlier,
    Failed,
    Losses,
    Stop,
    Tokens,
    Why,
)

IN_STREAM = -1  # the status of an error that came as a line of a stream
STOPS = {"stop": Stop.END, "length": Stop.LENGTH}
WHY = {IN_STREAM: Why.IN_STREAM, 400: Why.REFUSED, 429: Why.RATE_LIMITED}


class OllamaChat:
    dialect = "ollama"

    def __init__(self, base_url: str, key: str) -> None:
        # its servers ask for no key
        self.losses = Losses()
        self._client = ollama.AsyncClient(base_url, event_hooks={"response": [self.losses.note]})

    async def close(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    async def ask(self, ask: Ask) -> Answer:
        parts: list[ollama.ChatResponse] = []
        try:
            if ask.stream:
                async for part in await self._client.chat(**_request(ask), stream=True):
                    parts.append(part)
                    if part.message.content:
                        ask.heard.set()
            else:
                parts.append(await self._client.chat(**_request(ask)))
        except ollama.ResponseError as error:
            why = WHY.get(error.status_code)
            why = why or (Why.SERVER if error.status_code >= 500 else Why.STATUS)
            raise Failed(why, error, _text(parts)) from error
        except httpx.TransportError as error:
            raise Failed(Why.CONNECTION, error, _text(parts)) from error
        except (TypeError, ValueError) as error:
            raise Failed(Why.UNASKED, error, "") from error
        if not parts or not parts[-1].done:
            raise Failed(Why.UNFINISHED, EOFError(), _text(parts))
        return _answer(parts)

    async def leave(self, ask: Ask) -> None:
        parts = await self._client.chat(**_request(ask), stream=True)
        async for part in parts:
            if part.message.content:
                break
        await parts.aclose()  # type: ignore[attr-defined]


def _request(ask: Ask) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": ask.model,
        "messages": list(_messages(ask)),
        "options": {"num_predict": MAX_TOKENS},
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
        request["think"] = True
    if ask.schema is not None:
        request["format"] = ask.schema
    if ask.as_json:
        request["format"] = "json"
    if ask.stops:
        request["options"]["stop"] = list(ask.stops)
    return request


def _messages(ask: Ask) -> Iterator[dict[str, Any]]:
    if ask.prompt is not None:
        yield {"role": "system", "content": ask.prompt}
    for turn in ask.turns:
        if isinstance(turn, Earlier):
            yield from turn.answer.kept  # type: ignore[misc]
            names = {call.id: call.name for call in turn.answer.calls}
            for id, said in turn.results.items():
                if isinstance(said, bytes):
                    raise TypeError("the result of a tool is text")
                yield {"role": "tool", "tool_name": names[id], "content": said}
        elif turn.text:
            if turn.document is not None:
                raise TypeError("a message holds text and images")
            image = turn.image if turn.image is not None else turn.image_url
            images = [] if image is None else [image]
            yield {"role": "user", "content": turn.text, "images": images}


def _text(parts: list[ollama.ChatResponse]) -> str:
    return "".join(part.message.content or "" for part in parts)


def _answer(parts: list[ollama.ChatResponse]) -> Answer:
    end = parts[-1]
    thinking = "".join(part.message.thinking or "" for part in parts)
    calls = [call for part in parts for call in part.message.tool_calls or []]
    kept = {
        "role": "assistant",
        "content": _text(parts),
        "thinking": thinking or None,
        "tool_calls": [call.model_dump() for call in calls],
    }
    tokens = None
    if end.prompt_eval_count is not None and end.eval_count is not None:
        tokens = Tokens(input=end.prompt_eval_count, output=end.eval_count)
    stop = STOPS.get(str(end.done_reason), Stop.OTHER)
    return Answer(
        model=str(end.model),
        text=_text(parts),
        stop=Stop.TOOLS if calls and stop is Stop.END else stop,
        calls=[
            # the SDK shows no ids
            Called(str(place), call.function.name, call.function.arguments)
            for place, call in enumerate(calls)
        ],
        thinking=thinking,
        tokens=tokens,
        kept=[{name: value for name, value in kept.items() if value}],
    )
