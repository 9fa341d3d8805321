"""The arguments of a tool call: the text of a JSON object, the object, and the free text in it.

A custom tool takes free text; everywhere else it is a function of {"input": text}.
"""

from collections.abc import Iterable

from sidecar.neutral.request import Opaque, Tool, ToolCall
from sidecar.wire import json
from sidecar.wire.json import Json

# what a custom tool takes, where it has to be a function
FREE_TEXT: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


def as_object(arguments: str) -> Json:
    """The object that the arguments are; what a model got wrong stays readable."""
    if not arguments.strip():
        return {}
    told = json.loads_object(arguments)
    return {"_raw": arguments} if told is None else told


def free_text(arguments: str) -> str:
    """The text in the arguments of a custom tool; all of them where it is not so."""
    text = (json.loads_object(arguments) or {}).get("input")
    return text if isinstance(text, str) else arguments


def of_free_text(text: str) -> str:
    """The arguments that stand for the free text of a custom tool."""
    return json.dumps({"input": text}).decode()


def custom_tools(tools: Iterable[Tool | Opaque]) -> frozenset[str]:
    """The names of the tools that take free text."""
    return frozenset(tool.name for tool in tools if isinstance(tool, Tool) and tool.custom)


def is_custom(call: ToolCall, custom: frozenset[str]) -> bool:
    """Whether a call is one of a custom tool; other dialects do not say so."""
    return call.custom or call.name in custom
