"""The composition root: builds every object once, starts in order, drains, stops in reverse."""

import asyncio
import errno
import logging
import math
import os
import random
import secrets
import signal
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from aiohttp import web

from sidecar import __version__
from sidecar.config.faults import ConfigError
from sidecar.config.load import Loaded
from sidecar.config.snapshot import Doors, Drain, Listener, Snapshot
from sidecar.control.access import AccessKeys
from sidecar.control.admin import Admin
from sidecar.control.background import keep_running, repeat, watch_loop
from sidecar.control.catalogue import Catalogue
from sidecar.control.operate import Operator
from sidecar.control.prober import Prober
from sidecar.control.reload import Addresses, Reloader
from sidecar.control.socket import ControlSocket, ControlSocketError, TunnelDoor
from sidecar.dataplane.door import LocalDoor
from sidecar.dataplane.echo import EchoUpstream
from sidecar.dataplane.executor import Executor
from sidecar.dataplane.gate import Gate
from sidecar.dataplane.images import ImageFetcher
from sidecar.dataplane.job import Clock
from sidecar.dataplane.listener import NO_ATTEMPTS, Handler, HttpListener
from sidecar.dataplane.public import Lent, PublicDoor
from sidecar.dataplane.server import DataServer, Program
from sidecar.dataplane.upstream import HttpUpstream
from sidecar.policy.strangers import WHILE
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import BackendKey, RuntimeStore
from sidecar.telemetry.collector import StateCollector
from sidecar.telemetry.instruments import Instruments
from tunnel.build import supervisor
from tunnel.config import proof_secret
from tunnel.facts import Facts
from tunnel.metrics import TunnelMetrics
from tunnel.proof import Proof
from tunnel.settings import Settings
from tunnel.status import as_values

_log = logging.getLogger(__name__)

QUIET = 0.5  # seconds without a request, after which a draining sidecar may stop
LAST_WORDS = 2.0  # seconds for error events to reach the clients at the end


class CannotStart(Exception):
    """The program cannot start; the message says why and what to do."""


class Sidecar:
    """The whole program, from its parts to its end.

    It lives by the system's clock and logs to standard error, where nothing else is given.
    `publish` gets the tunnel's public name, each time that one is found to work.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        clock: Clock | None = None,
        log: TextIO | None = None,
        publish: Callable[[str], None] = lambda _: None,
    ) -> None:
        wall = time.time  # noqa: TID251  # this is where the clocks are handed out
        self.clock = clock or Clock(time.monotonic, wall, random.random)
        self.current, self.store = Current(), RuntimeStore()
        self.life = Life(born=self.clock.now())
        self.instruments = Instruments.build(__version__, log)
        self.clients = ClientUsage(self.clock.wall)
        self.report = Report(
            self.current, self.store, self.life, __version__, self.clock.now, self.clients
        )
        self.report.sections["tunnel"] = self._tunnel_status
        self.instruments.metrics.registry.register(StateCollector(self.report.gauges))
        self.upstream = HttpUpstream()
        self.catalogue = Catalogue(
            self.current, self.store, self.instruments.redact, self.clock.now
        )
        clock = self.clock
        self.prober = Prober(
            self.current, self.store, self.instruments.redact, clock.now, clock.draw
        )
        self.operator = Operator(self.current, self.store, self.prober, clock.now)
        self.reloader = Reloader(load, self.current, self.store, self.instruments, self._swapped)
        recorder = self.instruments.recorder
        self._instance = uuid.uuid4().hex[:16]
        self._own_secret = secrets.token_bytes(32)  # for the proofs of a quick tunnel
        # the latest first; after a rotation both children's probes are answered
        self._proofs: deque[Proof] = deque(maxlen=2)
        self.tunnel_metrics = TunnelMetrics(self.instruments.metrics.registry, self._tunnel_facts)
        self.tunnel = supervisor(
            clock.now, clock.draw, self.tunnel_metrics, publish, self._instance, os.environ
        )
        self.images = ImageFetcher()
        gate = Gate(self.store, self.current)
        self.data = DataServer(
            Program(
                current=self.current,
                store=self.store,
                life=self.life,
                recorder=recorder,
                images=self.images,
                gate=gate,
                redact=self.instruments.redact,
                instance=self._instance,
                new_id=_new_id,
                born=int(self.clock.wall()),
            ),
            Executor(
                self.upstream,
                EchoUpstream(self.clock.wall()),
                self.store,
                gate,
                recorder,
                self.clock,
            ),
            self.clock,
        )
        redact = self.instruments.redact
        self.access = AccessKeys(self.current, self.clock.now, self.clock.draw)
        self.local = LocalDoor(self.store.line, redact, self.report.health)
        self.public = PublicDoor(
            Lent(
                redact=redact,
                current=self.current.get,
                now=self.clock.now,
                rejected=recorder.turned_away,
                used=self.clients.used,
                verify=self.access.verify,
                probe=self._answer_probe,
            )
        )
        self.admin = Admin(self.current, self.life, self.report, self.instruments)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._told_to_reload = asyncio.Event()
        self._runners: dict[str, web.ServerRunner] = {}
        self._listeners: dict[str, HttpListener] = {}
        self._is_exposed = False  # the configuration in force has a tunnel
        self._public_at: Listener | None = None  # where strangers are listened to

    async def _swapped(self, snapshot: Snapshot, gone: Collection[BackendKey]) -> None:
        for key in gone:
            await self.upstream.forget(key)
        if "public" in self._listeners:  # else nothing listens yet
            await self._open_public(snapshot)
        self.access.wake()
        self.catalogue.wake()
        self.prober.wake()
        self.expose(snapshot)

    def expose(self, snapshot: Snapshot) -> None:
        """Let the tunnel and the answers to its probes follow the configuration."""
        settings = snapshot.tunnel
        assert settings is None or isinstance(settings, Settings)
        secret = b""
        if settings is not None:
            if not settings.proof_secret:
                settings = replace(settings, proof_secret=self._own_secret)
            secret = settings.proof_secret
        elif snapshot.public is not None and snapshot.public.probe_secret is not None:
            secret = proof_secret(snapshot.public.probe_secret.value)
        if not secret:
            self._proofs.clear()
        elif (proof := Proof.of(secret)) not in self._proofs:
            self._proofs.appendleft(proof)
        had, self._is_exposed = self._is_exposed, settings is not None
        if self._is_exposed and not had:
            self.tunnel_metrics.begin()
        self.tunnel.apply(None if settings is None else self._before_the_door(settings))
        if had and not self._is_exposed:
            self.tunnel_metrics.end()

    def _before_the_door(self, settings: Settings) -> Settings | None:
        """Lead the tunnel to where strangers are listened to; None: nowhere.

        Whatever else has the port that the configuration names is not theirs.
        """
        if "public" not in self._listeners:  # the program starts; without the port it would not
            return settings
        place = self._public_at
        return None if place is None else replace(settings, origin=place.url)

    def _answer_probe(self, path: str, connector: str | None) -> bytes | None:
        answers = (proof.answer(path, self._instance, connector) for proof in self._proofs)
        return next((one for one in answers if one is not None), None)

    def _tunnel_facts(self) -> Facts | None:
        if not self._is_exposed:
            return None
        facts, fault = self.tunnel.facts(), self.current.public_fault
        return replace(facts, why=f"the public listener is not open: {fault}") if fault else facts

    def _tunnel_status(self) -> Mapping[str, object] | None:
        facts = self._tunnel_facts()
        return None if facts is None else as_values(facts, self.clock.now())

    async def run(self, doors: Doors, announce: Callable[[Snapshot], None]) -> None:
        """Listen, serve until told to stop, drain. Raises CannotStart."""
        snapshot = self.current.get()
        place = snapshot or doors
        control = ControlSocket(
            Path(place.control_socket),
            self.reloader.reload_now,
            self.operator,
            self.report,
            TunnelDoor(self._tunnel_status, self.tunnel.restart),
            self.instruments.redact,
        )
        try:
            await self._listen("data", partial(self.data.handle, door=self.local), place.data)
            await self._listen("admin", self.admin.handle, place.admin)
            public = snapshot.public.listener if snapshot and snapshot.public else None
            await self._listen("public", partial(self.data.handle, door=self.public), public)
            await control.open()
            self.reloader.bound = Addresses.of(place)
            with self._signals():
                await self._serve(snapshot, announce)
        except ControlSocketError as error:
            raise CannotStart(str(error)) from error
        finally:
            await control.close()
            for runner in reversed(self._runners.values()):
                await runner.cleanup()
            await self.upstream.close()

    async def _serve(self, snapshot: Snapshot | None, announce: Callable[[Snapshot], None]) -> None:
        """Run the background tasks from the start-up decision to the end of the drain."""
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "reload": self.reloader.run,
            "reload by signal": self._reload_when_told,
            "tunnel": self.tunnel.run,
            "access keys": self.access.run,
            "strangers": partial(repeat, self.instruments.recorder.end_while, WHILE),
            "loop lag": lambda: watch_loop(self.instruments.metrics.loop_lag.set),
            **self.asking(),
        }
        work |= {f"{name} listener": one.watch for name, one in self._listeners.items()}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(keep_running(name, one), name=name) for name, one in work.items()
            ]
            self.life.started = True
            if snapshot is not None:
                announce(snapshot)
            await self._stop.wait()
            await self.drain()
            self.instruments.recorder.end_while()
            for task in tasks:
                task.cancel()

    def asking(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """The background tasks that ask backends of their own accord, by name."""
        return {"catalogue": self.catalogue.run, "prober": self.prober.run}

    def _header_limit(self) -> int:
        snapshot = self.current.get()
        return snapshot.limits.header if snapshot else DEFAULT_HEADER_LIMIT

    async def _listen(self, name: str, handle: Handler, place: Listener | None) -> None:
        """Make a listener; without a place it listens to nothing yet. Raises CannotStart."""
        most = ADMIN_CONNECTIONS if name == "admin" else connections_within(_open_files())
        told = {} if name == "public" else NO_ATTEMPTS
        server = HttpListener(handle, self._header_limit, _new_id, most, told)
        self._listeners[name] = server
        runner = self._runners[name] = web.ServerRunner(server, shutdown_timeout=LAST_WORDS)
        await runner.setup()
        if place is not None:
            await self._bind(name, place)

    async def _bind(self, name: str, place: Listener) -> None:
        """Listen at a place. Raises CannotStart."""
        for address in place.addresses:
            try:
                await web.TCPSite(self._runners[name], address, place.port, backlog=BACKLOG).start()
            except OSError as error:
                # a host without IPv6 is no reason to fail: loopback has its other address
                if ":" in address and len(place.addresses) > 1 and error.errno in _NO_IPV6:
                    _log.debug("no IPv6 here: %s is left out", address)
                    continue
                raise CannotStart(_cannot_bind(name, address, place.port, error)) from error
        if name == "public":  # the files that may be open are shared from now on
            self._public_at = place
            most = connections_within(_open_files())
            for one in ("data", "public"):
                self._listeners[one].most = most // 2

    async def _open_public(self, snapshot: Snapshot) -> None:
        """Listen for strangers where a new configuration says so and none did before."""
        runner, public = self._runners["public"], snapshot.public
        if public is None or runner.sites:
            self.current.public_fault = ""
            return
        try:
            await self._bind("public", public.listener)
        except CannotStart as error:
            for site in list(runner.sites):  # on one address of two
                await site.stop()
            if self.current.public_fault != str(error):
                _log.error("the public listener is not open: %s", error)
            self.current.public_fault = str(error)
        else:
            self.current.public_fault = ""
            if self.reloader.bound is not None:
                public_now = Addresses.of(snapshot).public
                self.reloader.bound = self.reloader.bound._replace(public=public_now)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Listen to signals while the block runs; each only sets an event."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload.set)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _told_to_stop(self) -> None:
        """The first signal begins the drain, a second one ends it."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _reload_when_told(self) -> None:
        while True:
            await self._told_to_reload.wait()
            self._told_to_reload.clear()
            await self.reloader.reload_now()

    async def drain(self) -> None:
        """Let the requests in flight end, within the limit and until a second signal."""
        snapshot = self.current.get()
        drain = snapshot.drain if snapshot else Drain()
        _log.info("stopping (requests in flight: %d)", self.data.in_flight)
        self.life.draining = True
        self.instruments.metrics.draining.set(1)
        async with asyncio.TaskGroup() as group:
            ends = (self._wind_down(drain), self._hurry.wait())
            tasks = [group.create_task(end) for end in ends]
            await asyncio.wait(tasks, timeout=drain.limit, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        await self.tunnel.stop(0)  # where it has not ended yet, it ends now
        if self.data.in_flight:
            _log.warning("requests ended before they were done: %d", self.data.in_flight)
        self.data.end_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self.data.idle.wait()

    async def _wind_down(self, drain: Drain) -> None:
        """Let the tunnel end, then serve until quiet; as a gateway turn new traffic away first."""
        # what cloudflared needs to end by force is not part of its grace
        await self.tunnel.stop(drain.for_tunnel)
        if drain.mode == "sidecar":
            await self._until_quiet()
            return
        await self._turn_away(drain.settle)
        await self.data.idle.wait()

    async def _turn_away(self, settle: float) -> None:
        """Tell the balancer first, and close the door once it has had the time to listen."""
        self.life.settling = True
        await asyncio.sleep(settle)
        for site in [site for name in ("data", "public") for site in self._runners[name].sites]:
            await site.stop()

    async def _until_quiet(self) -> None:
        """Return when nothing has been in flight for a while; new requests are still served."""
        while True:
            await self.data.idle.wait()
            left = self.data.busy_until + QUIET - self.clock.now()
            if left <= 0:
                return
            await asyncio.sleep(left)


async def serve(
    first: Loaded | ConfigError,
    load: Callable[[], Loaded],
    doors: Doors,
    announce: Callable[[Snapshot], None],
    publish: Callable[[str], None],
) -> None:
    """Run the sidecar until a signal stops it.

    It begins with what `first` loaded; with faults it serves 503 until a good configuration comes.
    `load` reads the configuration at each reload, `doors` says where to listen while there is none,
    `publish` gets the public name of the tunnel. Raises CannotStart.
    """
    program = Sidecar(load, publish=publish)
    if isinstance(first, ConfigError):
        program.reloader.refuse(str(first))
    else:
        await program.reloader.accept(first)
    try:
        await program.run(doors, announce)
    finally:
        program.instruments.logs.flush()


def _new_id() -> str:
    """An id for a request; it is no secret, so that chance need not be strong."""
    return f"{random.getrandbits(128):032x}"


def connections_within(open_files: float) -> int:
    """How many clients a process may serve that may have so many files open.

    Each may need a connection to a backend as well, and the program some files of its own.
    """
    return int(max(16, min(MOST_CONNECTIONS, (open_files - OWN_FILES) // 2)))


def _open_files() -> float:
    try:
        import resource
    except ImportError:  # it does not exist for every system
        return math.inf
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


MOST_CONNECTIONS = 10_000  # of clients
ADMIN_CONNECTIONS = 100
# connections that wait for their turn. A cloudflared that takes over opens one for each request at
# once; what finds no room is dropped for seconds, and in the end cut
BACKLOG = 1024
OWN_FILES = 50 + ADMIN_CONNECTIONS
DEFAULT_HEADER_LIMIT = 64 * 1000  # bytes, while there is no configuration
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def _cannot_bind(name: str, address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {address} is taken, probably by another sidecar. Stop it, or set "
            f"another `listeners.{name}.port` in a configuration file."
        )
    return f"Cannot listen on {address} port {port} (listeners.{name}): {error.strerror}."
