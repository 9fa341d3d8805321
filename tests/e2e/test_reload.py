"""Hot reload: a changed file, secret or ConfigMap takes effect whole, and no request notices."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.client import Got, chat
from tests.e2e.harness import Config, Sidecar, chain, free_port, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

SECONDS = 5.0  # a change must be in force within one second; a test allows five
STREAMS = 200
CHANGES = 50
AT_ONCE = 10


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


def generation(backend: Backend, number: int) -> Config:
    """A configuration whose model bears its generation; the secret beside it bears one too."""
    config = chain(
        backend, backends={"p": {"auth": {"bearer": {"file": "key"}}, "model": f"model-{number}"}}
    )
    config["routes"] = {
        "chat": {
            "models": ["chat"],
            "targets": [{"backend": "p", "model": f"model-{number}"}],
            "retry": {"attempts": 0},
        }
    }
    return config


class Plain:
    """A folder as people keep it: the configuration is replaced by renaming, the secret stays."""

    def __init__(self, sidecar: Sidecar, backend: Backend) -> None:
        self._sidecar, self._backend = sidecar, backend

    def write(self, number: int) -> None:
        key = self._sidecar.folder / "key"
        if not key.exists():
            key.write_text("secret-0")
        self._sidecar.rewrite_config(generation(self._backend, number))


class Mounted:
    """A folder as the kubelet writes it: `..data` is a link to a folder, and is swapped whole."""

    def __init__(self, sidecar: Sidecar, backend: Backend) -> None:
        self._sidecar, self._backend = sidecar, backend
        self._mount = sidecar.folder / "mount"
        self._mount.mkdir()
        sidecar.file = self._mount / "sidecar.yaml"

    def write(self, number: int) -> None:
        fresh = self._mount / f"..{number:09}"
        fresh.mkdir()
        text = self._sidecar.text(generation(self._backend, number))
        (fresh / "sidecar.yaml").write_text(text)
        (fresh / "key").write_text(f"secret-{number}")
        data, beside = self._mount / "..data", self._mount / "..data_tmp"
        old = data.resolve() if data.exists() else None
        beside.symlink_to(fresh.name)
        beside.replace(data)
        for name in ("sidecar.yaml", "key"):
            link = self._mount / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        if old is not None:  # the kubelet removes the old folder at once
            for file in old.iterdir():
                file.unlink()
            old.rmdir()


@pytest.mark.parametrize("kind", [Plain, Mounted])
async def test_reload_under_load(
    tmp_path: Path, backend: Backend, kind: Callable[[Sidecar, Backend], Plain | Mounted]
) -> None:
    """No request fails, and no request sees half of one configuration and half of another."""
    backend.rest = well_after_a_moment
    sidecar = Sidecar(tmp_path, {})
    folder = kind(sidecar, backend)
    folder.write(0)
    left = iter(range(STREAMS))
    changed = asyncio.Event()

    async def ask() -> list[Got]:
        return [await sidecar.ask(chat(stream=True)) for _ in left]

    async def change() -> None:
        for number in range(1, CHANGES + 1):
            asked = len(backend.requests)
            folder.write(number)
            # a few requests come between two changes, and some changes hit in mid-read
            if number % 3:
                await backend.seen(min(asked + STREAMS // CHANGES, STREAMS))
            if number % 10 == 0:
                await until(partial(in_force, number), f"change {number} is in force")
        changed.set()

    async def in_force(number: int) -> bool:
        await sidecar.ask(chat())
        return any(seen.model == f"model-{number}" for seen in backend.requests)

    async with sidecar:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask()) for _ in range(AT_ONCE)]
            group.create_task(change())
        answers = [got for task in asking for got in task.result()]
        assert len(answers) == STREAMS
        for got in answers:
            assert (got.status, got.text, got.done) == (200, text_of("p"), True), got.raw[:500]

        metrics = await sidecar.metrics()
        assert metrics.value("config_last_reload_successful") == 1
        assert metrics.value("requests_total", outcome="ok") >= STREAMS
    for seen in backend.requests:
        key = (seen.header("authorization") or "").removeprefix("Bearer secret-")
        if kind is Mounted:
            assert seen.model == f"model-{key}", "one generation"
        else:
            assert key == "0"
    assert len({seen.model for seen in backend.requests}) >= 5, "changes came in between"


def well_after_a_moment(seen: Seen) -> b.Steps:
    """A right stream with a short gap, so that changes hit streams in the middle."""
    first, *rest = b.well()(seen)
    return (first, *rest[:20], b.Pause(0.02), *rest[20:])


async def until_answered_by(sidecar: Sidecar, name: str) -> None:
    async def is_it() -> bool:
        return (await sidecar.ask(chat())).text == text_of(name)

    await until(is_it, f"{name} answers", SECONDS)


async def test_a_change_takes_effect_by_itself(tmp_path: Path, backend: Backend) -> None:
    async with Backend("q") as q, Sidecar(tmp_path, chain(backend)) as sidecar:
        assert (await sidecar.ask(chat())).text == text_of("p")
        sidecar.rewrite_config(chain(q))
        await until_answered_by(sidecar, "q")


async def test_a_file_written_in_place_takes_effect(tmp_path: Path, backend: Backend) -> None:
    async with Backend("q") as q, Sidecar(tmp_path, chain(backend)) as sidecar:
        sidecar.file.write_text(sidecar.text(chain(q)))
        await until_answered_by(sidecar, "q")


async def test_a_new_secret_takes_effect(tmp_path: Path, backend: Backend) -> None:
    key = tmp_path / "key"
    key.write_text("old-secret\n")
    config = chain(backend, backends={"p": {"auth": {"bearer": {"file": "key"}}}})
    async with Sidecar(tmp_path, config) as sidecar:
        await sidecar.ask(chat())
        assert backend.requests[-1].header("authorization") == "Bearer old-secret"
        (tmp_path / "new").write_text("new-secret\n")
        (tmp_path / "new").replace(key)

        async def uses_the_new() -> bool:
            await sidecar.ask(chat())
            return backend.requests[-1].header("authorization") == "Bearer new-secret"

        await until(uses_the_new, "the new secret is sent", SECONDS)
        assert "new-secret" not in sidecar.output


async def signalled(sidecar: Sidecar) -> None:
    sidecar.signal(signal.SIGHUP)


async def commanded(sidecar: Sidecar) -> None:
    code, output = await sidecar.command("reload")
    assert code == 0, output


@pytest.mark.parametrize("by", [signalled, commanded])
async def test_reload_at_once(
    tmp_path: Path, backend: Backend, by: Callable[[Sidecar], asyncio.Future[None]]
) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        before = (await sidecar.metrics()).value("config_hash")
        sidecar.rewrite_config(chain(backend, models=["chat", "more"]))
        await by(sidecar)
        await sidecar.until_metric(
            lambda now: now.value("config_hash") != before, "the new file is in force"
        )
        assert (await sidecar.ask(chat("more"))).status == 200


BROKEN = {
    "no yaml": "listeners: [",
    "unknown keys": "backendz: {}\nroutes: {chat: {modls: [chat]}}\n",
    "empty": "",
    "nothing to ask": "routes: {}\nbackends: {}\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_file_changes_nothing(tmp_path: Path, backend: Backend, text: str) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        before = await sidecar.metrics()
        sidecar.rewrite_config(text)
        metrics = await sidecar.until_metric(
            lambda now: now.value("config_last_reload_successful") == 0, "the fault is told"
        )
        for name in ("config_hash", "config_last_reload_success_timestamp_seconds"):
            assert metrics.value(name) == before.value(name)
        assert (await sidecar.admin("/readyz")).status == 200
        assert (await sidecar.ask(chat())).text == text_of("p")
        code, output = await sidecar.command("reload")
        assert code != 0
        assert output.strip()

        sidecar.rewrite_config(chain(backend))
        await sidecar.until_metric(
            lambda now: now.value("config_last_reload_successful") == 1, "a good file heals it"
        )


async def test_a_broken_file_is_logged_with_all_its_faults(
    tmp_path: Path, backend: Backend
) -> None:
    async with Sidecar(tmp_path, chain(backend)) as sidecar:
        faulty = {**chain(backend), "backendz": {}, "limits": {"bdy": "10MB"}}
        sidecar.rewrite_config(faulty)
        code, output = await sidecar.command("reload")
        assert code != 0
        for text in (output, sidecar.output):
            assert "backendz" in text
            assert "bdy" in text
        assert "body" in output, "the nearest valid name"


async def test_a_new_listen_address_needs_a_restart_and_the_rest_is_applied(
    tmp_path: Path, backend: Backend
) -> None:
    async with Backend("q") as q, Sidecar(tmp_path, chain(backend)) as sidecar:
        moved = free_port()
        listeners: Config = {
            "data": {"port": moved},
            "admin": {"port": sidecar.admin_port},
            "control": {"socket": str(sidecar.socket)},
        }
        await sidecar.reload({**chain(q), "listeners": listeners})
        assert (await sidecar.ask(chat())).text == text_of("q"), "the old port, the new route"
        assert "restart needed" in sidecar.output
        assert "restart needed" in json.dumps((await sidecar.admin("/status")).json)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", moved)


async def test_counters_and_rests_survive_for_unchanged_backends(
    tmp_path: Path, backend: Backend
) -> None:
    async with (
        Backend("r", rest=b.rate_limited("60")) as r,
        Sidecar(tmp_path, chain(r, backend)) as sidecar,
    ):
        assert (await sidecar.ask(chat())).text == text_of("p")
        await sidecar.reload(chain(r, backend, models=["chat", "more"]))
        assert (await sidecar.ask(chat("more"))).text == text_of("p")
        assert len(r.requests) == 1, "it still rests"
        metrics = await sidecar.metrics()
        assert metrics.value("attempts_total", backend="p", outcome="ok") == 2


async def test_a_changed_secret_is_tried_at_once(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    p, f = Backend("p", b.status(401, "bad key", "invalid_api_key")), Backend("f")
    async with p, f:
        config = chain(p, f, backends={"p": {"auth": {"bearer": {"file": "key"}}}})
        async with Sidecar(tmp_path, config) as sidecar:
            assert (await sidecar.ask(chat())).text == text_of("f")
            (tmp_path / "new").write_text("better")
            (tmp_path / "new").replace(key)

            async def is_sent() -> bool:
                await sidecar.ask(chat())
                return p.requests[-1].header("authorization") == "Bearer better"

            await until(is_sent, "the new key is sent", SECONDS)
