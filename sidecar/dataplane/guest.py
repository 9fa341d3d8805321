"""Who asks, for as long as the request is there."""

from types import TracebackType

from sidecar.wire.contract import RequestFacts

Headers = tuple[tuple[str, str], ...]


class Guest:
    """Who asks. It is entered while its request is there, and `asks` what its body says.

    `key` may go on to backends, `peer` tells whose requests are one client's where there is none;
    `headers` are those that may be looked at further on, `backend` is the one that they force.
    """

    def __init__(self, key: str | None, peer: str, headers: Headers, backend: str | None) -> None:
        self.key, self.peer = key, peer
        self.headers, self.backend = headers, backend

    def __enter__(self) -> "Guest":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give back what it held."""

    def asks(self, facts: RequestFacts) -> None:
        """Its body has come. Raises RequestRefused."""
