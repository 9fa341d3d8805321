"""Who a client is: which key a request brings, and whose it is; whom Cloudflare Access names.

Only digests of the keys are known. All of them are compared, each in constant time, so that the
time tells neither whether one is near nor which one it is.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sidecar.neutral.problem import Problem, ProblemKind


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A key of a client, of which only the digest is known."""

    name: str
    digest: bytes  # SHA-256 of the key


class KeyRefusal(Enum):
    """Why a request is nobody's; the words are the reasons of the metric."""

    NO_KEY = "no_key"
    BAD_KEY = "bad_key"  # an unknown one, or several that differ


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom Cloudflare Access let through, as a good token names them."""

    name: str  # an e-mail address, or the id of a service token
    is_service: bool = False

    def __str__(self) -> str:
        return f"service token {self.name}" if self.is_service else self.name


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """Why a token of Cloudflare Access is not good, for the log; the metric calls it bad_token."""

    why: str


def digest(key: str) -> bytes:
    """What is kept of a key; any text has one."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def whose(headers: Iterable[tuple[str, str]], keys: Sequence[ClientKey]) -> str | KeyRefusal:
    """The name of the client whose key a request brings.

    A key comes as `Authorization: Bearer` or as `x-api-key`, also as both when they are equal.
    """
    brought = _credentials(headers)
    if not brought:
        return KeyRefusal.NO_KEY
    if len(brought) > 1:
        return KeyRefusal.BAD_KEY
    asked, name = digest(brought.pop()), None
    same = hmac.compare_digest
    for key in keys:
        if same(key.digest, asked):  # and go on: each key takes the same time
            name = key.name
    return KeyRefusal.BAD_KEY if name is None else name


def unknown(*, with_key: bool = False, with_token: bool = False) -> Problem:
    """What a request is told that is nobody's: what it takes, and no more."""
    needed = {
        (True, False): "a key, as `Authorization: Bearer` or as `x-api-key`",
        (False, True): "a token of Cloudflare Access",
        (True, True): "a token of Cloudflare Access, and a key, as `Authorization: Bearer` or as "
        "`x-api-key`",
    }[with_key, with_token]
    return Problem(
        ProblemKind.CLIENT_AUTH, f"Who asks here needs {needed}.", status=401, code="unauthorized"
    )


def _credentials(headers: Iterable[tuple[str, str]]) -> set[str]:
    """Every credential; what stands in another scheme is one too, but never a key."""
    found = set()
    for name, value in headers:
        folded = name.lower()
        if folded == "authorization":
            scheme, _, rest = value.strip().partition(" ")
            if scheme:
                found.add(rest.strip() if scheme.lower() == "bearer" else f"{folded}: {value}")
        elif folded == "x-api-key":
            found.add(value.strip())
    return found - {""}
