"""Tools in namespaces: Codex groups those of an MCP server so, and nobody else has such groups.

Elsewhere a tool in one has a flat name, such as Codex itself joins (`ToolName` in its protocol),
and a call of it gets its namespace back by the tools of the request: Codex finds no tool by a flat
name (openai/codex#23186).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.neutral.request import Opaque, Tool

Origin = tuple[str, str]  # namespace and name


def flat_name(namespace: str, name: str) -> str:
    """`mcp__a__` and `search` → `mcp__a__search`."""
    return f"{namespace.rstrip('_')}__{name.lstrip('_')}"


def flattened(tools: Sequence[Tool | Opaque]) -> tuple[Tool | Opaque, ...]:
    """The tools, each once, those in namespaces under flat names that no other tool has."""
    taken = {tool.name for tool in tools if isinstance(tool, Tool) and tool.origin is None}
    seen: set[Origin | str] = set()
    clashes: Counter[str] = Counter()
    told: list[Tool | Opaque] = []
    for tool in tools:
        if isinstance(tool, Opaque):
            told.append(tool)
            continue
        key = tool.origin or tool.name
        if key in seen:
            continue  # a search finds what was offered before
        seen.add(key)
        if tool.origin is not None:
            name = flat = flat_name(*tool.origin)
            while name in taken:
                clashes[flat] += 1
                name = f"{flat}_{clashes[flat] + 1}"
            taken.add(name)
            tool = replace(tool, name=name)
        told.append(tool)
    return tuple(told)


def origins(tools: Sequence[Tool | Opaque]) -> Mapping[str, Origin]:
    """Flat name → namespace and name, of the tools that have any."""
    return {tool.name: tool.origin for tool in tools if isinstance(tool, Tool) and tool.origin}
