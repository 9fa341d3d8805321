"""Fetching the images that a request only points to, for backends that fetch none.

The address comes from whoever wrote the prompt, so nothing but a public web server may answer:
http and https on their own ports, and every connection, also behind a redirect, is checked by the
very address it is about to be made to. Nothing of the client or of this host goes with it.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import count

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from sidecar.config.trust import trust
from sidecar.neutral.problem import Problem, ProblemKind, RequestRefused
from sidecar.neutral.request import ChatRequest, Image, Inline, Part, Remote, ToolResult
from sidecar.policy.locality import is_public
from sidecar.wire.picture import media_type

IMAGES = 20  # of one request
AT_ONCE = 4  # of all requests
SECONDS = 5.0  # for one image, with its redirects
SIZE = 5_000_000  # bytes of one image
GROWTH = 20_000_000  # characters of base64 by which one request may grow
REDIRECTS = 3
PORTS = frozenset({80, 443})
_MOVED = {301, 302, 303, 307, 308}
_HEADERS = {
    "User-Agent": "llm-sidecar",
    "Accept": "image/jpeg, image/png, image/gif, image/webp",
    "Accept-Encoding": "identity",  # what comes compressed all the same is no image to us
}


class _Unusable(Exception):
    """An image cannot be had; the text is a clause that says why, without its address."""


class _NotPublic(OSError):
    """The connection would leave the public Internet."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What tests allow beside the public Internet: addresses with their ports."""

    hosts: AbstractSet[tuple[str, int]] = frozenset()
    tls: ssl.SSLContext | None = None  # instead of the system's authorities


class ImageFetcher:
    """Puts the bytes of images into requests in the place of their addresses."""

    def __init__(
        self,
        resolver: AbstractResolver | None = None,
        allowance: Allowance | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._resolver = resolver
        self._allowance = allowance or Allowance()
        self._seconds = seconds
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def inlined(self, request: ChatRequest) -> ChatRequest:
        """The request with every image in it. Raises RequestRefused for one that cannot be had.

        A refusal counts all images from the start of the request, for paths differ by dialect.
        """
        urls = {
            place: image.source.url
            for place, image in enumerate(_images(request), 1)
            if isinstance(image.source, Remote)
        }
        if not urls:
            return request
        if len(urls) > IMAGES:
            told = f"The request points to {len(urls)} images; at most {IMAGES} are fetched."
            raise _refused(told)
        fetched: dict[int, Inline] = {}
        try:
            async with self._session() as session, asyncio.TaskGroup() as group:
                for place, url in urls.items():
                    group.create_task(self._take(session, place, url, fetched))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return _filled(request, fetched)

    async def _take(
        self, session: aiohttp.ClientSession, place: int, url: str, fetched: dict[int, Inline]
    ) -> None:
        try:
            async with self._slots, asyncio.timeout(self._seconds):
                fetched[place] = _as_image(await _fetch(session, _parsed(url)))
        except (_Unusable, aiohttp.ClientError, OSError, ValueError) as error:
            told = f"Image {place} of the request{_from(url)} could not be fetched: "
            raise _refused(f"{told}{self._reason(error)}.") from error
        if sum(len(image.data) for image in fetched.values()) > GROWTH:
            raise _refused("The images that the request points to are too large together.")

    def _reason(self, error: Exception) -> str:
        match error:
            case _Unusable():
                return str(error)
            case TimeoutError():
                return f"it did not come within {self._seconds:g} seconds"
            case aiohttp.ClientConnectorCertificateError():
                return "its server shows no certificate that is trusted"
            case aiohttp.ClientConnectorDNSError():
                return "its host is not known"
            case aiohttp.ClientConnectorError(os_error=_NotPublic()):
                return "its address does not lead to port 80 or 443 of a public host"
            case _:
                return "its server gave no complete answer"

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            socket_factory=self._socket,
            force_close=True,
            limit=0,
            ssl=self._allowance.tls or trust(None),
        )
        return aiohttp.ClientSession(
            connector=connector,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # neither a proxy nor the passwords of ~/.netrc
            auto_decompress=False,
        )

    def _socket(self, target: aiohttp.AddrInfoType) -> socket.socket:
        """The one place by which connections go out: `target` is where this one will lead."""
        family, kind, protocol, _, address = target
        host, port = str(address[0]), int(address[1])
        is_allowed = (host, port) in self._allowance.hosts
        if not is_allowed and not (port in PORTS and is_public(host)):
            raise _NotPublic("not public")
        return socket.socket(family, kind, protocol)


async def _fetch(session: aiohttp.ClientSession, url: URL) -> bytes:
    for _ in range(1 + REDIRECTS):
        async with session.get(url, allow_redirects=False) as response:
            if response.status == 200:
                return await _body(response)
            target = response.headers.get("Location")
            if response.status not in _MOVED or target is None:
                raise _Unusable(f"its server answered with status {response.status}")
            url = _checked(url.join(URL(target)))
    raise _Unusable(f"its server redirects more than {REDIRECTS} times")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    too_large = _Unusable(f"it is larger than {SIZE // 1_000_000} MB")
    if (response.content_length or 0) > SIZE:
        raise too_large
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > SIZE:
            raise too_large
    return bytes(body)


def _parsed(url: str) -> URL:
    try:
        return _checked(URL(url))
    except ValueError:
        raise _Unusable("its address is no URL") from None


def _checked(url: URL) -> URL:
    if url.scheme not in ("http", "https") or not url.host:
        raise _Unusable("its address does not begin with http:// or https:// and a host")
    if url.user is not None or url.password is not None:
        raise _Unusable("its address holds a user name or a password")
    return url


def _as_image(body: bytes) -> Inline:
    kind = media_type(body)
    if kind is None:
        raise _Unusable("it is not a JPEG, PNG, GIF or WebP image")
    return Inline(kind, base64.b64encode(body).decode())


def _from(url: str) -> str:
    """The host alone: a path or a query may be as good as a password."""
    try:
        host = URL(url).host
    except ValueError:
        host = None
    return f", from {host[:100]}," if host else ""


def _refused(message: str) -> RequestRefused:
    return RequestRefused(Problem(ProblemKind.BAD_REQUEST, message, code="image_not_fetched"))


# --- the images of a request ----------------------------------------------------------------------


def _images(request: ChatRequest) -> Iterator[Image]:
    for message in request.messages:
        for part in message.parts:
            inner = part.content if isinstance(part, ToolResult) else (part,)
            yield from (one for one in inner if isinstance(one, Image))


def _filled(request: ChatRequest, fetched: Mapping[int, Inline]) -> ChatRequest:
    """The request with the images at those places; it counts as `_images` does."""
    places = count(1)

    def image(one: Image) -> Image:
        return replace(one, source=fetched.get(next(places), one.source))

    def part(one: Part) -> Part:
        match one:
            case Image():
                return image(one)
            case ToolResult():
                content = (image(part) if isinstance(part, Image) else part for part in one.content)
                return replace(one, content=tuple(content))
            case _:
                return one

    messages = (
        replace(message, parts=tuple(part(one) for one in message.parts))
        for message in request.messages
    )
    return replace(request, messages=tuple(messages))
