"""The program with a tunnel before it, as its users run it, on loopback."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.tunnel import exposed
from tests.e2e.tunnel.harness import Ground
from tests.fakes.backend import Backend


class Exposed(exposed.Exposed):
    """Its tunnel is probed and drained in the usual times; strangers have no limits."""

    level = "info"  # of its log

    def __init__(self, folder: Path, fake: Backend, ground: Ground) -> None:
        usual = {"grace": "20s", "probe": {"every": "20s"}}
        log = {"format": "json", "level": self.level}
        super().__init__(folder, ground, fake, tunnel={**usual}, config={"log": log})

    async def carrying(self, but: int | None = None) -> int:
        """Wait until a probe came through another child than this; the child's number."""
        seen = await self.until_tunnel(
            lambda told: (
                told["state"] == "healthy" and told["child"] and told["child"]["pid"] != but
            ),
            "a probe has come through the tunnel",
        )
        return int(seen["child"]["pid"])
