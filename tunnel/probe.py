"""The end-to-end request: through the public name, as a stranger's would come.

It tells what it saw; whose fault that is, `verdict` decides. Each probe makes a connection of its
own, follows no redirect and believes nothing but a good proof. No sentence of it holds the secret
path, or a header's value.
"""

import asyncio
import functools
import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tunnel.events import Sighting
from tunnel.proof import MOST_BODY, Proof
from tunnel.settings import Probe

LOCAL = 5.0  # seconds for the origin on loopback
CONTROL = 5.0  # seconds for a control target

_ERROR_CODE = re.compile(rb"error code: (\d{3,4})|<span[^>]*>(1\d{3})</span>")
_SENT = {"Accept": "application/json", "Accept-Encoding": "identity", "Cache-Control": "no-store"}
_Answer = tuple[int, Mapping[str, str], bytes]


async def look(url: str, probe: Probe, proof: Proof, nonce: str) -> Sighting:
    """What a request through the public name meets. Never raises.

    `url` is `https://host`. `http://` is for tests: only with `probe.connect`, or on loopback.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and probe.connect is None and not _is_loopback(host):
        return Sighting(None, "tls", detail="a public name must be probed by https")
    try:
        context = await asyncio.to_thread(_context, probe.ca)
        answer = await _get(
            url.rstrip("/") + proof.path + nonce,
            {**_SENT, **probe.headers},
            probe.timeout,
            context,
            _Names(probe.connect, probe.timeout / 2),
        )
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        kind, detail = _kind_of(error)
        return Sighting(None, kind, detail=f"{host}: {detail}")
    status, headers, body = answer
    proven = proof.check(nonce, body) if status == 200 else None
    return Sighting(
        status,
        proven=proven is not None,
        replica=proven[0] if proven else None,
        connector=proven[1] if proven else None,
        from_cloudflared=_is_from_cloudflared(status, headers, body),
        is_policy=_is_policy(status, headers),
        detail="" if proven else _detail(status, body),
    )


async def look_local(origin: str, proof: Proof, nonce: str) -> bool:
    """Whether the origin answers the same path on loopback. Never raises."""
    try:
        answer = await _get(origin.rstrip("/") + proof.path + nonce, _SENT, LOCAL)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return False
    return answer[0] == 200 and proof.check(nonce, answer[2]) is not None


async def reachable(control: Sequence[str]) -> bool | None:
    """Whether any of these addresses answers, be it with an error; None where there are none.

    An address is `https://host`, `http://host` or `host:port`. Never raises.
    """
    if not control:
        return None
    asked = [asyncio.ensure_future(_is_reachable(target)) for target in control]
    try:
        for first in asyncio.as_completed(asked):
            if await first:
                return True
        return False
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _is_reachable(target: str) -> bool:
    try:
        if "://" in target:
            context = await asyncio.to_thread(_context, None)
            await _get(target, _SENT, CONTROL, context)
            return True
        host, _, port = target.rpartition(":")
        async with asyncio.timeout(CONTROL):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return False
    writer.transport.abort()
    return True


async def _get(
    url: str,
    headers: Mapping[str, str],
    patience: float,
    context: ssl.SSLContext | None = None,
    names: "_Names | None" = None,
) -> _Answer:
    """Status, headers and the beginning of the body, over a connection of its own."""
    connector = aiohttp.TCPConnector(
        ssl=True if context is None else context,
        resolver=names,
        use_dns_cache=False,
        force_close=True,
    )
    # what is over before the connection stands is the way's fault, not the answer's
    timeout = aiohttp.ClientTimeout(total=patience, sock_connect=patience * 0.8)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=timeout,
        ) as session,
        session.get(url, headers=headers, allow_redirects=False) as response,
    ):
        body = b""
        while len(body) <= MOST_BODY and (piece := await response.content.read(MOST_BODY)):
            body += piece
        return response.status, response.headers, body


class _Names(AbstractResolver):
    """Finds addresses in the system's way; with `connect`, that one for every name."""

    def __init__(self, connect: tuple[str, int] | None, patience: float) -> None:
        self._connect, self._patience = connect, patience

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        name, port = (host, port) if self._connect is None else self._connect
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.get_running_loop().getaddrinfo(
                    name, port, type=socket.SOCK_STREAM, family=family
                )
        except TimeoutError as error:
            raise OSError("the name was not resolved in time") from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


@functools.lru_cache(maxsize=4)
def _context(ca: str | None) -> ssl.SSLContext:
    """The system's authorities, and further ones; made once, for it takes a while."""
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(cadata=ca)
    return context


def _kind_of(error: Exception) -> tuple[str, str]:
    """The kind of a failure, and words for people that hold nothing of the request."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns", "the name does not resolve"
        case aiohttp.ClientConnectorCertificateError():
            wrong = getattr(error.certificate_error, "verify_message", "")
            return "tls", f"the certificate is not good: {wrong or 'unknown reason'}"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls", "no TLS connection came to be"
        case aiohttp.ConnectionTimeoutError():
            return "connect", "nothing answers there"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            return "connect", os.strerror(number) if number else "no connection came to be"
        case TimeoutError():
            return "timeout", "no answer in time"
        case _:
            return "broken", "the connection broke, or what came was no HTTP"


def _is_from_cloudflared(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether cloudflared made this answer itself. The edge mostly hides what it knows of that."""
    meta = headers.get("cf-cloudflared-response-meta")
    if meta is not None:
        try:
            told = json.loads(meta)
        except (ValueError, RecursionError):
            return False
        return isinstance(told, dict) and told.get("src") == "cloudflared"
    return status == 502 and not body


def _is_policy(status: int, headers: Mapping[str, str]) -> bool:
    if 300 <= status < 400 or "cf-mitigated" in headers:
        return True
    asks = headers.get("www-authenticate", "").lower()
    return status in (401, 403) and "cloudflare-access" in asks


def _detail(status: int, body: bytes) -> str:
    found = _ERROR_CODE.search(body)
    code = f", error code {(found[1] or found[2]).decode()}" if found else ""
    return f"HTTP {status}{code}" + ("" if status != 200 else " without a good proof")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
