"""Embeddings, in both of the shapes that Ollama has for them."""

from typing import Any

import pytest

from sidecar.dialects.ollama_chat.embeddings import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from sidecar.neutral.problem import AttemptFailed, ProblemKind, RequestRefused
from sidecar.neutral.request import EmbeddingRequest, Severity
from sidecar.neutral.response import EmbeddingResponse
from sidecar.neutral.usage import Usage
from sidecar.wire.contract import Encoded, Operation, Target
from tests.sidecar.dialects.ollama_chat.context import answering


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        ({"model": "m", "input": "a"}, EmbeddingRequest(("a",), "m", single=True)),
        ({"model": "m", "input": ["a", "b"]}, EmbeddingRequest(("a", "b"), "m")),
        ({"input": ["a"], "dimensions": 64}, EmbeddingRequest(("a",), dimensions=64)),
        ({"model": "m", "prompt": "a"}, EmbeddingRequest(("a",), "m", single=True, legacy=True)),
        ({"input": "a", "truncate": False}, EmbeddingRequest(("a",), single=True)),
    ],
)
def test_a_request(body: Any, request_: EmbeddingRequest) -> None:
    assert decode_request(body) == request_


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"input": ""}, {"input": Severity.FATAL}),
        ({"input": []}, {"input": Severity.FATAL}),
        ({}, {"input": Severity.FATAL}),
        ({"prompt": ""}, {"prompt": Severity.FATAL}),
        (
            {"input": "a", "truncate": True, "options": {"num_ctx": 1}, "keep_alive": "5m"},
            dict.fromkeys(("truncate", "options", "keep_alive"), Severity.COSMETIC),
        ),
        ({"input": "a", "wishes": 3}, {"wishes": Severity.SEMANTIC}),
    ],
)
def test_losses(more: Any, lost: dict[str, Severity]) -> None:
    unheard = decode_request({"model": "m", **more}).unheard
    assert {loss.field: loss.severity for loss in unheard} == lost
    assert all(loss.reason for loss in unheard if loss.severity is Severity.FATAL)


@pytest.mark.parametrize("body", [{"input": 3}, {"input": ["a", 3]}, {"input": [[1, 2]]}])
def test_what_is_no_text_is_refused(body: Any) -> None:
    with pytest.raises(RequestRefused) as refused:
        decode_request(body)
    assert refused.value.problem.kind is ProblemKind.BAD_REQUEST


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (EmbeddingRequest(("a",), single=True), {"input": "a"}),
        (EmbeddingRequest(("a", "b")), {"input": ["a", "b"]}),
        (EmbeddingRequest(("a",), dimensions=64), {"input": ["a"], "dimensions": 64}),
        # floats in base64 are the client's dialect's affair
        (EmbeddingRequest(("a",), in_base64=True), {"input": ["a"]}),
        (EmbeddingRequest((), single=True), {"input": []}),
    ],
)
def test_a_text_that_is_too_long_is_never_cut_off(request_: EmbeddingRequest, told: Any) -> None:
    target = Target(model="nomic-embed-text", stream=False)
    body = {"model": "nomic-embed-text", "truncate": False, **told}
    assert encode_request(request_, target) == Encoded(body)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (
            {"model": "m", "embeddings": [[0.5, 1], [0.25, 2]], "prompt_eval_count": 8},
            EmbeddingResponse(([0.5, 1], [0.25, 2]), "m", Usage(8, 0)),
        ),
        ({"embeddings": []}, EmbeddingResponse(())),
        ({"embedding": [0.5]}, EmbeddingResponse(([0.5],))),
    ],
)
def test_an_answer(body: Any, answer: EmbeddingResponse) -> None:
    assert decode_response(body) == answer


@pytest.mark.parametrize(
    "body",
    [{}, {"embeddings": [0.5]}, {"embeddings": [["a"]]}, {"embeddings": [[True]]}],
)
def test_an_answer_without_vectors(body: Any) -> None:
    with pytest.raises(AttemptFailed) as failed:
        decode_response(body)
    assert failed.value.problem.kind is ProblemKind.PROTOCOL


def test_what_the_client_gets() -> None:
    answer = EmbeddingResponse(([0.5, 1.0], [0.25, 2.0]), usage=Usage(8, 0))
    told = encode_response(answer, EmbeddingRequest(("a", "b")), answering(Operation.EMBED))
    assert told == {
        "model": "qwen3",
        "embeddings": [[0.5, 1.0], [0.25, 2.0]],
        "total_duration": 500_000_000,
        "load_duration": 0,
        "prompt_eval_count": 8,
    }


@pytest.mark.parametrize(("vectors", "told"), [(((0.5,),), [0.5]), ((), [])])
def test_who_asked_in_the_older_shape_is_answered_in_it(vectors: Any, told: list[float]) -> None:
    asked = EmbeddingRequest(("a",), legacy=True)
    answer = EmbeddingResponse(vectors, usage=Usage(8, 0))
    assert encode_response(answer, asked, answering(Operation.EMBED)) == {"embedding": told}
