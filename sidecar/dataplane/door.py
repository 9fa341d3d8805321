"""Where the listeners differ: who may come in, what is on offer, how it is given, what is told.

`server` asks a door instead of knowing which listener it serves. This is the contract, and the door
for clients of this machine; `public` has the one for strangers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from aiohttp import web

from sidecar.config.snapshot import Listener, Snapshot
from sidecar.dataplane import arrival, headers
from sidecar.dataplane.answer import Answer
from sidecar.dataplane.endpoints import Asked, Endpoints
from sidecar.dataplane.guest import Guest
from sidecar.dataplane.telling import Manner, Telling
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import RequestRefused
from sidecar.policy import clients
from sidecar.policy.admission import Line
from sidecar.policy.clients import ClientKey
from sidecar.policy.routing import RouteTable
from sidecar.telemetry.recorder import RequestNote


class Door(Protocol):
    """One listener's. The snapshot is that of the request, None while there is none."""

    line: Line  # of the requests that came in here
    telling: Telling
    relays_models: bool  # a backend may tell of its models in its own words
    keeps_alive: bool  # streams get signs of life, also where no head goes out early

    def find(self, http: web.BaseRequest) -> Asked:
        """Whose path it is."""
        ...

    def manner(self, asked: Asked, headers: Mapping[str, str]) -> Manner:
        """How the answer is given."""
        ...

    async def admit(
        self,
        http: web.BaseRequest,
        asked: Asked,
        answer: Answer,
        note: RequestNote,
        snapshot: Snapshot | None,
    ) -> Guest | None:
        """Who may ask; None where the door has answered by itself. Raises RequestRefused."""
        ...

    def place(self, snapshot: Snapshot) -> Listener:
        """The listener's settings."""
        ...

    def table(self, snapshot: Snapshot) -> RouteTable:
        """The routes on offer."""
        ...

    def named(self, snapshot: Snapshot) -> Collection[str]:
        """The backends that a request may name."""
        ...

    def heads_early(self, snapshot: Snapshot) -> bool:
        """Whether whole answers too may get their head before they are there."""
        ...


class LocalDoor:
    """For clients of this machine: no page, no tunnel, no foreign name, and then everything."""

    relays_models = True
    keeps_alive = False

    def __init__(
        self,
        line: Line,
        redact: Callable[[str], str],
        health: Callable[[], Mapping[str, object]],
    ) -> None:
        self.line, self.telling = line, Telling(redact)
        self._health = health
        self._endpoints = Endpoints(DIALECTS)
        self._openly = Manner()

    def find(self, http: web.BaseRequest) -> Asked:
        """By its path and the markers of the dialects."""
        return self._endpoints.find(http.path, http.headers)

    def manner(self, asked: Asked, headers: Mapping[str, str]) -> Manner:
        """As it is."""
        return self._openly

    async def admit(
        self,
        http: web.BaseRequest,
        asked: Asked,
        answer: Answer,
        note: RequestNote,
        snapshot: Snapshot | None,
    ) -> Guest | None:
        """Whoever is of this machine; what asks for health or for permission has its answer."""
        arrival.check_doors(http, asked, answer, snapshot)
        if http.method == "OPTIONS":
            await answer.whole(204, arrival.preflight(http), b"")
            return None
        keys = snapshot.data.keys if snapshot is not None else None
        if keys is not None:
            note.client = self._known(http, keys, answer)
        if http.path == "/health":
            if http.method not in ("GET", "HEAD"):
                raise arrival.wrong_method(http, "GET")
            note.is_probe = True
            await answer.json(self._health())
            return None
        named = http.headers
        # a key of ours is for no backend
        key = headers.client_key(named) if keys is None else None
        peer = http.remote or "" if note.client is None else f"client {note.client}"
        return Guest(key, peer, tuple(named.items()), named.get("x-sidecar-backend"))

    def _known(self, http: web.BaseRequest, keys: Sequence[ClientKey], answer: Answer) -> str:
        """The name of the client. Raises RequestRefused."""
        found = clients.whose(http.headers.items(), keys)
        if isinstance(found, str):
            return found
        answer.common["WWW-Authenticate"] = "Bearer"
        raise RequestRefused(clients.unknown(with_key=True))

    def place(self, snapshot: Snapshot) -> Listener:
        """That for applications."""
        return snapshot.data

    def table(self, snapshot: Snapshot) -> RouteTable:
        """All."""
        return snapshot.routes

    def named(self, snapshot: Snapshot) -> Collection[str]:
        """All."""
        return snapshot.backends

    def heads_early(self, snapshot: Snapshot) -> bool:
        """Never: between a client and a sidecar on one machine nobody cuts a silence."""
        return False
