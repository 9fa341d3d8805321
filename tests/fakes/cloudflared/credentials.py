"""Made-up tunnels: their tokens and credentials files."""

from __future__ import annotations

import base64
import json
import os
import uuid
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Tunnel:
    """Who a tunnel is; `secret` is base64."""

    account: str
    tunnel_id: str
    secret: str

    @classmethod
    def new(cls) -> Tunnel:
        secret = base64.b64encode(os.urandom(32)).decode()
        return cls(os.urandom(16).hex(), str(uuid.uuid4()), secret)

    @classmethod
    def of(cls, token: str) -> Tunnel:
        told = json.loads(base64.b64decode(token))
        return cls(told["a"], told["t"], told["s"])

    def rotated(self) -> Tunnel:
        """The same tunnel with another secret."""
        return replace(self, secret=Tunnel.new().secret)

    @property
    def token(self) -> str:
        told = {"a": self.account, "t": self.tunnel_id, "s": self.secret}
        return base64.b64encode(json.dumps(told, separators=(",", ":")).encode()).decode()

    @property
    def file(self) -> str:
        """The text of its credentials file."""
        told = {
            "AccountTag": self.account,
            "TunnelSecret": self.secret,
            "TunnelID": self.tunnel_id,
        }
        return json.dumps(told)
