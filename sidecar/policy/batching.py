"""Embedding more texts than a backend takes at once: in batches, merged in order."""

from collections.abc import Sequence
from dataclasses import replace

from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import EmbeddingRequest
from sidecar.neutral.response import EmbeddingResponse
from sidecar.neutral.usage import Usage


def batches(request: EmbeddingRequest, most: int | None) -> tuple[EmbeddingRequest, ...]:
    """The request in parts of at most `most` inputs; whole where the backend sets no limit."""
    if most is None or len(request.inputs) <= most:
        return (request,)
    return tuple(
        replace(request, inputs=request.inputs[start : start + most])
        for start in range(0, len(request.inputs), most)
    )


def merged(
    asked: Sequence[EmbeddingRequest], answers: Sequence[EmbeddingResponse]
) -> EmbeddingResponse:
    """The answers to batches as one, in the order of the batches.

    Raises AttemptFailed where one holds another number of vectors than it was asked for: nobody
    could tell which vector belongs to which text.
    """
    for batch, answer in zip(asked, answers, strict=True):
        if len(answer.vectors) != len(batch.inputs):
            told = f"gave {len(answer.vectors)} vectors for {len(batch.inputs)} inputs"
            raise AttemptFailed(Problem(ProblemKind.PROTOCOL, told))
    return EmbeddingResponse(
        vectors=tuple(vector for answer in answers for vector in answer.vectors),
        model=next((answer.model for answer in answers if answer.model), ""),
        usage=_summed([answer.usage for answer in answers]),
    )


def _summed(usages: Sequence[Usage | None]) -> Usage | None:
    """All usage together; None where a part is missing, for the sum would be too small."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < len(usages):
        return None
    return Usage(
        input_tokens=sum(usage.input_tokens for usage in known),
        output_tokens=sum(usage.output_tokens for usage in known),
        cached_input_tokens=sum(usage.cached_input_tokens for usage in known),
        reasoning_output_tokens=sum(usage.reasoning_output_tokens for usage in known),
        cache_write_input_tokens=sum(usage.cache_write_input_tokens for usage in known),
        is_estimated=any(usage.is_estimated for usage in known),
    )
