"""What a dialect must provide: one total record of functions, no optional methods.

A dialect never does I/O. Between equal dialects bytes are relayed: it reads a request far enough
to route it, splices what must change, and listens to the answer through a tap. Between different
ones it decodes into the neutral form and encodes out of it. It speaks errors in its own shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from sidecar.neutral.events import Event
from sidecar.neutral.problem import Problem
from sidecar.neutral.request import ChatRequest, EmbeddingRequest, Loss
from sidecar.neutral.response import ChatResponse, EmbeddingResponse
from sidecar.neutral.usage import Usage
from sidecar.wire.framing import Framing
from sidecar.wire.json import Json


class Operation(StrEnum):
    """What a request asks for; a label in metrics."""

    CHAT = "chat"
    COMPLETION = "completion"  # one prompt in, one text out
    EMBED = "embed"
    COUNT = "count"  # the tokens of a request that is not answered
    SHOW = "show"  # what is known of one model, asked for in a body
    MODELS = "models"
    OPAQUE = "opaque"


class Feature(StrEnum):
    """What a request can do without where a backend refuses it.

    It is the `param` of an UNSUPPORTED problem.
    """

    SIGNED_THINKING = "signed_thinking"  # thinking in the history, signed by another backend
    THINKING = "thinking"  # the wish that the model thinks
    EFFORT = "effort"  # an effort that the model does not know
    SAMPLING = "sampling"  # how tokens are drawn
    USAGE_IN_STREAM = "usage_in_stream"
    MAX_TOKENS = "max_tokens"  # a bound on the answer that is larger than the room


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
    wants_usage: bool = False  # the client asked for usage in the stream, or always gets it
    choices: int = 1  # alternative answers asked for
    old_calls: bool = False  # tools came in the dialect's older form; calls are told in it


@dataclass(frozen=True, slots=True)
class RequestPatch:
    """What to splice into a request that is otherwise relayed byte for byte."""

    model: str | None = None  # None leaves the name as it stands
    ask_usage: bool = False
    without: frozenset[Feature] = frozenset()


# --- relaying -------------------------------------------------------------------------------------


class Reading(Enum):
    """What one frame of a stream says."""

    GREETING = "greeting"  # role, ping, empty delta: says nothing yet
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"  # a frame that carries usage and nothing else
    DONE = "done"  # nothing follows
    COMMENT = "comment"
    FAILURE = "failure"
    MALFORMED = "malformed"


class Tap(Protocol):
    """Reads the frames of one stream and says what the client gets in their place.

    Between equal dialects that is the frame itself, unless it is junk, was not asked for, or is so
    far off its dialect that clients would misread it.
    """

    usage: Usage | None
    model: str | None
    problem: Problem | None  # set when a frame read as FAILURE

    @property
    def finished(self) -> bool:
        """The terminal marker was seen: the answer is whole."""
        ...

    def read(self, frame: bytes) -> tuple[Reading, bytes]:
        """What a frame says, and what the client gets for it, if anything; never raises."""
        ...

    def end(self) -> bytes:
        """What the client gets behind the last frame of an answer that is whole."""
        ...

    def fail(self, problem: Problem) -> bytes:
        """The event that ends the client's stream honestly, wherever it stands now."""
        ...


# --- crossing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traits:
    """How a vendor reads its dialect where vendors differ; from its preset."""

    max_tokens: str = "max_tokens"  # the field that bounds an answer (OpenAI chat)
    reasoning: str | None = None  # the field of a message that takes thinking back (OpenAI chat)
    more_sampling: bool = False  # takes top_k, min_p, repetition_penalty (OpenAI chat)
    reasoning_effort: bool = True  # takes reasoning_effort (OpenAI chat)
    signs_calls: bool = False  # refuses calls of the past without a signature (OpenAI chat)
    late_system: bool = False  # takes system messages anywhere, not one in front (OpenAI chat)
    continue_final: bool = False  # goes on from a turn of the assistant when told to (OpenAI chat)


@dataclass(frozen=True, slots=True)
class Target:
    """For whom a request is encoded."""

    model: str | None  # the name at the backend; None: its own default
    stream: bool
    ask_usage: bool = True  # usage in streams comes only when it is asked for
    max_output: int | None = None  # tokens that the model can write, where known
    context: int | None = None  # tokens that it can read and write, where known
    estimate: int = 0  # tokens of the request, estimated
    continues: bool = False  # it is known to go on from a turn of the assistant
    traits: Traits = Traits()
    without: frozenset[Feature] = frozenset()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an answer must hold because its backend was only asked, not made, to give it."""

    is_json: bool = False
    schema: Json | None = None
    calls: bool = False  # a tool; `tool` where a certain one
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """A request in a backend's dialect, and what did not get into it."""

    body: Json
    losses: tuple[Loss, ...] = ()
    expects: Expectation | None = None


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What a crossing answer needs to know beside itself."""

    facts: RequestFacts  # of the client's request
    request: ChatRequest
    created: int  # seconds since the epoch
    elapsed: Callable[[], float]  # seconds since the request came
    new_id: Callable[[], str]  # a unique id in letters and digits, without a prefix
    estimate: int = 0  # tokens of the request, estimated
    model: str = ""  # what was asked of the backend; reported where it names none


class StreamDecoder(Protocol):
    """Frames of a backend → events in legal order. One per answer."""

    malformed: int  # frames that were skipped because they say nothing

    @property
    def finished(self) -> bool:
        """The terminal marker was seen. MessageEnd may still wait for usage."""
        ...

    def read(self, frame: bytes) -> list[Event]:
        """The events that a frame completes; never raises."""
        ...

    def close(self) -> list[Event]:
        """The input has ended: what was held back, with MessageEnd or StreamFailed at the end.

        Nothing where one of the two has come already.
        """
        ...


class StreamEncoder(Protocol):
    """Events in legal order → what a client gets. One per answer."""

    def encode(self, event: Event) -> bytes:
        """Frames for an event; none where the dialect has nothing to say for it.

        StreamFailed is told at any moment, behind any event.
        """
        ...


@dataclass(frozen=True, slots=True)
class Resumed:
    """A stream that broke, read back from what the client has of it."""

    events: tuple[Event, ...]  # in legal order
    encoder: StreamEncoder  # stands where the stream does: what it encodes next goes on from there


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A dialect's embeddings. `decode_request` raises RequestRefused, `decode_response`
    AttemptFailed."""

    decode_request: Callable[[Json], EmbeddingRequest]
    encode_request: Callable[[EmbeddingRequest, Target], Encoded]
    decode_response: Callable[[Json], EmbeddingResponse]
    encode_response: Callable[[EmbeddingResponse, EmbeddingRequest, AnswerContext], Json]


# --- models ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model: a name that clients may ask for, or what a backend lists.

    `capabilities` are Ollama's words: completion, tools, vision, thinking, embedding, insert;
    None where nothing is known.
    """

    id: str
    owned_by: str = ""
    created: int = 0  # seconds since the epoch
    context: int | None = None  # tokens
    max_output: int | None = None  # tokens
    capabilities: frozenset[str] | None = None
    family: str = ""
    parameters: str = ""  # how many, such as 8.0B
    quantization: str = ""
    size: int = 0  # bytes
    digest: str = ""


# --- health ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Probe:
    """What a backend is asked, for free, to see whether it is well; the path is as those above.

    `check` raises ValueError where the JSON of a 200 is not what the dialect promises; None where
    an answer need hold nothing.
    """

    method: str
    path: str
    check: Callable[[object], object] | None


BARE_PROBE = Probe("HEAD", "", None)  # for a dialect that offers nothing for free


# --- the record -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format of requests, answers, streams and errors."""

    name: str
    marker: str | None  # the request header that tells this dialect's clients on a shared path
    territory: Sequence[str]  # starts of the paths whose errors are worded in this dialect
    endpoints: Mapping[str, Operation]  # client paths of the POST operations
    listings: Mapping[str, Callable[[Sequence[ModelEntry]], Json | str]]  # GET path → its page
    model_path: str | None  # GET: what stands before a model's name
    managing: Sequence[str]  # starts of paths that change a backend's models
    stored: Sequence[str]  # starts of paths to what a backend has kept of earlier requests
    exposed: frozenset[str]  # of all these, what the public listener offers, `model_path` too
    backend_paths: Mapping[Operation, str]  # relative to a backend's base URL
    probe: Probe
    base_prefix: str  # what a base URL already holds of a client's path: "/v1" or nothing
    known_suffixes: Sequence[str]  # paths that people paste at the end of a base URL
    framing: Framing
    backend_headers: Mapping[str, str]  # sent where the client did not bring them
    bound_field: str  # what bounds the length of an answer to CHAT
    error_within: str | None  # the member of an error body that holds the error, if any
    own_headers: Sequence[str]  # starts of the headers that only this dialect's backends may see
    key_header: str  # where a key goes: authorization (as a bearer token) or another header
    longest_tool_name: int
    takes_image_urls: bool  # its backends fetch images that a request only points to
    counted_fields: frozenset[str]  # of a CHAT request, what its COUNT takes

    facts: Callable[[Operation, object, RequestLimits], RequestFacts]  # raises RequestRefused
    patch: Callable[[bytes, RequestPatch], bytes]
    # a 200: an answer, or an error in disguise
    judge: Callable[[Operation, object], Problem | None]
    usage: Callable[[Json], Usage | None]
    tap: Callable[[RequestFacts], Tap]
    unfold: Callable[[Json, RequestFacts], Sequence[bytes]]  # whole answer → frames of a stream
    fold: Callable[[Sequence[bytes]], Json]  # frames of a finished stream → whole answer

    decode_request: Callable[[Operation, Json], ChatRequest]  # raises RequestRefused
    encode_request: Callable[[ChatRequest, Target], Encoded]  # CHAT at the backend; never raises
    decode_response: Callable[[Json, AnswerContext], ChatResponse]  # of CHAT; after `judge`
    encode_response: Callable[[ChatResponse, AnswerContext], Json]
    stream_decoder: Callable[[AnswerContext], StreamDecoder]  # of CHAT
    stream_encoder: Callable[[AnswerContext], StreamEncoder]
    # of CHAT: the frames that a client has; None where nothing can go on from there
    resume: Callable[[Sequence[bytes], AnswerContext], Resumed | None]
    embeddings: Embeddings | None
    decode_count: Callable[[Json], int | None]
    encode_count: Callable[[int], Json]

    decode_error: Callable[[int, bytes], Problem]
    encode_error: Callable[[Problem], tuple[int, bytes]]
    decode_models: Callable[[object], Sequence[ModelEntry]]  # raises ValueError
    learn_model: Callable[[ModelEntry, Json], ModelEntry]  # adds what SHOW tells
    encode_model: Callable[[ModelEntry], Json]
