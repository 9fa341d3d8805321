"""A neutral request → `chat/completions` for a backend."""

import hashlib

from sidecar.dialects.openai_chat.encode_message import Messages
from sidecar.dialects.openai_chat.reasoning import DIALECT
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    JsonOutput,
    Message,
    Opaque,
    Reasoning,
    Severity,
    Text,
    Tool,
    ToolChoice,
)
from sidecar.wire.contract import Encoded, Feature, Target
from sidecar.wire.json import Json

MOST_STOPS = 4  # stop sequences that OpenAI takes
LONGEST_USER = 64  # characters of the name of a user
_TIERS = ("flex", "scale", "priority", "fast")
_DEFAULT_TIERS = ("auto", "default", "standard_only")
# OpenAI refuses `json_object` where no message speaks of JSON
_IN_JSON = "Answer with one JSON object and nothing else."


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The request in the form of OpenAI, as far as the target's vendor takes it."""
    messages = Messages(target)
    written = messages.write(request.messages)
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    body["messages"] = written
    body |= _stream(target)
    if request.max_tokens is not None:
        most = target.max_output or request.max_tokens
        body[target.traits.max_tokens] = min(request.max_tokens, most)
    body |= _sampling(request, target, messages)
    body |= _tools(request, messages)
    if request.output is not None:
        body["response_format"] = _output(request.output)
        if request.output.schema is None and not _speaks_of_json(request.messages):
            written.insert(0, {"role": "system", "content": _IN_JSON})
    body |= _reasoning(request.reasoning, target, messages)
    body |= _about_the_client(request, messages)
    return Encoded(body, tuple(messages.losses.values()))


def _stream(target: Target) -> Json:
    if not target.stream:
        return {}
    asks = target.ask_usage and Feature.USAGE_IN_STREAM not in target.without
    return {"stream": True} | ({"stream_options": {"include_usage": True}} if asks else {})


def _sampling(request: ChatRequest, target: Target, messages: Messages) -> Json:
    told, body = request.sampling, dict[str, object]()
    everywhere = {
        "temperature": told.temperature,
        "top_p": told.top_p,
        "seed": told.seed,
        "frequency_penalty": told.frequency_penalty,
        "presence_penalty": told.presence_penalty,
        "logit_bias": told.logit_bias,
    }
    somewhere = {
        "top_k": told.top_k,
        "min_p": told.min_p,
        "repetition_penalty": told.repeat_penalty,
    }
    body |= {name: value for name, value in everywhere.items() if value is not None}
    for name, value in somewhere.items():
        if value is not None and target.traits.more_sampling:
            body[name] = value
        elif value is not None:
            field = "repeat_penalty" if name == "repetition_penalty" else name
            messages.lose(field, Severity.COSMETIC)
    if request.stop:
        body["stop"] = list(request.stop[:MOST_STOPS])
    if len(request.stop) > MOST_STOPS:
        messages.lose("stop_sequences", Severity.SEMANTIC)
    return body


def _tools(request: ChatRequest, messages: Messages) -> Json:
    tools = [told for tool in request.tools if (told := _tool(tool, messages)) is not None]
    if not tools:
        return {}
    body: dict[str, object] = {"tools": tools}
    if request.tool_choice is not None:
        body["tool_choice"] = _choice(request.tool_choice)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body


def _tool(tool: Tool | Opaque, messages: Messages) -> Json | None:
    if isinstance(tool, Opaque):
        if tool.dialect == DIALECT:
            return tool.raw
        messages.lose("server_tools", Severity.SEMANTIC)
        return None
    if tool.cache is not None:
        messages.lose("cache_control", Severity.COSMETIC)
    function: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.schema or {"type": "object", "properties": {}}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> object:
    if choice.choosing is Choosing.NAMED:
        return {"type": "function", "function": {"name": choice.name}}
    return choice.choosing.value


def _output(output: JsonOutput) -> Json:
    if output.schema is None:
        return {"type": "json_object"}
    told: dict[str, object] = {"name": output.name or "answer", "schema": output.schema}
    if output.description is not None:
        told["description"] = output.description
    if output.strict is not None:
        told["strict"] = output.strict
    return {"type": "json_schema", "json_schema": told}


def _speaks_of_json(messages: tuple[Message, ...]) -> bool:
    texts = (part.text for one in messages for part in one.parts if isinstance(part, Text))
    return any("json" in text.casefold() for text in texts)


def _reasoning(reasoning: Reasoning | None, target: Target, messages: Messages) -> Json:
    effort = None if reasoning is None else reasoning.level
    if effort is None:
        return {}
    if target.traits.reasoning_effort and Feature.THINKING not in target.without:
        return {"reasoning_effort": effort.value}
    messages.lose("thinking", Severity.COSMETIC)
    return {}


def _about_the_client(request: ChatRequest, messages: Messages) -> Json:
    body: dict[str, object] = {}
    if request.user is not None:
        body["user"] = _short(request.user)
    if request.verbosity not in (None, "medium"):
        body["verbosity"] = request.verbosity
    if request.service_tier in _TIERS:
        body["service_tier"] = request.service_tier
    elif request.service_tier not in (None, *_DEFAULT_TIERS):
        messages.lose("service_tier", Severity.COSMETIC)
    return body


def _short(user: str) -> str:
    """A name of a user that OpenAI takes, the same one each time."""
    if len(user) <= LONGEST_USER:
        return user
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
