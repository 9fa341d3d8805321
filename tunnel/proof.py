"""A proof that a request through the public name has come to one of us: an HMAC of its nonce.

Path and key come from the tunnel's own credential, so that all replicas on one tunnel understand
each other, and a stranger can neither find the path nor answer for it. No clock, no chance.
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field

MOST_BODY = 4096  # bytes of an answer that is looked at

_NONCE = re.compile(r"[0-9a-f]{32}\Z")
_PATH, _KEY = b"llm-sidecar tunnel probe: path", b"llm-sidecar tunnel probe: key"


@dataclass(frozen=True, slots=True)
class Proof:
    """What both sides of a probe share: the supervisor asks, the public listener answers.

    A nonce is 32 hexadecimal digits in lower case; it follows `path` in an address.
    """

    path: str = field(repr=False)  # /<32 hexadecimal digits>/
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> "Proof":
        """That of one tunnel; equal secrets make equal proofs."""
        path = hkdf(secret, salt=b"", info=_PATH, length=16).hex()
        return cls(f"/{path}/", hkdf(secret, salt=b"", info=_KEY, length=32))

    def answer(self, path: str, replica: str, connector: str | None) -> bytes | None:
        """The body that answers a request for this path; None where the path is no probe's.

        `connector` is the header `Cf-Warp-Tag-Id` as it came.
        """
        head, nonce = path[: len(self.path)], path[len(self.path) :]
        if not hmac.compare_digest(_bytes(head), self.path.encode()) or not _NONCE.match(nonce):
            return None
        mac = self._mac(nonce, replica, connector)
        return json.dumps({"replica": replica, "connector": connector, "mac": mac}).encode()

    def check(self, nonce: str, body: bytes) -> tuple[str, str | None] | None:
        """The replica that answered and the connector it was asked through; None: no good proof."""
        try:
            told = json.loads(body) if len(body) <= MOST_BODY else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(told, dict):
            return None
        replica, connector, mac = told.get("replica"), told.get("connector"), told.get("mac")
        if not isinstance(replica, str) or not isinstance(mac, str):
            return None
        if connector is not None and not isinstance(connector, str):
            return None
        good = self._mac(nonce, replica, connector)
        return (replica, connector) if hmac.compare_digest(_bytes(mac), good.encode()) else None

    def _mac(self, nonce: str, replica: str, connector: str | None) -> str:
        # each part with its length before it, so that no two triples make the same message
        message = b""
        for part in (nonce, replica, *(() if connector is None else (connector,))):
            encoded = _bytes(part)
            message += len(encoded).to_bytes(4, "big") + encoded
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF with SHA-256 as in RFC 5869; at most 8160 bytes."""
    key = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    made, block = b"", b""
    for count in range(1, -(-length // 32) + 1):
        block = hmac.new(key, block + info + bytes((count,)), hashlib.sha256).digest()
        made += block
    return made[:length]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
