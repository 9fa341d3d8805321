"""The stand-in's connections with the edge: up to four, dialled again after waits by chance."""

from __future__ import annotations

import queue
import select
import socket
import threading
import time

from tests.fakes.cloudflared import wire
from tests.fakes.cloudflared.behaviour import GLANCE, chance
from tests.fakes.cloudflared.relay import relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.fakes.cloudflared.tunnel import Tunnel

DIAL_TIMEOUT = 15.0
QUIC_TIMEOUT = 5.0
BETWEEN = 1.0  # seconds between the first attempts of the connections
BASE = 10.0  # of the wait after connections ended
CLOSED = "connection with edge closed"
NO_QUIC = "failed to dial to edge with quic: timeout: no recent network activity"


class Failed(Exception):
    """A connection ended; `again` where the first connection is tried again by itself."""

    def __init__(self, why: str, *, again: bool = False, dial: bool = False) -> None:
        super().__init__(why)
        self.again, self.dial = again, dial


class _Pause:
    """A wait that doubles up to a number of times: anything up to base x 2^n seconds."""

    def __init__(self, base: float, most: int, scale: Callable[[float], float]) -> None:
        self._base, self._most, self._scale = base, most, scale
        self.tries = 0
        self._calm_at: float | None = None

    @property
    def longest(self) -> float:
        """As the log tells it."""
        return float(self._base * 2 ** (self.tries + 1))

    def next(self) -> float:
        if self._calm_at is not None and time.monotonic() > self._calm_at:
            self.reset()
        if self.tries < self._most:
            self.tries += 1
        return self._scale(chance() * self._base * 2**self.tries)

    def reset(self) -> None:
        self.tries, self._calm_at = 0, None

    def calm(self) -> None:
        calm = self._scale(chance() * self._base * 2 ** (self.tries + 2))
        self._calm_at = time.monotonic() + calm


class Connections:
    """`run` is the life of the tunnel; gives the error that ends the process, or None."""

    def __init__(self, tunnel: Tunnel, addresses: list[tuple[str, int]], protocol: str) -> None:
        options = tunnel.options
        self._tunnel, self._journal, self._addresses = tunnel, tunnel.journal, addresses
        self._retries: int = options.get("retries")
        self._most_addresses: int = options.get("max-edge-addr-retries")
        self._grace: float = options.get("grace-period")
        self._falls_back = protocol == "quic" and options.get("protocol") != "quic"
        self._protocol = protocol
        wanted = 1 if tunnel.quick_hostname else options.get("ha-connections")
        if wanted > len(addresses):
            most = f"I can give you at most {len(addresses)}."
            self._journal.info(f"You requested {wanted} HA connections but {most}")
        self._count = min(wanted, len(addresses))
        self._turns = dict.fromkeys(range(self._count), 0)  # addresses that failed, by connection
        scale = tunnel.behaviour.seconds
        self._pauses = {index: _Pause(1.0, self._retries, scale) for index in range(self._count)}
        self._news: queue.SimpleQueue[tuple[str, int, Failed | None]] = queue.SimpleQueue()

    # --- all of them --------------------------------------------------------------------------

    def run(self) -> str | None:
        stop = self._tunnel.stop
        stop.tell(lambda: self._news.put(("stop", 0, None)))
        threading.Thread(target=self._first, daemon=True).start()
        while True:  # until the first is registered
            kind, _, failed = self._wait(None)
            if kind == "stop":
                return None
            if kind == "up":
                break
            if failed is not None:
                self._journal.error("initial tunnel connection failed", error=str(failed))
                return str(failed)
        for index in range(1, self._count):
            self._start(index)
            stop.wait(self._tunnel.behaviour.seconds(BETWEEN))
        self._keep()
        return None

    def _keep(self) -> None:
        pause = _Pause(BASE, self._retries, self._tunnel.behaviour.seconds)
        active, waiting = self._count, list[int]()
        timer: float | None = None
        ends: float | None = None
        while True:
            marks = [each for each in (timer, ends) if each is not None]
            kind, index, failed = self._wait(min(marks, default=None))
            now = time.monotonic()
            if kind == "stop":
                ends = now + self._grace
            elif kind == "up" and not waiting:
                pause.calm()
            elif kind == "down":
                active -= 1
                say = self._journal.warn if self._tunnel.ready else self._journal.error
                told = {} if failed is None else {"error": str(failed)}
                say("Connection terminated", connIndex=index, **told)
                if failed is not None and ends is None:
                    waiting.append(index)
                    timer = now + pause.next() if timer is None else timer
                elif active == 0 and ends is not None:
                    self._journal.error("no more connections active and exiting")
                    return
            if ends is not None and now >= ends:
                return
            if timer is not None and now >= timer:
                timer = None
                for each in waiting:
                    self._start(each)
                active += len(waiting)
                waiting.clear()

    def _wait(self, until: float | None) -> tuple[str, int, Failed | None]:
        """The next piece of news, or `time`."""
        try:
            left = None if until is None else max(0.0, until - time.monotonic())
            return self._news.get(timeout=left)
        except queue.Empty:
            return "time", 0, None

    # --- one of them --------------------------------------------------------------------------

    def _first(self) -> None:
        while True:
            failed = self._serve(0)
            if failed is None or not failed.again:
                self._news.put(("down", 0, failed))
                return

    def _start(self, index: int) -> None:
        def once() -> None:
            self._news.put(("down", index, self._serve(index)))

        threading.Thread(target=once, daemon=True).start()

    def _serve(self, index: int) -> Failed | None:
        """One attempt, and the wait after it; None where the process is to end."""
        tunnel, pause = self._tunnel, self._pauses[index]
        tunnel.loops += 1
        failed: Failed | None = None
        try:
            _Attempt(self, index, self._address(index)).run()
        except Failed as error:
            failed = error
        finally:
            tunnel.loops -= 1
        fall_back = False
        if failed is not None and failed.dial:
            self._turns[index] += 1
            fall_back = self._falls_back and self._turns[index] > self._most_addresses
            if len(self._addresses) == 1 and not fall_back:
                return failed  # no other address to wait for: the real one spins here, too
        self._journal.info(
            f"Retrying connection in up to {pause.longest:.0f}s", **self.fields(index)
        )
        if failed is None or tunnel.stop.wait(pause.next()):
            return None
        if fall_back and self._protocol == "quic":
            self._journal.info("Switching to fallback protocol http2", **self.fields(index))
            self._protocol = "http2"
            pause.reset()
        return failed

    def _address(self, index: int) -> tuple[str, int]:
        return self._addresses[(index + self._turns[index]) % len(self._addresses)]

    def fields(self, index: int) -> dict[str, Any]:
        return {"connIndex": index, "event": 0, "ip": self._address(index)[0]}

    # --- what an attempt asks and tells -------------------------------------------------------

    @property
    def tunnel(self) -> Tunnel:
        return self._tunnel

    @property
    def protocol(self) -> str:
        return self._protocol

    def registered(self, index: int) -> None:
        self._pauses[index].reset()
        self._news.put(("up", index, None))


class _Attempt:
    """One connection, from the dial to its end; raises Failed unless it ended as it should."""

    def __init__(self, owner: Connections, index: int, address: tuple[str, int]) -> None:
        self._owner, self._index, self._address = owner, index, address
        self._tunnel, self._journal = owner.tunnel, owner.tunnel.journal
        self._fields = owner.fields(index)
        self._is_registered = False
        self._refusal: str | None = None
        self._answer_by: float | None = None

    def run(self) -> None:
        if self._owner.protocol == "quic" and self._tunnel.behaviour.get("quic") == "blocked":
            self._tunnel.stop.wait(self._tunnel.behaviour.seconds(QUIC_TIMEOUT))
            self._bad("Failed to dial a quic connection", NO_QUIC)
            raise Failed(NO_QUIC, again=True, dial=True)
        preferences = "Tunnel connection curve preferences: [X25519MLKEM768 CurveP256]"
        self._journal.info(preferences, **self._fields)
        try:
            limit = self._tunnel.behaviour.seconds(DIAL_TIMEOUT)
            edge = socket.create_connection(self._address, limit)
        except OSError as error:
            reason = (
                "i/o timeout" if isinstance(error, TimeoutError) else "connect: connection refused"
            )
            why = f"DialContext error: dial tcp {self._address[0]}:{self._address[1]}: {reason}"
            self._bad("Unable to establish connection with Cloudflare edge", why)
            raise Failed(why, again=True, dial=True) from None
        edge.settimeout(None)
        edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with edge:
            try:
                self._talk(edge)
            except OSError:
                self._lost()
            finally:
                self._tunnel.ready.discard(self._index)

    def _bad(self, message: str, why: str) -> None:
        say = self._journal.warn if self._tunnel.ready else self._journal.error
        say(message, error=why, **self._fields)

    def _lost(self) -> None:
        self._tunnel.ready.discard(self._index)
        if self._tunnel.stop.is_set and self._is_registered:
            return
        if self._refusal is not None:
            self._bad("Register tunnel error from server side", self._refusal)
            raise Failed(self._refusal, again="Unauthorized" in self._refusal)
        self._journal.info("Lost connection with the edge", connIndex=self._index)
        self._bad("Serve tunnel error", CLOSED)
        raise Failed(CLOSED)

    def _talk(self, edge: socket.socket) -> None:
        tunnel = self._tunnel
        edge.sendall(wire.line("hello", index=self._index, connector=tunnel.connector))
        reader = wire.Reader(edge)
        watch = select.poll()
        watch.register(edge, select.POLLIN)
        watch.register(tunnel.stop.descriptor, select.POLLIN)
        while True:
            while (told := reader.whole_line()) is not None:
                self._heard(edge, told)
            left = None if self._answer_by is None else self._answer_by - time.monotonic()
            events = dict(watch.poll(None if left is None else max(0.0, left) * 1000))
            if tunnel.stop.descriptor in events:
                watch.unregister(tunnel.stop.descriptor)
                if not self._is_registered:
                    return
                tunnel.ready.discard(self._index)
                edge.sendall(wire.line("unregister", grace=tunnel.options.get("grace-period")))
            if edge.fileno() in events and not reader.fill():
                self._lost()
                return
            if not events and self._answer_by is not None:
                self._answer_by = None  # and nothing happens, ever: no second attempt
                told = {"connIndex": self._index, "error": "context deadline exceeded"}
                self._journal.error("failed to serve incoming request", **told)

    def _heard(self, edge: socket.socket, told: dict[str, Any]) -> None:
        tunnel, index = self._tunnel, self._index
        kind = told["kind"]
        if kind == "control":
            while tunnel.behaviour.holds("registration") and not tunnel.stop.wait(GLANCE):
                pass
            edge.sendall(self._registration())
            timeout = tunnel.options.get("rpc-timeout")
            self._answer_by = time.monotonic() + tunnel.behaviour.seconds(timeout)
        elif kind == "registered":
            self._answer_by, self._is_registered = None, True
            tunnel.ready.add(index)
            tunnel.locations[index] = told["location"]
            self._journal.info(
                "Registered tunnel connection",
                connection=told["connection"],
                location=told["location"],
                protocol=self._owner.protocol,
                **self._fields,
            )
            self._owner.registered(index)
            tunnel.announce()
        elif kind == "refused":
            self._answer_by = None
            self._refuse(told["error"])
        elif kind == "bad_ca":
            why = (
                "TLS handshake with edge error: tls: failed to verify certificate: x509: "
                "certificate signed by unknown authority"
            )
            self._bad("Unable to establish connection with Cloudflare edge", why)
            raise Failed(why, again=True, dial=True)
        elif kind == "request":
            args = (tunnel, self._address, index, told["request"])
            threading.Thread(target=relay, args=args, daemon=True).start()
        elif kind == "config":
            tunnel.push(told["version"], told["config"])
        elif kind == "unregistered":
            self._journal.info("Unregistered tunnel connection", **self._fields)

    def _refuse(self, error: str) -> None:
        if error == "EDUPCONN":
            why = "already connected to this server, trying another address"
            self._bad("Unable to establish connection.", why)
            raise Failed(why, again=True, dial=True)
        self._refusal = error  # it counts once the edge closes, as in the real one
        told = {"connIndex": self._index, "error": error}
        self._journal.error("failed to serve incoming request", **told)

    def _registration(self) -> bytes:
        tunnel = self._tunnel
        return wire.line(
            "register",
            index=self._index,
            connector=tunnel.connector,
            account=tunnel.account,
            tunnel=tunnel.tunnel_id,
            secret=tunnel.secret,
            version=tunnel.version,
            protocol=self._owner.protocol,
            hostname=tunnel.quick_hostname,
        )
