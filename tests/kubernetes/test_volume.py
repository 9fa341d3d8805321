"""Hot reload from a projected volume, as kubelet writes it, under load."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.client import Got, chat
from tests.e2e.harness import Config, Sidecar, chain, until
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.kubernetes.kubelet import Volume, mounted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the pod's address is 127.0.0.2")

SWAPS = 320
AT_ONCE = 4
SEEN = 32  # one of so many is waited for
BROKEN = 40  # of so many generations one has a configuration that cannot be used


def generation(backend: Backend, number: int) -> Config:
    """A configuration whose model bears its number, as the secret beside it does."""
    config = chain(backend, backends={"p": {"auth": {"bearer": {"file": "key"}}}})
    target = {"backend": "p", "model": f"model-{number}"}
    route: Config = {"models": ["chat"], "targets": [target], "retry": {"attempts": 0}}
    return {**config, "routes": {"chat": route}}


def write(volume: Volume, sidecar: Sidecar, backend: Backend, number: int) -> None:
    config = generation(backend, number)
    if number % BROKEN == 1:
        config["routs"] = {}
    files = {"config.yaml": sidecar.text(config), "key": f"secret-{number}"}
    volume.write(files)


async def test_no_request_sees_two_generations(tmp_path: Path) -> None:
    """Hundreds of swaps, in mid-read too; each answer is of one generation, and none fails."""
    done = asyncio.Event()
    async with Backend("p") as backend, mounted(tmp_path, chain(backend)) as (sidecar, volume):

        async def ask() -> list[Got]:
            answers: list[Got] = []
            while not done.is_set():
                answers.append(await sidecar.ask(chat(stream=len(answers) % 4 == 0)))
            return answers

        async def swap() -> None:
            for number in range(2, SWAPS + 1):
                asked = len(backend.requests)
                write(volume, sidecar, backend, number)
                if number % 5 == 0:  # an event may be late; this reads at once, in between
                    sidecar.signal(signal.SIGHUP)
                if number % 2:  # and the other half comes into the reading of the one before
                    await backend.seen(asked + 1)
                if number % SEEN == 0:
                    await until(partial(in_force, number), f"generation {number} is in force")
            done.set()

        write(volume, sidecar, backend, 2)

        async def in_force(number: int) -> bool:
            await sidecar.ask(chat())
            return any(seen.model == f"model-{number}" for seen in backend.requests)

        await until(lambda: in_force(2), "the first generation is in force")
        backend.requests.clear()
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask()) for _ in range(AT_ONCE)]
            group.create_task(swap())
        answers = [got for task in asking for got in task.result()]
        await until(lambda: in_force(SWAPS), "the last generation is in force")
        metrics = await sidecar.metrics()
    assert {(got.status, got.text, got.broken) for got in answers} == {(200, text_of("p"), None)}
    pairs = {(seen.model, seen.header("authorization")) for seen in backend.requests}
    numbers = {str(model).removeprefix("model-") for model, _ in pairs}
    assert pairs == {(f"model-{number}", f"Bearer secret-{number}") for number in numbers}
    assert not [number for number in numbers if int(number) % BROKEN == 1], (
        "nothing of a broken one"
    )
    assert len(numbers) >= SWAPS // SEEN, "changes came in between"
    assert len(backend.requests) >= len(answers)
    assert metrics.value("config_last_reload_successful") == 1
