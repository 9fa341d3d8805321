"""Which addresses are local: loopback, private and link-local ones."""

import ipaddress
from functools import lru_cache

_PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/32",
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::/127",
        "fc00::/7",
        "fe80::/10",
    )
)


@lru_cache(maxsize=256)
def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is, without zone and out of its IPv6 wrapping; None for a name."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def is_local(text: str) -> bool:
    """Whether an IP address never leaves the machine or its private network."""
    found = address(text)
    return found is not None and any(
        found in network for network in _PRIVATE if network.version == found.version
    )


_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA gives out for the public Internet
_6TO4 = ipaddress.ip_network("2002::/16")  # leads to the IPv4 address in its midst


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public Internet, for everybody and for one host.

    It is not `not is_local`: shared, documentation, multicast and reserved networks are neither.
    """
    found = address(text)
    if isinstance(found, ipaddress.IPv6Address) and found in _NAT64:
        found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    if isinstance(found, ipaddress.IPv6Address):
        return found in _UNICAST and found not in _6TO4 and found.is_global
    return found is not None and found.is_global and not (found.is_multicast or found.is_reserved)
