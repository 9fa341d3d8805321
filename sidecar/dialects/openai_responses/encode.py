"""The neutral form → a request to a backend. Nothing is stored there."""

from dataclasses import replace

from sidecar.dialects.openai_responses import settings
from sidecar.dialects.openai_responses.encode_input import InputWriter
from sidecar.dialects.openai_responses.items import ENCRYPTED, NAME
from sidecar.neutral.request import (
    ChatRequest,
    Effort,
    Loss,
    Message,
    Opaque,
    Role,
    Severity,
    Text,
    Thinking,
    Tool,
)
from sidecar.wire.contract import Encoded, Feature, Target
from sidecar.wire.effort import common_effort
from sidecar.wire.json import Json
from sidecar.wire.names import fitting_user
from sidecar.wire.schema import is_strict
from sidecar.wire.signature import is_signed_by

_LEAST_OUTPUT = 16  # tokens; the vendor refuses a lower bound
_LONGEST_USER = 64  # characters of `safety_identifier`
_TIERS = ("auto", "default", "flex", "priority", "scale")
_UNSAID = (
    "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "repeat_penalty",
    "logit_bias",
)  # fmt: skip
_IN_JSON: Json = {
    "type": "message",
    "role": "system",
    "content": [{"type": "input_text", "text": "Answer with a JSON object."}],
}
_NOTHING_SAID: Json = {  # an empty `input` is refused
    "type": "message",
    "role": "user",
    "content": [{"type": "input_text", "text": "(continue)"}],
}


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The request for a backend."""
    losses: list[Loss] = []
    request = _loosened(request, losses)
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    body.update(_input(request, target, losses))
    body.update(_tools(request, losses))
    body.update(_reasoning(request, target, losses))
    if text := settings.text(request):
        body["text"] = text
    body.update(_bounds(request, target, losses))
    body.update(_account(request, losses))
    body["store"] = False
    if target.stream:
        body["stream"] = True
    losses += [
        Loss(name, Severity.COSMETIC)
        for name in _UNSAID
        if getattr(request.sampling, name) is not None
    ]
    if request.marks_cache:
        losses.append(Loss("cache_control", Severity.COSMETIC))
    if request.stop:
        losses.append(Loss("stop_sequences", Severity.SEMANTIC))
    return Encoded(body, tuple(losses))


def _loosened(request: ChatRequest, losses: list[Loss]) -> ChatRequest:
    """The request that is strict only about schemas that the vendor can be strict about."""
    output, tools = request.output, list(request.tools)
    if output is not None and output.strict and not is_strict(output.schema):
        output = replace(output, strict=False)
    for place, tool in enumerate(tools):
        if isinstance(tool, Tool) and tool.strict and not is_strict(tool.schema):
            tools[place] = replace(tool, strict=False)
    if tools != list(request.tools):
        losses.append(Loss("strict", Severity.SEMANTIC))
    return replace(request, output=output, tools=tuple(tools))


def _input(request: ChatRequest, target: Target, losses: list[Loss]) -> dict[str, object]:
    messages = request.messages
    told: dict[str, object] = {}
    if (instructions := _instructions(messages)) is not None:
        told["instructions"] = instructions
        messages = messages[1:]
    writer = InputWriter(request, Feature.SIGNED_THINKING not in target.without)
    told["input"] = writer.write(messages)
    if request.output is not None and request.output.schema is None and not _tells_json(messages):
        writer.items.append(_IN_JSON)
    if not writer.items:
        writer.items.append(_NOTHING_SAID)
    losses += writer.losses
    if messages and _is_prefill(messages[-1]):
        losses.append(Loss("prefill", Severity.SEMANTIC))
    return told


def _instructions(messages: tuple[Message, ...]) -> str | None:
    """The text of a system prompt that stands alone at the beginning, and not for everything."""
    if len(messages) < 2 or messages[0].role is not Role.SYSTEM:
        return None
    if messages[1].role in (Role.SYSTEM, Role.DEVELOPER):
        return None
    texts = [part.text for part in messages[0].parts if isinstance(part, Text)]
    return "\n\n".join(texts) if len(texts) == len(messages[0].parts) else None


def _tells_json(messages: tuple[Message, ...]) -> bool:
    """Whether the input speaks of JSON, without which the vendor refuses to write any."""
    return any(
        "json" in part.text.casefold()
        for message in messages
        for part in message.parts
        if isinstance(part, Text)
    )


def _is_prefill(last: Message) -> bool:
    return last.role is Role.ASSISTANT and bool(last.parts) and isinstance(last.parts[-1], Text)


def _tools(request: ChatRequest, losses: list[Loss]) -> dict[str, object]:
    if any(isinstance(tool, Opaque) and tool.dialect != NAME for tool in request.tools):
        losses.append(Loss("server_tools", Severity.SEMANTIC))
    tools = settings.tools(request)
    if not tools:
        return {}
    told: dict[str, object] = {"tools": tools}
    if request.tool_choice is not None:
        told["tool_choice"] = settings.tool_choice(request)
    if request.parallel_tool_calls is not None:
        told["parallel_tool_calls"] = request.parallel_tool_calls
    return told


def _reasoning(request: ChatRequest, target: Target, losses: list[Loss]) -> dict[str, object]:
    """How to reason, and that it is given back encrypted, since nothing is stored."""
    asked = request.reasoning
    if Feature.THINKING in target.without:
        if asked is not None and asked.effort is not Effort.NONE:
            losses.append(Loss("thinking", Severity.COSMETIC))
        return {}
    told: dict[str, object] = {}
    if asked is not None and asked.level is not None and Feature.EFFORT in target.without:
        effort = common_effort(asked.level)
        if effort is not asked.level:
            losses.append(Loss("thinking", Severity.COSMETIC))
        asked = replace(asked, effort=effort)
    is_on = asked is not None and asked.level is not Effort.NONE
    if asked is not None:
        # clients of other dialects are shown the thinking unasked, and cannot ask for it
        shown = {"summary": asked.summary or "auto"} if is_on else {}
        told["reasoning"] = settings.reasoning(asked) | shown
    if is_on or _has_reasoned(request):
        told["include"] = [ENCRYPTED]
    return told


def _has_reasoned(request: ChatRequest) -> bool:
    return any(
        isinstance(part, Thinking) and is_signed_by(part, NAME)
        for message in request.messages
        for part in message.parts
    )


def _bounds(request: ChatRequest, target: Target, losses: list[Loss]) -> dict[str, object]:
    told: dict[str, object] = {}
    for name in ("temperature", "top_p"):
        if (value := getattr(request.sampling, name)) is None:
            continue
        if Feature.SAMPLING in target.without:
            losses.append(Loss(name, Severity.COSMETIC))
        else:
            told[name] = value
    if request.max_tokens is not None:
        bound = max(request.max_tokens, _LEAST_OUTPUT)
        if bound > request.max_tokens:
            losses.append(Loss("max_tokens", Severity.COSMETIC))
        told["max_output_tokens"] = min(bound, target.max_output or bound)
    return told


def _account(request: ChatRequest, losses: list[Loss]) -> dict[str, object]:
    """For whom the request is, and how it is billed."""
    told: dict[str, object] = {}
    if request.user is not None:
        told["safety_identifier"] = fitting_user(request.user, _LONGEST_USER)
    if request.service_tier in _TIERS:
        told["service_tier"] = request.service_tier
    elif request.service_tier is not None:
        losses.append(Loss("service_tier", Severity.COSMETIC))
    return told
