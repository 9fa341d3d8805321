"""Embeddings: requests and vectors in both directions."""

import base64
import struct
from typing import Any

import httpx2
import openai
import pytest

from sidecar.dialects.openai_chat.embeddings import EMBEDDINGS
from sidecar.neutral.problem import AttemptFailed, ProblemKind, RequestRefused
from sidecar.neutral.request import EmbeddingRequest, Loss, Severity
from sidecar.neutral.response import EmbeddingResponse
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.contract import Operation, Target
from tests.sidecar.dialects.openai_chat.crossing import context


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        ({"input": "a", "model": "m"}, EmbeddingRequest(("a",), "m", single=True)),
        ({"input": ["a", "b"], "dimensions": 3}, EmbeddingRequest(("a", "b"), dimensions=3)),
        ({"input": ["a"], "encoding_format": "base64"}, EmbeddingRequest(("a",), in_base64=True)),
        ({"input": ["a"], "encoding_format": "float"}, EmbeddingRequest(("a",))),
        (
            {"input": ["a"], "user": "u", "input_type": "query"},
            EmbeddingRequest(
                ("a",),
                unheard=(
                    Loss("user", Severity.COSMETIC),
                    Loss("input_type", Severity.SEMANTIC),
                ),
            ),
        ),
    ],
)
def test_requests_are_read(body: Any, request_: EmbeddingRequest) -> None:
    assert EMBEDDINGS.decode_request(body) == request_


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_tokens_cannot_be_carried_over(tokens: object) -> None:
    (loss,) = EMBEDDINGS.decode_request({"input": tokens}).unheard
    assert (loss.field, loss.severity, bool(loss.reason)) == ("input", Severity.FATAL, True)


@pytest.mark.parametrize("body", [{"input": 3}, {"input": ["a", 3]}, {"encoding_format": "int8"}])
def test_requests_are_refused(body: Any) -> None:
    with pytest.raises(RequestRefused):
        EMBEDDINGS.decode_request({"input": "a", **body})


def test_requests_are_written() -> None:
    target = Target("m", stream=False)
    one = EMBEDDINGS.encode_request(EmbeddingRequest(("a",), single=True), target)
    assert one.body == {"model": "m", "input": "a"}
    two = EMBEDDINGS.encode_request(EmbeddingRequest(("a", "b"), dimensions=2), target)
    assert two.body == {"model": "m", "input": ["a", "b"], "dimensions": 2}
    none = EMBEDDINGS.encode_request(EmbeddingRequest((), single=True), target)
    assert none.body == {"model": "m", "input": []}


def entry(embedding: object, index: object = 0) -> dict[str, object]:
    return {"object": "embedding", "index": index, "embedding": embedding}


CODED = base64.b64encode(struct.pack("<2f", 1.5, -2)).decode()


def test_vectors_are_read_in_the_order_of_the_inputs() -> None:
    body = {"data": [entry(CODED, 1), entry([1, 0.25])], "model": "m"}
    told = EMBEDDINGS.decode_response({**body, "usage": {"prompt_tokens": 3}})
    assert told.vectors == ([1, 0.25], (1.5, -2.0))
    assert (told.model, told.usage) == ("m", Usage(3, 0))


@pytest.mark.parametrize("vector", [None, 3, "!", "AAA=", ["x"], [True], {}])
def test_what_is_no_vector_is_a_fault_of_the_backend(vector: object) -> None:
    with pytest.raises(AttemptFailed) as failed:
        EMBEDDINGS.decode_response({"data": [entry(vector)]})
    assert failed.value.problem.kind is ProblemKind.PROTOCOL


def test_vectors_are_written_as_asked() -> None:
    answer = EmbeddingResponse(((1.5, -2.0),))
    numbers: Any = EMBEDDINGS.encode_response(answer, EmbeddingRequest(("a",)), context())
    assert numbers["data"] == [entry([1.5, -2.0])]
    assert (numbers["model"], numbers["usage"]) == (
        "asked-for", {"prompt_tokens": 7, "total_tokens": 7},
    )  # fmt: skip
    asked = EmbeddingRequest(("a",), in_base64=True)
    coded: Any = EMBEDDINGS.encode_response(answer, asked, context())
    assert coded["data"] == [entry(CODED)]


def test_a_number_too_large_for_base64_becomes_the_largest() -> None:
    asked = EmbeddingRequest(("a",), in_base64=True)
    coded: Any = EMBEDDINGS.encode_response(EmbeddingResponse(((1e300,),)), asked, context())
    assert EMBEDDINGS.decode_response(coded).vectors[0][0] > 3e38


def test_the_sdk_reads_what_it_asked_for() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = EMBEDDINGS.decode_request(json.loads(request.content))
        assert asked.in_base64
        vectors = EmbeddingResponse(((1.5, -2.0), (0.25, 0.0)), usage=Usage(4, 0))
        body = EMBEDDINGS.encode_response(vectors, asked, context(Operation.EMBED))
        return httpx2.Response(200, json=body)

    transport = httpx2.MockTransport(answer)
    client = openai.OpenAI(
        api_key="k", base_url="http://sidecar/v1", http_client=httpx2.Client(transport=transport)
    )
    told = client.embeddings.create(model="m", input=["a", "b"])
    assert [one.embedding for one in told.data] == [[1.5, -2.0], [0.25, 0.0]]
    assert told.usage.prompt_tokens == 4
