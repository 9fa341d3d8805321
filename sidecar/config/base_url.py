"""Reading base URLs: what is in them, what people paste too much, and whose address it is.

Pure: no name is resolved. A ValueError says what was expected.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from sidecar.policy.locality import is_local

LOOPBACK = ("127.0.0.1", "::1")

_ODD_IPV4 = re.compile(r"(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+)){0,3}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a base URL points to; `host` is in lower case, without brackets."""

    scheme: str
    host: str
    port: int


def read(url: str) -> Address:
    """Check a base URL; raises ValueError."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("a URL without spaces")
    if "://" not in url:
        raise ValueError("a URL that begins with http:// or https://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("a URL such as http://127.0.0.1:8000/v1") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("a URL that begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("a URL without credentials; they belong in auth, from env or file")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("a URL without a query; parameters belong in quirks.query")
    if not parts.hostname or port == 0:
        raise ValueError("a URL such as http://127.0.0.1:8000/v1")
    literal(parts.hostname)
    return Address(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


def has_path(url: str) -> bool:
    """Whether anything stands behind the host."""
    return urlsplit(url).path not in ("", "/")


def trim(url: str, suffixes: Iterable[str]) -> tuple[str, list[str]]:
    """Take known paths and slashes off the end; gives the rest and what was taken."""
    known = sorted({suffix for suffix in suffixes if suffix}, key=len, reverse=True)
    taken: list[str] = []
    while True:
        bare = url.rstrip("/")
        suffix = next((one for one in known if bare.endswith(one)), None)
        if suffix is not None:
            taken.append(suffix)
            url = bare.removesuffix(suffix)
            continue
        if bare != url and not taken:
            taken.append("/")
        return bare, taken


def literal(host: str) -> str | None:
    """The IP address that a host stands for without asking DNS; None for a name.

    Raises ValueError for what is neither, such as 999.1.1.1.
    """
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return LOOPBACK[0]
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return _odd_ipv4(host) if _ODD_IPV4.fullmatch(host) else None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def _odd_ipv4(host: str) -> str:
    """127.1 and 2130706433 are addresses too, to everything that connects."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise ValueError("a URL whose host is a name or an IP address") from None


def locality(host: str) -> bool | None:
    """Whether a host is local or public; None where only DNS can tell."""
    found = literal(host)
    return None if found is None else is_local(found)


def is_own(address: Address, listeners: Iterable[tuple[tuple[str, ...], int]]) -> bool:
    """Whether it is one of our own listeners, however it is spelled."""
    found = literal(address.host)
    if found is None:
        return False
    here = ip_address(found)
    for addresses, port in listeners:
        bound = [ip_address(one) for one in addresses]
        if port == address.port and (
            here in bound
            or ((here.is_loopback or here.is_unspecified) and any(map(_answers_loopback, bound)))
        ):
            return True
    return False


def _answers_loopback(bound: object) -> bool:
    return bool(getattr(bound, "is_loopback", False) or getattr(bound, "is_unspecified", False))
