"""What one process of the stand-in knows: who it is, what it serves, how it stands."""

from __future__ import annotations

import json
import os
import re
import socket
import threading

from tests.fakes.cloudflared.behaviour import new_uuid
from tests.fakes.cloudflared.origin import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from tests.fakes.cloudflared.behaviour import Behaviour
    from tests.fakes.cloudflared.flags import Options
    from tests.fakes.cloudflared.journal import Journal

VERSION = "2026.8.2"


class Stop:
    """Whether the process is told to end: a flag, and a descriptor that gets readable with it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self.descriptor, self._end = os.pipe()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            os.write(self._end, b"x")
            for each in self._listeners:
                each()

    def tell(self, listener: Callable[[], None]) -> None:
        """Call it once the process is to end; at once where that is so."""
        with self._lock:
            self._listeners.append(listener)
            if self.is_set:
                listener()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)


class Tunnel:
    """State that threads share; counters are for `/metrics` alone."""

    version = VERSION

    def __init__(
        self,
        options: Options,
        journal: Journal,
        behaviour: Behaviour,
        credentials: Mapping[str, str],
    ) -> None:
        self.options, self.journal, self.behaviour = options, journal, behaviour
        self.account = credentials.get("AccountTag", "")
        self.secret = credentials.get("TunnelSecret", "")
        self.tunnel_id = credentials["TunnelID"]
        self.quick_hostname = credentials.get("Hostname", "")
        self.connector = new_uuid()
        self.stop = Stop()
        self.pool = Pool()
        self.ready: set[int] = set()
        self.locations: dict[int, str] = {}
        self.host_header = str(options.get("http-host-header"))
        self.config_version = -1
        self._rules: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.loops = self.requests = self.failures = self.in_flight = 0
        self.statuses: dict[int, int] = {}
        self._is_announced = False

    # --- what it serves -----------------------------------------------------------------------

    def set_rules(self, rules: list[dict[str, Any]] | None) -> None:
        """The ingress of a file, else that of the command line; raises ValueError."""
        if rules:
            self._rules = checked(rules)
        elif self.options.is_set("url"):
            self._rules = [{"service": self.options.get("url")}]
        elif self.options.is_set("unix-socket"):
            self._rules = [{"service": f"unix:{self.options.get('unix-socket')}"}]
        else:
            self.journal.warn(
                "No ingress rules were defined in provided config (if any) nor from the cli, "
                "cloudflared will return 503 for all incoming HTTP requests"
            )
            self._rules = [{"service": "http_status:503"}]

    def service(self, host: str, path: str) -> tuple[int, str]:
        """Number and service of the rule for a request; the last rule takes what is left."""
        for number, rule in enumerate(self._rules):
            wanted = rule.get("hostname") or "*"
            fits = wanted in ("*", host) or (wanted[:2] == "*." and host.endswith(wanted[1:]))
            if fits and re.search(rule.get("path") or "", path):
                return number, str(rule["service"])
        return len(self._rules) - 1, str(self._rules[-1]["service"])

    def config(self) -> dict[str, Any]:
        """The page `/config`."""
        request = {"connectTimeout": 30, "httpHostHeader": self.host_header, "noTLSVerify": False}
        rules = [
            {
                "hostname": rule.get("hostname", ""),
                "path": rule.get("path"),
                "service": rule["service"],
                "Handlers": None,
                "originRequest": request,
            }
            for rule in self._rules
        ]
        config = {"ingress": rules, "warp-routing": {}, "originRequest": request}
        return {"version": self.config_version, "config": config}

    def push(self, version: int, config: str) -> None:
        """The edge tells another configuration; one that cannot be used changes nothing."""
        if version <= self.config_version:
            return
        try:
            told = json.loads(config)
            self._rules = checked(told["ingress"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.journal.error(
                "Failed to deserialize new configuration",
                error=str(error),
                config=config,
                version=version,
            )
            return
        self.config_version = version
        self.journal.info("Updated to new configuration", config=config, version=version)

    # --- how it stands ------------------------------------------------------------------------

    def announce(self) -> None:
        """The first registration: tell the service manager, and write the process id."""
        if self._is_announced:
            return
        self._is_announced = True
        if address := os.environ.get("NOTIFY_SOCKET"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                target = "\0" + address[1:] if address.startswith("@") else address
                out.sendto(b"READY=1", target)
        if pidfile := self.options.get("pidfile"):
            with open(pidfile, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))

    def began(self) -> None:
        with self._lock:
            self.requests += 1
            self.in_flight += 1

    def answered(self, status: int) -> None:
        with self._lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def failed(self) -> None:
        with self._lock:
            self.failures += 1

    def ended(self) -> None:
        with self._lock:
            self.in_flight -= 1


def checked(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ingress rules as they may be; raises ValueError, TypeError or KeyError."""
    if not rules:
        raise ValueError("The ingress rules are empty")
    for rule in rules:
        service = rule["service"]
        kinds = ("http://", "https://", "unix:", "http_status:", "tcp://", "ssh://")
        if not service.startswith(kinds):
            raise ValueError(f"{service} is an invalid address, please make sure it has a scheme")
    if rules[-1].get("hostname") or rules[-1].get("path"):
        raise ValueError("The last ingress rule must match all URLs")
    return rules
