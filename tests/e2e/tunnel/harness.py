"""A ground to try tunnels on: a `cloudflared`, an edge that it reaches, and a public name.

All three are stand-ins, unless `CLOUDFLARED_BIN` and `TUNNEL_EDGE` name a real binary and the edge
that it is to reach (`TUNNEL_CACERT`: its authority). Then come from the environment, too:
`TUNNEL_TOKEN_FILE` (a token which that edge accepts; else one is made up), `TUNNEL_NEXT_TOKEN_FILE`
(another one for the same tunnel; likewise), `TUNNEL_PUBLIC_URL` (the public name as `https://host`),
`TUNNEL_PUBLIC_CONNECT` (`host:port`, dialled in its place) and `TUNNEL_PUBLIC_CA` (else
`TUNNEL_CACERT`). A test that commands the edge, or breaks the binary,
bears `commands`; one that goes through the public name bears `through_the_name`.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.e2e.harness import Config, Sidecar
from tests.fakes.cloudflared.credentials import Tunnel
from tests.fakes.cloudflared.edge import Edge
from tests.fakes.cloudflared.launch import Standin
from tests.fakes.cloudflared.public import NAME, Certificates, Public
from tests.fakes.cloudflared.quick_service import QuickService
from tests.processes import told_by_processes

REAL_BINARY = os.environ.get("CLOUDFLARED_BIN", "")
REAL_EDGE = os.environ.get("TUNNEL_EDGE", "")
REAL_CA = os.environ.get("TUNNEL_CACERT", "")
REAL_TOKEN = os.environ.get("TUNNEL_TOKEN_FILE", "")
NEXT_TOKEN = os.environ.get("TUNNEL_NEXT_TOKEN_FILE", "")
PUBLIC_URL = os.environ.get("TUNNEL_PUBLIC_URL", "")
PUBLIC_CONNECT = os.environ.get("TUNNEL_PUBLIC_CONNECT", "")
PUBLIC_CA = os.environ.get("TUNNEL_PUBLIC_CA", "") or REAL_CA
IS_REAL = bool(REAL_BINARY and REAL_EDGE)
SCALE = 0.05  # of the waits of the stand-in

commands = pytest.mark.skipif(
    IS_REAL, reason="commands the stand-in or its edge, which the real ones do not obey"
)
through_the_name = pytest.mark.skipif(
    IS_REAL and not (PUBLIC_URL and PUBLIC_CONNECT), reason="TUNNEL_PUBLIC_URL and _CONNECT"
)


@dataclass
class Inside:
    """What only stand-ins have: everything that a test may command."""

    standin: Standin
    edge: Edge
    public: Public
    quick: QuickService


@dataclass
class Ground:
    """Where a supervisor finds things. `environ` is for its environment."""

    binary: Path
    environ: dict[str, str]
    token_file: Path
    url: str
    connect: tuple[str, int]
    ca: Path
    inside_or_none: Inside | None

    @property
    def inside(self) -> Inside:
        """For tests that bear `commands`."""
        assert self.inside_or_none is not None
        return self.inside_or_none

    @property
    def token(self) -> str:
        return self.token_file.read_text(encoding="ascii").strip()

    @property
    def tunnel_id(self) -> str:
        return str(json.loads(base64.b64decode(self.token))["t"])

    def section(self, **more: object) -> Config:
        """The section `tunnel:`; `more` changes keys, those of its probe too. None: left out.

        A quick tunnel has no token, and no name that is known before it runs.
        """
        is_quick = bool(more.get("quick"))
        probe: Config = {
            "url": None if is_quick else self.url,
            "connect": ":".join(map(str, self.connect)),
            "ca": str(self.ca),
        }
        told: Config = {
            "token": None if is_quick else {"file": str(self.token_file)},
            "binary": str(self.binary),
            "grace": "2s",
            **more,
        }
        changed = more.get("probe")
        probe |= changed if isinstance(changed, dict) else {}
        told["probe"] = {name: value for name, value in probe.items() if value is not None}
        return {name: value for name, value in told.items() if value is not None}

    def write_token(self, tunnel: Tunnel) -> None:
        """Replace the token's file as editors do."""
        _write_private(self.token_file, tunnel.token)

    def rotate(self) -> Tunnel:
        """Another secret for the same tunnel, which the edge takes beside the old one."""
        edge = self.inside.edge
        edge.tunnel = edge.tunnel.rotated()
        edge.secrets[edge.tunnel.tunnel_id].add(edge.tunnel.secret)
        self.write_token(edge.tunnel)
        return edge.tunnel

    def next_token(self) -> None:
        """Another token for the same tunnel, which the edge takes, real or not."""
        if self.inside_or_none is not None:
            self.rotate()
        elif NEXT_TOKEN:
            _write_private(self.token_file, Path(NEXT_TOKEN).read_text(encoding="ascii"))
        else:
            self.write_token(Tunnel.of(self.token).rotated())

    @contextlib.asynccontextmanager
    async def visitor(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client out in the world: every name leads to the public entry, in TLS."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connector = aiohttp.TCPConnector(
            resolver=_Everywhere(self.connect[0]), ssl=context, limit=0, use_dns_cache=False
        )
        async with aiohttp.ClientSession(
            self.base(),
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=600),
            auto_decompress=False,
        ) as http:
            yield http

    def base(self, host: str | None = None) -> str:
        """The address a visitor asks; the port is that of the entry."""
        return f"https://{host or urlsplit(self.url).hostname}:{self.connect[1]}"


def secrets_of(token: str) -> set[str]:
    """A token, and the secret that stands in it."""
    return {token, str(json.loads(base64.b64decode(token))["s"])}


async def secret_is_kept(sidecar: Sidecar, secrets: Iterable[str], *more: str) -> None:
    """In no command line, environment, log, metric or status, nor in what else is given."""
    pages = [(await sidecar.admin(path)).raw.decode() for path in ("/metrics", "/status")]
    words = "".join((sidecar.output, *pages, *more))
    assert not any(secret in words for secret in secrets), "the secret is told"
    assert told_by_processes(secrets) == []


class _Everywhere(AbstractResolver):
    """Every name is at one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        pass


def _write_private(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.touch(mode=0o600)
    beside.write_text(text, encoding="ascii")
    beside.replace(path)


def _real_token() -> str:
    return Path(REAL_TOKEN).read_text(encoding="ascii") if REAL_TOKEN else Tunnel.new().token


@functools.cache
def certificates() -> Certificates:
    """One authority for all tests of a run; keys take time to make."""
    return Certificates()


@contextlib.asynccontextmanager
async def ground(folder: Path, *, scale: float = SCALE) -> AsyncIterator[Ground]:
    """What a test stands on, made in its folder."""
    token_file = folder / "tunnel-token"
    if IS_REAL:
        host, _, port = PUBLIC_CONNECT.rpartition(":")
        _write_private(token_file, _real_token())
        told = {"TUNNEL_EDGE": REAL_EDGE, "TUNNEL_CACERT": REAL_CA}
        yield Ground(
            binary=Path(REAL_BINARY),
            environ={name: value for name, value in told.items() if value},
            token_file=token_file,
            url=PUBLIC_URL or f"https://{NAME}",
            connect=(host or "127.0.0.1", int(port or 443)),
            ca=Path(PUBLIC_CA),
            inside_or_none=None,
        )
        return
    ca = folder / "edge-ca.pem"
    ca.write_text(certificates().pem, encoding="ascii")
    standin = Standin(folder / "bin", scale=scale)
    async with Edge() as edge, Public(edge, certificates()) as public, QuickService(edge) as quick:
        _write_private(token_file, edge.tunnel.token)
        yield Ground(
            binary=standin.path,
            environ={
                "TUNNEL_EDGE": edge.addresses,
                "TUNNEL_CACERT": str(ca),
                "TUNNEL_QUICK_SERVICE": quick.url,
            },
            token_file=token_file,
            url=f"https://{NAME}",
            connect=public.connect,
            ca=ca,
            inside_or_none=Inside(standin, edge, public, quick),
        )
