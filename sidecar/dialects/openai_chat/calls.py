"""Telling the tool calls of a stream apart, however a backend numbers and repeats them.

OpenAI sends id and name once, then pieces of the arguments, all under one `index`. Others leave
the index out or send 0 for every call, repeat id and name with each piece (the SDKs would join
them), make up an id per piece, send arguments as an object, or all of them again each time.
"""

import re
from dataclasses import dataclass, field

from sidecar.wire import json
from sidecar.wire.json import Json
from sidecar.wire.loose import object_in, text_in

CALL_LIMIT = 512  # calls of one answer; later pieces pass as they are
_COMPARED = 64 * 1024  # characters of arguments that are kept to see a repetition
_MARKS = re.compile(r'\\.|["{}\[\]]', re.DOTALL)
_BEFORE_VALUE = (":", ",", "[")


class Bracketed:
    """Watches pieces of JSON for the bracket that completes the value."""

    __slots__ = ("_carried", "_depth", "_in_string", "is_complete")

    def __init__(self) -> None:
        self.is_complete = False
        self._depth = 0
        self._in_string = False
        self._carried = ""  # a backslash whose character is still to come

    def feed(self, piece: str) -> None:
        """Read one more piece."""
        text = self._carried + piece
        trailing = len(text) - len(text.rstrip("\\"))
        self._carried = "\\" if trailing % 2 else ""
        for found in _MARKS.finditer(text):
            mark = found.group()
            if mark == '"':
                self._in_string = not self._in_string
            elif self._in_string or len(mark) > 1:
                continue
            elif mark in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                self.is_complete = self.is_complete or self._depth <= 0


class Arguments:
    """The arguments of one call as they come in."""

    __slots__ = ("_brackets", "_is_cumulative", "_length", "_start")

    def __init__(self) -> None:
        self._start = ""
        self._length = 0
        self._is_cumulative = False
        self._brackets = Bracketed()

    @property
    def is_complete(self) -> bool:
        """Whether they are a whole object."""
        return self._brackets.is_complete

    def repeats(self, piece: str, is_named: bool) -> bool:
        """Whether a piece says again all that has come, and perhaps more.

        An object in the place of a value may begin like the whole of it; then only a piece that
        names the tool again, or a habit, tells.
        """
        if not self._length or len(piece) < self._length:
            return False
        if self._length > _COMPARED:
            return self._is_cumulative
        if not self._start.lstrip().startswith("{") or not piece.startswith(self._start):
            return False
        is_plain = not self._start.rstrip().endswith(_BEFORE_VALUE)
        return is_plain or self._is_cumulative or is_named

    def add(self, piece: str, is_named: bool) -> str:
        """What a piece adds to those before it."""
        if self.repeats(piece, is_named):
            self._is_cumulative = True
            piece = piece[self._length :]
        self._length += len(piece)
        if self._length <= _COMPARED:
            self._start += piece
        self._brackets.feed(piece)
        return piece


@dataclass(slots=True, eq=False)
class Call:
    """One tool call; `place` is the index by which clients know it."""

    place: int
    id: str = ""
    name: str = ""
    arguments: Arguments = field(default_factory=Arguments)


class Calls:
    """The tool calls of one choice, in the order in which they began."""

    __slots__ = ("_by_told", "_last", "_places", "_taken")

    def __init__(self) -> None:
        self._places: dict[int, Call] = {}
        self._by_told: dict[int, Call] = {}  # the latest that bears that index
        self._last: Call | None = None
        self._taken = 0  # every place below it was given away

    def at(self, place: int) -> Call | None:
        """The call that clients know by that index."""
        return self._places.get(place)

    def mended(self, item: Json) -> Json:
        """One entry of `tool_calls` as OpenAI would send it; the very object where it is right."""
        kind = "custom" if isinstance(item.get("custom"), dict) else "function"
        function = object_in(item, kind)
        id, name = text_in(item, "id"), text_in(function, "name")
        piece = _piece(function.get("arguments"))
        told = item.get("index")
        index = told if type(told) is int and 0 <= told < CALL_LIMIT else None
        call = self._known(index, id, name, piece) or self._begun(index)
        if call is None:
            return item
        self._last = call
        is_again = bool(name and call.name)
        better = {**item, "index": call.place}
        if id and call.id:
            del better["id"]
        if is_again or "arguments" in function:
            better[kind] = _function(function, call, piece, is_again)
        call.id, call.name = call.id or id, call.name or name
        return item if better == item and index is not None else better

    def _begun(self, index: int | None) -> Call | None:
        if len(self._places) >= CALL_LIMIT:
            return None
        place = self._taken if index is None or index in self._places else index
        call = Call(place)
        self._places[place] = call
        self._taken = max(self._taken, place + 1)
        if index is not None:
            self._by_told[index] = call
        return call

    def _known(self, index: int | None, id: str, name: str, piece: str) -> Call | None:
        """The call that a piece continues; None where it begins one."""
        if id:
            for known in self._places.values():
                if known.id == id:
                    return known
        call = self._last if index is None else self._by_told.get(index)
        return None if call is None or _is_another(call, id, name, piece) else call


def _is_another(call: Call, id: str, name: str, piece: str) -> bool:
    """Whether a piece that seems to continue a call begins another one.

    An id alone proves nothing: some backends make one up per piece.
    """
    if not name or not call.name:
        return False
    if id and call.id:
        return id != call.id
    if name != call.name:
        return True
    return bool(piece) and call.arguments.is_complete and not call.arguments.repeats(piece, True)


def _function(function: Json, call: Call, piece: str, is_again: bool) -> Json:
    better = dict(function)
    if is_again:
        del better["name"]
    if function.get("arguments") is not None:
        better["arguments"] = call.arguments.add(piece, is_again)
    return better


def _piece(arguments: object) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return json.dumps(arguments).decode()
