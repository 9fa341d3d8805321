"""Which addresses are local: loopback, private and link-local ones."""

import ipaddress

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
