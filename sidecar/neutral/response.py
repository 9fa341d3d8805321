"""A whole answer in nobody's dialect."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.neutral.request import Opaque, Refusal, Text, Thinking, ToolCall
from sidecar.neutral.usage import Usage

AnswerPart = Text | Thinking | Refusal | ToolCall | Opaque


class StopReason(StrEnum):
    """Why a model stopped."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    MAX_TOKENS = "max_tokens"
    TOOL_CALLS = "tool_calls"
    REFUSAL = "refusal"
    PAUSE = "pause"  # a long turn is to be continued by asking again
    LOADED = "loaded"  # nothing was asked: the model is ready


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """What a model answered. `id` and `model` are empty where the backend does not say."""

    parts: tuple[AnswerPart, ...]
    stop: StopReason
    stop_sequence: str | None = None  # the matched one, where the backend says
    usage: Usage | None = None
    id: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class EmbeddingResponse:
    """Vectors in the order of the inputs."""

    vectors: tuple[Sequence[float], ...]
    model: str = ""
    usage: Usage | None = None
