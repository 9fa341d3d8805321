"""Whose path a request asks for: the dialects' endpoints and pages, in one table."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.wire.contract import Dialect, ModelEntry, Operation
from sidecar.wire.json import Json

Listing = Callable[[Sequence[ModelEntry]], Json | str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, and in which dialect.

    Of Operation.MODELS either `listing` is the page, or `model` is the name that is asked for.
    """

    dialect: Dialect
    operation: Operation
    listing: Listing | None = None
    model: str | None = None
    manages: bool = False  # it would change the models of a backend


class Endpoints:
    """The paths of all dialects. A path that several have goes to the one whose marker is there."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = dialects
        # the marked ones first: their marker decides
        self._in_order = sorted(dialects, key=lambda dialect: dialect.marker is None)
        # those that one dialect has and nobody else wants, whatever the headers say: nearly all
        self._plain = {
            path: Asked(dialect, operation)
            for dialect in dialects
            for path, operation in dialect.endpoints.items()
            if not any(_has_page(one, path) for one in dialects)
            and sum(path in one.endpoints for one in dialects) == 1
            and not any(self._posted(one, path) for one in dialects if one is not dialect)
        }

    def find(self, path: str, headers: Mapping[str, str]) -> Asked:
        """Whose path it is; what no dialect knows is opaque, in the words of who is marked."""
        if plain := self._plain.get(path):
            return plain
        for dialect in self._in_order:
            shared = dialect.marker is not None and dialect.marker not in headers
            asked = self._page(dialect, path, shared=shared) or self._posted(dialect, path)
            if asked is not None:
                return asked
        marked = (one for one in self._in_order if one.marker is not None and one.marker in headers)
        return Asked(next(marked, self._owner(path)), Operation.OPAQUE)

    def _posted(self, dialect: Dialect, path: str) -> Asked | None:
        if operation := dialect.endpoints.get(path):
            return Asked(dialect, operation)
        if any(path == start or path.startswith(f"{start}/") for start in dialect.managing):
            return Asked(dialect, Operation.OPAQUE, manages=True)
        return None

    def _page(self, dialect: Dialect, path: str, *, shared: bool) -> Asked | None:
        """A page of a dialect; what it shares with others only where its marker is there."""
        others = (other for other in self._dialects if other is not dialect)
        if shared and any(_has_page(other, path) for other in others):
            return None
        if path in dialect.listings:
            return Asked(dialect, Operation.MODELS, listing=dialect.listings[path])
        start = dialect.model_path
        if start is not None and path.startswith(start) and path != start:
            return Asked(dialect, Operation.MODELS, model=path.removeprefix(start))
        return None

    def _owner(self, path: str) -> Dialect:
        """In whose words a path's errors are told: who claims most of its start, else the first."""

        def claim(dialect: Dialect) -> int:
            starts = (start for start in dialect.territory if path.startswith(start))
            return max(map(len, starts), default=0)

        return max(self._dialects, key=claim)

    @property
    def paths(self) -> list[str]:
        """All that can be asked for, for an error message."""
        told = [path for one in self._dialects for path in (*one.endpoints, *one.listings)]
        return list(dict.fromkeys(path for path in told if path != "/"))


# nothing in it is encoded, and no segment is empty or begins with a dot
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9][A-Za-z0-9._:@+-]*)*")


class Exposed:
    """What the public listener offers: the dialects say it, and nothing else is there."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._methods = {
            path: method
            for dialect in dialects
            for method, paths in (("POST", dialect.endpoints), ("GET", dialect.listings))
            for path in paths
            if path in dialect.exposed
        }
        starts = (dialect.model_path for dialect in dialects)
        self._starts = tuple(
            start for start in starts if start and any(start in one.exposed for one in dialects)
        )

    def method(self, path: str) -> str | None:
        """The one method that a path takes, as it stands in the request; None: it is not there."""
        if method := self._methods.get(path):
            return method
        for start in self._starts:
            if path.startswith(start) and _MODEL.fullmatch(path, len(start)):
                return "GET"
        return None


def _has_page(dialect: Dialect, path: str) -> bool:
    start = dialect.model_path
    return path in dialect.listings or (start is not None and path.startswith(start))
