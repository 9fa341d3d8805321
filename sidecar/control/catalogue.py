"""Asks each backend which models it has, in the background; planning and lists of models use it.

Nothing waits for it: until a backend has answered its catalogue is simply not known, and one that
fails is asked again soon. What a list leaves out is asked model by model, where the dialect has a
way to. Prompts are never part of it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from sidecar.config.snapshot import Backend, Snapshot
from sidecar.control import inquiry
from sidecar.control.inquiry import Clients, Question, ask, askable, check_local
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json
from sidecar.wire.contract import ModelEntry, Operation

_log = logging.getLogger(__name__)

EVERY = 300.0  # seconds
AFTER_FAILURE = 15.0  # doubles with each further failure, up to EVERY
TIME_LIMIT = 5.0  # for a list, and once more for what is asked model by model
AT_ONCE = 4  # backends asked at the same time, so that many of them never crowd the event loop
MOST_PAGES = 10  # of a list
MOST_SHOWN = 50  # models that are asked for one by one


class Unlisted(Exception):
    """A backend did not tell its models; the message says why."""


FAILURES = (Unlisted, *inquiry.FAILURES)


class Catalogue:
    """Keeps the lists of models in the runtime store fresh."""

    def __init__(
        self,
        current: Current,
        store: RuntimeStore,
        redact: Redactor,
        clock: Callable[[], float],
    ) -> None:
        self._current, self._store, self._redact = current, store, redact
        self._clock = clock
        self._due: dict[BackendKey, float] = {}
        self._pause: dict[BackendKey, float] = {}
        self._changed = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """The configuration has changed: ask new backends at once."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Ask whoever is due, for ever."""
        while True:
            self._changed.clear()
            pause = await self.ask_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def ask_due(self) -> float:
        """Ask every backend that is due; returns the seconds until the next one is."""
        snapshot = self._current.get()
        wanted = askable(snapshot)
        now = self._clock()
        self._due = {key: self._due.get(key, now) for key in wanted}
        self._pause = {key: self._pause.get(key, AFTER_FAILURE) for key in wanted}
        async with Clients() as clients, asyncio.TaskGroup() as group:
            for key, backend in wanted.items():
                if self._due[key] <= now:
                    self._due[key] = now + EVERY  # so that a fault of ours is not repeated at once
                    group.create_task(
                        self._ask(key, backend, clients, snapshot), name=f"catalogue of {key.name}"
                    )
        return max(0.0, min(self._due.values(), default=now + EVERY) - self._clock())

    async def _ask(
        self, key: BackendKey, backend: Backend, clients: Clients, snapshot: Snapshot | None
    ) -> None:
        try:
            async with self._places, asyncio.timeout(TIME_LIMIT):
                await check_local(backend, snapshot)
                entries = await list_models(backend, clients)
        except FAILURES as error:
            why = self._redact(str(error)) or type(error).__name__
            _log.debug("backend %s did not list its models: %s", backend.name, why)
            self._due[key] = self._clock() + self._pause[key]
            self._pause[key] = min(EVERY, 2 * self._pause[key])
            return
        # who has no model yet will soon be given one
        self._due[key] = self._clock() + (EVERY if entries else AFTER_FAILURE)
        self._pause[key] = AFTER_FAILURE
        before = self._store.state(backend).entries or {}
        entries = [_as_known(entry, before) for entry in entries]
        self._store.learn_models(backend, entries)
        async with self._places:
            self._store.learn_models(backend, await show_models(backend, entries, clients))


async def list_models(backend: Backend, clients: Clients) -> Sequence[ModelEntry]:
    """The models of a backend, as its list tells of them. Raises one of FAILURES."""
    path = backend.dialect.backend_paths.get(Operation.MODELS)
    if path is None:
        raise Unlisted(f"the dialect {backend.dialect.name} has no list of models")
    found: list[ModelEntry] = []
    page: Mapping[str, str] = {}
    for _ in range(MOST_PAGES):
        listing = await _asked(backend, clients, Question("GET", path, page))
        try:
            found += backend.dialect.decode_models(listing)
        except ValueError as error:
            raise Unlisted(f"its list of models cannot be read: {error}") from None
        following = _page_after(listing)
        if following is None or following == page:
            break
        page = following
    return found


async def show_models(
    backend: Backend, entries: Sequence[ModelEntry], clients: Clients
) -> Sequence[ModelEntry]:
    """The entries with what the backend tells of single models, as far as there is time."""
    if Operation.SHOW not in backend.dialect.backend_paths:
        return entries
    learned = {entry.id: entry for entry in entries}
    unknown = [entry for entry in entries if None in (entry.context, entry.capabilities)]
    with suppress(TimeoutError):
        async with asyncio.timeout(TIME_LIMIT):
            for entry in unknown[:MOST_SHOWN]:
                learned[entry.id] = await _shown(backend, entry, clients)
    return list(learned.values())


async def _shown(backend: Backend, entry: ModelEntry, clients: Clients) -> ModelEntry:
    """The entry with what the backend tells of this model, if anything."""
    path = backend.dialect.backend_paths[Operation.SHOW]
    try:
        question = Question("POST", path, body={"model": entry.id})
        told = await _asked(backend, clients, question)
    except FAILURES:
        return entry
    return backend.dialect.learn_model(entry, told) if isinstance(told, dict) else entry


async def _asked(backend: Backend, clients: Clients, question: Question) -> object:
    """The JSON that a backend answers to one question. Raises one of FAILURES."""
    status, answered = await ask(backend, clients, question)
    if status != 200:
        raise Unlisted(f"it answered {status}")
    try:
        return json.loads(answered)
    except json.InvalidJson as error:
        raise Unlisted(f"its answer is not JSON: {error}") from None


def _page_after(listing: object) -> Mapping[str, str] | None:
    """The query of the next page, where a list says that it goes on, as Anthropic's does."""
    if not isinstance(listing, dict) or listing.get("has_more") is not True:
        return None
    last = listing.get("last_id")
    return {"after_id": last, "limit": "1000"} if isinstance(last, str) else None


def _as_known(entry: ModelEntry, before: Mapping[str, ModelEntry]) -> ModelEntry:
    """What is known already of a model that is still the same."""
    known = before.get(entry.id.casefold(), entry)
    return known if entry.digest and entry.digest == known.digest else entry
