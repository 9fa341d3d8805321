"""A client's request → the neutral form."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sidecar.dialects.openai_responses.decode_input import OFFERING, InputReader
from sidecar.dialects.openai_responses.items import NAME
from sidecar.dialects.openai_responses.namespaces import flattened, origins
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

_HISTORY = "needs what the vendor has stored; send the whole history in `input`, or ask a backend"
_NATIVE = "that speaks the Responses API."
_STATEFUL = {
    "previous_response_id": f"`previous_response_id` {_HISTORY} {_NATIVE}",
    "conversation": f"`conversation` {_HISTORY} {_NATIVE}",
    "prompt": "`prompt` names a template that the vendor has stored; send its text in "
    f"`instructions` and `input`, or ask a backend {_NATIVE}",
    "background": "`background` needs an answer to be stored until it is fetched; leave it out, or "
    f"ask a backend {_NATIVE}",
}
# what changes nothing in the answer, or only how it is billed, cached and filed
_COSMETIC = (
    "metadata", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
    "max_tool_calls", "context_management", "image",
)  # fmt: skip
_Choice = tuple[str | None, str | None]  # namespace and name, either of which may be unsaid
_LOGPROBS = "message.output_text.logprobs"


def decode_request(operation: Operation, body: Json) -> ChatRequest:
    """What a client asks. Raises RequestRefused for what the vendor would refuse as well."""
    fields = Fields(body)
    losses: list[Loss] = []
    tools = _tools(fields, losses)
    reader = InputReader({origin: name for name, origin in origins(tools).items()})
    messages = reader.read(fields)
    if instructions := fields.text("instructions"):
        messages = (Message(Role.SYSTEM, (Text(instructions),)), *messages)
    tool_choice, tools = _tool_choice(fields, tools, losses)
    output, verbosity = _text(fields, losses)
    request = ChatRequest(
        messages=messages,
        model=fields.text("model"),
        stream=fields.truth("stream") is True,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=fields.truth("parallel_tool_calls"),
        output=output,
        reasoning=_reasoning(fields, losses),
        sampling=Sampling(temperature=fields.number("temperature"), top_p=fields.number("top_p")),
        max_tokens=_max_tokens(fields),
        user=fields.text("safety_identifier") or fields.text("user"),
        verbosity=verbosity,
        service_tier=fields.text("service_tier"),
    )
    losses += _left_over(fields)
    return replace(request, unheard=(*reader.losses, *losses))


def _max_tokens(fields: Fields) -> int | None:
    number = fields.whole("max_output_tokens")
    if number is not None and number < 1:
        raise fields.wrong("max_output_tokens", "a number above 0")
    return number


def _left_over(fields: Fields) -> list[Loss]:
    """What of the top level has no place in the neutral form. Call it last."""
    losses = [
        Loss(name, Severity.FATAL, reason)
        for name, reason in _STATEFUL.items()
        if fields.raw(name)  # `background: false` is no wish
    ]
    losses += [Loss(name, Severity.COSMETIC) for name in _COSMETIC if fields.raw(name)]
    if fields.text("truncation") == "auto":
        losses.append(Loss("truncation", Severity.COSMETIC))
    if fields.whole("top_logprobs") or _LOGPROBS in fields.items("include"):
        losses.append(Loss("logprobs", Severity.SEMANTIC))
    for told_anyway in ("store", "stream_options", "user"):
        fields.raw(told_anyway)
    return losses + [Loss(name, Severity.SEMANTIC) for name in fields.unread()]


# --- tools ----------------------------------------------------------------------------------------


def _tools(fields: Fields, losses: list[Loss]) -> tuple[Tool | Opaque, ...]:
    tools: list[Tool | Opaque] = []
    for told in _offered(fields):
        if told.text("type") == "namespace":
            tools += _grouped(told, losses)
        else:
            tools.append(_tool(told, losses))
    return flattened(tools)


def _offered(fields: Fields) -> list[Fields]:
    """The tools as they came: beside the input, and in it, where Codex hands in further ones."""
    told = list(fields.objects("tools"))
    if isinstance(fields.raw("input"), list):
        for item in fields.objects("input"):
            if item.text("type") in OFFERING:
                told += item.objects("tools")
    return told


def _grouped(group: Fields, losses: list[Loss]) -> Iterator[Tool | Opaque]:
    """The tools in a namespace."""
    namespace = group.needed_text("name")
    if group.text("description"):
        losses.append(Loss("tools.description", Severity.COSMETIC))
    for told in group.objects("tools"):
        tool = _tool(told, losses)
        yield replace(tool, origin=(namespace, tool.name)) if isinstance(tool, Tool) else tool


def _tool(tool: Fields, losses: list[Loss]) -> Tool | Opaque:
    match tool.needed_text("type"):
        case "function":
            return Tool(
                tool.needed_text("name"),
                tool.text("description"),
                tool.mapping("parameters") or {},
                tool.truth("strict"),
            )
        case "custom":
            return Tool(tool.needed_text("name"), _described(tool, losses), FREE_TEXT, custom=True)
        case other:
            return Opaque(NAME, other, tool.value)


def _described(tool: Fields, losses: list[Loss]) -> str | None:
    """The description of a custom tool, with the grammar that nobody else can enforce."""
    description = tool.text("description")
    form = tool.object("format")
    if form is None or form.text("type") != "grammar":
        return description
    losses.append(Loss("tools.format", Severity.SEMANTIC))
    grammar = f"The input follows this {form.text('syntax') or ''} grammar:\n"
    return f"{description or ''}\n\n{grammar}{form.text('definition') or ''}".strip()


def _tool_choice(
    fields: Fields, tools: tuple[Tool | Opaque, ...], losses: list[Loss]
) -> tuple[ToolChoice | None, tuple[Tool | Opaque, ...]]:
    """How tools are chosen, and those that may be: `allowed_tools` leaves out the others."""
    told = fields.raw("tool_choice")
    if told is None:
        return None, tools
    if isinstance(told, str):
        if told not in (Choosing.AUTO, Choosing.NONE, Choosing.REQUIRED):
            raise refused(f"`tool_choice` is {told[:50]!r}, which is no choice.", "tool_choice")
        return ToolChoice(Choosing(told)), tools
    choice = fields.object("tool_choice")
    assert choice is not None  # it is neither null nor refused
    match choice.text("type"):
        case "function" | "custom":
            return ToolChoice(Choosing.NAMED, _named(choice, tools)), tools
        case "allowed_tools":
            mode = Choosing.REQUIRED if choice.text("mode") == "required" else Choosing.AUTO
            return ToolChoice(mode), _allowed(choice.objects("tools"), tools)
        case _:
            losses.append(Loss("tool_choice", Severity.SEMANTIC))
            return None, tools


def _allowed(
    allowed: Sequence[Fields], tools: tuple[Tool | Opaque, ...]
) -> tuple[Tool | Opaque, ...]:
    chosen = {_chosen(one) for one in allowed}
    kinds = {one.text("type") for one in allowed}
    return tuple(
        tool
        for tool in tools
        if (chosen & _choices(tool) if isinstance(tool, Tool) else tool.kind in kinds)
    )


def _named(choice: Fields, tools: tuple[Tool | Opaque, ...]) -> str:
    """The name of the tool that must be called."""
    name, chosen = choice.needed_text("name"), _chosen(choice)
    meant = [tool.name for tool in tools if isinstance(tool, Tool) and chosen in _choices(tool)]
    return name if name in meant or not meant else meant[0]


def _chosen(choice: Fields) -> _Choice:
    if choice.text("type") == "namespace":
        return choice.text("name"), None
    return choice.text("namespace") or None, choice.text("name")


def _choices(tool: Tool) -> set[_Choice]:
    """All choices that mean a tool; what is typed in the SDK has no namespace."""
    if tool.origin is None:
        return {(None, tool.name)}
    namespace, name = tool.origin
    return {(namespace, name), (namespace, None), (None, name), (None, tool.name)}


# --- how to answer --------------------------------------------------------------------------------


def _text(fields: Fields, losses: list[Loss]) -> tuple[JsonOutput | None, str | None]:
    text = fields.object("text")
    if text is None:
        return None, None
    form, output = text.object("format"), None
    match form and form.text("type"):
        case None | "text":
            pass
        case "json_object":
            output = JsonOutput()
        case "json_schema":
            assert form is not None  # it has a type
            output = JsonOutput(
                form.mapping("schema"),
                form.text("name"),
                form.truth("strict"),
                form.text("description"),
            )
        case _:
            losses.append(Loss("text.format", Severity.SEMANTIC))
    return output, text.text("verbosity")


def _reasoning(fields: Fields, losses: list[Loss]) -> Reasoning | None:
    told = fields.object("reasoning")
    if told is None:
        return None
    effort = None
    if (level := told.text("effort")) in tuple(Effort):
        effort = Effort(level)
    elif level is not None:
        losses.append(Loss("reasoning.effort", Severity.COSMETIC))
    if told.has("mode") or told.has("context"):
        losses.append(Loss("reasoning", Severity.COSMETIC))
    summary = told.text("summary") or told.text("generate_summary")
    if effort is None and summary is None:
        return None
    return Reasoning(effort, summary=summary)
