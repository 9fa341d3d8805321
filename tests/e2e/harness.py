"""The real program as a child process: its configuration, its two listeners, its output.

A `Sidecar` gets a clean environment: no key, no proxy, no configuration of the person who runs the
tests. Leaving its block stops it and complains about tracebacks in its output.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.client import HANG, Got, fetch
from tests.fakes.backend import Backend

ROOT = Path(__file__).resolve().parents[2]
Config = dict[str, object]
DEFAULT_PORTS = (14400, 14401)
TROUBLE = re.compile(r"Traceback \(most recent|never retrieved|Unclosed |was never awaited")


# below the ports that systems give out by themselves, so that no connection takes one in between;
# each process of a run has its own
PORTS_EACH = 2500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_ports = itertools.cycle(
    20_000 + _WORKER * PORTS_EACH + (os.getpid() + step) % PORTS_EACH for step in range(PORTS_EACH)
)


def free_port() -> int:
    """A port that nobody uses, on either loopback address, and that is not given out again soon."""
    for port in itertools.islice(_ports, PORTS_EACH):
        with contextlib.suppress(OSError), socket.socket() as four:
            four.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            four.bind(("127.0.0.1", port))
            if has_ipv6():
                with socket.socket(socket.AF_INET6) as six:
                    six.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    six.bind(("::1", port))
            return port
    raise RuntimeError("no port is free on loopback")


def two_free_ports() -> tuple[int, int]:
    """One to serve at, and one for probes."""
    return free_port(), free_port()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def of(fake: Backend, **more: object) -> Config:
    """The configuration of a backend that speaks to a fake."""
    return {"dialect": fake.dialect, "base_url": fake.base_url, **more}


def chain(*fakes: Backend, backends: Mapping[str, Config] | None = None, **route: object) -> Config:
    """Route `chat`, whose targets are these fakes in order; each is sent `model-<its name>`.

    `backends` adds keys to a fake's backend; what else is named goes into the route.
    """
    extra = backends or {}
    return {
        "backends": {fake.name: of(fake, **extra.get(fake.name, {})) for fake in fakes},
        "routes": {
            "chat": {
                "models": ["chat"],
                "targets": [
                    {"backend": each.name, "model": f"model-{each.name}"} for each in fakes
                ],
                "retry": QUICK_RETRY,
                **route,
            }
        },
        "retry_budget": {"share": 0.2, "floor": "1000/s"},
    }


def with_relay(*fakes: Backend) -> Config:
    """The same, and a route that relays every other path."""
    config = chain(*fakes)
    routes = config["routes"]
    assert isinstance(routes, dict)
    targets = [{"backend": fake.name} for fake in fakes]
    routes["rest"] = {"relay": True, "targets": targets}
    return config


# for tests whose many failures are to be seen one by one
NEVER_EJECTED: Config = {
    "breaker": {"failures": 1_000_000, "rate": {"calls": 1_000_000}},
    "probe": {"every": "none"},
}
# what a sidecar follows that many tests share, between two of them
NOBODY: Config = {
    "backends": {"echo": {"preset": "echo"}},
    "routes": {"nobody": {"targets": [{"backend": "echo"}]}},
}
QUICK_RETRY: Config = {"attempts": 2, "backoff": {"base": "10ms", "cap": "50ms"}}


@dataclass(frozen=True)
class Metrics:
    """One scrape, parsed."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name (without prefix) that bear these labels."""
        full = f"llm_sidecar_{name}"
        return sum(
            number
            for each, has, number in self.samples
            if each == full and labels.items() <= has.items()
        )

    def names(self) -> set[str]:
        return {name for name, _, _ in self.samples}


class Sidecar:
    """`async with Sidecar(tmp_path, config) as sidecar:`: started, ready, stopped at the end.

    `config` is a mapping (listeners, control socket and log format are added), or the text of a
    file, or None for no file. `ready=False` does not wait for /readyz; `ports`
    are free ones unless they are given. `stdout` and `stderr` may be set to descriptors that get
    what is printed, and the log, in place of `output`.
    """

    program = "sidecar"  # the module that is run
    start: tuple[str, ...] = ("run",)  # its command

    def __init__(
        self,
        folder: Path,
        config: Config | str | None,
        *,
        env: Mapping[str, str] | None = None,
        args: tuple[str, ...] = (),
        ready: bool = True,
        ports: tuple[int, int] | None = None,
    ) -> None:
        self.folder = folder
        self.data_port, self.admin_port = ports or two_free_ports()
        self.base_url = f"http://127.0.0.1:{self.data_port}"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        self.file = folder / "sidecar.yaml"
        self.run_dir = Path(tempfile.mkdtemp(prefix="sidecar-"))  # socket paths must be short
        weakref.finalize(self, shutil.rmtree, self.run_dir, ignore_errors=True)
        self.socket = self.run_dir / "c.sock"
        self.config = config
        self._args, self._ready = args, ready
        self._more_env = dict(env or {})
        self.stdout: int | None = None
        self.stderr: int | None = None
        self._out = folder / "output.txt"

    # --- configuration ------------------------------------------------------------------------

    def text(self, config: Config | str) -> str:
        """The file that holds this configuration."""
        if isinstance(config, str):
            return config
        base: Config = {
            "listeners": {
                "data": {"port": self.data_port},
                "admin": {"port": self.admin_port},
                "control": {"socket": str(self.socket)},
            },
            "log": {"format": "json"},
        }
        return yaml.safe_dump({**base, **config}, sort_keys=False, allow_unicode=True)

    def rewrite_config(self, config: Config | str) -> None:
        """Replace the file as editors do: write beside it, then rename."""
        beside = self.file.with_suffix(".new")
        beside.write_text(self.text(config), encoding="utf-8")
        beside.replace(self.file)

    async def reload(self, config: Config | str) -> None:
        """Replace the file, say so by SIGHUP, and wait until it is in force."""
        before = (await self.metrics()).value("config_hash")
        self.rewrite_config(config)
        self.signal(signal.SIGHUP)
        await self.until_metric(
            lambda now: now.value("config_hash") != before, "the new file is in force"
        )

    @contextlib.asynccontextmanager
    async def playing(self, config: Config) -> AsyncIterator[Self]:
        """Follow this configuration while the block runs, and forget its routes and backends.

        A process of its own for each test would take many times as long to start.
        """
        assert self.config is not None
        await self.reload(config)
        try:
            yield self
        finally:
            await self.reload(self.config)

    # --- life ---------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "XDG_RUNTIME_DIR": str(self.run_dir),
            "SSL_CERT_FILE": os.devnull,  # the authorities of this machine take long to load
            **self._more_env,
        }

    async def __aenter__(self) -> Self:
        if self.config is not None and not self.file.exists():
            self.rewrite_config(self.config)
        file = ("--config", str(self.file)) if self.config is not None else ()
        with self._out.open("wb") as out:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.program, *self.start, *file, *self._args),
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out if self.stdout is None else self.stdout,
                stderr=out if self.stderr is None else self.stderr,
            )
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Content-Type"),
            read_bufsize=16 * 1024,  # a test that stops reading soon holds the sidecar back
        )
        try:
            if self._ready:
                await self._wait_ready()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()
        if error is not None:
            error.add_note(f"--- output of the sidecar ---\n{self.output[-6000:]}")
        else:
            assert not TROUBLE.search(self.output), self.output

    async def _wait_ready(self) -> None:
        async def is_ready() -> bool:
            if self.process.returncode is not None:
                raise RuntimeError(f"exit {self.process.returncode} at start:\n{self.output}")
            try:
                return (await self.admin("/readyz")).status == 200
            except aiohttp.ClientError:
                return False

        await until(is_ready, "the sidecar is ready")

    async def _stop(self) -> None:
        await self.http.close()
        if self.process.returncode is None:
            self.process.terminate()
            self.process.send_signal(signal.SIGINT)  # the second one ends the drain
            try:
                async with asyncio.timeout(HANG):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait until it has ended by itself."""
        async with asyncio.timeout(HANG):
            return await self.process.wait()

    async def command(self, *args: str) -> tuple[int, str]:
        """Run `llm-sidecar ARGS` beside it; gives exit code and output of both kinds."""
        named = {"LLM_SIDECAR_CONFIG": str(self.file)} if self.config is not None else {}
        env = {**self.env, **named}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self.program, *args),
            env=env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        async with asyncio.timeout(HANG):
            out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    # --- asking -------------------------------------------------------------------------------

    async def ask(
        self,
        body: object = None,
        path: str = "/v1/chat/completions",
        *,
        method: str = "POST",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Got:
        """A request to the data listener."""
        url = self.base_url + path
        return await fetch(self.http, url, method=method, body=body, data=data, headers=headers)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Got:
        return await self.ask(path=path, method="GET", headers=headers)

    async def admin(self, path: str, headers: Mapping[str, str] | None = None) -> Got:
        """A request to the admin listener."""
        return await fetch(self.http, self.admin_url + path, method="GET", headers=headers)

    async def control(self, method: str, path: str) -> dict[str, Any]:
        """Ask at the control socket, as the command line does."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession("http://localhost", connector=connector) as http,
            http.request(method, path) as answer,
        ):
            told: dict[str, Any] = await answer.json()
            return told

    @contextlib.asynccontextmanager
    async def opened(
        self,
        body: object,
        headers: Mapping[str, str] | None = None,
        path: str = "/v1/chat/completions",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A chat request whose answer the test reads itself; leaving the block hangs up."""
        told = {"content-type": "application/json", **(headers or {})}
        url = self.base_url + path
        reply = await self.http.post(url, data=json.dumps(body).encode(), headers=told)
        try:
            yield reply
        finally:
            reply.close()

    # --- watching -----------------------------------------------------------------------------

    async def metrics(self) -> Metrics:
        families = text_string_to_metric_families((await self.admin("/metrics")).raw.decode())
        return Metrics(
            tuple(
                (sample.name, dict(sample.labels), sample.value)
                for family in families
                for sample in family.samples
            )
        )

    async def until_metric(self, want: Callable[[Metrics], bool], what: str) -> Metrics:
        """Scrape until the numbers are as wanted."""
        seen: list[Metrics] = []

        async def fits() -> bool:
            seen[:] = [await self.metrics()]
            return want(seen[0])

        await until(fits, what)
        return seen[0]

    async def idle(self) -> Metrics:
        """Wait until nothing is in flight."""
        return await self.until_metric(
            lambda metrics: metrics.value("inflight_requests") == 0, "nothing is in flight"
        )

    @property
    def output(self) -> str:
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> list[dict[str, object]]:
        """Every structured line so far."""
        lines: list[dict[str, object]] = []
        for line in self.output.splitlines():
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    lines.append(value)
        return lines

    async def request_line(self, request_id: str) -> dict[str, object]:
        """The log line of one request, by the id that its answer bore."""
        found: list[dict[str, object]] = []

        async def there() -> bool:
            found[:] = [
                line for line in self.log if request_id in line.values() and "attempts" in line
            ]
            return bool(found)

        await until(there, f"request {request_id} is in the log")
        assert len(found) == 1, "one line per request"
        return found[0]

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        command = ["ps", "-o", "rss=", "-p", str(self.process.pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024


async def until(fits: Callable[[], Awaitable[bool]], what: str, seconds: float = HANG) -> None:
    """Ask again and again, with short pauses, until it is so; fails after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            # what is asked lives in another process: there is no event to wait for
            while not await fits():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never came true within {seconds:.0f} s: {what}") from None
