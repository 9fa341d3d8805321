"""The command that runs the tunnel without a sidecar: it starts, tells, and ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from asyncio import create_subprocess_exec, sleep, timeout
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp

from tests.e2e.harness import free_port
from tests.fakes.cloudflared.credentials import Tunnel


async def told(port: int) -> dict[str, object]:
    """Its status, once it listens."""
    async with timeout(60), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"http://127.0.0.1:{port}/status") as answer:
                    return dict(json.loads(await answer.read()))
            except aiohttp.ClientConnectorError:
                await sleep(0.05)


async def test_it_exposes_nothing_before_its_origin_has_proved_itself(tmp_path: Path) -> None:
    tmp_path.joinpath("token").write_text(Tunnel.new().token, encoding="ascii")
    origin, port = free_port(), free_port()
    tmp_path.joinpath("sidecar.yaml").write_text(
        f"tunnel: {{token: {{file: token}}, origin: 'http://127.0.0.1:{origin}'}}\n",
        encoding="ascii",
    )
    process = await create_subprocess_exec(
        sys.executable, "-m", "tunnel", "--admin", f"127.0.0.1:{port}",
        "--config", str(tmp_path / "sidecar.yaml"),
        stderr=PIPE, env={**os.environ, "PATH": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        status = await told(port)
        assert (status["state"], status["url"]) == ("disabled", None)
        assert 0 <= float(str(status["seconds"])) < 60  # not since the machine runs
        assert process.stderr is not None
        async with timeout(60):
            line = await process.stderr.readline()
        assert b"does not answer the probe, so nothing is exposed yet" in line
        assert line.count(b"ERROR") == line.count(b"tunnel.cli") == 1
        process.send_signal(signal.SIGTERM)
        async with timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
