"""The program with a tunnel before it, as its users run it, on loopback; and what it tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.client import HANG
from tests.e2e.harness import until
from tests.e2e.strangers import LAPTOP, Public, offered
from tests.e2e.tunnel.harness import Ground
from tests.fakes.backend import Backend
from tests.tunnel_load.processes import is_gone

HEADERS = {"authorization": f"Bearer {LAPTOP}", "accept-encoding": "identity"}


class Exposed(Public):
    """`async with Exposed(folder, fake, ground) as sidecar:`, whose tunnel works from the first.

    Strangers have no limits.
    """

    level = "info"  # of its log

    def __init__(self, folder: Path, fake: Backend, ground: Ground) -> None:
        probe = {
            "url": ground.url,
            "connect": "{}:{}".format(*ground.connect),
            "ca": str(ground.ca),
        }
        tunnel = {
            "token": {"file": str(ground.token_file)},
            "binary": str(ground.binary),
            "probe": probe,
            "protocol": "http2",
        }
        config = {**offered(fake), "tunnel": tunnel, "log": {"format": "json", "level": self.level}}
        super().__init__(folder, config, env=ground.environ)

    async def carrying(self, but: int | None = None) -> int:
        """Wait until a probe came through another child than this; the child's number."""
        seen: list[int] = []

        async def is_up() -> bool:
            told = await self.tunnel()
            seen[:] = [told["child"]["pid"]] if told["child"] else []
            return told["state"] == "healthy" and seen not in ([], [but])

        await until(is_up, "a probe has come through the tunnel", 2 * HANG)
        return seen[0]

    async def tunnel(self) -> dict[str, Any]:
        """What `llm-sidecar tunnel status` tells."""
        return await self.control("GET", "/tunnel")

    async def control(self, method: str, path: str) -> dict[str, Any]:
        """Ask the control socket."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.request(method, f"http://sidecar{path}") as reply,
        ):
            assert reply.status == 200, await reply.text()
            told: dict[str, Any] = await reply.json()
            return told


async def gone(pid: int) -> None:
    """Wait until a child has ended and is reaped."""

    async def is_over() -> bool:
        return is_gone(pid)

    await until(is_over, f"process {pid} is gone", 2 * HANG)
