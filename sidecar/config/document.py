"""YAML text to plain data that knows where each part stood.

YAML 1.2 core scalars only: `on`, `no` and `12:30` are text. Keys are text and stand once.
`${NAME}` and `${NAME:-default}` in values are replaced from the environment; what stood there is
kept for those who print. What is at fault goes along with the rest of the data, so that all faults
can be told at once; only a text without any data raises ConfigError.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import Literal

import yaml

from sidecar.config.faults import ConfigError, Fault, KeyPath, Mark

MOST_NODES = 100_000  # aliases can make a small file unfold into a huge one
DEEPEST = 50

_TAG = "tag:yaml.org,2002:"
_CORE = (
    ("merge", r"<<", "<"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class _Loader(yaml.SafeLoader):
    """The composer of PyYAML with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _name, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, the places of its keys and values, and the texts that held variables."""

    data: Mapping[str, object]
    text: str = ""
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)
    values: Mapping[KeyPath, Mark] = field(default_factory=dict)
    variables: Mapping[KeyPath, str] = field(default_factory=dict)  # as it stood in the file
    faults: tuple[Fault, ...] = ()  # a value at fault is None, of a doubled key the last one counts

    def locate(self, faults: Iterable[Fault]) -> list[Fault]:
        """The faults with their places; what is missing is placed where it should stand."""
        return [replace(fault, mark=fault.mark or self._mark(fault)) for fault in faults]

    def _mark(self, fault: Fault) -> Mark | None:
        first, second = (self.keys, self.values) if fault.at_key else (self.values, self.keys)
        for length in range(len(fault.path), -1, -1):
            path = fault.path[:length]
            mark = first.get(path) or second.get(path)
            if mark is not None:
                return mark
        return None


def parse(text: str, environ: Mapping[str, str], source: str) -> Document:
    """Read one document; raises ConfigError where it holds no data."""
    reader = _Reader(environ)
    try:
        node = _compose(text)
        data = {} if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise ConfigError(source, [syntax(error)]) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise ConfigError(source, [Fault((), str(error).splitlines()[0], "YAML text")]) from None
    except RecursionError:
        raise ConfigError(source, [Fault((), "far too many levels", "a configuration")]) from None
    if isinstance(data, dict):
        faults = tuple(reader.faults)
        return Document(data, text, reader.keys, reader.values, reader.variables, faults)
    if data is None and not reader.faults:
        return Document({}, text)
    expected = "a mapping with keys such as backends and routes"
    mark = reader.values.get(())
    raise ConfigError(source, [*reader.faults, Fault((), "something else", expected, mark=mark)])


def write(data: Mapping[str, object]) -> str:
    """Plain data as YAML text, in the given order."""
    return str(yaml.dump(data, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True))


def _compose(text: str) -> yaml.Node | None:
    """The tree of nodes; raises YAMLError."""
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except (ValueError, OverflowError):  # PyYAML does not check what it converts, such as \U
        raise yaml.MarkedYAMLError(
            problem="a number or an escape beyond what YAML allows", problem_mark=loader.get_mark()
        ) from None
    finally:
        loader.dispose()
    return node


def syntax(error: yaml.MarkedYAMLError) -> Fault:
    problem = (error.problem or "text that is not YAML").removeprefix("found ")
    place = error.problem_mark or error.context_mark
    mark = Mark(place.line + 1, place.column + 1) if place is not None else None
    if "expected a single document" in (error.context or ""):
        return Fault((), "a second document", "one", "remove what follows the line ---", mark=mark)
    if "\\t" in problem:
        return Fault((), "a tab", "spaces: YAML is indented with spaces only", mark=mark)
    context = f" {error.context}" if error.context else ""
    return Fault((), f"a mistake in the YAML: {problem}{context}", "valid YAML", mark=mark)


class _Reader:
    """Turns nodes into data and remembers where each stood."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.faults: list[Fault] = []
        self.keys: dict[KeyPath, Mark] = {}
        self.values: dict[KeyPath, Mark] = {}
        self.variables: dict[KeyPath, str] = {}
        self._environ = environ
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        self._count(node, path)
        self.values[path] = _mark(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _count(self, node: yaml.Node, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES or len(path) > DEEPEST:  # an alias may contain itself
            raise yaml.MarkedYAMLError(
                problem="aliases that unfold without end", problem_mark=node.start_mark
            )

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        merges = [value for key, value in node.value if key.tag == _TAG + "merge"]
        for source in reversed(merges):  # what stands here wins, then what is merged first
            self._merge(source, path, result)
        seen: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge" or (key := self._key(key_node, path)) is None:
                continue
            if key in seen:
                again, first = (*path, key), seen[key]
                self._fault(
                    again, key_node, "the key a second time", "each key once",
                    f"it stands first in line {first.line}, column {first.column}", at_key=True,
                )  # fmt: skip
                result[key] = _both(result[key], self.value(value_node, again))
                continue
            seen[key] = self.keys[*path, key] = _mark(key_node)
            self._forget((*path, key))
            result[key] = self.value(value_node, (*path, key))
        return result

    def _forget(self, path: KeyPath) -> None:
        """What was merged is overridden here: none of its variables stands in the result."""
        if path in self.values:
            old = [one for one in self.variables if one[: len(path)] == path]
            for one in old:
                del self.variables[one]

    def _merge(self, node: yaml.Node, path: KeyPath, result: dict[str, object]) -> None:
        """Take over the keys of `<<: *anchor`, or of a list of them."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in reversed(sources):
            self._count(source, path)
            if isinstance(source, yaml.MappingNode):
                result |= self._mapping(source, path)
            else:
                expected = "<< with an alias of a mapping"
                self._fault(path, source, "<< with no mapping", expected, at_key=True)

    def _key(self, node: yaml.Node, path: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return self._whole_text(node, str(node.value), path, at_key=True)
        found = f"the key {node.value}" if isinstance(node, yaml.ScalarNode) else "a nested key"
        self._fault(path, node, found, "a key that is text", "put it in quotes", at_key=True)
        return None

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text = str(node.value)
        match str(node.tag).removeprefix(_TAG):
            case "str" | "merge":
                return self._replaced(node, text, path)
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float" as kind:
                return self._number(node, text, path, kind)
            case tag:
                self._fault(path, node, f"the tag {tag}", "a value without a tag")
                return None

    def _number(
        self, node: yaml.Node, text: str, path: KeyPath, kind: Literal["int", "float"]
    ) -> float | None:
        try:
            number = (
                float(text) if kind == "float" else int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            )
        except ValueError:  # thousands of digits, or a tag that does not fit
            number = inf
        if not (-(2**63) <= number < 2**64 if kind == "int" else isfinite(number)):
            found, hint = "a number beyond all bounds", "put it in quotes if it is text"
            self._fault(path, node, found, "a number of at most 64 bits", hint)
            return None
        return number

    def _whole_text(
        self, node: yaml.Node, text: str, path: KeyPath, *, at_key: bool = False
    ) -> str | None:
        """The text, unless it holds what can neither be written nor sent."""
        if not any("\ud800" <= letter <= "\udfff" for letter in text):
            return text
        found = "half a character (a lone surrogate)"
        self._fault(path, node, found, "text that can be written as UTF-8", at_key=at_key)
        return None

    def _replaced(self, node: yaml.Node, text: str, path: KeyPath) -> str | None:
        def one(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            value = self._environ.get(name)
            if default is not None:
                return value or default
            if value is None:
                self._fault(
                    path, node, f"${{{name}}}, but the variable {name} is not set",
                    "a variable of the environment", f"set it, or write ${{{name}:-default}}",
                )  # fmt: skip
            return value or ""

        if "${" in text:
            self.variables[path] = text
            before = len(self.faults)
            text = _VARIABLE.sub(one, text)
            if len(self.faults) > before:
                return None
        return self._whole_text(node, text, path)

    def _fault(
        self,
        path: KeyPath,
        node: yaml.Node,
        found: str,
        expected: str,
        hint: str = "",
        *,
        at_key: bool = False,
    ) -> None:
        mark = _mark(node)
        self.faults.append(Fault(path, found, expected, hint, at_key=at_key, mark=mark))


def _both(first: object, second: object) -> object:
    """The value of a doubled key: what stands in either mapping is known, not missing."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {**first, **second}
    return second


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
