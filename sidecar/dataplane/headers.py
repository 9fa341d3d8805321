"""Which headers cross in each direction.

Towards a backend all end-to-end headers pass but a deny-list and what belongs to other dialects;
towards the client only an allow-list. Credentials never pass by themselves: `config.address`
places them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

_HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
    "upgrade", "http2-settings",
})  # fmt: skip
_OURS = frozenset({
    "host", "content-length", "accept-encoding", "expect",
    "content-encoding",  # the body has been decoded on its way in
})  # fmt: skip
_CREDENTIALS = re.compile(
    r"(?!idempotency-key).*key|(.*[-_])?auth(orization|entication)?|proxy-auth.*|cookie2?"
    r"|x-(auth|access|goog-iam|amz-security|csrf)[-_].*|(.*[-_])?(token|secret|password)"
    r"|.*(credential|jwt).*"
)
_PATH = re.compile(r"cf-.*|cdn-loop|x-forwarded(-.*)?|forwarded|via|x-real-ip|true-client-ip")
_STEERING = re.compile(r"x-sidecar-.*")
_QUERY_KEYS = re.compile(
    r"(.*[-_])?key|.*(api|access|client|secret)key|token"
    r"|(.*[-_])?(access|auth|bearer|id|refresh|security|session)[-_]?token|.*secret|.*passw(or)?d"
    r"|(.*[-_])?auth(orization)?|bearer|.*(credential|jwt).*|sig|(.*[-_])?signature",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"retry-after(-ms)?|x-should-retry|.*ratelimit.*|request-id|(openai|anthropic)-.*|x-ms-request-id"
    r"|apim-request-id|content-(type|language|disposition|range)|etag|last-modified|accept-ranges|allow"
)


def towards_backend(
    headers: Iterable[tuple[str, str]], foreign: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """The client's headers that a backend may see.

    `foreign` are starts of names that only backends of other dialects understand.
    """
    pairs = [(name, value) for name, value in headers if not _starts(name, foreign)]
    named = {
        word.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return [(name, value) for name, value in pairs if _may_pass(name.lower(), named)]


def _starts(name: str, starts: Sequence[str]) -> bool:
    return name.lower().startswith(tuple(starts))


def _may_pass(name: str, named_by_connection: set[str]) -> bool:
    if name in _HOP_BY_HOP or name in _OURS or name in named_by_connection:
        return False
    denied = (_CREDENTIALS, _PATH, _STEERING)
    read_as = name.replace("_", "-")  # some servers make no difference
    return not any(pattern.fullmatch(read_as) for pattern in denied)


def towards_client(headers: Mapping[str, str]) -> dict[str, str]:
    """The backend's headers that a client may see, by names in lower case.

    The backend's own request id gets a name of its own.
    """
    told = {name.lower(): value for name, value in headers.items()}
    passed = {name: value for name, value in told.items() if _ANSWER.fullmatch(name)}
    if request_id := told.get("x-request-id"):
        passed["x-backend-request-id"] = request_id
    return passed


def client_key(headers: Mapping[str, str]) -> str | None:
    """The key that a client brought, in any of the forms that vendors use."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or headers.get("api-key") or None


def passed_query(query: str) -> str:
    """The client's query without anything that looks like a key."""
    if not query:
        return ""
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if not _QUERY_KEYS.fullmatch(name)]
    return query if len(kept) == len(pairs) else urlencode(kept)
