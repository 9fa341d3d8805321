"""Memory stays flat however many requests there are: answered, broken off, refused, abandoned."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Sidecar, chain
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

MIB = 1024 * 1024
AT_ONCE = 16
SHORT = b.well(["one ", "two "])
BEHAVIOURS = [SHORT, SHORT, b.status(500), b.cut(b.Reset(), after=3), SHORT, b.html]


def mixed(seen: Seen) -> b.Steps:
    """A backend that is well most of the time; the request says which behaviour it wants."""
    number = seen.json.get("seed")
    return BEHAVIOURS[(number if isinstance(number, int) else 0) % len(BEHAVIOURS)](seen)


async def work(sidecar: Sidecar, numbers: Iterator[int]) -> None:
    """Take numbers until there are none; each is a request of one kind or another."""
    for number in numbers:
        model = "chat" if number % 11 else f"unknown-{number}"
        body = chat(model, stream=number % 2 == 0, seed=number)
        if number % 13:
            told = {"x-request-id": f"r-{number}"}
            got = await sidecar.ask(body, headers=told)
            assert got.status in {200, 404}, got.raw
        else:
            async with sidecar.opened({**body, "stream": True}):
                pass  # hangs up at once


async def rounds(tmp_path: Path, warm: int, count: int) -> float:
    """The growth of resident memory over `count` requests after `warm` others, in bytes."""
    p, f = Backend("p", rest=mixed), Backend("f", rest=SHORT)
    async with p, f, Sidecar(tmp_path, chain(p, f)) as sidecar:

        async def many(first: int, last: int) -> int:
            numbers = iter(range(first, last))
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work(sidecar, numbers))
            metrics = await sidecar.idle()
            assert len(json.dumps(metrics.samples)) < MIB, "labels do not grow with requests"
            for fake in (p, f):
                fake.requests.clear()
            return sidecar.rss

        before = await many(0, warm)
        return await many(warm, warm + count) - before


async def test_memory_over_2000_requests(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 1000, 2000) < 24 * MIB


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_memory_over_20000_requests(tmp_path: Path) -> None:
    assert await rounds(tmp_path, 2000, 20_000) < 24 * MIB
