"""The official client reads what this dialect writes, and is read by it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import ollama
import pytest

from sidecar.dialects.ollama_chat import DIALECT
from sidecar.neutral.events import Event, MessageStart, PartDelta, PartStart, StreamFailed
from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.neutral.request import (
    Effort,
    EmbeddingRequest,
    Image,
    Inline,
    JsonOutput,
    Message,
    Reasoning,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.response import ChatResponse, EmbeddingResponse, StopReason
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import ModelEntry, Operation
from sidecar.wire.fold import unfolded
from tests.sidecar.dialects.ollama_chat.context import PNG, answering

ANSWER = ChatResponse(
    parts=(Thinking("Hm"), Text("Let me look."), ToolCall("call_1", "weather", '{"city":"Bern"}')),
    stop=StopReason.TOOL_CALLS,
    usage=Usage(3, 4),
    model="m",
)
Answering = Callable[[httpx.Request], bytes]


@contextmanager
def client(answer: Answering, status: int = 200) -> Iterator[ollama.Client]:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=answer(request))

    with ollama.Client("http://sidecar", transport=httpx.MockTransport(handle)) as made:
        yield made


def whole(operation: Operation, answer: ChatResponse = ANSWER) -> Answering:
    return lambda _: json.dumps(DIALECT.encode_response(answer, answering(operation)))


def stream(operation: Operation, *more: Event) -> Answering:
    encoder = DIALECT.stream_encoder(answering(operation))
    events = more or tuple(unfolded(ANSWER))
    return lambda _: b"".join(map(encoder.encode, events))


def test_a_whole_chat() -> None:
    with client(whole(Operation.CHAT)) as asking:
        answer = asking.chat("m")
    assert (answer.message.content, answer.message.thinking) == ("Let me look.", "Hm")
    assert answer.message.tool_calls is not None
    (call,) = answer.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Bern"})
    assert (answer.model, answer.done, answer.done_reason) == ("m", True, "stop")
    assert (answer.prompt_eval_count, answer.eval_count) == (3, 4)


def test_a_streamed_chat() -> None:
    with client(stream(Operation.CHAT)) as asking:
        chunks = list(asking.chat("m", stream=True))
    assert "".join(chunk.message.content or "" for chunk in chunks) == "Let me look."
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "Hm"
    calls = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
    assert [call.function.arguments for call in calls] == [{"city": "Bern"}]
    assert [chunk.done for chunk in chunks] == [False, False, False, True]
    assert (chunks[-1].prompt_eval_count, chunks[-1].eval_count) == (3, 4)


def test_completions() -> None:
    with client(whole(Operation.COMPLETION)) as asking:
        answer = asking.generate("m", "Weather?")
    assert (answer.response, answer.thinking, answer.done_reason) == ("Let me look.", "Hm", "stop")
    with client(stream(Operation.COMPLETION)) as asking:
        chunks = list(asking.generate("m", "Weather?", stream=True))
    assert "".join(chunk.response or "" for chunk in chunks) == "Let me look."
    assert chunks[-1].done


def test_a_model_that_was_only_loaded() -> None:
    ready = ChatResponse((), StopReason.LOADED, model="m")
    with client(whole(Operation.CHAT, ready)) as asking:
        answer = asking.chat("m")
    assert (answer.message.content, answer.done, answer.done_reason) == ("", True, "load")


def test_a_stream_that_fails_raises() -> None:
    failed = StreamFailed(Problem(ProblemKind.TRUNCATED, "It broke off."))
    begun = (MessageStart(), PartStart(Text("")), PartDelta("Hi"), failed)
    with client(stream(Operation.CHAT, *begun)) as asking:
        chunks = asking.chat("m", stream=True)
        assert next(chunks).message.content == "Hi"
        with pytest.raises(ollama.ResponseError, match="It broke off"):
            next(chunks)


def test_an_error_is_told_in_its_own_words() -> None:
    status, body = DIALECT.encode_error(Problem(ProblemKind.UNKNOWN_MODEL, "No such model."))
    with (
        client(lambda _: body, status) as asking,
        pytest.raises(ollama.ResponseError) as raised,
    ):
        asking.chat("m")
    assert (raised.value.error, raised.value.status_code) == ("No such model.", 404)


def test_lists_and_descriptions_of_models() -> None:
    entry = ModelEntry("qwen3", created=1_700_000_000, context=40_960, family="qwen3", size=5)
    with client(lambda _: json.dumps(DIALECT.listings["/api/tags"]([entry]))) as asking:
        (listed,) = asking.list().models
    assert (listed.model, listed.size, listed.digest is not None) == ("qwen3:latest", 5, True)
    assert listed.modified_at is not None and listed.modified_at.timestamp() == 1_700_000_000
    with client(lambda _: json.dumps(DIALECT.encode_model(entry))) as asking:
        shown = asking.show("qwen3")
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None and shown.modelinfo["qwen3.context_length"] == 40_960
    with client(lambda _: json.dumps(DIALECT.listings["/api/ps"]([entry]))) as asking:
        assert asking.ps().models == []


def test_embeddings_in_both_shapes() -> None:
    codec, ctx = DIALECT.embeddings, answering(Operation.EMBED)
    assert codec is not None
    asked: list[EmbeddingRequest] = []

    def embed(request: httpx.Request) -> bytes:
        asked.append(codec.decode_request(json.loads(request.content)))
        vectors = tuple([0.5, float(place)] for place, _ in enumerate(asked[-1].inputs))
        return json.dumps(codec.encode_response(EmbeddingResponse(vectors), asked[-1], ctx))

    with client(embed) as asking:
        assert asking.embed("m", ["a", "b"]).embeddings == [[0.5, 0.0], [0.5, 1.0]]
        assert asking.embeddings("m", "a").embedding == [0.5, 0.0]
    assert [one.inputs for one in asked] == [("a", "b"), ("a",)]
    assert [one.unheard for one in asked] == [(), ()]


def test_what_the_client_sends_is_understood() -> None:
    sent: list[httpx.Request] = []

    def keep(request: httpx.Request) -> bytes:
        sent.append(request)
        return whole(Operation.CHAT)(request)

    def weather(city: str) -> str:
        """Tell the weather.

        Args:
          city: where
        """
        return city

    with client(keep) as asking:
        answer = asking.chat("m")
        asking.chat(
            "m",
            messages=[
                {"role": "user", "content": "What is it?", "images": [PNG]},
                answer.message,
                {"role": "tool", "tool_name": "weather", "content": "sun"},
            ],
            tools=[weather],
            think="high",
            format="json",
            options={"temperature": 0, "num_predict": 9},
            keep_alive="5m",
        )
    body = json.loads(sent[-1].content)
    assert sent[-1].url.path in DIALECT.endpoints
    request = DIALECT.decode_request(Operation.CHAT, body)
    assert request.messages == (
        Message(Role.USER, (Text("What is it?"), Image(Inline("image/png", PNG)))),
        Message(
            Role.ASSISTANT,
            (
                Thinking("Hm"),
                Text("Let me look."),
                # this client drops the ids of calls
                ToolCall("call_1_0", "weather", '{"city":"Bern"}'),
            ),
        ),
        Message(Role.USER, (ToolResult("call_1_0", (Text("sun"),), name="weather"),)),
    )
    assert [tool.name for tool in request.tools if not hasattr(tool, "kind")] == ["weather"]
    assert (request.reasoning, request.output) == (Reasoning(Effort.HIGH), JsonOutput())
    assert (request.sampling.temperature, request.max_tokens, request.stream) == (0, 9, False)
    assert [loss.field for loss in request.unheard] == ["keep_alive"]
