"""What tests of this dialect share: the context of an answer, and a small picture."""

from itertools import count

from sidecar.neutral.request import ChatRequest
from sidecar.wire.contract import AnswerContext, Operation, RequestFacts

CREATED = 1_700_000_000  # 2023-11-14T22:13:20Z
PNG = (  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def answering(
    operation: Operation = Operation.CHAT, *, model: str = "qwen3", estimate: int = 7
) -> AnswerContext:
    """An answer that is told half a second later at each look at the clock."""
    ids, looks = count(1), count(1)
    return AnswerContext(
        facts=RequestFacts(operation, stream=True, wants_usage=True),
        request=ChatRequest(()),
        created=CREATED,
        elapsed=lambda: next(looks) / 2,
        new_id=lambda: f"new{next(ids)}",
        estimate=estimate,
        model=model,
    )
