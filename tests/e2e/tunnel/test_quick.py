"""A tunnel without an account: its name, and the service that hands names out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import chat
from tests.e2e.harness import Config, until
from tests.e2e.tunnel.exposed import CHAT, KEY, Exposed
from tests.e2e.tunnel.harness import Ground, commands
from tests.fakes.backend import Backend

pytestmark = commands

FIRST_LOOK = 10.0  # seconds; whoever asks before that for a new name spoils it for half an hour
EVIL = "https://evil.trycloudflare.com"
QUICK: Config = {"quick": True}


@dataclass
class Screen:
    """What a terminal shows. `line` is its end for the program."""

    line: int
    shown: bytes = b""


@contextlib.contextmanager
def terminal() -> Iterator[Screen]:
    """A terminal that is read all the while."""
    ours, theirs = pty.openpty()
    screen, loop = Screen(theirs), asyncio.get_running_loop()

    def read() -> None:
        screen.shown += os.read(ours, 64 * 1024)

    loop.add_reader(ours, read)
    try:
        yield screen
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


async def test_its_name_is_told_once_a_request_has_come_back(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    inside, visits = place.inside, Exposed(tmp_path, place, backend, tunnel=QUICK)
    inside.standin.behave(log={"lines": [f"|  {EVIL}  |", f"Visit it at: {EVIL}"]})
    visits.waits = False
    with terminal() as screen:
        visits.stdout = screen.line
        async with visits as sidecar:
            await inside.edge.until_registered()
            registered = time.monotonic()
            (name,) = inside.quick.handed
            url = f"https://{name}"
            await sidecar.until_state("up")
            code, told = await sidecar.command("tunnel", "url")
            assert (code, "its public name is not known yet" in told) == (1, True)
            assert (await sidecar.tunnel())["url"] is None
            assert name not in sidecar.output
            assert "trycloudflare" not in screen.shown.decode()
            assert inside.edge.carried == [], "nobody has asked for it yet"

            await inside.edge.until(lambda: bool(inside.edge.carried))
            assert time.monotonic() - registered >= FIRST_LOOK

            async def is_shown() -> bool:
                return url in screen.shown.decode()

            await until(is_shown, "the name stands on the screen")
            text = screen.shown.decode()
            assert (text.count(url), EVIL in text, "█" in text or "▀" in text) == (1, False, True)
            assert (await sidecar.tunnel())["url"] == url
            async with place.visitor() as http:
                address = place.base(name) + CHAT
                async with http.post(address, json=chat(), headers=KEY) as answer:
                    assert answer.status == 200
                async with http.post(address, json=chat()) as answer:
                    assert answer.status == 401


async def test_too_many_are_told_and_waited_out(
    tmp_path: Path, place: Ground, backend: Backend
) -> None:
    place.inside.quick.mood = "limited"
    asked = Exposed(tmp_path, place, backend, tunnel=QUICK)
    asked.waits = False
    async with asked as sidecar:
        told = await sidecar.until_state("backoff")
        assert told["why"].startswith("too many quick tunnels")
        assert "429" in await sidecar.says("starts again in")
        metrics = await sidecar.metrics()
        assert 60 <= metrics.value("tunnel_backoff_seconds") <= 300
        assert place.inside.quick.requests == 1
