"""Where a call to a backend goes and which key it carries. Pure; both planes use it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urlencode

from sidecar.config.snapshot import Backend, Credential, Forward


@dataclass(frozen=True, slots=True)
class Key:
    """Headers and query parameters that authenticate a call.

    `forwarded` tells that the key is the client's own, so that its refusal is the client's too;
    `count` how many keys there are to choose from.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    forwarded: bool = False
    count: int = 1


# Anthropic takes the tokens of its subscriptions as bearer tokens only, its API keys in a header
_ALWAYS_BEARER = "sk-ant-oat"


def key_for(backend: Backend, client_key: str | None, nth: int = 0) -> Key:
    """The key for a call by a client that brought `client_key`; of several, the one in turn."""
    match backend.auth:
        case None:
            return Key()
        case Credential() as credential:
            return _placed(credential, nth)
        case Forward(replace, otherwise):
            if client_key and not any(fnmatchcase(client_key, pattern) for pattern in replace):
                return _forwarded(client_key, backend.dialect.key_header)
            return _placed(otherwise, nth) if otherwise is not None else Key()


def _forwarded(key: str, header: str) -> Key:
    """The client's key where the backend's dialect looks for one, wherever the client's had it."""
    if header == "authorization" or key.startswith(_ALWAYS_BEARER):
        return Key({"Authorization": f"Bearer {key}"}, forwarded=True)
    return Key({header: key}, forwarded=True)


def _placed(credential: Credential, nth: int) -> Key:
    secrets = (credential.secret, *credential.further)
    value, count = secrets[nth % len(secrets)].value, len(secrets)
    match credential.place:
        case "bearer":
            return Key({"Authorization": f"Bearer {value}"}, count=count)
        case "header":
            return Key({credential.name: value}, count=count)
        case "query":
            return Key(query={credential.name: value}, count=count)


def url_for(backend: Backend, path: str, query: Mapping[str, str], client_query: str = "") -> str:
    """The address of an operation: base URL, the path within its quirk, and the query.

    `client_query` is what the client wrote behind the question mark, already filtered.
    """
    pairs = {**backend.quirks.query, **query}
    parts = [part for part in (client_query, urlencode(pairs)) if part]
    address = backend.base_url + backend.quirks.path.replace("{path}", path)
    return f"{address}?{'&'.join(parts)}" if parts else address
