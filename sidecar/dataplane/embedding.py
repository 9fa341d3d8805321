"""Embeddings that cross from one dialect to another, or come in batches."""

from collections.abc import Sequence

from sidecar.dataplane.passage import Whole
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.neutral.request import EmbeddingRequest
from sidecar.neutral.response import EmbeddingResponse
from sidecar.policy.batching import merged
from sidecar.wire import json
from sidecar.wire.contract import AnswerContext, Dialect, Embeddings, Operation, RequestFacts, Tap


class EmbeddingCrossing:
    """The answers to the batches of one request, put together in the order in which they come."""

    is_relay = False
    asks_stream = False

    def __init__(
        self,
        backend: Dialect,
        client: Dialect,
        request: EmbeddingRequest,
        batches: Sequence[EmbeddingRequest],
        ctx: AnswerContext,
    ) -> None:
        assert backend.embeddings is not None and client.embeddings is not None
        self.dialect = backend
        self._backend: Embeddings = backend.embeddings
        self._client: Embeddings = client.embeddings
        self._request = request
        self._batches = batches
        self._ctx = ctx
        self._answers: list[EmbeddingResponse] = []

    def tap(self) -> Tap:
        """Nobody streams vectors; a backend that does is read to its end and refused."""
        return self.listener()

    def listener(self) -> Tap:
        """See `tap`."""
        return self.dialect.tap(RequestFacts(Operation.EMBED))

    def whole(self, parsed: object, body: bytes) -> Whole:
        """All vectors so far, with those of one more batch. Raises AttemptFailed."""
        if problem := self.dialect.judge(Operation.EMBED, parsed):
            raise AttemptFailed(problem)
        assert isinstance(parsed, dict)  # `judge` has seen it
        self._answers.append(self._backend.decode_response(parsed))
        total = merged(self._batches[: len(self._answers)], self._answers)
        if len(self._answers) < len(self._batches):
            return Whole(b"")
        told_client = self._client.encode_response(total, self._request, self._ctx)
        return Whole(json.dumps(told_client), total.usage, total.model or None)

    def fold(self, frames: Sequence[bytes], tap: Tap) -> Whole:
        """Raises AttemptFailed: vectors are no stream."""
        raise AttemptFailed(Problem(ProblemKind.PROTOCOL, "answered a stream instead of vectors"))

    def unfold(self, whole: Whole) -> Sequence[bytes]:
        """Nobody asks for a stream of vectors."""
        return (whole.body,)
