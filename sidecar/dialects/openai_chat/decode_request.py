"""A client's request → the neutral form."""

from collections.abc import Iterator

from sidecar.dialects.openai_chat.decode_message import Messages
from sidecar.dialects.openai_chat.reasoning import NAME
from sidecar.neutral.request import (
    ChatRequest,
    Choosing,
    Effort,
    JsonOutput,
    Loss,
    Message,
    Opaque,
    Reasoning,
    Role,
    Sampling,
    Severity,
    Text,
    Tool,
    ToolChoice,
)
from sidecar.wire.arguments import FREE_TEXT
from sidecar.wire.contract import Operation
from sidecar.wire.fields import Fields, refused
from sidecar.wire.json import Json

_DEFAULTS = {"n": 1, "best_of": 1, "top_logprobs": 0, "modalities": ["text"], "store": True}
_COSMETIC = (
    "metadata", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "best_of",
)  # fmt: skip
_FATAL = {
    "suffix": "No backend of another dialect can fill in text before a `suffix`; leave it out.",
    "echo": "No backend of another dialect can echo the prompt; leave `echo` out.",
    "modalities": "No backend of another dialect can answer in audio; ask for text alone.",
}
_ONE_PROMPT = "Only one prompt, as text, can be carried over; send each prompt in its own request."
_NO_TOKENS = "An answer of no tokens cannot be asked for; ask for at least one."


def decode_request(operation: Operation, body: Json) -> ChatRequest:
    """The request for a chat or a completion. Raises RequestRefused that names the field."""
    fields, reader = Fields(body), Messages()
    losses: list[Loss] = []
    if operation is Operation.COMPLETION:
        messages = _prompt(fields, losses)
    else:
        messages = reader.read(fields.objects("messages"))
    tools = _tools(fields, losses)
    choice, tools = _choice(fields, tools)
    fields.raw("stream_options")  # what it asks for stands in the facts
    return ChatRequest(
        messages=messages,
        model=fields.text("model"),
        stream=fields.truth("stream") is True,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=_parallel(fields),
        output=_output(fields, losses),
        reasoning=_reasoning(fields, losses),
        sampling=_sampling(fields),
        max_tokens=_max_tokens(fields, losses),
        stop=tuple(one for one in fields.texts("stop") if one),
        user=_user(fields),
        verbosity=fields.text("verbosity"),
        service_tier=fields.text("service_tier"),
        # last: it names what none of the others has read
        unheard=(*reader.losses.values(), *losses, *_unread(fields)),
    )


def _unread(fields: Fields) -> Iterator[Loss]:
    for name in fields.unread():
        told = fields.raw(name)
        if told is False or told in ("", [], {}):
            continue
        if name in _DEFAULTS and type(told) is type(_DEFAULTS[name]) and told == _DEFAULTS[name]:
            continue
        if name in _FATAL:
            yield Loss(name, Severity.FATAL, _FATAL[name])
        else:
            yield Loss(name, Severity.COSMETIC if name in _COSMETIC else Severity.SEMANTIC)


def _prompt(fields: Fields, losses: list[Loss]) -> tuple[Message, ...]:
    """The prompt of a completion as one turn."""
    prompt = fields.raw("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return (Message(Role.USER, (Text(prompt),)),)
    if isinstance(prompt, list):
        losses.append(Loss("prompt", Severity.FATAL, _ONE_PROMPT))
        return ()
    raise fields.wrong("prompt", "a text or a list of texts")


def _max_tokens(fields: Fields, losses: list[Loss]) -> int | None:
    old, new = fields.whole("max_tokens"), fields.whole("max_completion_tokens")
    limit = old if new is None else new
    if limit is None or limit > 0:
        return limit
    name = "max_tokens" if new is None else "max_completion_tokens"
    if limit < 0:
        raise refused(f"`{name}` is {limit}; a number above 0 was expected.", name)
    losses.append(Loss(name, Severity.FATAL, _NO_TOKENS))
    return None


def _sampling(fields: Fields) -> Sampling:
    repeat = fields.number("repetition_penalty")
    other = fields.number("repeat_penalty")  # llama.cpp's name of it
    return Sampling(
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        min_p=fields.number("min_p"),
        seed=fields.whole("seed"),
        frequency_penalty=fields.number("frequency_penalty"),
        presence_penalty=fields.number("presence_penalty"),
        repeat_penalty=other if repeat is None else repeat,
        logit_bias=fields.mapping("logit_bias") or None,
    )


def _user(fields: Fields) -> str | None:
    user, safety = fields.text("user"), fields.text("safety_identifier")
    return user if safety is None else safety


def _reasoning(fields: Fields, losses: list[Loss]) -> Reasoning | None:
    """OpenAI's `reasoning_effort`, or OpenRouter's `reasoning`."""
    told = fields.text("reasoning_effort")
    more = fields.object("reasoning")
    summary = None
    if more is not None:
        summary = more.text("summary")
        if more.truth("enabled") is False:
            return Reasoning(effort=Effort.NONE)
        if (budget := more.whole("max_tokens")) is not None:
            return Reasoning(budget=budget, summary=summary)
        told = told or more.text("effort")
    if told is None:
        return None if more is None else Reasoning(summary=summary)
    if told not in tuple(Effort):
        losses.append(Loss("reasoning_effort", Severity.COSMETIC))
        return None
    return Reasoning(effort=Effort(told), summary=summary)


def _output(fields: Fields, losses: list[Loss]) -> JsonOutput | None:
    asked = fields.object("response_format")
    if asked is None:
        return None
    kind = asked.needed_text("type")
    if kind == "json_object":
        return JsonOutput()
    if kind == "json_schema":
        told = asked.object("json_schema")
        if told is None:
            raise asked.wrong("json_schema", "an object")
        return JsonOutput(
            schema=told.mapping("schema"),
            name=told.text("name"),
            strict=told.truth("strict"),
            description=told.text("description"),
        )
    if kind != "text":
        losses.append(Loss("response_format", Severity.SEMANTIC))
    return None


# --- tools ----------------------------------------------------------------------------------------


def _tools(fields: Fields, losses: list[Loss]) -> tuple[Tool | Opaque, ...]:
    tools: list[Tool | Opaque] = [_tool(one, losses) for one in fields.objects("tools")]
    old = [_function(one, None) for one in fields.objects("functions")]
    return tuple(tools or old)


def _tool(fields: Fields, losses: list[Loss]) -> Tool | Opaque:
    kind, cache = fields.needed_text("type"), fields.mapping("cache_control")
    told = fields.object(kind) if kind in ("function", "custom") else None
    if kind == "function":
        if told is None:
            raise fields.wrong("function", "an object")
        return _function(told, cache)
    if kind == "custom":
        if told is None:
            raise fields.wrong("custom", "an object")
        wanted = told.mapping("format") or {}
        if wanted.get("type", "text") != "text":
            losses.append(Loss("tools.custom.format", Severity.SEMANTIC))
        return Tool(
            name=told.needed_text("name"),
            description=told.text("description"),
            schema=FREE_TEXT,
            custom=True,
            cache=cache,
        )
    return Opaque(NAME, kind, fields.value)


def _function(fields: Fields, cache: Json | None) -> Tool:
    return Tool(
        name=fields.needed_text("name"),
        description=fields.text("description"),
        schema=fields.mapping("parameters") or {},
        strict=fields.truth("strict"),
        cache=cache,
    )


def _choice(
    fields: Fields, tools: tuple[Tool | Opaque, ...]
) -> tuple[ToolChoice | None, tuple[Tool | Opaque, ...]]:
    """How tools are chosen, and which ones may be."""
    told, old = fields.raw("tool_choice"), fields.raw("function_call")
    if told is None and isinstance(old, dict):
        told = {"type": "function", "function": old}
    elif told is None:
        told = old
    if told is None:
        return None, tools
    if isinstance(told, str) and told in ("auto", "none", "required"):
        return ToolChoice(Choosing(told)), tools
    if not isinstance(told, dict):
        raise fields.wrong("tool_choice", "auto, none, required or an object")
    choice = Fields(told, "tool_choice")
    kind = choice.needed_text("type")
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    named = choice.object(kind)
    if named is None:
        raise choice.wrong(kind, "an object with the name of a tool")
    return ToolChoice(Choosing.NAMED, named.needed_text("name")), tools


def _allowed(
    choice: Fields, tools: tuple[Tool | Opaque, ...]
) -> tuple[ToolChoice, tuple[Tool | Opaque, ...]]:
    """Fewer tools say what a list of allowed ones says."""
    told = choice.object("allowed_tools")
    if told is None:
        raise choice.wrong("allowed_tools", "an object")
    names = set()
    for one in told.objects("tools"):
        named = one.object(one.needed_text("type"))
        names.add(named.needed_text("name") if named is not None else "")
    required = told.text("mode") == "required"
    return (
        ToolChoice(Choosing.REQUIRED if required else Choosing.AUTO),
        tuple(one for one in tools if isinstance(one, Tool) and one.name in names),
    )


def _parallel(fields: Fields) -> bool | None:
    told = fields.truth("parallel_tool_calls")
    # the older form of tools has a place for one call
    return False if fields.has("functions") and not fields.has("tools") else told
