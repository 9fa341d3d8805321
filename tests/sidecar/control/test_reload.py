"""Reloads of real files in real directories, through the real loader."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from sidecar.config.faults import ConfigError
from sidecar.config.load import Loaded, load
from sidecar.config.snapshot import Snapshot
from sidecar.control.background import keep_running
from sidecar.control.reload import Addresses, Reload, Reloader, Result
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore
from sidecar.telemetry.instruments import Instruments

PATIENCE = 10.0  # seconds; a change that comes by its event takes a fraction of one

CONFIGURATION = """
listeners: {data: {port: PORT}, control: {socket: /tmp/control.sock}}
backends:
  home: {dialect: openai, base_url: "http://127.0.0.1:1/v1", auth: {bearer: {file: key}}}
routes:
  chat: {models: [NAME], targets: [{backend: home}]}
"""


class Program:
    """A reloader and what it acts upon; `swaps` is told of each new snapshot."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.current, self.store = Current(), RuntimeStore()
        self.instruments = Instruments.build("1.2.3")
        self.swaps: asyncio.Queue[Snapshot] = asyncio.Queue()
        self.gone: list[BackendKey] = []
        self.reloader = Reloader(
            partial(load, str(file), {}), self.current, self.store, self.instruments, self._swapped
        )

    async def _swapped(self, snapshot: Snapshot, gone: object) -> None:
        assert isinstance(gone, tuple)
        self.gone += gone
        self.swaps.put_nowait(snapshot)

    async def model(self) -> str:
        """The name that the next snapshot offers."""
        snapshot = await asyncio.wait_for(self.swaps.get(), PATIENCE)
        return snapshot.routes.routes[0].models[0]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.instruments.metrics.registry.get_sample_value(f"llm_sidecar_{name}", labels)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Changes are picked up while the block runs."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(keep_running("reload", self.reloader.run))
            yield
            task.cancel()


def write(folder: Path, name: str = "one", port: int = 14400, key: str = "key-one-1") -> Path:
    (folder / "key").write_text(key)
    file = folder / "sidecar.yaml"
    file.write_text(CONFIGURATION.replace("NAME", name).replace("PORT", str(port)))
    return file


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(write(tmp_path))
    yield program
    program.instruments.logs.close()


async def test_the_first_configuration_comes_by_the_same_road(program: Program) -> None:
    done = await program.reloader.reload_now()
    assert (done.result, done.faults, done.warnings) == (Result.APPLIED, "", ())
    assert await program.model() == "one"
    snapshot = program.current.get()
    assert snapshot is not None
    assert done.revision == snapshot.revision
    assert program.metric("config_last_reload_successful") == 1
    assert program.metric("config_hash") == int(snapshot.revision[:12], 16)
    assert program.metric("attempts_total", backend="home", outcome="ok") == 0
    assert program.instruments.redact("key-one-1") == "***"


async def test_the_same_content_is_no_change(program: Program) -> None:
    await program.reloader.reload_now()
    before = program.current.get()
    program.file.touch()
    assert (await program.reloader.reload_now()).result is Result.UNCHANGED
    assert program.current.get() is before
    assert program.metric("config_reloads_total", result="applied") == 1


async def test_a_changed_secret_is_a_change(program: Program, tmp_path: Path) -> None:
    await program.reloader.reload_now()
    (tmp_path / "key").write_text("key-two-2")
    assert (await program.reloader.reload_now()).result is Result.APPLIED
    assert program.gone == []
    assert program.instruments.redact("key-one-1 key-two-2") == "*** ***"


async def test_a_broken_file_changes_nothing_and_tells_all_faults(program: Program) -> None:
    await program.reloader.reload_now()
    before = program.current.get()
    whole = program.file.read_text()
    program.file.write_text(whole.replace("dialect", "dialekt").replace("models", "modells"))
    done = await program.reloader.reload_now()
    assert done.result is Result.FAILED
    assert "dialekt" in done.faults
    assert "modells" in done.faults
    assert program.current.get() is before
    assert program.current.faults == done.faults
    assert program.metric("config_last_reload_successful") == 0
    assert program.metric("config_reloads_total", result="failed") == 1

    program.file.write_text(whole)
    assert (await program.reloader.reload_now()).result is Result.UNCHANGED
    assert program.current.faults == ""
    assert program.metric("config_last_reload_successful") == 1


async def test_a_removed_backend_is_reported_gone(program: Program) -> None:
    await program.reloader.reload_now()
    program.file.write_text(program.file.read_text().replace("127.0.0.1:1/", "127.0.0.1:2/"))
    await program.reloader.reload_now()
    assert [key.name for key in program.gone] == ["home"]


async def test_a_changed_address_needs_a_restart_and_the_rest_is_applied(
    program: Program, tmp_path: Path
) -> None:
    await program.reloader.reload_now()
    snapshot = program.current.get()
    assert snapshot is not None
    program.reloader.bound = Addresses.of(snapshot)
    write(tmp_path, "two", port=15500)
    done = await program.reloader.reload_now()
    assert done.result is Result.APPLIED
    (sentence,) = done.restart_needed
    assert "listeners.data" in sentence
    assert "15500" in sentence
    assert program.current.restart_needed == done.restart_needed
    assert [await program.model(), await program.model()] == ["one", "two"]
    write(tmp_path, "two")
    assert (await program.reloader.reload_now()).restart_needed == ()


async def test_changes_are_followed_by_their_events(program: Program, tmp_path: Path) -> None:
    await program.reloader.reload_now()
    assert await program.model() == "one"
    async with program.following():
        write(tmp_path, "two")
        assert await program.model() == "two"
        replacement = tmp_path / "new.yaml"
        replacement.write_text(program.file.read_text().replace("two", "three"))
        replacement.rename(program.file)
        assert await program.model() == "three"
        (tmp_path / "key").write_text("key-two-2")
        assert await program.model() == "three"


def mount(folder: Path, generation: str) -> None:
    """What the kubelet does: a new directory, then one rename of the symlink to it."""
    fresh = folder / f"..{generation}"
    fresh.mkdir()
    write(fresh, generation, key=f"key-{generation}-1")
    os.symlink(fresh.name, folder / "..data_tmp")
    os.rename(folder / "..data_tmp", folder / "..data")


async def test_a_swapped_config_map_is_followed(tmp_path: Path) -> None:
    mount(tmp_path, "one")
    for name in ("sidecar.yaml", "key"):
        os.symlink(f"..data/{name}", tmp_path / name)
    program = Program(tmp_path / "sidecar.yaml")
    await program.reloader.reload_now()
    assert await program.model() == "one"
    async with program.following():
        for generation in ("two", "three", "four"):
            mount(tmp_path, generation)
            assert await program.model() == generation
            assert program.instruments.redact(f"key-{generation}-1") == "***"
    program.instruments.logs.close()


async def test_new_directories_are_followed_from_then_on(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await program.reloader.reload_now()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "key").write_text("key-far-1")
    async with program.following():
        moved = program.file.read_text().replace("file: key", f"file: {elsewhere}/key")
        program.file.write_text(moved.replace("[one]", "[two]"))
        assert [await program.model(), await program.model()] == ["one", "two"]
        (elsewhere / "key").write_text("key-far-2")
        assert await program.model() == "two"


async def test_a_degraded_start_is_healed_by_the_next_good_file(program: Program) -> None:
    whole = program.file.read_text()
    program.file.write_text("backends: {}")
    with pytest.raises(ConfigError) as first:
        load(str(program.file), {})
    program.reloader.refuse(str(first.value))
    assert program.current.get() is None
    assert program.metric("config_last_reload_successful") == 0
    assert (await program.reloader.reload_now()).result is Result.FAILED
    assert program.reloader.directories == {str(program.file.parent)}
    async with program.following():
        program.file.write_text(whole)
        assert await program.model() == "one"
    assert program.current.faults == ""
    assert program.metric("config_last_reload_successful") == 1


async def test_a_missed_event_is_not_a_missed_change(program: Program, tmp_path: Path) -> None:
    await program.reloader.reload_now()
    assert await program.model() == "one"
    write(tmp_path, "two")  # before anybody watches
    async with program.following():
        assert await program.model() == "two"


async def test_a_missed_event_is_not_a_missed_recovery(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await program.reloader.reload_now()
    program.file.write_text("nothing: of interest")
    assert (await program.reloader.reload_now()).result is Result.FAILED
    write(tmp_path)  # as it was, before anybody watches
    recovered = asyncio.Event()
    accept = program.reloader.accept

    async def accept_and_tell(loaded: Loaded) -> Reload:
        done = await accept(loaded)
        recovered.set()
        return done

    monkeypatch.setattr(program.reloader, "accept", accept_and_tell)
    async with program.following():
        await asyncio.wait_for(recovered.wait(), PATIENCE)
    assert program.current.faults == ""
    assert program.metric("config_last_reload_successful") == 1


async def test_a_missing_directory_is_read_again_on_a_timer(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.control.reload.TICK", 0.01)
    monkeypatch.setattr("sidecar.control.reload.TICKS_TO_REREAD", 1)
    await program.reloader.reload_now()
    program.reloader.directories = frozenset({str(tmp_path / "missing")})
    write(tmp_path, "two")
    async with program.following():
        assert [await program.model(), await program.model()] == ["one", "two"]


async def test_the_watch_ends_with_its_task(program: Program) -> None:
    await program.reloader.reload_now()
    threads: Callable[[], int] = threading.active_count
    before = threads()
    async with program.following():
        program.file.write_text(program.file.read_text().replace("[one]", "[two]"))
        assert [await program.model(), await program.model()] == ["one", "two"]
    # the idle threads of the pools stay; none is busy with a watch any more
    assert threads() <= before + 2
    program.file.write_text("nothing: of interest")
    assert program.current.faults == ""


async def test_a_broken_file_that_is_read_again_is_told_once(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.control.reload.TICK", 0.01)
    monkeypatch.setattr("sidecar.control.reload.TICKS_TO_REREAD", 1)
    await program.reloader.reload_now()
    program.file.write_text("backends: {}")
    looked = asyncio.Event()
    looks = 0

    def counted() -> object:
        nonlocal looks
        looks += 1
        if looks == 5:
            loop.call_soon_threadsafe(looked.set)
        return load(str(program.file), {})

    loop = asyncio.get_running_loop()
    program.reloader._load = counted  # type: ignore[assignment]
    async with program.following():
        await asyncio.wait_for(looked.wait(), PATIENCE)
    assert program.metric("config_reloads_total", result="failed") == 1
