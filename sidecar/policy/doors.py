"""Who may come in: the decision that keeps web pages and tunnels away from the listeners.

A page in the owner's browser reaches loopback, so an address proves nothing. Refused are a foreign
`Host` (DNS rebinding), a foreign `Origin`, a body that a plain form could send, and whatever came
through a Cloudflare tunnel.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.locality import address

TUNNEL_HEADERS = ("cf-ray", "cf-connecting-ip", "cf-warp-tag-id")

_READ = frozenset({"host", "origin", "sec-fetch-site", "content-type", *TUNNEL_HEADERS})
_HOST = re.compile(r"(?:\[(?P<six>[^\[\]\s]+)\]|(?P<name>[^\[\]:@/\s]+))(?::\d{1,5})?")
_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json", re.IGNORECASE)

Headers = Mapping[str, Sequence[str]]  # name in lower case → its values, in order


def refuse(
    method: str,
    headers: Iterable[tuple[str, str]],
    *,
    local_address: str | None,
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    json_only: bool = False,
) -> Problem | None:
    """Why a request may not come in; None where it may.

    `local_address` is the address that the connection reached, `hosts` the further names (in lower
    case) that may stand in Host, `origins` the web pages that may ask, `json_only` whether bodies
    must be JSON by content type.
    """
    seen: dict[str, list[str]] = {}
    for name, value in headers:
        if (folded := name.lower()) in _READ:
            seen.setdefault(folded, []).append(value.strip())
    return (
        _refuse_tunnel(seen)
        or _refuse_host(seen, local_address, hosts)
        or _refuse_origin(seen, origins)
        or (_refuse_media_type(method, seen) if json_only else None)
    )


def refuse_media_type(method: str, headers: Iterable[tuple[str, str]]) -> Problem | None:
    """Why a body may not be read: a plain form could send it, and so a foreign page."""
    values = [value.strip() for name, value in headers if name.lower() == "content-type"]
    return _refuse_media_type(method, {"content-type": values})


def told_address(told: Sequence[str], peer: str | None) -> IPv4Address | IPv6Address | None:
    """Whose request it is: the one valid address that `told` holds, else the peer's."""
    for text in (*(told if len(told) == 1 else ()), peer or ""):
        try:
            found = ip_address(text)
        except ValueError:
            continue
        if "%" not in text:  # a zone may be any text
            return found
    return None


def _refuse_tunnel(seen: Headers) -> Problem | None:
    for name in TUNNEL_HEADERS:
        if name in seen:
            return _forbidden(
                "forbidden_tunnel",
                f"This request came through a tunnel (it carries {name!r}), and this listener is "
                "for local clients only. Point the tunnel elsewhere, never at this port.",
            )
    return None


def _refuse_host(
    seen: Headers, local_address: str | None, hosts: Collection[str]
) -> Problem | None:
    values = seen.get("host", ())
    if len(values) != 1:
        found = "none" if not values else f"{len(values)} of them"
        return _forbidden(
            "forbidden_host", f"A request must have one Host header; this one has {found}."
        )
    parts = _HOST.fullmatch(values[0])
    name = (parts["six"] or parts["name"]).lower().removesuffix(".") if parts else None
    if name is not None and (name == "localhost" or name in hosts):
        return None
    asked = address(name or "")
    if asked is not None and (asked.is_loopback or asked == address(local_address or "")):
        return None
    return _forbidden(
        "forbidden_host",
        f"Host {values[0][:100]!r} is not a name of this sidecar. Call it as localhost or "
        "127.0.0.1, or list the name under `hosts:` in the configuration.",
    )


def _refuse_origin(seen: Headers, origins: Collection[str]) -> Problem | None:
    asked = seen.get("origin", ())
    for origin in asked:
        if origin.lower() not in origins:
            return _forbidden(
                "forbidden_origin",
                f"Web pages of {origin[:100]!r} may not call this sidecar. List the origin under "
                "`origins:` of the listener if they should.",
            )
    fetched = seen.get("sec-fetch-site", ())
    if not asked and any(site.lower() in ("cross-site", "same-site") for site in fetched):
        return _forbidden(
            "forbidden_origin",
            "A browser sent this request on behalf of another web page, and such pages may not "
            "call this sidecar. List their origin under `origins:` of the listener if they should.",
        )
    return None


def _refuse_media_type(method: str, seen: Headers) -> Problem | None:
    if method not in ("POST", "PUT", "PATCH"):
        return None
    values = seen.get("content-type", ())
    if len(values) == 1 and _JSON.fullmatch(values[0].partition(";")[0].strip()):
        return None
    found = f"is {', '.join(values)[:100]!r}" if values else "is missing"
    return Problem(
        ProblemKind.BAD_REQUEST,
        f"The content type {found}; this endpoint takes JSON. Send the header "
        "'Content-Type: application/json'.",
        status=415,
        code="unsupported_media_type",
    )


def _forbidden(code: str, message: str) -> Problem:
    return Problem(ProblemKind.FORBIDDEN, message, status=403, code=code)
