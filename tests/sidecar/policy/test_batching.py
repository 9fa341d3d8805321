"""Embedding requests in batches, and their answers as one."""

import pytest

from sidecar.neutral.problem import AttemptFailed, ProblemKind
from sidecar.neutral.request import EmbeddingRequest
from sidecar.neutral.response import EmbeddingResponse
from sidecar.neutral.usage import Usage
from sidecar.policy.batching import batches, merged

FIVE = ("a", "b", "c", "d", "e")


def of(*vectors: list[float], model: str = "", usage: Usage | None = None) -> EmbeddingResponse:
    return EmbeddingResponse(vectors, model, usage)


def both(first: EmbeddingResponse, second: EmbeddingResponse) -> EmbeddingResponse:
    return merged(batches(EmbeddingRequest(("a", "b", "c")), 2), [first, second])


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (None, [FIVE]),
        (5, [FIVE]),
        (9, [FIVE]),
        (2, [("a", "b"), ("c", "d"), ("e",)]),
        (1, [("a",), ("b",), ("c",), ("d",), ("e",)]),
    ],
)
def test_a_request_goes_out_in_batches(most: int | None, expected: list[tuple[str, ...]]) -> None:
    parts = batches(EmbeddingRequest(FIVE, model="m", dimensions=8), most)
    assert [part.inputs for part in parts] == expected
    assert {(part.model, part.dimensions) for part in parts} == {("m", 8)}


def test_a_request_without_inputs_stays_one() -> None:
    assert batches(EmbeddingRequest(()), 3) == (EmbeddingRequest(()),)


def test_answers_come_together_in_order() -> None:
    first = of([1.0], [2.0], usage=Usage(10, 0, cached_input_tokens=4))
    second = of([3.0], model="m-1", usage=Usage(5, 0))
    usage = Usage(15, 0, cached_input_tokens=4)
    assert both(first, second) == of([1.0], [2.0], [3.0], model="m-1", usage=usage)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (of([1.0]), of([2.0], [3.0]), "gave 1 vectors for 2 inputs"),
        (of([1.0], [2.0]), of(), "gave 0 vectors for 1 inputs"),
        (of([1.0], [2.0]), of([3.0], [4.0]), "gave 2 vectors for 1 inputs"),
    ],
)
def test_vectors_that_cannot_be_told_apart_are_a_fault_of_the_backend(
    first: EmbeddingResponse, second: EmbeddingResponse, told: str
) -> None:
    with pytest.raises(AttemptFailed) as failed:
        both(first, second)
    assert failed.value.problem.kind is ProblemKind.PROTOCOL
    assert failed.value.problem.message == told


def test_usage_that_is_partly_unknown_is_unknown() -> None:
    assert both(of([1.0], [2.0], usage=Usage(9, 0)), of([3.0])).usage is None


def test_usage_that_is_partly_estimated_is_estimated() -> None:
    told, guessed = Usage(1, 0), Usage(2, 0, is_estimated=True)
    answer = both(of([1.0], [2.0], usage=told), of([3.0], usage=guessed))
    assert answer.usage == Usage(3, 0, is_estimated=True)
