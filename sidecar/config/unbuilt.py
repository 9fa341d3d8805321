"""The parts of the configuration language that are known but not built yet: one table.

A part that gets built leaves the table and enters the schema.
"""

from collections.abc import Iterator

from sidecar.config.faults import Fault, KeyPath, shown

# the path (`*` stands for any name or place), the values that are not built (none: the key itself)
# and what is not built, with its verb
UNBUILT: tuple[tuple[str, tuple[object, ...], str], ...] = (
    ("listeners.admin.keys", (), "checking keys of clients is"),
)


def unbuilt(data: object) -> list[Fault]:
    """A fault for every known part in the data that is not built yet."""
    faults = []
    for pattern, values, name in UNBUILT:
        for path, value in _matches(data, pattern.split("."), ()):
            if values and value not in values:
                continue
            found = shown(value) if values else f"the key {path[-1]}"
            sentence = f"{name} not built yet; leave it out"
            faults.append(Fault(path, found, "nothing there", sentence, at_key=not values))
    return faults


def _matches(data: object, parts: list[str], path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if not parts:
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            if parts[0] in ("*", key):
                yield from _matches(value, parts[1:], (*path, key))
    elif isinstance(data, list) and parts[0] == "*":
        for place, value in enumerate(data):
            yield from _matches(value, parts[1:], (*path, place))
