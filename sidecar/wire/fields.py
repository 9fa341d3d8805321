"""Typed reads from untrusted JSON: what is not as expected is refused with its path."""

from collections.abc import Mapping, Sequence

from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused

_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


def kind(value: object) -> str:
    """What a JSON value is, for people."""
    return _KINDS[type(value)]


def refused(message: str, param: str, code: str = "invalid_request") -> RequestRefused:
    """The refusal of a request that names the field at fault."""
    return RequestRefused(Problem(ProblemKind.BAD_REQUEST, message, code=code, param=param))


class Fields:
    """One object of a request. Null counts as left out; every read may raise RequestRefused."""

    __slots__ = ("_read", "_value", "path")

    def __init__(self, value: Mapping[str, object], path: str = "") -> None:
        self._value = value
        self._read: set[str] = set()
        self.path = path

    @property
    def value(self) -> Mapping[str, object]:
        """The object as it came."""
        return self._value

    def place(self, name: str) -> str:
        """The path of a member, such as messages[2].role."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> object:
        """A member as it came; None where it is left out."""
        self._read.add(name)
        return self._value.get(name)

    def has(self, name: str) -> bool:
        """Whether a member is there and not null."""
        return self._value.get(name) is not None

    def text(self, name: str) -> str | None:
        """A member that is a string."""
        value = self.raw(name)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a string")

    def needed_text(self, name: str) -> str:
        """A member that must be there, and be a string."""
        value = self.text(name)
        if value is None:
            path = self.place(name)
            raise refused(f"`{path}` is missing; a string was expected.", path)
        return value

    def truth(self, name: str) -> bool | None:
        """A member that is true or false."""
        value = self.raw(name)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(name, "true or false")

    def whole(self, name: str) -> int | None:
        """A member that is a whole number; 3.0 is one."""
        value = self.raw(name)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(name, "a whole number")

    def number(self, name: str) -> float | None:
        """A member that is a number."""
        value = self.raw(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self.wrong(name, "a number")

    def mapping(self, name: str) -> Mapping[str, object] | None:
        """A member that is an object, as it came."""
        value = self.raw(name)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "an object")

    def objects(self, name: str) -> list["Fields"]:
        """A member that is a list of objects; empty where it is left out."""
        found = []
        for place, item in enumerate(self.items(name)):
            path = f"{self.place(name)}[{place}]"
            if not isinstance(item, dict):
                raise refused(f"`{path}` is {kind(item)}; an object was expected.", path)
            found.append(Fields(item, path))
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A member that is a string or a list of strings."""
        value = self.raw(name)
        if isinstance(value, str):
            return (value,)
        found = []
        for place, item in enumerate(self.items(name)):
            if not isinstance(item, str):
                path = f"{self.place(name)}[{place}]"
                raise refused(f"`{path}` is {kind(item)}; a string was expected.", path)
            found.append(item)
        return tuple(found)

    def items(self, name: str) -> Sequence[object]:
        """A member that is a list; empty where it is left out."""
        value = self.raw(name)
        if value is None:
            return ()
        if isinstance(value, list):
            return value
        raise self.wrong(name, "a list")

    def unread(self) -> list[str]:
        """The members that are there and that nobody has asked for."""
        return [
            name
            for name, value in self._value.items()
            if value is not None and name not in self._read
        ]

    def wrong(self, name: str, expected: str) -> RequestRefused:
        """The refusal of a member that is something else than was expected."""
        path = self.place(name)
        found = kind(self._value.get(name))
        return refused(f"`{path}` is {found}; {expected} was expected.", path)

    def object(self, name: str) -> "Fields | None":
        """A member that is an object. The last method, for it hides the type of that name."""
        value = self.mapping(name)
        return None if value is None else Fields(value, self.place(name))
