"""Vectors: from one dialect to another, and of more texts than a backend takes at once."""

from collections.abc import Sequence

import pytest

from sidecar.dataplane.embedding import EmbeddingCrossing
from sidecar.dataplane.passage import Whole
from sidecar.neutral.problem import AttemptFailed, ProblemKind
from sidecar.neutral.request import EmbeddingRequest
from sidecar.neutral.usage import Usage
from sidecar.policy.batching import batches
from sidecar.wire import json
from sidecar.wire.contract import Dialect, Operation
from tests.sidecar.dataplane.crossings import OLLAMA, OPENAI, context
from tests.sidecar.dataplane.script import DONE, SSE_TYPE, Reply, open_passage, says

TEXTS = ("one", "two", "three")
ONE, HALF = "AACAPw==", "AAAAPw=="  # 1.0 and 0.5 as little-endian 32-bit floats


def crossing(
    backend: Dialect, client: Dialect, most: int | None = None, *, in_base64: bool = False
) -> EmbeddingCrossing:
    request = EmbeddingRequest(TEXTS, in_base64=in_base64)
    parts = batches(request, most)
    return EmbeddingCrossing(backend, client, request, parts, context(Operation.EMBED))


def openai(*vectors: object, tokens: int | None = 4) -> bytes:
    data = [{"index": place, "embedding": one} for place, one in enumerate(vectors)]
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens}}
    return json.dumps({"model": "e1", "data": data} | usage)


def ollama(*vectors: Sequence[float]) -> bytes:
    return json.dumps({"model": "e1", "embeddings": vectors, "prompt_eval_count": 4})


def answer(passage: EmbeddingCrossing, *bodies: bytes) -> Whole:
    """What the last of the bodies makes whole."""
    return [passage.whole(json.loads(body), body) for body in bodies][-1]


@pytest.mark.parametrize(
    ("backend", "body"),
    [(OLLAMA, ollama([1.0], [0.5], [1.0])), (OPENAI, openai([1.0], [0.5], [1.0]))],
)
@pytest.mark.parametrize(
    ("in_base64", "vectors"), [(False, [[1.0], [0.5], [1.0]]), (True, [ONE, HALF, ONE])]
)
def test_the_client_gets_vectors_as_it_asked_for_them(
    backend: Dialect, body: bytes, in_base64: bool, vectors: list[object]
) -> None:
    found = answer(crossing(backend, OPENAI, in_base64=in_base64), body)
    assert (found.usage, found.model) == (Usage(4, 0), "e1")
    told = json.loads(found.body)
    assert [one["embedding"] for one in told["data"]] == vectors
    assert told["usage"]["prompt_tokens"] == 4


def test_vectors_in_base64_are_read_too() -> None:
    found = answer(crossing(OPENAI, OLLAMA), openai(ONE, HALF, ONE))
    assert json.loads(found.body)["embeddings"] == [[1.0], [0.5], [1.0]]


def test_batches_become_one_answer_in_their_order() -> None:
    passage = crossing(OPENAI, OPENAI, most=2)
    first = openai([1.0], [2.0], tokens=3)
    assert answer(passage, first) == Whole(b""), "nothing is told before all of it is there"
    found = answer(passage, openai([3.0], tokens=5))
    told = json.loads(found.body)
    assert [one["embedding"] for one in told["data"]] == [[1.0], [2.0], [3.0]]
    assert [one["index"] for one in told["data"]] == [0, 1, 2]
    assert (found.usage, found.model) == (Usage(8, 0), "e1")


def test_usage_that_a_batch_does_not_tell_is_estimated_for_the_client_and_counted_for_nobody() -> (
    None
):
    passage = crossing(OPENAI, OPENAI, most=2)
    found = answer(passage, openai([1.0], [2.0]), openai([3.0], tokens=None))
    assert found.usage is None
    assert json.loads(found.body)["usage"]["prompt_tokens"] == 7


@pytest.mark.parametrize(
    ("most", "bodies"),
    [
        pytest.param(None, [openai([1.0], [2.0])], id="too few"),
        pytest.param(None, [openai([1.0], [2.0], [3.0], [4.0])], id="too many"),
        pytest.param(None, [openai([1.0], [2.0], ["x"])], id="no vector"),
        pytest.param(None, [openai([1.0], [2.0], "AAA=")], id="half a float"),
        pytest.param(2, [openai([1.0])], id="too few in the first batch"),
        pytest.param(2, [openai([1.0], [2.0]), openai()], id="none in the last batch"),
        pytest.param(None, [b"[]"], id="no object"),
        pytest.param(None, [b'{"error":"boom"}'], id="an error in disguise"),
    ],
)
def test_vectors_that_cannot_belong_to_the_texts_fail_the_attempt(
    most: int | None, bodies: list[bytes]
) -> None:
    with pytest.raises(AttemptFailed) as caught:
        answer(crossing(OPENAI, OLLAMA, most), *bodies)
    assert caught.value.problem.kind is ProblemKind.PROTOCOL


async def test_a_stream_is_no_vectors() -> None:
    reply = Reply(says("Hi"), says(finish="stop"), DONE, headers=SSE_TYPE)
    with pytest.raises(AttemptFailed, match="a stream instead of vectors"):
        await open_passage(reply, crossing(OPENAI, OLLAMA), False)
