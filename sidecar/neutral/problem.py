"""What went wrong, in nobody's dialect, and the exceptions that carry it.

SidecarError            has .problem
├── RequestRefused      the client must change something; no backend was tried
├── AttemptFailed       one backend failed, before or after content reached the client
└── Exhausted           every attempt failed; keeps the history
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ProblemKind(StrEnum):
    """Whose fault it was, and how. Every policy reads the same kinds."""

    # a backend's
    CONNECT = "connect"  # refused or reset before the head of an answer
    DNS = "dns"
    TLS = "tls"
    BACKEND_ERROR = "backend_error"  # 5xx, or an error object where an answer should be
    MODEL_FAILED = "model_failed"  # it could not be loaded, or what ran it has died
    OVERLOADED = "overloaded"  # 503, 529
    TIMEOUT = "timeout"  # silent: no connection, no first token, a gap, or never an end
    HURRIED = "hurried"  # no token in its share of a time that is shorter than its own limit
    PROTOCOL = "protocol"  # not what the dialect promises: HTML, junk, nothing, too much
    TRUNCATED = "truncated"  # cut before its terminal marker
    UNMET = "unmet"  # the model did not do what it was made to: no JSON, not of the schema, no call
    DIVERGED = "diverged"  # not the answer that the client has begun to read
    UNSUPPORTED = "unsupported"  # a feature was refused that the request can do without
    RATE_LIMITED = "rate_limited"
    BACKEND_AUTH = "backend_auth"  # our own credential was refused
    # the client's
    CLIENT_AUTH = "client_auth"  # a credential forwarded from the client was refused
    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    UNKNOWN_MODEL = "unknown_model"
    CONTEXT_LENGTH = "context_length"
    CONTENT_REFUSED = "content_refused"
    FORBIDDEN = "forbidden"
    CANNOT_TRANSLATE = "cannot_translate"  # this backend's dialect has no words for it
    CLIENT_GONE = "client_gone"
    # ours, or nobody's
    NOT_LOCAL = "not_local"  # `stay: local` and the name resolved to a public address
    UNAVAILABLE = "unavailable"  # no target may be asked now
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    LOOP = "loop"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Overflow:
    """The numbers of a request that is too long, in tokens; None for what the backend kept back.

    `requested` is what was sent and, where the backend adds it, the room for the answer; `output`
    is that room alone; `excess` is what is too much.
    """

    limit: int | None = None
    requested: int | None = None
    output: int | None = None
    excess: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `message` is for people and never holds a secret.

    `status` overrides the status that the dialect would choose for the kind; `code` is the
    machine-readable name of a refusal; `param` the field at fault; `retry_after` is in seconds;
    `raw` is the body of the backend's own answer when it was one the client can read. `quotes`
    tells that the message repeats a backend's words, which may repeat a prompt: it is for the
    client, not for the log. `unreached` tells of a time-out that nobody had even taken the call.
    `setting` is the key of a backend's configuration that may be wrong,
    such as `timeouts.first_token`; `advice` says what to do next; `extension` is what machines are
    told beside the message, in every shape of an error.
    """

    kind: ProblemKind
    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    quotes: bool = False
    unreached: bool = False
    overflow: Overflow | None = None
    setting: str | None = None
    advice: str | None = None
    extension: Mapping[str, object] | None = None

    @property
    def in_our_words(self) -> str:
        """The message without anything that a backend wrote."""
        if not self.quotes:
            return self.message
        return f"{self.code or self.kind} (the backend's words are not repeated here)"


CUT_OFF = Problem(ProblemKind.TRUNCATED, "ended its stream before the answer was complete")


class SidecarError(Exception):
    """Base of the exceptions that carry a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class RequestRefused(SidecarError):
    """The client must change something or come back later; no backend was tried."""


class AttemptFailed(SidecarError):
    """One backend failed; whether content had reached the client, its answer knows."""


class Exhausted(SidecarError):
    """Nothing is left to try; `problem` is what the client is told."""
