"""Picks up changes of the configuration: watch → load → reconcile → swap, or keep the old one.

Directories are watched, not files (a mounted ConfigMap changes by swapping a symlink), and read
again on a slow timer in case an event was missed; content decides, not time stamps. A broken
configuration changes nothing but the log, two metrics and the status.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import NamedTuple

from watchfiles import awatch

from sidecar.config.faults import ConfigError
from sidecar.config.load import Loaded, is_unchanged
from sidecar.config.snapshot import Doors, Listener, Snapshot
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore
from sidecar.telemetry.instruments import Instruments

_log = logging.getLogger(__name__)

TICK = 0.5  # seconds between looks at the timer
TICKS_TO_REREAD = 10
QUIET = 0.05  # seconds without a further event, after which a change counts as complete
RESTLESS = 0.4  # seconds after which it is read even though events go on

Swapped = Callable[[Snapshot, Collection[BackendKey]], Awaitable[None]]


class Result(StrEnum):
    """What a reload did."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload did, for the one who asked for it."""

    result: Result
    revision: str | None  # of what is served now
    faults: str = ""
    warnings: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()


class Addresses(NamedTuple):
    """Where to listen, in words; only a start applies these settings."""

    data: str
    admin: str
    control: str
    public: str | None = None  # None: nothing listens there yet

    @classmethod
    def of(cls, doors: Doors | Snapshot) -> "Addresses":
        """Where a snapshot, or what stands in for one, wants to listen."""
        public = doors.public.listener if isinstance(doors, Snapshot) and doors.public else None
        at = None if public is None else _words(public)
        return cls(_words(doors.data), _words(doors.admin), doors.control_socket, at)


def _words(place: Listener) -> str:
    return f"{', '.join(place.addresses)} port {place.port}"


class Reloader:
    """Owns every change of the current snapshot, the first one included.

    `load` reads and resolves the configuration, in a thread. `swapped` is awaited after each
    change, with the keys of the backends that are gone at once.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        current: Current,
        store: RuntimeStore,
        instruments: Instruments,
        swapped: Swapped,
    ) -> None:
        self._load, self._current, self._store = load, current, store
        self._instruments, self._swapped = instruments, swapped
        self._one_at_a_time = asyncio.Lock()
        self._told = ""  # the faults that were logged last
        self._loaded: Loaded | None = None  # what is in force
        self.bound: Addresses | None = None  # set once, when the listeners are bound
        self.directories: frozenset[str] = frozenset()  # where changes would show

    async def reload_now(self) -> Reload:
        """Read the configuration and apply what is new; faults are returned and logged."""
        self._told = ""
        return await self._reload()

    async def accept(self, loaded: Loaded) -> Reload:
        """Serve a configuration that has been read, if it differs from the one in force."""
        snapshot, before = loaded.snapshot, self._current.get()
        self._told = ""
        self._loaded = loaded
        self.directories = frozenset(map(str, loaded.directories))
        self._current.warnings = tuple(one.render(loaded.source) for one in loaded.warnings)
        self._instruments.metrics.reload_successful.set(1)
        self._instruments.metrics.reload_success_time.set_to_current_time()
        if before is not None and before.revision == snapshot.revision:
            if self._current.faults:
                self._current.faults = ""
                _log.info("the configuration is good again, and as it was")
            if self._current.public_fault:
                await self._swapped(snapshot, ())
            return self._done(Result.UNCHANGED)
        self._instruments.adopt(snapshot)
        gone = self._store.reconcile(snapshot)
        self._current.swap(snapshot)
        self._instruments.metrics.reloads.labels(Result.APPLIED).inc()
        self._tell(snapshot)
        await self._swapped(snapshot, gone)
        return self._done(Result.APPLIED)

    def refuse(self, faults: str) -> Reload:
        """Note that the configuration cannot be used, and keep what is in force."""
        self._current.faults = faults
        self._instruments.metrics.reload_successful.set(0)
        if faults != self._told:
            self._told = faults
            self._instruments.metrics.reloads.labels(Result.FAILED).inc()
            kept = "the previous one stays in force" if self._current.get() else "nothing is served"
            _log.error("the configuration cannot be used, %s:\n%s", kept, faults)
        return self._done(Result.FAILED)

    async def run(self) -> None:
        """Follow the directories until cancelled; returns where there is nothing to follow.

        After a start without a good configuration the first look finds what to follow.
        """
        while self.directories or self._current.get() is None:
            try:
                await self._follow(self.directories)
            except OSError as error:  # a directory is missing, or the system's watches are used up
                _log.debug("no watch on the configuration, it is read on a timer: %s", error)
                await asyncio.sleep(TICK * TICKS_TO_REREAD)
                await self._reload()

    async def _follow(self, directories: frozenset[str]) -> None:
        """Reload on every change, until other directories are to be watched."""
        watched = _identities(directories)
        changes = awatch(
            *directories,
            watch_filter=None,
            debounce=int(RESTLESS * 1000),
            step=int(QUIET * 1000),
            rust_timeout=int(TICK * 1000),
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        )
        async with aclosing(changes):
            ticks = count()
            async for changed in changes:
                # the first tick reads what changed while no watch was set
                if changed or (next(ticks) % TICKS_TO_REREAD == 0 and await self._has_changed()):
                    await self._reload()
                if self.directories != directories or _identities(directories) != watched:
                    return

    async def _has_changed(self) -> bool:
        """Whether the files differ from those in force; much cheaper than to load them."""
        loaded = self._loaded
        # a refused file may be as it was before, and a port that was taken be free
        if loaded is None or self._current.faults or self._current.public_fault:
            return True
        return not await asyncio.to_thread(is_unchanged, loaded)

    async def _reload(self) -> Reload:
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self._load)
            except ConfigError as error:
                self.directories = self.directories or _home_of(error)
                return self.refuse(str(error))
            except Exception:  # noqa: BLE001 - no file may ever take down a running sidecar
                _log.exception("reading the configuration failed by a fault of the sidecar itself")
                return self.refuse("the configuration made the sidecar itself fail; see its log")
            return await self.accept(loaded)

    def _tell(self, snapshot: Snapshot) -> None:
        self._current.restart_needed = self._restart_needed(snapshot)
        _log.info(
            "configuration %s is in force (routes: %d, backends: %d)",
            snapshot.revision[:12],
            len(snapshot.routes.routes),
            len(snapshot.backends),
        )
        if any(backend.echo and backend.enabled for backend in snapshot.backends.values()):
            _log.warning("the built-in echo is among the backends: no model answers there")
        if snapshot.public is not None and snapshot.public.is_open:
            _log.warning("the public listener is open: everybody who knows its address may use it")
        for warning in self._current.warnings:
            _log.warning("%s", warning)
        for sentence in self._current.restart_needed:
            _log.warning("%s", sentence)

    def _restart_needed(self, snapshot: Snapshot) -> tuple[str, ...]:
        if self.bound is None:
            return ()
        wanted = Addresses.of(snapshot)
        names = (
            "listeners.data", "listeners.admin", "listeners.control.socket", "listeners.public",
        )  # fmt: skip
        return tuple(
            f"restart needed: {name} is {new} in the configuration, but this process has {old}; "
            "everything else is applied"
            for name, old, new in zip(names, self.bound, wanted, strict=True)
            if old != new and None not in (old, new)  # one that comes or goes needs none
        )

    def _done(self, result: Result) -> Reload:
        snapshot, current = self._current.get(), self._current
        return Reload(
            result,
            snapshot.revision if snapshot else None,
            current.faults,
            current.warnings,
            current.restart_needed,
        )


def _home_of(error: ConfigError) -> frozenset[str]:
    """A broken file leads to no others, but in its own folder the good one will come."""
    return frozenset({os.path.dirname(os.path.abspath(error.source))})


def _identities(directories: frozenset[str]) -> list[tuple[int, int]]:
    """What the paths stand for: a watch does not follow a directory that is put in its place."""
    return [(found.st_dev, found.st_ino) for found in map(os.stat, sorted(directories))]
