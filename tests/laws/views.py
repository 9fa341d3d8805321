"""What of a request or an answer must survive a crossing, in a form that can be compared.

Two dialects say one thing in different ways: one text or several, system or developer, an error
flagged or told in words. A view takes those differences out, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import fields, replace

from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    Image,
    Inline,
    Message,
    Part,
    Refusal,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from sidecar.neutral.response import ChatResponse, StopReason
from sidecar.neutral.turns import alternating, regrouped
from sidecar.neutral.usage import Usage
from sidecar.wire import json
from sidecar.wire.names import original_id

# --- requests -------------------------------------------------------------------------------------


def wishes(request: ChatRequest) -> dict[str, object]:
    """What a request says, by the names that losses use."""
    choice = request.tool_choice
    offered = [_tool(tool) for tool in request.tools if isinstance(tool, Tool)]
    if choice is not None and choice.choosing is Choosing.NONE:  # as if there were none
        offered = []
    if choice is not None and choice.choosing is Choosing.AUTO:  # the same as to say nothing
        choice = None
    said: dict[str, object] = {
        "messages": conversation(request.messages),
        "tools": sorted(offered),
        "tool_choice": (choice.choosing, choice.name) if choice and offered else None,
        "parallel_tool_calls": request.parallel_tool_calls is False and bool(offered),
        "response_format": request.output and shape(request.output.schema or {}),
        "thinking": _reasons(request),
        "max_tokens": request.max_tokens,
        "stop_sequences": set(request.stop),
        "user": request.user,
    }
    defaults = {"top_p": 1, "min_p": 0, "frequency_penalty": 0, "presence_penalty": 0}
    defaults |= {"repeat_penalty": 1}
    for one in fields(Sampling):
        value = getattr(request.sampling, one.name)
        said[one.name] = None if value == defaults.get(one.name) else value
    return said


def _reasons(request: ChatRequest) -> bool:
    # to say nothing and to say no are the same where thinking has to be asked for
    return request.reasoning is not None and request.reasoning.effort is not Effort.NONE


def _tool(tool: Tool) -> tuple[str, str, bytes]:
    return tool.name, tool.description or "", json.dumps(shape(tool.schema))


def shape(schema: Mapping[str, object]) -> object:
    """What a schema asks for: some vendors want it closed, or written out where it is empty."""
    told = schema.get("properties")
    return sorted(told) if isinstance(told, dict) else []


def conversation(messages: tuple[Message, ...]) -> list[tuple[Role, list[object]]]:
    """Who says what, calls and results tied by their places instead of ids."""
    turns = alternating(
        [
            replace(turn, role=Role.SYSTEM if turn.role is Role.DEVELOPER else turn.role)
            for turn in regrouped(messages)
        ]
    )
    places: dict[str, int] = {}
    told = []
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, ToolCall):
                places[original_id(part.id)] = len(places)
        said = [one for part in turn.parts for one in _said(part, places)]
        told.append((turn.role, _joined(said)))
    return told


def _said(part: Part, places: Mapping[str, int]) -> list[object]:
    match part:
        case Text(text) | Refusal(text):
            return [text]
        case Image(Inline(media_type, data)):
            return [(media_type, data)]
        case ToolCall(id, name, arguments):
            return [(places[original_id(id)], name, parsed(arguments))]
        case ToolResult(call_id, content, is_error):
            text = "".join(one.text for one in content if isinstance(one, Text))
            is_told = is_error and not text.startswith("Error: ")
            return [(places[original_id(call_id)], f"Error: {text}" if is_told else text)]
        case Thinking():
            return []  # it has laws of its own
        case _:
            return [part]


def _joined(said: list[object]) -> list[object]:
    """Neighbouring words are one text."""
    joined: list[object] = []
    for one in said:
        if joined and isinstance(one, str) and isinstance(last := joined[-1], str):
            joined[-1] = last + one
        else:
            joined.append(one)
    return joined


def parsed(arguments: str) -> object:
    """The arguments of a call; none at all are an empty object."""
    return json.loads(arguments) if arguments.strip() else {}


# --- answers --------------------------------------------------------------------------------------


def answer(response: ChatResponse, dialect: str) -> dict[str, object]:
    """What of an answer a client of the dialect is told."""
    said: list[object] = []
    for part in response.parts:
        match part:
            case Thinking(redacted=True) if dialect in NO_REDACTED:
                pass
            case Thinking():
                own = part.signature if part.signed_by == dialect else None
                said.append(("thinking", part.text, own))
            case Refusal(text) if dialect not in NO_REFUSAL:
                said.append(("refusal", text))
            case Text(text) | Refusal(text):
                said.append(text)
            case ToolCall(id, name, arguments):
                said.append((id, name, parsed(arguments)))
            case _:
                said.append(part)
    stop = NO_STOP.get(dialect, {}).get(response.stop, response.stop)
    return {
        "said": _joined(said),
        "stop": stop,
        "stop_sequence": response.stop_sequence if stop is StopReason.STOP_SEQUENCE else None,
        "usage": response.usage and usage(response.usage, dialect),
        "model": response.model,
    }


def usage(told: Usage, dialect: str) -> Usage:
    """The tokens without the parts that a dialect cannot tell."""
    kept = {
        one.name: getattr(told, one.name)
        for one in fields(Usage)
        if one.name not in NO_USAGE.get(dialect, ())
    }
    return Usage(**kept)


# What clients of a dialect cannot be told: the losses of answers.
NO_REDACTED = {"ollama"}
NO_REFUSAL = {"anthropic", "ollama"}  # it is told as text
NO_STOP: Mapping[str, Mapping[StopReason, StopReason]] = {
    "ollama": {
        StopReason.STOP_SEQUENCE: StopReason.END,
        StopReason.REFUSAL: StopReason.END,
        StopReason.PAUSE: StopReason.END,
    },
    "openai": {StopReason.PAUSE: StopReason.END},
    "openai-responses": {
        StopReason.STOP_SEQUENCE: StopReason.END,
        StopReason.PAUSE: StopReason.END,
    },
}
_DETAILS = ("cached_input_tokens", "reasoning_output_tokens", "cache_write_input_tokens")
NO_USAGE: Mapping[str, tuple[str, ...]] = {
    "ollama": _DETAILS,
    "toy": _DETAILS,
}
