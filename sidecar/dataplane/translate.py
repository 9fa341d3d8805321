"""A client's request on its way into other dialects: decoded once, encoded once for each target."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from sidecar.config.snapshot import Backend, UsageInStream
from sidecar.dataplane.intake import Inbound
from sidecar.neutral.problem import RequestRefused
from sidecar.neutral.request import (
    ChatRequest,
    EmbeddingRequest,
    Image,
    Loss,
    Message,
    Part,
    Remote,
    Role,
    Severity,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from sidecar.policy.estimate import Measure, estimated_usage, measure
from sidecar.policy.routing import Candidate
from sidecar.wire.contract import Dialect, Encoded, Feature, Target
from sidecar.wire.names import fitting_names


@dataclass(frozen=True, slots=True)
class Translated:
    """A request in a backend's dialect.

    `losses` are all of the way, the client's dialect's and the backend's; `original` gives the
    answer's tool calls the names that the client knows.
    """

    encoded: Encoded
    losses: tuple[Loss, ...]
    original: Mapping[str, str]


class Translation:
    """One request in the neutral form. Decoding raises RequestRefused."""

    def __init__(self, inbound: Inbound) -> None:
        self._inbound = inbound
        self._inlined: ChatRequest | None = None  # with its images fetched
        self._done: dict[tuple[str, Target], Translated] = {}  # by dialect and target

    @cached_property
    def _decoded(self) -> ChatRequest:
        inbound = self._inbound
        return inbound.dialect.decode_request(inbound.facts.operation, inbound.body)

    @property
    def request(self) -> ChatRequest:
        """What the client asked."""
        return self._inlined or self._decoded

    @cached_property
    def embedding(self) -> EmbeddingRequest:
        """What the client wants embedded."""
        codec = self._inbound.dialect.embeddings
        assert codec is not None  # it has an endpoint for them
        return codec.decode_request(self._inbound.body)

    @cached_property
    def measure(self) -> Measure:
        """How much the request is, for an estimate of its tokens."""
        return measure(self._inbound.body)

    @property
    def is_understood(self) -> bool:
        """Whether it can be decoded; a backend of its own dialect may take it all the same."""
        try:
            _ = self._decoded
        except RequestRefused:
            return False
        return True

    @property
    def points_to_images(self) -> bool:
        """Whether an image is still to be fetched."""
        messages = self.request.messages if self.is_understood else ()
        return any(_is_remote(part) for message in messages for part in message.parts)

    @property
    def says_nothing(self) -> bool:
        """Whether the client only wants a model to be loaded, and said nothing that could not be
        heard."""
        is_fatal = any(loss.severity is Severity.FATAL for loss in self.request.unheard)
        return not self.request.messages and not is_fatal

    def continued(self, opening: str) -> "Translation":
        """The same request with a beginning of its answer, from where a backend is to go on."""
        bound = self.request.max_tokens
        if bound is not None:
            bound = max(1, bound - estimated_usage(0, len(opening)).output_tokens)
        turn = Message(Role.ASSISTANT, (Text(opening),))
        onward = Translation(self._inbound)
        onward._inlined = replace(
            self.request, messages=(*self.request.messages, turn), max_tokens=bound
        )
        return onward

    def inline(self, request: ChatRequest) -> None:
        """Take the request with its images fetched."""
        self._inlined = request
        self._done.clear()

    def into(
        self,
        candidate: Candidate,
        backend: Backend,
        tokens: int,
        without: frozenset[Feature] = frozenset(),
    ) -> Translated:
        """The request for a candidate; `tokens` is its estimated size."""
        target = Target(
            model=candidate.model,
            stream=self._inbound.facts.stream,
            ask_usage=backend.quirks.usage_in_stream is UsageInStream.ON_REQUEST,
            max_output=candidate.max_output,
            context=candidate.context,
            estimate=tokens,
            continues=candidate.continues,
            traits=backend.traits,
            without=without,
        )
        key = (backend.dialect.name, target)
        if key not in self._done:
            self._done[key] = self._encode(backend.dialect, target)
        return self._done[key]

    def _encode(self, dialect: Dialect, target: Target) -> Translated:
        request = self.request
        fitting = fitting_names(_names(request), dialect.longest_tool_name)
        named = _renamed(request, fitting) if fitting else request
        encoded = dialect.encode_request(named, target)
        if encoded.expects is not None and target.stream:
            # what must be verified comes whole
            encoded = dialect.encode_request(named, replace(target, stream=False))
        original = {short: name for name, short in fitting.items()}
        return Translated(encoded, _distinct((*request.unheard, *encoded.losses)), original)

    def loses(self, candidate: Candidate, backend: Backend, tokens: int) -> bool:
        """Whether a candidate could not be told all that the request means."""
        if backend.dialect is self._inbound.dialect:
            return False
        if not self.is_understood:
            return True
        losses = self.into(candidate, backend, tokens).losses
        return any(loss.severity is not Severity.COSMETIC for loss in losses)


def _distinct(losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
    return tuple({(loss.field, loss.severity): loss for loss in losses}.values())


def _is_remote(part: Part) -> bool:
    match part:
        case Image(source=Remote()):
            return True
        case ToolResult(content=content):
            return any(_is_remote(piece) for piece in content)
        case _:
            return False


def _names(request: ChatRequest) -> list[str]:
    """The names of all tools that are offered or were called."""
    offered = [tool.name for tool in request.tools if isinstance(tool, Tool)]
    parts = (part for message in request.messages for part in message.parts)
    return offered + [part.name for part in parts if isinstance(part, ToolCall)]


def _renamed(request: ChatRequest, names: Mapping[str, str]) -> ChatRequest:
    """The request with the names of its tools as the backend takes them."""

    def part(one: Part) -> Part:
        return (
            replace(one, name=names.get(one.name, one.name)) if isinstance(one, ToolCall) else one
        )

    choice = request.tool_choice
    return replace(
        request,
        tools=tuple(
            replace(tool, name=names.get(tool.name, tool.name)) if isinstance(tool, Tool) else tool
            for tool in request.tools
        ),
        tool_choice=choice
        and ToolChoice(choice.choosing, names.get(choice.name or "", choice.name)),
        messages=tuple(
            Message(message.role, tuple(map(part, message.parts))) for message in request.messages
        ),
    )
