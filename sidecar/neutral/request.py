"""A chat request in nobody's dialect: messages built of parts, tools, and how to answer.

It is a superset of what the dialects say. What a dialect cannot put into it stands in `unheard`;
what another dialect cannot take out of it is a `Loss` of that dialect's encoder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Raw = Mapping[str, object]  # JSON as a dialect wrote it


class Severity(StrEnum):
    """What it means that a crossing cannot carry something."""

    COSMETIC = "cosmetic"  # the answer is still what was asked for
    SEMANTIC = "semantic"  # it may not be
    FATAL = "fatal"  # it cannot be: the request is not sent


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that a crossing could not carry: a field of the client's request, by its name."""

    field: str
    severity: Severity
    reason: str = ""  # for a FATAL one: a sentence that says why and what to do


# --- what messages are made of --------------------------------------------------------------------
# `cache` is a prompt-cache marker as its dialect wrote it; only that dialect's encoder writes it.


@dataclass(frozen=True, slots=True)
class Inline:
    """Bytes that came with the request, in base64."""

    media_type: str
    data: str


@dataclass(frozen=True, slots=True)
class Remote:
    """An address that the backend is to fetch."""

    url: str


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text."""

    text: str
    cache: Raw | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture."""

    source: Inline | Remote
    detail: str | None = None
    cache: Raw | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A file to read; `source` is a plain str where it came as text."""

    source: Inline | Remote | str
    name: str | None = None
    cache: Raw | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning of a model.

    `signature` proves it to the dialect `signed_by` (a dialect's name) and to nobody else;
    `redacted` reasoning has a signature and no text.
    """

    text: str
    signature: str | None = None
    signed_by: str | None = None
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model's words for not answering."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool. `arguments` is the text of a JSON object; a model may have got it wrong.

    A `custom` call takes free text: its arguments are {"input": text}.
    """

    id: str
    name: str
    arguments: str
    custom: bool = False
    cache: Raw | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call of that id."""

    call_id: str
    content: tuple["Text | Image | Document", ...]
    is_error: bool = False
    name: str | None = None  # of the tool, where the dialect says it
    cache: Raw | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """A part or tool that only its own dialect understands, as it came."""

    dialect: str
    kind: str  # its type in that dialect, to be named in a loss
    raw: Raw


Part = Text | Image | Document | Thinking | Refusal | ToolCall | ToolResult | Opaque


class Role(StrEnum):
    """Who speaks. The results of tools stand in messages of the user."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn, or a prompt of the system at its place."""

    role: Role
    parts: tuple[Part, ...]


# --- how to answer --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the client offers; `schema` describes the object it takes ({} where unsaid)."""

    name: str
    description: str | None = None
    schema: Raw = field(default_factory=dict)
    strict: bool | None = None
    custom: bool = False  # takes free text; its schema then asks for {"input": text}
    origin: tuple[str, str] | None = None  # namespace and name, where its dialect groups tools
    cache: Raw | None = None


class Choosing(StrEnum):
    """Whether the model calls tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """How the model chooses its tools; `name` where it must call that one."""

    choosing: Choosing
    name: str | None = None


@dataclass(frozen=True, slots=True)
class JsonOutput:
    """The answer is to be a JSON object; of a schema where there is one."""

    schema: Raw | None = None
    name: str | None = None
    strict: bool | None = None
    description: str | None = None


class Effort(StrEnum):
    """How much a model reasons, in the order of growing effort."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


_EFFORT_OF_BUDGET = (
    (10_000, Effort.HIGH), (5_000, Effort.MEDIUM), (2_000, Effort.LOW), (1, Effort.MINIMAL),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How the model is to reason: by effort, by a budget in tokens, or (both None) as it likes."""

    effort: Effort | None = None
    budget: int | None = None
    summary: str | None = None  # how its reasoning is told: auto, concise, detailed

    @property
    def level(self) -> Effort | None:
        """The effort, or the one that the budget comes near to; None leaves it to the model."""
        if self.effort is not None or self.budget is None:
            return self.effort
        near = (effort for least, effort in _EFFORT_OF_BUDGET if self.budget >= least)
        return next(near, Effort.NONE)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; None leaves it to the backend."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float | None = None
    logit_bias: Raw | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for an answer. System prompts are messages at their places."""

    messages: tuple[Message, ...]
    model: str | None = None
    stream: bool = False
    tools: tuple[Tool | Opaque, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    output: JsonOutput | None = None
    reasoning: Reasoning | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    user: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    unheard: tuple[Loss, ...] = ()

    @property
    def marks_cache(self) -> bool:
        """Whether a tool, or a part at any depth, says where a cached prompt ends."""
        parts = [part for message in self.messages for part in message.parts]
        held = [piece for part in parts if isinstance(part, ToolResult) for piece in part.content]
        return any(getattr(one, "cache", None) is not None for one in (*self.tools, *parts, *held))


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to embed. `in_base64` asks for little-endian 32-bit floats in base64."""

    inputs: tuple[str, ...]
    model: str | None = None
    dimensions: int | None = None
    in_base64: bool = False
    single: bool = False  # the input was one text, not a list
    legacy: bool = False  # asked in a dialect's older shape, and to be answered in it
    unheard: tuple[Loss, ...] = ()
