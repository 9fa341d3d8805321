"""The losses that the source of a dialect declares, read out of it.

Every loss is a `Loss(field, severity, …)` somewhere. Both arguments are followed to what they can
be: through variables, loops over tables, and the calls of the function that they are handed to.
What only a request can tell (an unknown field, the type of a part) has no name here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SIDECAR = Path(__file__).resolve().parents[1] / "sidecar"
CLIENT, BACKEND = "client", "backend"
SIDES = {"decode": CLIENT, "conversation": CLIENT, "encode": BACKEND, "turns": BACKEND}

Function = ast.FunctionDef
Comprehension = ast.ListComp | ast.GeneratorExp | ast.SetComp


@dataclass(frozen=True)
class Declared:
    """What a dialect's clients say, or its backends do not take, so that it gets lost."""

    name: str
    severity: str
    dialect: str
    side: str


def declared(folder: Path, dialect: str) -> set[Declared]:
    """All losses in the modules of a dialect."""
    source = Source(sorted(folder.glob("*.py")))
    return {
        Declared(name, severity, dialect, source.side(place))
        for call in source.calls("Loss")
        for name, severity, place in source.losses(call, call.args[0], call.args[1])
    }


class Source:
    """The modules of one dialect, and the way from each of their nodes to what is around it."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._around: dict[ast.AST, ast.AST] = {}
        self._names: dict[ast.AST, str] = {}
        self._modules = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
        for module, file in zip(self._modules, files, strict=True):
            self._names[module] = file.stem
            for outer in ast.walk(module):
                self._around.update(dict.fromkeys(ast.iter_child_nodes(outer), outer))

    def calls(self, name: str) -> list[ast.Call]:
        """The calls of a function or method of that name."""
        nodes = (node for module in self._modules for node in ast.walk(module))
        return [one for one in nodes if isinstance(one, ast.Call) and _last(one.func) == name]

    def _calls_of(self, function: Function) -> list[ast.Call]:
        """The calls of a function; those of a private one stand in its own module."""
        found = self.calls(function.name)
        if not function.name.startswith("_"):
            return found
        return [call for call in found if self._module(call) is self._module(function)]

    def _module(self, node: ast.AST) -> ast.AST:
        *_, module = self._outwards(node)
        return module

    def side(self, node: ast.AST) -> str:
        """Whether a place reads what clients say, or writes what backends get."""
        outer = list(self._outwards(node))
        names = [self._names[outer[-1]], *(one.name for one in outer if isinstance(one, Function))]
        sides = {side for name in names for start, side in SIDES.items() if name.startswith(start)}
        assert len(sides) == 1, f"on which side is {names}?"
        return sides.pop()

    def losses(
        self, call: ast.AST, field: ast.expr, severity: ast.expr
    ) -> Iterator[tuple[str, str, ast.AST]]:
        """The names and severities that a pair of arguments can be, each with its place."""
        function = self._parameter(field)
        if function is not None:
            for outer in self._calls_of(function):
                told = _handed(function, outer)
                asked = severity.id if isinstance(severity, ast.Name) else ""
                yield from self.losses(outer, told[_last(field)], told.get(asked, severity))
            return
        names = set(self._names_of(field))
        for name in names:
            yield name, _severity(severity), call
        if not names:  # whatever a client has written, unless a table knows it
            for table in self._tables_in(call):
                for name, value in _entries(table):
                    yield name, _severity(value if _is_severity(value) else severity), call

    # --- what a name can be -----------------------------------------------------------------------

    def _names_of(self, node: ast.expr | None) -> Iterator[str]:
        match node:
            case ast.Constant(str(name)) if name:
                yield name
            case ast.JoinedStr([ast.Constant(str(start)), *_]):
                yield f"{start}*"
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self._names_of(value)
            case ast.IfExp(ast.Compare(comparators=[ast.Constant(known)]), body, orelse):
                yield from self._names_of(body)
                yield from (name for name in self._names_of(orelse) if name != known)
            case ast.IfExp(_, body, orelse):
                yield from self._names_of(body)
                yield from self._names_of(orelse)
            case ast.Name():
                yield from self._names_in_scope(node)
            case _:
                pass

    def _names_in_scope(self, name: ast.Name) -> Iterator[str]:
        for node in self._outwards(name):
            loops: list[ast.comprehension | ast.For] = []
            if isinstance(node, Comprehension):
                loops = list(node.generators)
            elif isinstance(node, ast.For):
                loops = [node]
            for loop in loops:
                if _first(loop.target) == name.id:
                    yield from (key for key, _ in _entries(self._table(loop.iter)))
                    return
            if isinstance(node, Function):
                yield from self._names_of(_assigned(node, name.id))

    def _table(self, node: ast.expr) -> ast.expr | None:
        """The literal behind an expression that is looped over."""
        match node:
            case ast.Call(ast.Attribute(table, "items")):
                return self._table(table)
            case ast.Name(id):
                scopes = (one for one in self._outwards(node) if isinstance(one, _SCOPES))
                return next(filter(None, (_assigned(scope, id) for scope in scopes)), None)
            case _:
                return node

    def _tables_in(self, call: ast.AST) -> Iterator[ast.expr]:
        for node in ast.walk(call):
            if isinstance(node, ast.Name) and (table := self._table(node)) is not None:
                yield table

    def _parameter(self, node: ast.expr) -> Function | None:
        """The function that gets a name from its callers."""
        if not isinstance(node, ast.Name):
            return None
        around = (one for one in self._outwards(node) if isinstance(one, Function))
        return next((one for one in around if node.id in _parameters(one)), None)

    def _outwards(self, node: ast.AST) -> Iterator[ast.AST]:
        while True:
            yield node
            if node not in self._around:
                return
            node = self._around[node]


_SCOPES = (Function, ast.Module)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _first(target: ast.expr) -> str:
    return _last(target.elts[0] if isinstance(target, ast.Tuple) else target)


def _parameters(function: Function) -> list[str]:
    return [one.arg for one in function.args.args if one.arg != "self"]


def _handed(function: Function, call: ast.Call) -> Mapping[str, ast.expr]:
    """What a call hands to the parameters of a function."""
    names, defaults = _parameters(function), function.args.defaults
    given = dict(zip(reversed(names), reversed(defaults), strict=False))
    given |= dict(zip(names, call.args, strict=False))
    return given | {one.arg: one.value for one in call.keywords if one.arg is not None}


def _assigned(scope: ast.AST, name: str) -> ast.expr | None:
    for node in ast.walk(scope):
        match node:
            case ast.Assign([ast.Name(id)], value) if id == name:
                return value
            case ast.AnnAssign(ast.Name(id), value=ast.expr() as value) if id == name:
                return value
    return None


def _entries(table: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """The names in a literal; in a mapping each with what it stands for."""
    match table:
        case ast.Dict(keys, values):
            pairs = list(zip(keys, values, strict=True))
        case ast.Tuple(elements):
            pairs = [(one, one) for one in elements]
        case _:
            pairs = []
    for key, value in pairs:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _is_severity(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and _last(node.value) == "Severity"


def _severity(node: ast.expr) -> str:
    """The word of a severity; of two the one that a table's names have."""
    match node:
        case ast.IfExp(_, body):
            return _severity(body)
        case _:
            assert _is_severity(node), f"line {node.lineno}: which severity?"
            return _last(node).lower()
