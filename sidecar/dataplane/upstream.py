"""The door to backends: one pool of connections each, and every library error mapped to a problem.

A pooled connection that turns out to be dead is replaced without a word: it says nothing about the
backend. Redirects are never followed; a backend's cookies are never kept.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from yarl import URL

from sidecar.config.snapshot import Backend
from sidecar.config.trust import trust
from sidecar.neutral.problem import AttemptFailed, Problem, ProblemKind
from sidecar.policy.locality import is_local
from sidecar.runtime.store import BackendKey, key_of

HEADER_LIMIT = 32 * 1024  # bytes of one header field of an answer
SETTLE = 0.1  # seconds for the end of the body to come after the end of the answer
_ERRORS = (aiohttp.ClientError, OSError, ValueError)
DNS_TTL = 10  # seconds for which a name's addresses are believed


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """One HTTP request to a backend. `connect` is in seconds; `body` may flow."""

    backend: Backend
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | AsyncIterator[bytes] | None
    connect: float
    stay_local: bool


class RawReply(Protocol):
    """The head of an answer and the way to the rest."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, looked up without regard to case."""
        ...

    async def read(self) -> bytes:
        """What has come of the body, content-decoded; empty at its end. Raises AttemptFailed."""
        ...

    def limit_gap(self, seconds: float) -> None:
        """From now on a silence of that length breaks the body with TIMEOUT."""
        ...

    async def settle(self) -> None:
        """Wait a moment for the end behind a complete answer, so that its connection lives on."""
        ...

    async def aclose(self) -> None:
        """Give the connection back if its answer is complete, else close it."""
        ...


class Upstream(Protocol):
    """How an attempt reaches a backend."""

    async def send(self, call: UpstreamCall) -> RawReply:
        """Send a request and wait for the head. Raises AttemptFailed."""
        ...

    async def forget(self, backend: BackendKey) -> None:
        """Let go of what is held open for a backend that is gone."""
        ...


class _Quiet(ResponseHandler):
    """A connection that counts as lost once it has said something that nobody asked for.

    Such bytes would be taken for the answer to the next request.
    """

    def is_connected(self) -> bool:
        """Whether the connection may carry a request."""
        return super().is_connected() and not self.should_close


_is_new: ContextVar[bool] = ContextVar("_is_new")  # whether the call's connection was made for it


class _Connector(aiohttp.TCPConnector):
    """Notes which connections are new; aiohttp's tracing tells it too, and costs every request."""

    async def _create_connection(  # its arguments are those of aiohttp
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        _is_new.set(True)
        return await super()._create_connection(req, traces, timeout)


class _LocalOnly(AbstractResolver):
    """Resolves names, and refuses those that lead to a public address."""

    def __init__(self) -> None:
        self._resolver = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if any(not is_local(one["host"]) for one in found):
            raise AttemptFailed(
                Problem(
                    ProblemKind.NOT_LOCAL,
                    f"has a name, {host}, that leads to a public address; this route stays local",
                )
            )
        return found

    async def close(self) -> None:
        await self._resolver.close()


class HttpUpstream:
    """Backends over HTTP, by aiohttp."""

    def __init__(self) -> None:
        self._pools: dict[tuple[BackendKey, bool, bool], aiohttp.ClientSession] = {}

    async def send(self, call: UpstreamCall) -> RawReply:
        """Send a request and wait for the head. Raises AttemptFailed."""
        if call.stay_local and call.backend.local is False:
            told = "has a public address, and this route stays local"
            raise AttemptFailed(Problem(ProblemKind.NOT_LOCAL, told))
        # a body that flows cannot be sent again, so it never meets a dead pooled connection
        flows = isinstance(call.body, AsyncIterator)
        _is_new.set(False)
        try:
            return _reply(await self._request(call, fresh=flows))
        except _ERRORS as error:
            if _is_new.get() or not _is_lost(error):
                raise AttemptFailed(_problem_of(error, call)) from error
        try:
            return _reply(await self._request(call, fresh=True))
        except _ERRORS as error:
            raise AttemptFailed(_problem_of(error, call)) from error

    async def _request(self, call: UpstreamCall, *, fresh: bool) -> aiohttp.ClientResponse:
        return await self._pool(call, fresh).request(
            call.method,
            URL(call.url, encoded=True),
            data=call.body,
            headers=call.headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=call.connect),
        )

    def _pool(self, call: UpstreamCall, fresh: bool) -> aiohttp.ClientSession:
        key = (key_of(call.backend), call.stay_local, fresh)
        session = self._pools.get(key)
        if session is None:
            session = self._pools[key] = _session(call.backend, call.stay_local, fresh=fresh)
        return session

    async def forget(self, backend: BackendKey) -> None:
        """Close the pools of a backend that is gone."""
        gone = [self._pools.pop(key) for key in list(self._pools) if key[0] == backend]
        for session in gone:
            await session.close()

    async def close(self) -> None:
        """Close all pools."""
        while self._pools:
            await self._pools.popitem()[1].close()


def _session(backend: Backend, stay_local: bool, *, fresh: bool) -> aiohttp.ClientSession:
    connector = _Connector(
        limit=0,
        force_close=fresh,
        ssl=trust(backend.ca) if backend.base_url.startswith("https:") else False,
        ttl_dns_cache=DNS_TTL,
        resolver=_LocalOnly() if stay_local else None,
    )
    # aiohttp has no public way to say this, and it does not look at what idle connections hold
    quiet = partial(_Quiet, loop=asyncio.get_running_loop())
    connector._factory = quiet  # type: ignore[assignment]  # it makes the protocols
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=backend.proxy and not stay_local,
        skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
        max_line_size=HEADER_LIMIT,
        max_field_size=HEADER_LIMIT,
    )


class _Reply:
    """An answer by aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes:
        """What has come of the body; empty at its end. Raises AttemptFailed."""
        try:
            return await self._response.content.readany()
        except aiohttp.SocketTimeoutError as error:
            raise AttemptFailed(Problem(ProblemKind.TIMEOUT, "fell silent")) from error
        except (aiohttp.ClientError, OSError) as error:
            raise AttemptFailed(Problem(ProblemKind.TRUNCATED, "broke off its answer")) from error

    def limit_gap(self, seconds: float) -> None:
        """From now on a silence of that length breaks the body with TIMEOUT."""
        connection = self._response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = seconds
            connection.protocol.start_timeout()

    async def settle(self) -> None:
        """Wait a moment for the end behind a complete answer, so that its connection lives on."""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(SETTLE):
                while not self._response.content.at_eof():
                    await self._response.content.readany()

    async def aclose(self) -> None:
        """Give the connection back if its answer is complete, else close it."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _reply(response: aiohttp.ClientResponse) -> _Reply:
    """The answer, whose end must be beyond doubt: of an unknown coding the parser knows none."""
    coding = response.headers.get("Transfer-Encoding")
    if coding is not None and coding.lower() != "chunked":
        response.close()
        told = f"sent its answer in an unknown Transfer-Encoding, {coding[:100]!r}"
        raise AttemptFailed(Problem(ProblemKind.PROTOCOL, told))
    return _Reply(response)


def _is_lost(error: Exception) -> bool:
    """Whether the connection broke, rather than what came over it."""
    is_connection = isinstance(error, (aiohttp.ClientConnectionError, OSError))
    return is_connection and not isinstance(error, aiohttp.ServerTimeoutError)


def _lost(error: Exception) -> Problem:
    return Problem(
        ProblemKind.CONNECT, f"closed the connection before it answered ({_reason(error)})"
    )


def _problem_of(error: Exception, call: UpstreamCall) -> Problem:
    """A library's error in our words."""
    host = URL(call.url).host
    match error:
        case aiohttp.ConnectionTimeoutError():
            told = f"gave no connection within {call.connect:g} s"
            return Problem(ProblemKind.TIMEOUT, told, unreached=True, setting="timeouts.connect")
        case aiohttp.ClientConnectorDNSError():
            return Problem(ProblemKind.DNS, f"has a name that cannot be resolved: {host}")
        case aiohttp.ClientConnectorCertificateError():
            told = getattr(error.certificate_error, "verify_message", "") or "it is invalid"
            return Problem(ProblemKind.TLS, f"has a certificate that was refused: {told}")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Problem(ProblemKind.TLS, f"failed in TLS: {_reason(error)}")
        case aiohttp.ClientProxyConnectionError():
            return Problem(
                ProblemKind.CONNECT, "cannot be reached: the proxy refused the connection"
            )
        case aiohttp.ClientHttpProxyError():
            return Problem(
                ProblemKind.CONNECT, f"cannot be reached: the proxy answered {error.status}"
            )
        case aiohttp.ClientConnectorError():
            told = (
                "refused the connection" if _refused(error) else f"is unreachable: {_reason(error)}"
            )
            return Problem(ProblemKind.CONNECT, f"{told} ({host}:{URL(call.url).port})")
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return Problem(
                ProblemKind.PROTOCOL,
                "sent a head that is not valid HTTP, too large, or in an unknown encoding",
            )
        case aiohttp.InvalidURL():
            return Problem(ProblemKind.INTERNAL, "has an address that is not a valid URL")
        case OSError() | aiohttp.ClientConnectionError():
            return _lost(error)
        case _:
            return Problem(ProblemKind.PROTOCOL, f"broke HTTP: {_reason(error)}")


def _refused(error: aiohttp.ClientConnectorError) -> bool:
    return isinstance(error.os_error, ConnectionRefusedError)


def _reason(error: BaseException) -> str:
    told = getattr(error, "strerror", None) or str(error)
    return told[:120] or type(error).__name__
