"""Small programs that stand in for cloudflared, and what is told of a child."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import textwrap
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tunnel.child import Child
from tunnel.events import Exit, Registered, Told
from tunnel.facts import Log
from tunnel.settings import Settings

TOKEN = "eyJhIjoiYWNjb3VudCIsInQiOiJ0dW5uZWwiLCJzIjoiYy1zZWNyZXQtaW5zaWRlIn0="
CONNECTOR = "0c9d4a5e-8f0b-4c5e-9d3a-111111111111"
TUNNEL = "5f2c1e0a-1111-4222-8333-444455556666"

_HEAD = f"""#!{sys.executable} -IS
import json, os, signal, sys, time
if "--version" in sys.argv:
    print("cloudflared version 2026.8.2 (built 2026-08-14-1122 UTC)")
    sys.exit(0)
def log(message, level="info", **more):
    line = dict(more, level=level, message=message, time="2026-11-20T17:15:59Z")
    os.write(2, json.dumps(line, sort_keys=True).encode() + b"\\n")  # signals may come in between
def start():
    log("Version 2026.8.2 (Checksum abc)")
    log("Generated Connector ID: {CONNECTOR}")
    log("Starting metrics server on 127.0.0.1:4567/metrics")
    log("Registered tunnel connection", connIndex=0, protocol="http2", location="fra")
"""

WAITS = """
signal.signal(signal.SIGTERM, lambda *_: (log("Connection terminated", "error"), sys.exit(0)))
start()
while True:
    signal.pause()
"""
READY = Registered(0, "http2")


def program(folder: Path, body: str, name: str = "cloudflared") -> Path:
    """Write a program whose `--version` is that of cloudflared; else it does this."""
    path = folder / name
    path.write_text(_HEAD + textwrap.dedent(body), encoding="utf-8")
    path.chmod(0o755)
    return path


@dataclass
class Sink:
    """Takes the lines of a child."""

    lines: list[tuple[Log, str]] = field(default_factory=list)
    levels: dict[Log, int] = field(default_factory=dict)
    left_out: int = 0

    def logged(self, level: Log) -> None:
        self.levels[level] = self.levels.get(level, 0) + 1

    def dropped(self, lines: int) -> None:
        self.left_out += lines

    def write(self, number: int, level: Log, text: str) -> None:
        assert number > 0
        self.lines.append((level, text))

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.lines)


class Watched:
    """A child, its log, and what it posted; `until` waits for an event."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.events: list[Told | Exit] = []
        self._more = asyncio.Event()
        self.child: Child

    def post(self, number: int, event: Told | Exit) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, event: Told | Exit | type) -> None:
        while not any(
            isinstance(each, event) if isinstance(event, type) else each == event
            for each in self.events
        ):
            self._more.clear()
            async with asyncio.timeout(30):
                await self._more.wait()

    async def end(self) -> Exit:
        async with asyncio.timeout(30):
            return await self.child.wait()


async def spawn(
    binary: Path, *, number: int = 1, environ: Mapping[str, str] | None = None, **more: object
) -> Watched:
    """A child that runs this program, with a token unless `settings` says otherwise."""
    watched = Watched()
    settings = more.get("settings", named(binary))
    assert isinstance(settings, Settings)
    watched.child = await Child.spawn(
        number,
        settings,
        "auto",
        watched.post,
        watched.sink,
        {"PATH": os.environ["PATH"]} if environ is None else environ,
        plain=bool(more.get("plain", False)),
    )
    _spawned.append(watched)
    return watched


_spawned: list[Watched] = []  # of the test that runs; it leaves none behind


def named(binary: Path, grace: float = 20.0) -> Settings:
    """A named tunnel with a token."""
    return Settings(
        "token", "http://127.0.0.1:14402", TOKEN, tunnel_id=TUNNEL, binary=str(binary), grace=grace
    )


def on_each_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the loop of the standard library, and on uvloop."""

    @functools.wraps(test)
    def run(loop: Callable[[], asyncio.AbstractEventLoop], **given: object) -> None:
        async def guarded() -> None:
            try:
                await test(**given)
            finally:
                while _spawned:
                    watched = _spawned.pop()
                    watched.child.kill()
                    await watched.end()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(guarded())

    own = inspect.signature(test)
    extra = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), extra]
    )
    loops = pytest.mark.parametrize(
        "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    marked: Callable[..., None] = loops(run)
    return marked
