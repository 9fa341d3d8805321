"""What a dialect must provide: one total record of functions, no optional methods.

A dialect never does I/O. It reads requests far enough to route them, splices what must change,
listens to relayed streams through a tap, and speaks errors in its own shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from sidecar.neutral.problem import Problem
from sidecar.neutral.usage import Usage
from sidecar.wire.json import Json


class Operation(StrEnum):
    """What a request asks for; a label in metrics."""

    CHAT = "chat"
    COMPLETION = "completion"
    EMBED = "embed"
    MODELS = "models"
    OPAQUE = "opaque"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds on one request; sizes in bytes."""

    body: int
    messages: int
    content: int
    header: int


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What routing needs to know of a request, read without decoding the rest."""

    operation: Operation
    model: str | None = None
    stream: bool = False
    wants_usage: bool = False  # the client asked for usage in the stream
    choices: int = 1  # alternative answers asked for


@dataclass(frozen=True, slots=True)
class RequestPatch:
    """What to splice into a request that is otherwise relayed byte for byte."""

    model: str | None = None  # None leaves the name as it stands
    ask_usage: bool = False


class Reading(Enum):
    """What one frame of a relayed stream says."""

    GREETING = "greeting"  # role, ping, empty delta: says nothing yet
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"  # a frame that carries usage and nothing else
    DONE = "done"
    COMMENT = "comment"
    FAILURE = "failure"
    MALFORMED = "malformed"


class Tap(Protocol):
    """Listens to the frames of one relayed stream; changes nothing."""

    usage: Usage | None
    model: str | None
    problem: Problem | None  # set when a frame read as FAILURE

    @property
    def finished(self) -> bool:
        """The terminal marker was seen: the answer is whole."""
        ...

    def read(self, frame: bytes) -> Reading:
        """What a frame says; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One name that clients may ask for."""

    id: str
    owned_by: str
    created: int  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format of requests, answers, streams and errors."""

    name: str
    endpoints: Mapping[str, Operation]  # client paths of the POST operations
    backend_paths: Mapping[Operation, str]  # relative to a backend's base URL
    known_suffixes: Sequence[str]  # paths that people paste at the end of a base URL

    facts: Callable[[Operation, object, RequestLimits], RequestFacts]  # raises RequestRefused
    patch: Callable[[bytes, RequestPatch], bytes]

    judge: Callable[
        [Operation, object], Problem | None
    ]  # a 200: an answer, or an error in disguise
    usage: Callable[[Json], Usage | None]
    tap: Callable[[RequestFacts], Tap]
    stream_done: bytes  # the frame that a finished stream ends with
    unfold: Callable[[Json, RequestFacts], Sequence[bytes]]  # whole answer → frames of a stream
    fold: Callable[[Sequence[bytes]], Json]  # frames of a finished stream → whole answer

    decode_error: Callable[[int, bytes], Problem]
    encode_error: Callable[[Problem, Mapping[str, object] | None], tuple[int, bytes]]
    fail_stream: Callable[[Problem], bytes]
    encode_models: Callable[[Sequence[ModelEntry]], Json]
    encode_model: Callable[[ModelEntry], Json]
