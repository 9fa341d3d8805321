"""The official `openai` client, unchanged, through the sidecar; its own retries are off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.e2e.harness import Sidecar, chain
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


@pytest_asyncio.fixture(loop_scope="module")
async def sidecar(backend: Backend, shared: Sidecar) -> AsyncIterator[Sidecar]:
    async with shared.playing(chain(backend, models=["chat", "fast", "gpt-4o*"])):
        yield shared


@pytest_asyncio.fixture(loop_scope="module")
async def client(sidecar: Sidecar) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=sidecar.base_url + "/v1", api_key="client-key", max_retries=0
    ) as made:
        yield made


async def test_whole(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="chat", messages=HI)
    assert answer.choices[0].message.content == answers.text_of("p")
    assert answer.model == "model-p"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 60


async def test_streamed(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="chat", messages=HI, stream=True)
    text, finish = "", None
    async for chunk in stream:
        assert chunk.usage is None
        text += chunk.choices[0].delta.content or ""
        finish = chunk.choices[0].finish_reason or finish
    assert (text, finish) == (answers.text_of("p"), "stop")


async def test_streamed_with_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="chat", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 67


async def test_the_first_token_comes_before_the_last(client: AsyncOpenAI, backend: Backend) -> None:
    go = asyncio.Event()
    backend.rest = b.gated(go)
    stream = await client.chat.completions.create(model="chat", messages=HI, stream=True)
    texts = []
    async for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        if len("".join(texts)) == len(answers.text_of("p", 20)):
            go.set()  # only now may the backend go on
    assert "".join(texts) == answers.text_of("p")


async def test_tools_whole(client: AsyncOpenAI, backend: Backend) -> None:
    answer = await client.chat.completions.create(model="chat", messages=HI, tools=[WEATHER])
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "weather"
    assert json.loads(calls[0].function.arguments) == {"city": "Zürich", "days": 3}
    assert answer.choices[0].finish_reason == "tool_calls"
    assert backend.requests[0].json["tools"] == [WEATHER]


@pytest.mark.parametrize("behaviour", [b.well(), b.json_to_a_stream], ids=["stream", "row-21"])
async def test_tools_streamed(
    client: AsyncOpenAI, backend: Backend, behaviour: b.Behaviour
) -> None:
    backend.rest = behaviour
    async with client.chat.completions.stream(model="chat", messages=HI, tools=[WEATHER]) as stream:
        answer = await stream.get_final_completion()
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert (calls[0].id, calls[0].function.name) == ("call_1", "weather")
    assert calls[0].function.arguments == answers.ARGUMENTS


async def test_tools_from_a_backend_that_only_streams(
    client: AsyncOpenAI, backend: Backend
) -> None:
    """Row 22 with a tool call."""
    backend.rest = b.stream_to_a_whole
    answer = await client.chat.completions.create(model="chat", messages=HI, tools=[WEATHER])
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert (calls[0].id, calls[0].function.arguments) == ("call_1", answers.ARGUMENTS)


async def test_embeddings_come_as_base64(client: AsyncOpenAI, backend: Backend) -> None:
    answer = await client.embeddings.create(model="chat", input=["one", "two"])
    assert backend.requests[0].json["encoding_format"] == "base64"
    assert [each.embedding for each in answer.data] == [answers.vector(0), answers.vector(1)]


async def test_embeddings_as_numbers(client: AsyncOpenAI) -> None:
    answer = await client.embeddings.create(model="chat", input="one", encoding_format="float")
    assert answer.data[0].embedding == answers.vector(0)


@pytest.mark.parametrize("stream", [True, False])
async def test_completions(client: AsyncOpenAI, stream: bool) -> None:
    if stream:
        parts = await client.completions.create(model="chat", prompt="hi", stream=True)
        text = "".join([part.choices[0].text async for part in parts])
    else:
        answer = await client.completions.create(model="chat", prompt="hi")
        text = answer.choices[0].text
    assert text == answers.text_of("p")


async def test_models(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert {"chat", "fast"} <= set(listed)
    assert not [name for name in listed if "*" in name], "a pattern is no name"
    assert (await client.models.retrieve("chat")).id == "chat"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("chap")


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (b.status(400, "bad", "bad_value", "invalid_request_error"), openai.BadRequestError),
        (b.UNKNOWN_MODEL, openai.NotFoundError),
        (
            b.status(422, "bad", "bad_value", "invalid_request_error"),
            openai.UnprocessableEntityError,
        ),
        (b.rate_limited("60"), openai.RateLimitError),
        (b.status(500), openai.InternalServerError),
        (b.status(503), openai.InternalServerError),
        (b.html, openai.InternalServerError),
        (b.status(401, "bad key", "invalid_api_key"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_errors_are_the_sdks_own_exceptions(
    client: AsyncOpenAI,
    backend: Backend,
    behaviour: b.Behaviour,
    expected: type[Exception],
    stream: bool,
) -> None:
    backend.rest = behaviour
    with pytest.raises(expected) as caught:
        await client.chat.completions.create(model="chat", messages=HI, stream=stream)
    assert isinstance(caught.value, openai.APIStatusError)
    assert caught.value.request_id
    assert caught.value.message


async def test_a_broken_stream_raises(client: AsyncOpenAI, backend: Backend) -> None:
    backend.rest = b.cut(b.Reset())
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await client.chat.completions.create(
            model="chat", messages=HI, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text
    # a reset may take with it what had not been handed over yet
    assert answers.text_of("p", 40).startswith(text)


async def test_an_unknown_model_is_named_with_its_neighbours(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="chst", messages=HI)
    assert caught.value.code == "model_not_found"
    assert "chat" in caught.value.message


async def test_the_clients_key_stays_here(client: AsyncOpenAI, backend: Backend) -> None:
    await client.chat.completions.create(model="chat", messages=HI)
    assert "client-key" not in repr(backend.requests[0].headers)


async def test_leaving_a_stream_early_stops_the_backend(
    client: AsyncOpenAI, backend: Backend
) -> None:
    backend.rest = b.cut(b.Silence())
    stream = await client.chat.completions.create(model="chat", messages=HI, stream=True)
    await anext(aiter(stream))
    await stream.close()
    await asyncio.wait_for(backend.requests[0].left.wait(), 5)


async def test_the_sync_client(sidecar: Sidecar) -> None:
    """Everything that differs between the two clients, in one go, on a thread of its own."""

    def use() -> None:
        with OpenAI(base_url=sidecar.base_url + "/v1", api_key="k", max_retries=0) as sync:
            whole = sync.chat.completions.create(model="fast", messages=HI)
            assert whole.choices[0].message.content == answers.text_of("p")
            parts = sync.chat.completions.create(model="fast", messages=HI, stream=True)
            text = "".join(part.choices[0].delta.content or "" for part in parts)
            assert text == answers.text_of("p")
            vectors = sync.embeddings.create(model="GPT-4o-Embed", input=["one"])
            assert vectors.data[0].embedding == answers.vector(0)
            called = sync.chat.completions.create(model="fast", messages=HI, tools=[WEATHER])
            assert called.choices[0].finish_reason == "tool_calls"
            assert "fast" in [model.id for model in sync.models.list()]
            with pytest.raises(openai.NotFoundError):
                sync.chat.completions.create(model="unheard-of", messages=HI)

    await asyncio.to_thread(use)
