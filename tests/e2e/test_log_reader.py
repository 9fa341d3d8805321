"""Whoever reads the log may leave, or stop reading: requests go on."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Sidecar, chain
from tests.fakes.backend import Backend

ASKED = 40  # requests; the lines of all are many times what the pipe holds


def logging_to(descriptor: int, folder: Path, fake: Backend) -> Sidecar:
    sidecar = Sidecar(folder, chain(fake))
    sidecar.stderr = descriptor
    return sidecar


async def asked(sidecar: Sidecar) -> None:
    for _ in range(ASKED):
        assert (await sidecar.ask(chat())).status == 200


async def test_the_reader_has_gone(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        async with (
            Backend("p") as fake,
            logging_to(write, tmp_path, fake) as sidecar,
        ):
            await asked(sidecar)
            await sidecar.until_metric(
                lambda now: now.value("optional_failures_total", part="log") >= ASKED,
                "every lost line is counted",
            )
            sidecar.process.terminate()
            assert await sidecar.exit_code() == 0
    finally:
        os.close(write)


@pytest.mark.parametrize("blocking", [True, False])
async def test_the_reader_does_not_read(tmp_path: Path, blocking: bool) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, blocking)
    try:
        async with (
            Backend("p") as fake,
            logging_to(write, tmp_path, fake) as sidecar,
        ):
            await asked(sidecar)
            sidecar.process.terminate()
            assert await sidecar.exit_code() == 0
    finally:
        os.close(read)
        os.close(write)


async def test_a_reader_that_is_late_gets_every_line(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        async with (
            Backend("p") as fake,
            logging_to(write, tmp_path, fake) as sidecar,
        ):
            await asked(sidecar)
            sidecar.process.terminate()
            assert await sidecar.exit_code() == 0
        os.close(write)
        with os.fdopen(os.dup(read), "rb") as late:
            assert late.read().count(b'"event":"request"') == ASKED
    finally:
        os.close(read)
