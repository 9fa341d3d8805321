"""`llm-tunnel` as a process of its own: its file, its admin listener, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.client import HANG
from tests.e2e.harness import ROOT, TROUBLE, free_port, until
from tests.e2e.tunnel.harness import Ground


class Program:
    """`async with Program(folder, ground, origin) as program:`; killed with its block.

    `reads=False` hands it a pipe for its log that nobody ever reads.
    """

    def __init__(
        self, folder: Path, ground: Ground, origin: str, *, reads: bool = True, **section: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.ground = folder, ground
        self.port = free_port()
        self._out = folder / "output.txt"
        self._reads = reads
        host, port = ground.connect
        tunnel: dict[str, Any] = {
            "token": {"file": str(ground.token_file)},
            "protocol": "http2",
            "binary": str(ground.binary),
            "grace": "5s",
            "origin": origin,
            "i_know_this_is_open": True,
            "probe": {
                "url": ground.url,
                "connect": f"{host}:{port}",
                "ca": str(ground.ca),
                "every": "1s",
            },
            **section,
        }
        self.file = folder / "tunnel.yaml"
        self.file.write_text(yaml.safe_dump({"tunnel": tunnel}), encoding="utf-8")

    async def __aenter__(self) -> Program:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(self.ground.token_file.parent),
            **self.ground.environ,
        }
        self._unread, end = os.pipe()
        with self._out.open("wb") as out:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tunnel", "--config", str(self.file)),
                *("--admin", f"127.0.0.1:{self.port}"),
                env=env,
                cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out if self._reads else end,
            )
        os.close(end)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HANG))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.close()
        os.close(self._unread)
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        if error is not None:
            error.add_note(f"--- output of llm-tunnel ---\n{self.output[-6000:]}")
        else:
            assert not TROUBLE.search(self.output), self.output

    @property
    def output(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    async def status(self) -> dict[str, Any]:
        """What it tells of its tunnel; empty where it does not answer."""
        try:
            async with self._http.get(f"http://127.0.0.1:{self.port}/status") as answer:
                told: dict[str, Any] = await answer.json()
                return told
        except aiohttp.ClientError:
            return {}

    async def metric(self, name: str) -> float:
        """The sum of the samples of that name (without prefix)."""
        async with self._http.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = await answer.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"llm_sidecar_tunnel_{name}"
        )

    async def until_state(self, *states: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        async def fits() -> bool:
            if self.process.returncode is not None:
                raise RuntimeError(f"exit {self.process.returncode}:\n{self.output}")
            seen.clear()
            seen.update(await self.status())
            return seen.get("state") in states

        await until(fits, f"its state is {' or '.join(states)}: {json.dumps(seen)}")
        return seen

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> int:
        """Wait until it has ended by itself."""
        async with asyncio.timeout(HANG):
            return await self.process.wait()
