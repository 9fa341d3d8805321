"""What a request asks for beside its input, as this dialect writes it: in requests, and in the
answers that repeat it."""

from sidecar.dialects.openai_responses.items import NAME
from sidecar.neutral.request import ChatRequest, Choosing, Opaque, Reasoning, Tool
from sidecar.wire.arguments import custom_tools
from sidecar.wire.json import Json

_NO_PARAMETERS: Json = {"type": "object", "properties": {}}
_DEFAULT_NAME = "answer"  # of a schema, which must have one


def tools(request: ChatRequest) -> list[Json]:
    """The tools; foreign ones are left out."""
    return [
        tool.raw if isinstance(tool, Opaque) else _tool(tool)
        for tool in request.tools
        if isinstance(tool, Tool) or tool.dialect == NAME
    ]


def _tool(tool: Tool) -> Json:
    described = {} if tool.description is None else {"description": tool.description}
    if tool.custom:
        return {"type": "custom", "name": tool.name, **described}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": tool.schema or _NO_PARAMETERS,
        # here tools are strict unless it is said that they are not; everywhere else it is reversed
        "strict": tool.strict or False,
    }


def tool_choice(request: ChatRequest) -> str | Json:
    """How the model chooses its tools."""
    choice = request.tool_choice
    if choice is None:
        return Choosing.AUTO.value
    if choice.choosing is not Choosing.NAMED:
        return choice.choosing.value
    kind = "custom" if choice.name in custom_tools(request.tools) else "function"
    return {"type": kind, "name": choice.name}


def text(request: ChatRequest) -> dict[str, object]:
    """The form of the text; empty where nothing is asked for."""
    told: dict[str, object] = {}
    output = request.output
    if output is not None and output.schema is None:
        told["format"] = {"type": "json_object"}
    elif output is not None:
        form: dict[str, object] = {
            "type": "json_schema",
            "name": output.name or _DEFAULT_NAME,
            "schema": output.schema,
            "description": output.description,
            "strict": output.strict,
        }
        told["format"] = {name: value for name, value in form.items() if value is not None}
    if request.verbosity is not None:
        told["verbosity"] = request.verbosity
    return told


def reasoning(asked: Reasoning) -> dict[str, object]:
    """How to reason; empty where that is left to the model."""
    told: dict[str, object] = {}
    if effort := asked.level:
        told["effort"] = effort.value
    if asked.summary is not None:
        told["summary"] = asked.summary
    return told
