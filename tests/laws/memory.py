"""How much an object holds on to."""

from sidecar.wire.contract import AnswerContext


def held(value: object) -> int:
    """The letters and bytes that an object holds on to, its slots and members included."""
    size, left, seen = 0, [value], set()
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, AnswerContext | type) or callable(one):
            continue
        seen.add(id(one))
        match one:
            case str() | bytes() | bytearray():
                size += len(one)
            case dict():
                left += [*one.keys(), *one.values()]
            case list() | tuple() | set() | frozenset():
                left += one
            case _:
                names = [name for kind in type(one).__mro__ for name in _slots(kind)]
                left += [getattr(one, name, None) for name in names]
                left.append(getattr(one, "__dict__", None))
    return size


def _slots(kind: type) -> list[str]:
    slots = getattr(kind, "__slots__", ())
    return [slots] if isinstance(slots, str) else list(slots)
