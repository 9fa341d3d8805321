"""A neutral request as Ollama's native /api/chat takes it.

The server runs a model with a window of `num_ctx` tokens that no client is told: by default 4096
on a small machine. What does not fit is cut off silently, unless it is told not to; so every
request says `truncate` and `shift` false, and asks for a window that it fits into. Another
`num_ctx` than before makes the server load the model again, so there are few windows to ask for,
each four times the one before.
"""

from collections.abc import Mapping, Sequence

from sidecar.dialects.ollama_chat.turns import encode_turns
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    JsonOutput,
    Loss,
    Reasoning,
    Severity,
    Tool,
)
from sidecar.wire import json
from sidecar.wire.contract import Encoded, Expectation, Feature, Target
from sidecar.wire.json import Json

_SMALLEST_WINDOW = 8192  # tokens
_STEP = 4
_MARGIN = 1.25  # an estimate of tokens may be a quarter too low
_ROOM = 2048  # tokens for an answer that the client sets no bound to
_MOST_ROOM = 8192  # clients ask for bounds that they never use, and a window costs memory

_EFFORTS: Mapping[Effort, bool | str] = {
    Effort.NONE: False,
    Effort.MINIMAL: "low",
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
    Effort.XHIGH: "max",
    Effort.MAX: "max",
}


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The body for /api/chat, what did not get into it, and what was only asked for."""
    losses: list[Loss] = []
    tools = _tools(request, losses)
    format, asks, expects = _emulated(request, tools)
    body: dict[str, object] = {} if target.model is None else {"model": target.model}
    body["messages"] = encode_turns(request.messages, asks, losses)
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    if format is not None:
        body["format"] = format
    body["stream"] = target.stream
    think = _think(request.reasoning)
    if think is not None and Feature.THINKING not in target.without:
        body["think"] = think
    elif think:
        losses.append(Loss("thinking", Severity.COSMETIC))
    if request.messages:  # without any the model is only loaded, as the server sees fit
        body |= {"truncate": False, "shift": False}
        if options := _options(request, target):
            body["options"] = options
    return Encoded(body, (*losses, *_lost(request, tools)), expects)


# --- options --------------------------------------------------------------------------------------


def _options(request: ChatRequest, target: Target) -> Json:
    sampling = request.sampling
    bounds = [one for one in (request.max_tokens, target.max_output) if one is not None]
    told: dict[str, object] = {
        "num_ctx": _window(request, target),
        "num_predict": min(bounds) if request.max_tokens is not None else None,
        "stop": list(request.stop) or None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "repeat_penalty": sampling.repeat_penalty,
    }
    return {name: value for name, value in told.items() if value is not None}


def _window(request: ChatRequest, target: Target) -> int | None:
    """The window to ask for, in tokens; None where the size of the request is not known.

    Where the model's own limit is not known the server bounds the window by it.
    """
    if not target.estimate:
        return None
    room = _ROOM if request.max_tokens is None else min(request.max_tokens, _MOST_ROOM)
    needed, window = target.estimate * _MARGIN + room, _SMALLEST_WINDOW
    while window < needed:
        window *= _STEP
    return window if target.context is None else min(window, target.context)


def _think(wish: Reasoning | None) -> bool | str | None:
    """What `think` says; a model's own way is to think where it can."""
    if wish is None:
        return None
    return True if wish.level is None else _EFFORTS[wish.level]


# --- tools and structured output ------------------------------------------------------------------


def _tools(request: ChatRequest, losses: list[Loss]) -> Sequence[Tool]:
    """The tools that the model is shown: there is no other way to forbid or demand one."""
    tools = [tool for tool in request.tools if isinstance(tool, Tool)]
    if len(tools) < len(request.tools):
        losses.append(Loss("server_tools", Severity.SEMANTIC))
    choice = request.tool_choice
    if choice is None:
        return tools
    if choice.choosing is Choosing.NONE:
        return []
    if choice.choosing is Choosing.NAMED:
        return [tool for tool in tools if tool.name == choice.name]
    return tools


def _tool(tool: Tool) -> Json:
    function: dict[str, object] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    # the server reads no other schema of arguments than one of an object with properties
    function["parameters"] = {"type": "object", "properties": {}, **tool.schema}
    return {"type": "function", "function": function}


def _emulated(
    request: ChatRequest, tools: Sequence[Tool]
) -> tuple[object, list[str], Expectation | None]:
    """`format`, and what the model is asked for in words because no field makes it do so."""
    choice, output = request.tool_choice, request.output
    if choice is not None and choice.choosing in (Choosing.REQUIRED, Choosing.NAMED) and tools:
        named = choice.name if choice.choosing is Choosing.NAMED else None
        told = f"the tool `{named}`" if named else "at least one of the tools"
        asks = [f"Answer by calling {told}. Do not answer in any other way."]
        return None, asks, Expectation(calls=True, tool=named)
    if output is None:
        return None, [], None
    if not tools:
        return output.schema or "json", [], None
    # `format` binds every word of an answer, so that no tool could be called
    return None, [_json_please(output)], Expectation(is_json=True, schema=output.schema)


def _json_please(output: JsonOutput) -> str:
    asked = "When you answer without calling a tool, answer with a JSON object and nothing else."
    if output.schema is None:
        return asked
    return f"{asked} It must match this JSON schema: {json.dumps(output.schema).decode()}"


# --- losses ---------------------------------------------------------------------------------------


def _lost(request: ChatRequest, tools: Sequence[Tool]) -> list[Loss]:
    """What the request says and /api/chat has no words for."""
    cosmetic = {
        "logit_bias": request.sampling.logit_bias,
        "user": request.user,
        "verbosity": request.verbosity,
        "service_tier": request.service_tier not in (None, "auto", "default"),
        "cache_control": request.marks_cache,
    }
    choice = request.tool_choice
    demands = choice is not None and choice.choosing in (Choosing.REQUIRED, Choosing.NAMED)
    semantic = {
        "tool_choice": demands and not tools,  # it names a tool that is not there
        "parallel_tool_calls": request.parallel_tool_calls is False and tools,
        "strict": any(tool.strict for tool in tools),
    }
    return [
        *(Loss(name, Severity.COSMETIC) for name, said in cosmetic.items() if said),
        *(Loss(name, Severity.SEMANTIC) for name, said in semantic.items() if said),
    ]
