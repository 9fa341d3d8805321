"""A section of the file that another package owns: checked and told of like the rest.

The package gives its pydantic model and a function that settles what the model read; its place in
the file, line numbers, hints and the JSON Schema are the business of this one.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

from sidecar.config.faults import KeyPath


class Settled(Protocol):
    """What a section comes to: settings (None with complaints), and values that never print.

    A complaint is the path below the section, what was found, what was expected, and a hint.
    """

    @property
    def settings(self) -> object | None: ...

    @property
    def complaints(self) -> Collection[tuple[KeyPath, str, str, str]]: ...

    @property
    def secrets(self) -> Collection[str]: ...

    @property
    def grace(self) -> float:
        """Seconds that requests in flight get when it ends."""
        ...


class Guest(NamedTuple):
    """One section of another package.

    `settle` gets what the model read, the address of the public listener, the files that the
    section refers to by their paths as written, the environment, and the configuration's folder.
    """

    key: str
    section: type[Any]  # a pydantic model
    about: str  # a sentence for the JSON Schema
    settle: Callable[[Any, str, Mapping[str, bytes | str], Mapping[str, str], str], Settled]
