"""Kubernetes manifests, read as trees of YAML so that what is not touched stays what it was.

Scalars are never converted: a text that is `on`, a mode that is 0644 and a quoted "1" are written
as they were read, whatever version of YAML the next reader follows. Order, anchors and merges stay;
comments do not. Each manifest offers plain data to look at, and takes values at paths. What is
written is read again and compared before it is handed out.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

import yaml
from yaml.emitter import ScalarAnalysis

from sidecar.config.document import syntax
from sidecar.config.faults import ConfigError, Fault, Mark

Path = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_WIDE = 2**31  # no line is ever folded
# anything else that begins with a digit or a sign might be a number to somebody
_PLAIN = re.compile(r"(--)?[A-Za-z/][^\n]*|[0-9]+(m|[KMGTPE]i)")
# what may be a number or a time to YAML 1.1, and has a colon
_CLOCK = re.compile(r"[-+0-9][-+0-9_.:TtZz ]*")


class _Dumper(yaml.SafeDumper):
    """Writes `10:30` and the like plain within [...] too: no cluster reads a number in quotes."""

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        found = super().analyze_scalar(scalar)
        if _CLOCK.fullmatch(scalar):
            found.allow_flow_plain = True
        return found


class _Indenting(_Dumper):
    """Writes the dashes further to the right than the key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


class Manifest:
    """One document: `data` is what was read, and `add` changes what will be written."""

    def __init__(self, node: yaml.Node, source: str) -> None:
        self.data = _Plain(source).value(node)
        self._node = node
        self.indented = _is_indented(node)
        if getattr(node, "flow_style", False):  # JSON becomes YAML, as nobody reads a single line
            self._node = _in_blocks(node)

    def add(self, path: Path, value: object) -> None:
        """Put a plain value at a path: of a mapping a member, of a list before an item or at `-`.

        What the path leads through is there already; aliases on the way become copies.
        """
        self._node = at = _copy(self._node)
        for step in path[:-1]:
            at = _own(at, step)
        last, new = path[-1], _node(value)
        if isinstance(at, yaml.SequenceNode):
            at.value.insert(len(at.value) if last == "-" else int(last), new)
        else:
            _set(at, str(last), new)

    @property
    def node(self) -> yaml.Node:
        """The tree that is written."""
        return self._node


def read(text: str, source: str) -> list[Manifest]:
    """All documents that hold anything; raises ConfigError where the text is no YAML."""
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        nodes = _compose(loader)
        return [Manifest(node, source) for node in nodes if not _is_null(node)]
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, [syntax(error)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        found = str(error).splitlines()[0]
        raise ConfigError(source, [Fault((), found, "YAML text")]) from None
    except RecursionError:
        raise ConfigError(source, [Fault((), "far too many levels", "a manifest")]) from None
    finally:
        loader.dispose()


def write(manifests: Sequence[Manifest]) -> str:
    """The documents as YAML text, in order; raises ConfigError where that says another thing."""
    nodes = [manifest.node for manifest in manifests]
    indented = any(manifest.indented for manifest in manifests)
    dumper = _Indenting if indented else _Dumper
    text = str(yaml.serialize_all(nodes, Dumper=dumper, width=_WIDE, allow_unicode=True))
    loader = yaml.SafeLoader(text)
    again = _compose(loader)
    loader.dispose()
    if len(nodes) != len(again) or not all(map(_same, nodes, again)):
        found = "text that would not say the same once it is written"
        raise ConfigError("the result", [Fault((), found, "the same, read again")])
    return f"{text}\n" if text and not text.endswith("\n") else text


def _compose(loader: yaml.SafeLoader) -> list[yaml.Node]:
    found: list[yaml.Node] = []
    while loader.check_node():
        node = loader.get_node()
        if node is not None:
            found.append(node)
    return found


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _is_indented(node: yaml.Node) -> bool:
    """Whether the first list in a mapping has its dashes further to the right than its key."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, yaml.MappingNode) or one.flow_style:
            continue
        for key, value in one.value:
            if isinstance(value, yaml.SequenceNode) and not value.flow_style:
                return bool(value.start_mark.column > key.start_mark.column)
        waiting += [value for _, value in reversed(one.value)]
    return False


# --- looking --------------------------------------------------------------------------------


class _Plain:
    """Nodes as plain data. Each node is converted once, however often aliases name it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._done: dict[int, object] = {}
        self._open: set[int] = set()

    def value(self, node: yaml.Node) -> object:
        if id(node) in self._done:
            return self._done[id(node)]
        if id(node) in self._open:
            self._refuse(node, "an alias of something inside of that same thing", "an end")
        self._open.add(id(node))
        found: object
        if isinstance(node, yaml.MappingNode):
            found = self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            found = [self.value(item) for item in node.value]
        else:
            found = _scalar(str(node.tag), str(node.value))
        self._done[id(node)] = found
        return found

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a key that is no text", "text")
            if key.tag == _MERGE:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    found = self.value(source)
                    if not isinstance(found, dict):
                        self._refuse(source, "<< with no mapping", "<< with an alias of a mapping")
                    merged = {**found, **merged}
            elif key.value in own:
                self._refuse(key, f"the key {key.value} a second time", "each key once")
            else:
                own[key.value] = self.value(value)
        return {**merged, **own}

    def _refuse(self, node: yaml.Node, found: str, expected: str) -> NoReturn:
        mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        raise ConfigError(self._source, [Fault((), found, expected, mark=mark)])


def _scalar(tag: str, text: str) -> object:
    """What the scalar means to most readers; it is only looked at, never written."""
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int":
            octal = re.fullmatch(r"([-+]?)0([0-7_]+)", text)
            try:
                return int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
            except ValueError:
                return text
        case _:
            return text


# --- changing -------------------------------------------------------------------------------


def _copy(node: yaml.Node) -> yaml.Node:
    """A node of its own with the same children, in block style: a line for each of them."""
    kind = yaml.MappingNode if isinstance(node, yaml.MappingNode) else yaml.SequenceNode
    children = [
        tuple(map(_unshared, child)) if isinstance(child, tuple) else _unshared(child)
        for child in node.value
    ]
    return kind(node.tag, children, node.start_mark, node.end_mark, flow_style=False)


def _unshared(node: yaml.Node) -> yaml.Node:
    """A scalar that is in no other place: those are written out, without an anchor."""
    if not isinstance(node, yaml.ScalarNode):
        return node
    return yaml.ScalarNode(node.tag, node.value, node.start_mark, node.end_mark, node.style)


def _own(parent: yaml.Node, step: str | int) -> yaml.Node:
    """The child at a step, made the parent's own."""
    if isinstance(parent, yaml.SequenceNode):
        child = parent.value[int(step)] = _copy(parent.value[int(step)])
        return child
    found = _member(parent, str(step))
    if found is None:
        raise KeyError(step)
    child = _copy(found)
    _set(parent, str(step), child)
    return child


def _member(node: yaml.Node, name: str) -> yaml.Node | None:
    """A member of a mapping, or of what is merged into it."""
    if not isinstance(node, yaml.MappingNode):
        return None
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    for key, value in pairs:
        if key.tag != _MERGE and key.value == name:
            return value
    for key, value in pairs:
        if key.tag == _MERGE:
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if (found := _member(source, name)) is not None:
                    return found
    return None


def _set(node: yaml.Node, name: str, new: yaml.Node) -> None:
    for place, (key, _) in enumerate(node.value):
        if key.tag != _MERGE and key.value == name:
            node.value[place] = (key, new)
            return
    node.value.append((_node(name), new))


def _node(value: object) -> yaml.Node:
    """New plain data as nodes; a text that any reader might take for something else is quoted."""
    match value:
        case bool():
            return yaml.ScalarNode(_TAG + "bool", "true" if value else "false")
        case int():
            return yaml.ScalarNode(_TAG + "int", str(value))
        case dict():
            members = [(_node(key), _node(one)) for key, one in value.items()]
            return yaml.MappingNode(_TAG + "map", members, flow_style=not members)
        case list() | tuple():
            return yaml.SequenceNode(_TAG + "seq", [*map(_node, value)], flow_style=not value)
        case _:
            text = str(value)
            style = None if _PLAIN.fullmatch(text) else '"'
            return yaml.ScalarNode(_TAG + "str", text, style=style)


def _in_blocks(node: yaml.Node) -> yaml.Node:
    """A tree in block style; it came from one text, so it is changed in place."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not isinstance(one, yaml.CollectionNode):
            continue
        seen.add(id(one))
        one.flow_style = not one.value
        pairs: Iterable[object] = one.value
        for child in pairs:
            waiting.extend(child if isinstance(child, tuple) else (child,))
    return node


def _same(one: yaml.Node, other: yaml.Node) -> bool:
    """Whether two trees say the same, aliases followed as they come."""
    seen: set[tuple[int, int]] = set()
    waiting = [(one, other)]
    while waiting:
        left, right = waiting.pop()
        if (id(left), id(right)) in seen:
            continue
        seen.add((id(left), id(right)))
        if (type(left), left.tag) != (type(right), right.tag):
            return False
        if isinstance(left, yaml.ScalarNode):
            if left.value != right.value:
                return False
            continue
        if len(left.value) != len(right.value):
            return False
        for a, b in zip(left.value, right.value, strict=True):
            pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
            waiting.extend(pairs)
    return True
