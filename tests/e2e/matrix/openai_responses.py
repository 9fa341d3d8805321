"""The official `openai` client: responses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from openai.types.responses import Response

from tests.e2e.matrix.openai_chat import REASONS, connect
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
    failure,
)

SDKS_OWN = ("parsed", "parsed_arguments")  # what its helper adds to the items of a stream


class OpenAIResponses:
    dialect = "openai-responses"

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
            return _answer(await self._client.responses.create(**_request(ask)))
        except Failed:
            raise
        except Exception as error:
            raise failure(error, REASONS, heard) from error

    async def _streamed(self, ask: Ask, heard: list[str]) -> Answer:
        told: list[str] = []
        async with self._client.responses.stream(**_request(ask)) as stream:
            async for event in stream:
                told.append(event.type)
                if event.type == "response.incomplete":
                    return _answer(event.response)  # the helper has no final response then
                if event.type == "response.output_text.delta":
                    heard.append(event.delta)
                    ask.heard.set()
            try:
                return _answer(await stream.get_final_response())
            except RuntimeError as error:  # no response.completed
                was_told = {"error", "response.failed"} & set(told)
                why = Why.IN_STREAM if was_told else Why.UNFINISHED
                raise Failed(why, error, "".join(heard)) from error

    async def leave(self, ask: Ask) -> None:
        stream = await self._client.responses.create(**_request(ask), stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()


def _request(ask: Ask) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": ask.model,
        "input": list(_items(ask)),
        "max_output_tokens": MAX_TOKENS,
        "store": False,
    }
    if ask.prompt is not None:
        request["instructions"] = ask.prompt
    if ask.tools:
        request["tools"] = [
            {
                "type": "function",
                "name": each.name,
                "description": each.description,
                "parameters": each.schema,
                "strict": False,
            }
            for each in ask.tools
        ]
    if ask.thinks:
        request["reasoning"] = {"effort": "medium", "summary": "auto"}
        request["include"] = ["reasoning.encrypted_content"]
    if ask.schema is not None:
        form = {"type": "json_schema", "name": "place", "schema": ask.schema, "strict": True}
        request["text"] = {"format": form}
    if ask.as_json:
        request["text"] = {"format": {"type": "json_object"}}
    if ask.stops:
        request["stop"] = list(ask.stops)  # the SDK has no such parameter, and says so
    return request


def _items(ask: Ask) -> Iterator[dict[str, Any]]:
    for turn in ask.turns:
        if isinstance(turn, Earlier):
            yield from turn.answer.kept  # type: ignore[misc]
            for id, said in turn.results.items():
                output = said if isinstance(said, str) else [_image(_png(said))]
                yield {"type": "function_call_output", "call_id": id, "output": output}
        elif turn.text:
            yield {"role": "user", "content": list(_parts(turn))}


def _parts(ask: Ask) -> Iterator[dict[str, Any]]:
    yield {"type": "input_text", "text": ask.text}
    if ask.image is not None:
        yield _image(_png(ask.image))
    if ask.image_url is not None:
        yield _image(ask.image_url)
    if ask.document is not None:
        data = "data:application/pdf;base64," + base64.b64encode(ask.document).decode()
        yield {"type": "input_file", "filename": "page.pdf", "file_data": data}


def _png(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def _image(url: str) -> dict[str, Any]:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def _answer(whole: Response) -> Answer:
    calls = [
        Called(item.call_id, item.name, json.loads(item.arguments))
        for item in whole.output
        if item.type == "function_call"
    ]
    return Answer(
        model=whole.model,
        text=whole.output_text,
        stop=_stop(whole),
        calls=calls,
        thinking="".join(
            part.text for item in whole.output if item.type == "reasoning" for part in item.summary
        ),
        tokens=_tokens(whole),
        kept=[_sendable(item.to_dict()) for item in whole.output],
    )


def _stop(whole: Response) -> Stop:
    why = whole.incomplete_details.reason if whole.incomplete_details else None
    match whole.status:
        case "completed":
            calls = any(item.type == "function_call" for item in whole.output)
            return Stop.TOOLS if calls else Stop.END
        case "incomplete" if why == "max_output_tokens":
            return Stop.LENGTH
        case _:
            return Stop.OTHER


def _sendable(value: Any) -> Any:
    """An item without what the SDK added to it."""
    if isinstance(value, list):
        return [_sendable(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _sendable(each) for name, each in value.items() if name not in SDKS_OWN}


def _tokens(whole: Response) -> Tokens | None:
    if (usage := whole.usage) is None:
        return None
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return Tokens(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=usage.input_tokens_details.cached_tokens,
        written=usage.input_tokens_details.cache_write_tokens,
        reasoned=usage.output_tokens_details.reasoning_tokens,
    )
