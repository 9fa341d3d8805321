"""A neutral request → `chat/completions` for a backend."""

from collections.abc import Sequence

from sidecar.dialects.openai_chat.encode_message import Messages
from sidecar.dialects.openai_chat.reasoning import NAME
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
from sidecar.wire.effort import common_effort
from sidecar.wire.json import Json
from sidecar.wire.names import fitting_user
from sidecar.wire.schema import is_strict

MOST_STOPS = 4  # stop sequences that OpenAI takes
LONGEST_USER = 64  # characters of the name of a user
_MARGIN = 1.1  # an estimate of tokens may be a tenth too low
_TIERS = ("flex", "scale", "priority", "fast")
_DEFAULT_TIERS = ("auto", "default", "standard_only")
_SAMPLING = (
    "temperature", "top_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias",
    "top_k", "min_p", "repeat_penalty",
)  # fmt: skip
_BY_SOME = ("top_k", "min_p", "repeat_penalty")  # servers; OpenAI refuses them
# OpenAI refuses `json_object` where no message speaks of JSON
_IN_JSON = "Answer with one JSON object and nothing else."


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The request in the form of OpenAI, as far as the target's vendor takes it."""
    messages = Messages(target)
    written = messages.write(request.messages)
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    body["messages"] = written
    if target.continues and target.traits.continue_final and written[-1]["role"] == "assistant":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    body |= _stream(target)
    body |= _bound(request, target, messages)
    body |= _sampling(request, target, messages)
    body |= _tools(request, messages)
    if request.output is not None:
        body["response_format"] = _output(request.output)
        if request.output.schema is None and not _speaks_of_json(request.messages):
            body["messages"] = _with_prompt(written, _IN_JSON)
    body |= _reasoning(request.reasoning, target, messages)
    body |= _about_the_client(request, messages)
    return Encoded(body, tuple(messages.losses.values()))


def _stream(target: Target) -> Json:
    if not target.stream:
        return {}
    asks = target.ask_usage and Feature.USAGE_IN_STREAM not in target.without
    return {"stream": True} | ({"stream_options": {"include_usage": True}} if asks else {})


def _bound(request: ChatRequest, target: Target, messages: Messages) -> Json:
    """The bound on the answer, lowered to what the model can write and to the room it has.

    vLLM refuses a bound that does not fit beside the request, and clients ask for much by habit.
    """
    if request.max_tokens is None:
        return {}
    if Feature.MAX_TOKENS in target.without:
        messages.lose("max_tokens", Severity.COSMETIC)
        return {}
    bound = min(request.max_tokens, target.max_output or request.max_tokens)
    if target.context is not None and target.estimate <= target.context:
        room = max(1, int(target.context - target.estimate * _MARGIN))
        if room < bound:
            messages.lose("max_tokens", Severity.COSMETIC)
            bound = room
    return {target.traits.max_tokens: bound}


def _with_prompt(written: Sequence[Json], words: str) -> list[Json]:
    """The messages with words at the end of the first prompt, or as one."""
    if written and written[0]["role"] == "system":
        first, *rest = written
        return [{**first, "content": f"{first['content']}\n\n{words}"}, *rest]
    return [{"role": "system", "content": words}, *written]


def _sampling(request: ChatRequest, target: Target, messages: Messages) -> Json:
    body: dict[str, object] = {}
    refused: Sequence[str] = () if target.traits.more_sampling else _BY_SOME
    if Feature.SAMPLING in target.without:
        refused = _SAMPLING
    for name in _SAMPLING:
        value = getattr(request.sampling, name)
        if value is None:
            continue
        if name in refused:
            messages.lose(name, Severity.COSMETIC)
        else:
            body["repetition_penalty" if name == "repeat_penalty" else name] = value
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
        if tool.dialect == NAME:
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
        function["strict"] = tool.strict and is_strict(tool.schema)
        if tool.strict and not function["strict"]:
            messages.lose("strict", Severity.SEMANTIC)
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
        told["strict"] = output.strict and is_strict(output.schema)
    return {"type": "json_schema", "json_schema": told}


def _speaks_of_json(messages: tuple[Message, ...]) -> bool:
    texts = (part.text for one in messages for part in one.parts if isinstance(part, Text))
    return any("json" in text.casefold() for text in texts)


def _reasoning(reasoning: Reasoning | None, target: Target, messages: Messages) -> Json:
    effort = None if reasoning is None else reasoning.level
    if effort is None:
        return {}
    if not target.traits.reasoning_effort or Feature.THINKING in target.without:
        messages.lose("thinking", Severity.COSMETIC)
        return {}
    told = common_effort(effort) if Feature.EFFORT in target.without else effort
    if told is not effort:
        messages.lose("thinking", Severity.COSMETIC)
    return {"reasoning_effort": told.value}


def _about_the_client(request: ChatRequest, messages: Messages) -> Json:
    body: dict[str, object] = {}
    if request.user is not None:
        body["user"] = fitting_user(request.user, LONGEST_USER)
    if request.verbosity not in (None, "medium"):
        body["verbosity"] = request.verbosity
    if request.service_tier in _TIERS:
        body["service_tier"] = request.service_tier
    elif request.service_tier not in (None, *_DEFAULT_TIERS):
        messages.lose("service_tier", Severity.COSMETIC)
    return body
