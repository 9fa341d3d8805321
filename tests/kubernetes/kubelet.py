"""What kubelet does to a pod, done to processes: volumes, the order of starts, probes, the end.

The pod is what `inject` makes of one. Its address is another one of loopback, so that a probe that
comes to it is not one that comes to 127.0.0.1. Where the image would be, there is this Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from sidecar.inject import container
from sidecar.inject.settings import Mode, Settings
from tests.e2e.harness import Config, Sidecar, until

POD_IP = "127.0.0.2"
HOLD = 1.5  # seconds; in the place of the seconds that a manifest says
HANG = 30.0

# an application that calls when it is told to, and once more after it is told to end
APP = """
import json, os, signal, sys, time, urllib.error, urllib.request

def say(text):  # print must not be called again by a handler that comes upon it
    os.write(1, f"{text}\\n".encode())

def call():
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}]}).encode()
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            say(answer.status)
    except urllib.error.HTTPError as error:
        say(error.code)
    except OSError as error:
        say(type(error).__name__)

def end(number, frame):
    time.sleep(float(os.environ["LINGERS"]))
    call()
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
say("up")
for line in sys.stdin:
    call()
"""


class Volume:
    """A projected volume as kubelet writes it: a folder for each generation, and a link to it.

    The link `..data` is swapped; the files' own links lead through it. The generation before is
    removed at once, under whoever still reads it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        folder.mkdir()

    def write(self, files: Mapping[str, str]) -> None:
        self._number += 1
        fresh = self.folder / f"..{self._number:09}"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8")
            (fresh / name).chmod(0o444)
        data, beside = self.folder / "..data", self.folder / "..data_tmp"
        old = data.resolve() if data.exists() else None
        beside.symlink_to(fresh.name)
        beside.replace(data)
        for name in files:
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        if old is not None:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()


class App:
    """The application's container."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, env: Mapping[str, str], lingers: float) -> App:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", APP),
            env={**env, "LINGERS": str(lingers)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        app = cls(process)
        assert await app.says() == "up"
        return app

    async def call(self) -> str:
        """What it got from the sidecar: a status, or the name of an error."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"call\n")
        return await self.says()

    async def says(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(HANG):
            return (await self.process.stdout.readline()).decode().strip()


class Pod:
    """A pod with one application; `async with Pod(...)` starts it as kubelet does."""

    def __init__(
        self, folder: Path, config: Config | str, mode: Mode = Mode.NATIVE, lingers: float = 0.1
    ) -> None:
        (folder / "sidecar").mkdir()
        self.volume = Volume(folder / "mount")
        self._lingers, self._mode = lingers, mode
        settings = Settings("llm-sidecar", mode=mode)
        self.container: dict[str, Any] = container.container(settings)
        asked, named, file, *rest = self.container["args"]
        assert (asked, named, file) == ("run", "--config", "/etc/llm-sidecar/config.yaml")
        at = {"LLM_SIDECAR_ADMIN_BIND": POD_IP}
        self.sidecar = Sidecar(folder / "sidecar", config, env=at, args=tuple(rest), ready=False)
        self.sidecar.file = self.volume.folder / container.CONFIG_FILE
        self.sidecar.admin_url = f"http://{POD_IP}:{self.sidecar.admin_port}"
        told = container.env(replace(settings, data_port=self.sidecar.data_port))
        self._env = {one["name"]: one["value"] for one in told}
        self.write(config)

    def write(self, config: Config | str, **secrets: str) -> None:
        """Another generation of the volume: the configuration with the files beside it."""
        self.volume.write({container.CONFIG_FILE: self.sidecar.text(config), **secrets})

    async def __aenter__(self) -> Pod:
        self._stack = contextlib.AsyncExitStack()
        await self._stack.enter_async_context(self.sidecar)
        await self.passes("startupProbe")  # a native sidecar holds the application back
        self.app = await App.start({**self.sidecar.env, **self._env}, self._lingers)
        self._stack.push_async_callback(self._reap)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _reap(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.app.process.kill()
        await self.app.process.wait()

    async def probe(self, name: str) -> int:
        """The status that a probe finds at the pod's address; 0 for none."""
        asked = self.container[name]["httpGet"]
        assert asked["port"] == 14401
        try:
            return (await self.sidecar.admin(asked["path"])).status
        except aiohttp.ClientError:
            return 0

    async def passes(self, name: str) -> None:
        async def so() -> bool:
            assert self.sidecar.process.returncode is None, self.sidecar.output
            return await self.probe(name) == 200

        await until(so, f"{name} passes")

    async def delete(self) -> float:
        """End it as kubelet ends a pod; the seconds from the sidecar's own signal to its end."""
        async with asyncio.timeout(HANG):
            if self._mode is Mode.NATIVE:
                await self._end_app()
            else:  # all are told at once, but for what preStop holds back
                command = self.container["lifecycle"]["preStop"]["exec"]["command"]
                await asyncio.gather(self._end_app(), _hold(command))
            self.sidecar.signal(signal.SIGTERM)
            loop = asyncio.get_running_loop()
            told = loop.time()
            assert await self.sidecar.process.wait() == 0
            return loop.time() - told

    async def _end_app(self) -> None:
        self.app.process.send_signal(signal.SIGTERM)
        await self.app.process.wait()


async def _hold(command: list[str]) -> None:
    program, flag, script = command
    assert (program, flag) == ("python3", "-c")
    shorter = script.replace(f"({container.HOLD})", f"({HOLD})")
    assert shorter != script
    process = await asyncio.create_subprocess_exec(sys.executable, flag, shorter)
    assert await process.wait() == 0


@contextlib.asynccontextmanager
async def mounted(folder: Path, backend_config: Config) -> AsyncIterator[tuple[Sidecar, Volume]]:
    """The sidecar alone, with its configuration and a secret in a projected volume."""
    pod = Pod(folder, backend_config)
    async with pod.sidecar:
        await pod.passes("startupProbe")
        yield pod.sidecar, pod.volume
