"""Asks each backend which models it has, in the background; planning and `/v1/models` use it.

Nothing waits for it: until a backend has answered its catalogue is simply not known, and one that
fails is asked again soon. Prompts are never part of it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

import httpx

from sidecar.config.address import key_for, url_for
from sidecar.config.snapshot import Backend, Snapshot
from sidecar.config.trust import trust
from sidecar.policy.locality import is_local
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore, key_of
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json
from sidecar.wire.contract import Operation

_log = logging.getLogger(__name__)

EVERY = 300.0  # seconds
AFTER_FAILURE = 15.0  # doubles with each further failure, up to EVERY
TIME_LIMIT = 5.0
AT_ONCE = 4  # backends asked at the same time, so that many of them never crowd the event loop
LARGEST = 8 * 1024 * 1024  # bytes of a list that is still read


class Unlisted(Exception):
    """A backend did not tell its models; the message says why."""


class Catalogue:
    """Keeps the lists of models in the runtime store fresh."""

    def __init__(
        self,
        current: Current,
        store: RuntimeStore,
        redact: Redactor,
        clock: Callable[[], float],
    ) -> None:
        self._current, self._store, self._redact = current, store, redact
        self._clock = clock
        self._due: dict[BackendKey, float] = {}
        self._pause: dict[BackendKey, float] = {}
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """The configuration has changed: ask new backends at once."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Ask whoever is due, for ever."""
        while True:
            self._changed.clear()
            pause = await self.ask_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def ask_due(self) -> float:
        """Ask every backend that is due; returns the seconds until the next one is."""
        snapshot = self._current.get()
        backends = snapshot.backends.values() if snapshot else ()
        wanted = {key_of(one): one for one in backends if one.enabled and not one.echo}
        now = self._clock()
        self._due = {key: self._due.get(key, now) for key in wanted}
        self._pause = {key: self._pause.get(key, AFTER_FAILURE) for key in wanted}
        async with Clients() as clients, asyncio.TaskGroup() as group:
            for key, backend in wanted.items():
                if self._due[key] <= now:
                    self._due[key] = now + EVERY  # so that a fault of ours is not repeated at once
                    stays = snapshot is not None and _stays_local(backend, snapshot)
                    group.create_task(
                        self._ask(key, backend, clients, stays), name=f"catalogue of {key.name}"
                    )
        return max(0.0, min(self._due.values(), default=now + EVERY) - self._clock())

    async def _ask(
        self, key: BackendKey, backend: Backend, clients: "Clients", stays_local: bool
    ) -> None:
        try:
            async with self._places, asyncio.timeout(TIME_LIMIT):
                if stays_local and backend.local is None:
                    await _check_local(backend)
                names = await list_models(backend, clients)
        except (Unlisted, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            why = self._redact(str(error)) or type(error).__name__
            _log.debug("backend %s did not list its models: %s", backend.name, why)
            self._due[key] = self._clock() + self._pause[key]
            self._pause[key] = min(EVERY, 2 * self._pause[key])
            return
        self._store.learn_models(backend, names)
        self._due[key] = self._clock() + EVERY
        self._pause[key] = AFTER_FAILURE


class Clients:
    """One HTTP client for each way to trust and to be routed; making one costs milliseconds."""

    def __init__(self) -> None:
        self._clients: dict[tuple[object, ...], httpx.AsyncClient] = {}

    async def __aenter__(self) -> "Clients":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    def for_backend(self, backend: Backend) -> httpx.AsyncClient:
        """The client for a backend."""
        is_secure = backend.base_url.startswith("https:")
        kind = (is_secure, backend.ca, backend.proxy)
        if kind not in self._clients:
            self._clients[kind] = httpx.AsyncClient(
                verify=trust(backend.ca) if is_secure else False,
                trust_env=backend.proxy,
                timeout=TIME_LIMIT,
            )
        return self._clients[kind]


async def list_models(backend: Backend, clients: Clients) -> Mapping[str, str]:
    """The models of a backend: name in lower case → its own name. Raises Unlisted."""
    path = backend.dialect.backend_paths.get(Operation.MODELS)
    if path is None:
        raise Unlisted(f"the dialect {backend.dialect.name} has no list of models")
    key = key_for(backend.auth, client_key=None)
    headers = {"accept": "application/json", **backend.quirks.header, **key.headers}
    url = url_for(backend, path, key.query)
    body = bytearray()
    async with clients.for_backend(backend).stream("GET", url, headers=headers) as answer:
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > LARGEST:
                raise Unlisted(f"its list of models is larger than {LARGEST} bytes")
    if answer.status_code != 200:
        raise Unlisted(f"it answered {answer.status_code}")
    return {name.casefold(): name for name in _names(bytes(body))}


def _stays_local(backend: Backend, snapshot: Snapshot) -> bool:
    """Whether every route that leads to a backend keeps its traffic local."""
    routes = snapshot.routes.routes
    own = [one for one in routes if any(to.backend == backend.name for to in one.targets)]
    return all(route.stay_local for route in own or routes)


async def _check_local(backend: Backend) -> None:
    """Raises Unlisted where a name leads to a public address: not even a key may go there."""
    url = httpx.URL(backend.base_url)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port)
    if not all(is_local(str(address[0])) for *_, address in found):
        raise Unlisted("its name leads to a public address")


def _names(body: bytes) -> list[str]:
    """The ids of a list of models; some vendors leave out the envelope."""
    try:
        listing = json.loads(body)
    except json.InvalidJson as error:
        raise Unlisted(f"its list of models is not JSON: {error}") from None
    entries = listing.get("data") if isinstance(listing, dict) else listing
    if not isinstance(entries, list):
        raise Unlisted("its list of models is not a list")
    ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    return [name for name in ids if isinstance(name, str)]
