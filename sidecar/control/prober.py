"""Active health checks: asks backends in the background what their dialects offer for free.

Never a completion. A backend whose traffic succeeds is left alone; one in doubt is asked every few
seconds. What a finding means is decided in `policy/health.py`, what follows in the runtime store.
"""

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import NoReturn

import httpx

from sidecar.config.address import key_for
from sidecar.config.snapshot import Backend, Forward, Snapshot
from sidecar.control.inquiry import (
    FAILURES,
    Clients,
    NotLocal,
    Question,
    TooLarge,
    ask,
    askable,
    check_local,
)
from sidecar.policy.availability import Availability
from sidecar.policy.health import Finding, ProbeVerdict, due, finding_of, first_due
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendKey, RuntimeStore, key_of
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json

_log = logging.getLogger(__name__)

TICK = 1.0  # seconds between looks at who is due; traffic may have put a backend in doubt
SHORTEST = 0.05  # seconds between two looks
AT_ONCE = 4  # probes at the same time
# of these, probes of backends in doubt: they may hang, and must not hold up those that are well
DOUBTFUL_AT_ONCE = 3
LONGEST = 25.0  # seconds that an operator's probe may take, whatever the limit of the others


class Prober:
    """Keeps the health of every backend in the runtime store fresh."""

    def __init__(
        self,
        current: Current,
        store: RuntimeStore,
        redact: Redactor,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._current, self._store, self._redact = current, store, redact
        self._clock, self._draw = clock, draw
        self._changed = asyncio.Event()
        # when each was first seen, and when it was asked last, with a draw for the pause behind it
        self._seen: dict[BackendKey, tuple[float, float]] = {}
        self._asked: dict[BackendKey, tuple[float, float]] = {}
        self._under_way: dict[BackendKey, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._doubtful = asyncio.Semaphore(DOUBTFUL_AT_ONCE)
        self._told_unhealthy: set[BackendKey] = set()
        self._told_auth: set[BackendKey] = set()

    def wake(self) -> None:
        """The configuration has changed: leave the old backends, see the new ones soon."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Probe whoever is due, for ever; anew with each configuration."""
        while True:
            self._changed.clear()
            async with Clients(keep=False) as clients, asyncio.TaskGroup() as group:
                while not self._changed.is_set():
                    pause = self.probe_due(clients, group)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._changed.wait()
                self.give_up()

    def probe_due(self, clients: Clients, group: asyncio.TaskGroup) -> float:
        """Begin a probe of every backend that is due; returns the seconds until the next look."""
        snapshot, now = self._current.get(), self._clock()
        wanted = {key: one for key, one in askable(snapshot).items() if one.probe.every < math.inf}
        self._forget_all_but(wanted)
        self._under_way = {key: one for key, one in self._under_way.items() if not one.done()}
        soonest = now + TICK
        for key, backend in wanted.items():
            self._tell(key, backend)
            when = self._when(key, backend, now)
            if when <= now and key not in self._under_way:
                self._asked[key] = now, self._draw()
                self._under_way[key] = group.create_task(
                    self._turn(backend, snapshot, clients), name=f"probe of {key.name}"
                )
                when = self._when(key, backend, now)
            if when > now:
                soonest = min(soonest, when)
        return max(SHORTEST, soonest - now)

    def give_up(self) -> None:
        """Leave the probes that are under way; who is still configured is asked again soon."""
        for key, task in self._under_way.items():
            if not task.done():
                task.cancel()
                self._asked.pop(key, None)
        self._under_way.clear()

    async def probe_now(self, backend: Backend) -> ProbeVerdict:
        """One probe that an operator asked for; a success ends what keeps the backend out."""
        limit = min(backend.probe.timeout, LONGEST)
        async with Clients(keep=False) as clients:
            verdict = await self._probe(backend, self._current.get(), clients, limit)
        self._record(backend, verdict, was_asked_for=True)
        return verdict

    def _when(self, key: BackendKey, backend: Backend, now: float) -> float:
        health = self._store.state(backend).health
        if key in self._asked:
            asked_at, draw = self._asked[key]
            hurry = self._hurries(backend)
            return due(health, asked_at, backend.probe, hurry=hurry, draw=draw)
        if key not in self._seen:
            self._seen[key] = now, self._draw()
        seen_at, draw = self._seen[key]
        return first_due(health, seen_at, backend.probe, draw)

    def _hurries(self, backend: Backend) -> bool:
        if self._store.state(backend).health.is_in_doubt:
            return True
        return self._store.availability(backend, self._clock()) is Availability.EJECTED

    async def _turn(self, backend: Backend, snapshot: Snapshot | None, clients: Clients) -> None:
        async with AsyncExitStack() as places:
            if self._hurries(backend):
                await places.enter_async_context(self._doubtful)
            await places.enter_async_context(self._places)
            verdict = await self._probe(backend, snapshot, clients, backend.probe.timeout)
        self._record(backend, verdict)

    async def _probe(
        self, backend: Backend, snapshot: Snapshot | None, clients: Clients, limit: float
    ) -> ProbeVerdict:
        began, probe = self._clock(), backend.dialect.probe
        try:
            async with asyncio.timeout(limit):
                await check_local(backend, snapshot)
                status, body = await ask(backend, clients, Question(probe.method, probe.path))
        except FAILURES as error:
            return _failed(error, limit)
        latency = self._clock() - began
        complaint = _complaint(backend, body) if status == 200 else ""
        finding = finding_of(status, is_well_formed=not complaint)
        words = f"answered {status}" + (f", but {complaint}" if complaint else "")
        return ProbeVerdict(finding, self._redact(words), latency)

    def _record(
        self, backend: Backend, verdict: ProbeVerdict, *, was_asked_for: bool = False
    ) -> None:
        now = self._clock()
        if self._store.probed(backend, verdict, now, was_asked_for=was_asked_for):
            _log.info("a probe of backend %s went well: its rest is over", backend.name)
        self._tell(key_of(backend), backend)
        self._tell_auth(backend, verdict)

    def _tell(self, key: BackendKey, backend: Backend) -> None:
        """Log once that a backend became unhealthy, or healthy again, be it by traffic."""
        health = self._store.state(backend).health
        if health.is_unhealthy and key not in self._told_unhealthy:
            self._told_unhealthy.add(key)
            words = health.verdict.words if health.verdict else "it does not answer"
            _log.warning("backend %s is unhealthy: its probes fail, it %s", backend.name, words)
        elif not health.is_unhealthy and key in self._told_unhealthy:
            self._told_unhealthy.discard(key)
            _log.info("backend %s is healthy again", backend.name)

    def _tell_auth(self, backend: Backend, verdict: ProbeVerdict) -> None:
        key, sent = key_of(backend), key_for(backend, client_key=None)
        if verdict.finding is Finding.WELL:
            self._told_auth.discard(key)
        if verdict.finding is not Finding.AUTH or key in self._told_auth:
            return
        self._told_auth.add(key)
        if isinstance(backend.auth, Forward) and not (sent.headers or sent.query):
            return  # its keys are the clients'
        _log.warning(
            "a probe of backend %s was refused (%s): check its key. It may be one that only must "
            "not list models, so that traffic goes on there",
            backend.name,
            verdict.words,
        )

    def _forget_all_but(self, wanted: dict[BackendKey, Backend]) -> None:
        for held in (self._seen, self._asked):
            for key in held.keys() - wanted.keys():
                del held[key]
        self._told_unhealthy &= wanted.keys()
        self._told_auth &= wanted.keys()


def _complaint(backend: Backend, body: bytes) -> str:
    """What is wrong with the body of a 200; nothing where it is as promised."""
    check = backend.dialect.probe.check
    if check is None:
        return ""
    try:
        check(json.loads(body))
    except json.InvalidJson:
        kind = "HTML" if body.lstrip()[:1] == b"<" else "something else" if body else "nothing"
        return f"with {kind} instead of JSON"
    except ValueError as error:
        return str(error)
    return ""


def _failed(error: Exception, limit: float) -> ProbeVerdict:
    """A library's error in our words."""
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case NotLocal():
                return ProbeVerdict(Finding.NOT_ASKED, "was not asked: " + str(cause))
            case TooLarge():
                return ProbeVerdict(Finding.SHAPE, f"answered, but {cause}")
            case socket.gaierror() | UnicodeError():
                return ProbeVerdict(Finding.DNS, "has a name that cannot be resolved")
            case ssl.SSLCertVerificationError():
                told = f"has a certificate that was refused: {cause.verify_message}"
                return ProbeVerdict(Finding.TLS, told)
            case ssl.SSLError():
                return ProbeVerdict(Finding.TLS, f"failed in TLS: {cause.reason or 'no reason'}")
            case ConnectionRefusedError():
                return ProbeVerdict(Finding.REFUSED, "refused the connection")
            case TimeoutError() | httpx.TimeoutException():
                return ProbeVerdict(Finding.TIMEOUT, f"did not answer within {limit:g} s")
            case _:
                pass
    if any(isinstance(cause, httpx.ConnectError) for cause in causes):
        return ProbeVerdict(Finding.REFUSED, "is unreachable")
    if any(isinstance(cause, httpx.ProxyError) for cause in causes):
        return ProbeVerdict(Finding.REFUSED, "cannot be reached by the proxy")
    return ProbeVerdict(Finding.LOST, "closed the connection, or broke HTTP, before it answered")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error with what led to it; several attempts to connect come as a group."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return
        yield seen
        if isinstance(seen, BaseExceptionGroup):
            yield from seen.exceptions
        seen = seen.__cause__ or seen.__context__
