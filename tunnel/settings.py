"""What the supervisor is told to run: frozen, resolved, without a clock or a file behind it.

Durations are seconds. A secret never prints: `repr` leaves it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["token", "credentials", "quick"]
Protocol = Literal["auto", "quic", "http2"]


@dataclass(frozen=True, slots=True)
class Probe:
    """The end-to-end probe through the public name.

    `url` is the public name as `https://host` (None: learned from the child, where it tells one).
    `connect` is an address that is dialled in its place, `ca` PEM text of further authorities,
    `headers` go with every probe (service tokens: their values never print), `control` are
    addresses elsewhere that tell whether the network works at all.
    """

    url: str | None = None
    every: float = 20.0
    timeout: float = 10.0
    connect: tuple[str, int] | None = None
    ca: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    control: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """One tunnel. Two that are equal need no restart; `choice` tells which differences need one."""

    kind: Kind
    origin: str  # what the tunnel exposes, as http://127.0.0.1:PORT
    secret: str | None = field(default=None, repr=False)  # the token, or the credentials' JSON text
    secret_file: str | None = None  # where it stands, to look at who may read it
    tunnel_id: str | None = None  # a UUID; of a token the one that stands in it
    protocol: Protocol = "auto"
    grace: float = 20.0  # for requests in flight, once the child is told to stop
    binary: str = "cloudflared"  # a name in PATH, or a path
    probe: Probe = field(default_factory=Probe)
    proof_secret: bytes = field(default=b"", repr=False)  # what proofs of probes are derived from
    foreign_ingress: Literal["drain", "allow"] = "drain"
    open: bool = False  # alone: the origin need not answer probes
