"""What the command line tells of a tunnel, and how long it waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import main as commands_of
from tests.e2e.harness import Config, Sidecar
from tests.e2e.tunnel.exposed import Exposed
from tests.e2e.tunnel.harness import Ground, through_the_name
from tests.fakes.backend import Backend
from tunnel.supervisor import RESTART_LIMIT

ECHO: Config = {
    "backends": {"echo": {"preset": "echo"}},
    "routes": {"chat": {"targets": [{"backend": "echo"}]}},
}


@through_the_name
async def test_status_and_name(
    tmp_path: Path, place: Ground, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Exposed(tmp_path, place, backend) as sidecar:

        async def say(*words: str) -> str:
            """A command of its own would take long to start; that is tried elsewhere."""
            arguments = [*words, "--socket", str(sidecar.socket)]
            assert await asyncio.to_thread(commands_of.main, arguments) == 0
            return capsys.readouterr().out

        seen = await sidecar.until_tunnel(lambda told: told["connections"]["ready"] > 1, "it is up")
        child = seen["child"]
        text = await say("tunnel", "status")
        assert text.startswith("Tunnel healthy for ")
        assert f"  public name: {place.url}\n" in text
        assert f"pid {child['pid']}, protocol http2, up " in text
        assert f"cloudflared {child['version']}, " in text
        assert f"connector {child['connector']}\n" in text
        assert "  restarts: 0\n" in text
        told = json.loads(await say("tunnel", "status", "--json"))
        assert (told["state"], told["child"]["pid"]) == ("healthy", child["pid"])
        assert await say("tunnel", "url") == f"{place.url}\n"
        assert json.loads(await say("tunnel", "url", "--json"))["url"] == place.url
        assert "Tunnel healthy for " in await say("status")
        assert json.loads(await say("status", "--json"))["tunnel"]["state"] == "healthy"


async def test_without_a_tunnel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with Sidecar(tmp_path, ECHO) as sidecar:
        where = ["--socket", str(sidecar.socket)]
        for what in ("status", "url", "restart"):
            assert await asyncio.to_thread(commands_of.main, ["tunnel", what, *where]) == 1
            assert "Add the section `tunnel:`" in capsys.readouterr().err
        assert await asyncio.to_thread(commands_of.main, ["status", *where]) == 0
        assert "unnel" not in capsys.readouterr().out
    assert await asyncio.to_thread(commands_of.main, ["tunnel", "restart", *where]) == 1
    assert "No sidecar answers" in capsys.readouterr().err


def test_a_restart_is_waited_for_as_long_as_it_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def ask(path: str, method: str, target: str, limit: float) -> tuple[int, Mapping[str, Any]]:
        waits.append(limit)
        return 200, {"message": "Another cloudflared has taken over."}

    monkeypatch.setattr(commands_of, "ask", ask)
    assert commands_of.main(["tunnel", "restart", "--socket", "c.sock"]) == 0
    assert waits[0] > RESTART_LIMIT
