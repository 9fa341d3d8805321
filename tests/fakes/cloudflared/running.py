"""One `cloudflared` that a test starts by itself, as a supervisor would; real or not.

Its log is read without pause; it ends with its block, or with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

PATIENCE = 20.0
METRICS = re.compile(r"Starting metrics server on 127\.0\.0\.1:(\d+)/metrics")
CONNECTOR = re.compile(r"Generated Connector ID: ([0-9a-f-]{36})")


class Running:
    """`async with Running(binary, tunnel=[...], run=[...], token=...) as child:`

    `tunnel` are flags before `run`, `run` those after it; None starts a quick tunnel. The token
    goes through a pipe. `env` is the whole environment but for PATH. Set before the block, `reads`
    False lets its log fill the pipe, and `isolated` False lets it look for a configuration file.
    """

    def __init__(
        self,
        binary: Path,
        *,
        tunnel: Sequence[str] = (),
        run: Sequence[str] | None = (),
        token: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._binary, self._tunnel, self._run, self._token = binary, tunnel, run, token
        self._env = {"PATH": os.environ.get("PATH", ""), **(env or {})}
        self.reads = self.isolated = True
        self._news = asyncio.Event()
        self._log = bytearray()
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Running:
        config = ["--config", "/dev/null"] if self.isolated else []
        argv = ["tunnel", *config, "--no-autoupdate", "--metrics", "127.0.0.1:0", *self._tunnel]
        kept: tuple[int, ...] = ()
        if self._run is not None:
            argv.append("run")
            if self._token is not None:
                end, start = os.pipe()
                os.write(start, self._token.encode())
                os.close(start)
                argv += ["--token-file", f"/proc/self/fd/{end}"]
                kept = (end,)
            argv += self._run
        try:
            self.process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig", "KILL", "--", str(self._binary)),
                *argv,
                env=self._env,
                pass_fds=kept,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        finally:
            for each in kept:
                os.close(each)
        if self.reads:
            self._reader = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self._reader = self._reader or asyncio.ensure_future(self._read())
        await self.process.communicate() if self._reader is None else await self.process.wait()
        if self._reader is not None:
            await self._reader
        if error is not None:
            error.add_note(f"--- log of cloudflared ---\n{self.log[-6000:]}")

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while data := await self.process.stderr.read(64 * 1024):
            self._log += data
            self._news.set()
        self._news.set()

    # --- its log ------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        return self._log.decode("utf-8", "replace")

    async def until(self, fits: Callable[[str], object], what: str = "the log is so") -> None:
        """Wait until its log is as wanted."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not fits(self.log):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"never: {what}\n{self.log[-4000:]}") from None

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until words are in its log, so often."""
        await self.until(lambda log: log.count(words) >= times, words)

    async def up(self, count: int = 1) -> None:
        """Wait until it has told so many registrations."""
        await self.says("Registered tunnel connection", count)

    async def _found(self, pattern: re.Pattern[str]) -> str:
        await self.until(pattern.search, pattern.pattern)
        found = pattern.search(self.log)
        assert found is not None
        return found[1]

    async def connector(self) -> str:
        return await self._found(CONNECTOR)

    async def port(self) -> int:
        return int(await self._found(METRICS))

    def hang_up(self) -> None:
        """Close the reading end of its log; where it is not read."""
        transport = self.process._transport  # type: ignore[attr-defined]  # no public way
        transport.get_pipe_transport(2).close()

    # --- its end and its answers --------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> int:
        """Wait until it has ended by itself; gives its code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            if self._reader is not None:
                await self._reader
        return code

    async def stdout(self) -> str:
        """What it wrote there; after its end."""
        assert self.process.stdout is not None
        return (await self.process.stdout.read()).decode()

    async def page(self, path: str, port: int | None = None) -> tuple[int, str]:
        """A page of its metrics server."""
        port = port or await self.port()
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def ready(self) -> tuple[int, int]:
        """Status of `/ready`, and the connections that it tells."""
        status, text = await self.page("/ready")
        told: dict[str, Any] = json.loads(text)
        assert told["status"] == status
        assert told["connectorId"] == await self.connector()
        return status, told["readyConnections"]
