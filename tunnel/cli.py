"""The command `llm-tunnel`: supervises cloudflared alone, in front of an origin that proves itself.

It reads the section `tunnel:` of a configuration file and follows its changes. 0 well done, 1
failed, 2 wrong usage, 78 the configuration cannot be used.
"""

import argparse
import asyncio
import logging
import os
import queue
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from logging.handlers import QueueHandler, QueueListener

from prometheus_client import CollectorRegistry, disable_created_metrics

from tunnel.admin import Admin
from tunnel.build import supervisor
from tunnel.facts import Facts
from tunnel.metrics import TunnelMetrics
from tunnel.probe import look_local
from tunnel.proof import Proof
from tunnel.reading import Read, Unusable, read
from tunnel.settings import Settings
from tunnel.slot import MARGIN

EX_CONFIG = 78  # as in sysexits.h
LOOK_EVERY = 2.0  # seconds between two looks at the files
MOST_LINES = 10_000  # of the log that wait to be written
ASK_EVERY = 1.0  # seconds between two questions to an origin that has not proved itself

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise until a signal; the exit code."""
    parser = argparse.ArgumentParser(
        prog="llm-tunnel",
        description="Supervises cloudflared alone, in front of the public listener of a sidecar "
        "that runs elsewhere. (`llm-sidecar run` does it in one process.)",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("LLM_SIDECAR_CONFIG", "sidecar.yaml"),
        help="a file with a section `tunnel:`; default: $LLM_SIDECAR_CONFIG, else sidecar.yaml",
    )
    parser.add_argument(
        "--admin",
        metavar="ADDRESS:PORT",
        default="127.0.0.1:14403",
        help="where probes, status and metrics are told; default: 127.0.0.1:14403",
    )
    options = parser.parse_args(arguments)
    host, _, port = options.admin.rpartition(":")
    if not (host and port.isdecimal()):
        parser.error(f"--admin: found {options.admin!r}, expected ADDRESS:PORT")
    try:
        first = read(options.config, os.environ)
    except Unusable as error:
        print(error, file=sys.stderr)
        return EX_CONFIG
    with _logging():
        return asyncio.run(_supervise(options.config, first, host.strip("[]"), int(port)))


async def _supervise(path: str, first: Read, host: str, port: int) -> int:
    return await _Alone(path, first).run(host, port)


class _Dropping(QueueHandler):
    """Leaves out what a log that nobody reads has no room for."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(queue.Full):
            self.queue.put_nowait(record)


@contextmanager
def _logging() -> Iterator[None]:
    """Write to standard error in a thread of its own, so that a slow reader holds up nothing."""
    lines: queue.Queue[logging.LogRecord] = queue.Queue(MOST_LINES)
    written = logging.StreamHandler()
    written.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Dropping(lines)])
    listener = QueueListener(lines, written)
    listener.start()
    try:
        yield
    finally:
        listener.stop()


class _Alone:
    """One supervisor, its file and its admin listener."""

    def __init__(self, path: str, first: Read) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._path, self._read = path, first
        self._own = secrets.token_bytes(32)  # the secret of a quick tunnel, which has none
        self._unproven = ""  # the origin that was told to prove nothing
        registry = CollectorRegistry()
        metrics = TunnelMetrics(registry, self._facts)
        metrics.begin()
        self._supervisor = supervisor(
            time.monotonic, random.random, metrics, lambda url: print(url, flush=True),
            secrets.token_hex(8), os.environ,
        )  # fmt: skip
        self._admin = Admin(self._facts, time.monotonic, registry)
        self._stop, self._hurry, self._look = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def _facts(self) -> Facts:
        return self._supervisor.facts()

    async def run(self, host: str, port: int) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._look.set)
        try:
            await self._admin.open(host, port)
        except OSError as error:
            print(
                f"Cannot listen on {host} port {port}: {error.strerror}. Give --admin another.",
                file=sys.stderr,
            )
            return 1
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(one) for one in (self._supervisor.run(), self._follow())]
                await self._stop.wait()
                _log.info("stopping")
                work.append(group.create_task(self._end_at_once()))
                await self._supervisor.stop(self._read.settings.grace + MARGIN)
                for task in work:
                    task.cancel()
        finally:
            await self._admin.close()
        return 0

    def _told_to_stop(self) -> None:
        """The first signal begins the drain, a second one ends it."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def _end_at_once(self) -> None:
        await self._hurry.wait()
        await self._supervisor.stop(0)

    async def _follow(self) -> None:
        """Run what the file says, and again whenever one of the files changes.

        Nothing is run before the origin has proved itself; a file that changes meanwhile counts.
        """
        waiting: Settings | None = self._with_secret(self._read.settings)
        told = ""
        while True:
            if waiting is not None and (waiting.open or await self._is_proven(waiting)):
                self._supervisor.apply(waiting)
                waiting = None
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY if waiting is None else ASK_EVERY):
                    await self._look.wait()
            self._look.clear()
            try:
                found = await asyncio.to_thread(read, self._path, os.environ)
            except Unusable as error:
                if str(error) != told:
                    told = str(error)
                    _log.error(
                        "the configuration cannot be used, the previous one stays:\n%s", told
                    )
                continue
            told = ""
            if found != self._read:
                self._read, self._unproven = found, ""
                waiting = self._with_secret(found.settings)

    def _with_secret(self, settings: Settings) -> Settings:
        return settings if settings.proof_secret else replace(settings, proof_secret=self._own)

    async def _is_proven(self, settings: Settings) -> bool:
        """Whether the origin answers the probe: nobody publishes a bare Ollama by accident."""
        proof = Proof.of(settings.proof_secret)
        if await look_local(settings.origin, proof, secrets.token_hex(16)):
            return True
        if self._unproven != settings.origin:
            self._unproven = settings.origin
            _log.error(
                "%s does not answer the probe, so nothing is exposed yet. It must be the "
                "public listener of a sidecar that knows the same secret (its key "
                "`listeners.public.probe_secret`). To expose anything else, say "
                "`i_know_this_is_open: true` in the section `tunnel:`.",
                settings.origin,
            )
        return False
