"""Small questions to backends outside of any client's request: lists of models, probes.

One place for clients, addresses, the backend's own key and the bound on an answer. How long a
question may take is the business of whoever asks it. Redirects are not followed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from sidecar.config.address import key_for, url_for
from sidecar.config.snapshot import Backend, Snapshot
from sidecar.config.trust import trust
from sidecar.policy.locality import is_local
from sidecar.runtime.store import BackendKey, key_of
from sidecar.wire import json

LARGEST = 8 * 1024 * 1024  # bytes of an answer that is still read


class TooLarge(Exception):
    """An answer is larger than LARGEST bytes."""


class NotLocal(Exception):
    """A backend's traffic stays local, and its address is public: not even a key may go there."""


# OSError: timeouts too; UnicodeError: names that cannot be looked up
FAILURES = (TooLarge, NotLocal, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; `path` is relative to the backend's base URL."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: json.Json | None = None


class Clients:
    """One HTTP client for each way to trust and to be routed; making one costs milliseconds.

    With `keep` connections are used again; without, each question shows whether one can be made.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._clients: dict[tuple[object, ...], httpx.AsyncClient] = {}
        self._limits = httpx.Limits(max_keepalive_connections=None if keep else 0)

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
                timeout=None,  # noqa: S113 - whoever asks limits the whole of it
                limits=self._limits,
            )
        return self._clients[kind]


def askable(snapshot: Snapshot | None) -> dict[BackendKey, Backend]:
    """The backends that may be asked something: switched on, and somewhere else."""
    backends = snapshot.backends.values() if snapshot is not None else ()
    return {key_of(one): one for one in backends if one.enabled and not one.echo}


async def ask(backend: Backend, clients: Clients, question: Question) -> tuple[int, bytes]:
    """Status and body of the answer to one question. Raises one of FAILURES."""
    key = key_for(backend, client_key=None)
    body = question.body
    headers = {
        "accept": "application/json",
        **({"content-type": "application/json"} if body is not None else {}),
        **backend.dialect.backend_headers,
        **backend.quirks.header,
        **key.headers,
    }
    url = url_for(backend, question.path, {**key.query, **question.query})
    content = json.dumps(body) if body is not None else None
    client, answered = clients.for_backend(backend), bytearray()
    async with client.stream(question.method, url, headers=headers, content=content) as answer:
        async for chunk in answer.aiter_bytes():
            answered += chunk
            if len(answered) > LARGEST:
                raise TooLarge(f"its answer is larger than {LARGEST} bytes")
    return answer.status_code, bytes(answered)


async def check_local(backend: Backend, snapshot: Snapshot | None) -> None:
    """Raises NotLocal where a question would leave what the backend's traffic may not leave.

    Raises OSError where its name cannot be resolved.
    """
    if backend.local is not None or snapshot is None or not _stays_local(backend, snapshot):
        return
    url = httpx.URL(backend.base_url)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port)
    if not all(is_local(str(address[0])) for *_, address in found):
        raise NotLocal("its name leads to a public address")


def _stays_local(backend: Backend, snapshot: Snapshot) -> bool:
    """Whether every route that leads to a backend keeps its traffic local."""
    routes = snapshot.routes.routes
    own = [one for one in routes if any(to.backend == backend.name for to in one.targets)]
    return all(route.stay_local for route in own or routes)
