"""The neutral request → a body for `/v1/messages`, fitted to the model that answers it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sidecar.dialects.anthropic_messages import turns
from sidecar.dialects.anthropic_messages.abilities import Abilities, abilities_of
from sidecar.dialects.anthropic_messages.schema import tightened
from sidecar.dialects.anthropic_messages.thinking import NAME, Plan, planned
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    JsonOutput,
    Loss,
    Opaque,
    Severity,
    Tool,
    ToolCall,
)
from sidecar.wire import json
from sidecar.wire.contract import Encoded, Expectation, Feature, Target
from sidecar.wire.json import Json

# more tokens than that may take longer than the ten minutes after which the vendor's networks give
# an answer up that does not stream; its own clients draw the line there too
LONGEST_WHOLE = 21_333
UNTOLD = 32_000  # tokens, asked for where nobody says how many
LONGEST_USER = 256  # characters
_TIERS = {"auto": "auto", "priority": "auto", "default": "standard_only"}
_CHOICES = {Choosing.AUTO: "auto", Choosing.NONE: "none", Choosing.REQUIRED: "any"}
_COMBINED = ("anyOf", "oneOf", "allOf")  # refused at the top of a tool's schema

Losses = list[Loss]
Body = dict[str, object]


def encode_request(request: ChatRequest, target: Target) -> Encoded:
    """The request for a backend; never raises."""
    abilities = abilities_of(target.model)
    if Feature.SAMPLING in target.without:
        abilities = replace(abilities, samples=False)
    if target.continues:
        abilities = replace(abilities, continues=True)
    losses: Losses = []
    max_tokens = _max_tokens(request, target, abilities, losses)
    plan = planned(request, target, abilities, max_tokens)
    if not plan.is_kept:
        _lose(losses, "thinking")
    conversation = turns.encoded(
        request.messages,
        signed=Feature.SIGNED_THINKING not in target.without,
        continues=abilities.continues,
    )
    losses += conversation.losses
    wishes = _wishes(request, abilities)
    body: Body = {} if target.model is None else {"model": target.model}
    body["max_tokens"] = max_tokens
    system = [*conversation.system]
    system += [{"type": "text", "text": wish} for wish in wishes.asked]
    if system:
        is_marked = any("cache_control" in block for block in system)
        body["system"] = system if is_marked else "\n\n".join(str(one["text"]) for one in system)
    body["messages"] = conversation.messages
    body |= _tools(request, abilities, losses)
    body |= _thoughts(plan, wishes.format)
    body |= _sampling(request, abilities, plan.thinks, losses)
    body |= _rest(request, losses)
    if target.stream or max_tokens > LONGEST_WHOLE:
        body["stream"] = True
    return Encoded(body, tuple(dict.fromkeys(losses)), wishes.expects)


def _lose(losses: Losses, field: str, severity: Severity = Severity.COSMETIC) -> None:
    losses.append(Loss(field, severity))


def _max_tokens(request: ChatRequest, target: Target, abilities: Abilities, losses: Losses) -> int:
    most = target.max_output or abilities.max_output
    wanted = request.max_tokens or most or UNTOLD
    if most is not None and wanted > most:
        _lose(losses, "max_tokens")
        return most
    return wanted


# --- what the vendor can only be asked for --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wishes:
    """How the answer is to look: by a format, or in words that must be verified."""

    format: Json | None = None
    asked: tuple[str, ...] = ()
    expects: Expectation | None = None


def _wishes(request: ChatRequest, abilities: Abilities) -> _Wishes:
    if (call := _call_in_words(request, abilities)) is not None:
        # an answer that must call a tool need not be JSON
        return _Wishes(asked=(call[0],), expects=Expectation(calls=True, tool=call[1]))
    output = request.output
    if output is None:
        return _Wishes()
    schema = output.schema
    told = tightened(schema) if schema is not None and abilities.has_schemas else None
    if told is None:
        expects = Expectation(is_json=True, schema=schema)
        return _Wishes(asked=(_json_in_words(output),), expects=expects)
    verified = None if told.is_whole else Expectation(is_json=True, schema=schema)
    return _Wishes(format={"type": "json_schema", "schema": told.schema}, expects=verified)


def _json_in_words(output: JsonOutput) -> str:
    told = "Answer with one JSON object and nothing else: no words around it, no code fence."
    if output.schema is None:
        return told
    schema = json.dumps(output.schema).decode()
    return f"{told} It must be valid against this JSON Schema:\n{schema}"


def _call_in_words(request: ChatRequest, abilities: Abilities) -> tuple[str, str | None] | None:
    """How to ask a model that cannot be forced to call a tool, and which tool it is."""
    choice = request.tool_choice
    if choice is None or abilities.can_be_forced or not request.tools:
        return None
    match choice.choosing:
        case Choosing.REQUIRED:
            return "You must call at least one of the tools in this turn.", None
        case Choosing.NAMED:
            return f"You must call the tool `{choice.name}` in this turn.", choice.name
        case Choosing.AUTO | Choosing.NONE:
            return None


# --- tools ----------------------------------------------------------------------------------------


def _tools(request: ChatRequest, abilities: Abilities, losses: Losses) -> Body:
    told = list(_offered(request.tools, abilities, losses))
    if not told:
        return _tools_of_the_past(request, losses)
    choice = _choice(request, abilities)
    return {"tools": told, "tool_choice": choice} if choice else {"tools": told}


def _offered(
    tools: Iterable[Tool | Opaque], abilities: Abilities, losses: Losses
) -> Iterable[Json]:
    for tool in tools:
        if isinstance(tool, Tool):
            yield _tool(tool, abilities, losses)
        elif tool.dialect == NAME:
            yield tool.raw
        else:
            _lose(losses, "server_tools", Severity.SEMANTIC)


def _tool(tool: Tool, abilities: Abilities, losses: Losses) -> Json:
    told: Body = {"name": tool.name}
    if tool.description:
        told["description"] = tool.description
    schema = tool.schema
    if tool.strict:
        closed = tightened(schema) if abilities.has_schemas else None
        if closed is not None and closed.is_whole:
            schema = closed.schema
            told["strict"] = True
        else:
            _lose(losses, "strict")
    if any(name in schema for name in _COMBINED):
        schema = {name: value for name, value in schema.items() if name not in _COMBINED}
        _lose(losses, "tools", Severity.SEMANTIC)
    told["input_schema"] = (
        schema if "type" in schema else {"type": "object", "properties": {}, **schema}
    )
    if tool.cache is not None:
        told["cache_control"] = tool.cache
    return told


def _tools_of_the_past(request: ChatRequest, losses: Losses) -> Body:
    """A history with calls needs tools, though none are offered any more."""
    choice = request.tool_choice
    if choice is not None and choice.choosing in (Choosing.REQUIRED, Choosing.NAMED):
        _lose(losses, "tool_choice", Severity.SEMANTIC)
    called = dict.fromkeys(
        part.name
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    )
    if not called:
        return {}
    schema = {"type": "object", "properties": {}}
    tools = [{"name": name, "input_schema": schema} for name in called]
    return {"tools": tools, "tool_choice": {"type": "none"}}


def _choice(request: ChatRequest, abilities: Abilities) -> Json | None:
    choice, one_at_a_time = request.tool_choice, request.parallel_tool_calls is False
    if choice is None:
        told: Body = {"type": "auto"}
        if not one_at_a_time:
            return None
    elif choice.choosing is Choosing.NONE:
        return {"type": "none"}
    elif not abilities.can_be_forced:
        told = {"type": "auto"}
    elif choice.choosing is Choosing.NAMED:
        told = {"type": "tool", "name": choice.name}
    else:
        told = {"type": _CHOICES[choice.choosing]}
    return {**told, "disable_parallel_tool_use": True} if one_at_a_time else told


# --- the rest -------------------------------------------------------------------------------------


def _thoughts(plan: Plan, format: Json | None) -> Body:
    body: Body = {} if plan.thinking is None else {"thinking": plan.thinking}
    config: Body = {}
    if plan.effort is not None:
        config["effort"] = plan.effort.value
    if format is not None:
        config["format"] = format
    return {**body, "output_config": config} if config else body


def _sampling(request: ChatRequest, abilities: Abilities, thinks: bool, losses: Losses) -> Body:
    """temperature, top_p and top_k where the model takes them; a default is never missed."""
    sampling, body = request.sampling, Body()
    temperature, top_p, top_k = sampling.temperature, sampling.top_p, sampling.top_k
    may_sample = abilities.samples and not thinks  # a model that thinks takes only the defaults
    if temperature is not None and may_sample:
        body["temperature"] = min(temperature, 1)
        if temperature > 1:
            _lose(losses, "temperature")
    elif temperature not in (None, 1):
        _lose(losses, "temperature")
    if top_p is not None and may_sample and temperature is None:  # newer ones take one of the two
        body["top_p"] = top_p
    elif top_p not in (None, 1):
        _lose(losses, "top_p")
    if top_k is not None and may_sample:
        body["top_k"] = top_k
    elif top_k is not None:
        _lose(losses, "top_k")
    others = {
        "min_p": sampling.min_p or None,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty or None,
        "presence_penalty": sampling.presence_penalty or None,
        "repeat_penalty": None if sampling.repeat_penalty == 1 else sampling.repeat_penalty,
        "logit_bias": sampling.logit_bias or None,
    }
    for name, value in others.items():
        if value is not None:
            _lose(losses, name)
    return body


def _rest(request: ChatRequest, losses: Losses) -> Body:
    body: Body = {}
    stop = [sequence for sequence in request.stop if sequence.strip()]
    if stop:
        body["stop_sequences"] = stop
    if len(stop) < len(request.stop):
        _lose(losses, "stop_sequences")
    if request.user is not None:
        if len(request.user) <= LONGEST_USER:
            body["metadata"] = {"user_id": request.user}
        else:
            _lose(losses, "user")
    if request.service_tier is not None:
        tier = _TIERS.get(request.service_tier, request.service_tier)
        if tier in _TIERS.values():
            body["service_tier"] = tier
        else:
            _lose(losses, "service_tier")
    if request.verbosity not in (None, "medium"):
        _lose(losses, "verbosity")
    return body
