"""What people and scrapers are told of the running program: health, status and gauges.

Plain values, ready for JSON; times are seconds, moments seconds since the epoch. No credential is
in them, and no address beyond the host of a backend.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from urllib.parse import urlsplit

from sidecar.config.snapshot import Backend, Public, Snapshot
from sidecar.policy.admission import Bounds, Line
from sidecar.policy.availability import Availability
from sidecar.policy.routing import OTHER, Route, Target
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.store import BackendState, RuntimeStore

Gauge = tuple[str, tuple[str, ...], float]  # name without prefix, label values, value


class Report:
    """Reads the current snapshot and the store; changes nothing."""

    def __init__(
        self,
        current: Current,
        store: RuntimeStore,
        life: Life,
        version: str,
        clock: Callable[[], float],
        clients: ClientUsage,
    ) -> None:
        # further parts of the status, by name, of what runs above
        self.sections: dict[str, Callable[[], object]] = {}
        self._current, self._store, self._life = current, store, life
        self._version, self._clock, self._clients = version, clock, clients

    def health(self) -> dict[str, object]:
        """The short view: `ok`, `degraded` while a backend rests or fails, `not_configured`."""
        snapshot = self._current.get()
        if snapshot is None:
            return {"status": "not_configured", "faults": self._current.faults, "backends": {}}
        now = self._clock()
        backends = snapshot.backends.values()
        well = all(self._is_well(backend, now) for backend in backends if backend.enabled)
        return {
            "status": "ok" if well else "degraded",
            "revision": snapshot.revision,
            "echo": _has_echo(snapshot),
            "models_cached": sum(len(self._models(backend)) for backend in backends),
            "backends": {
                backend.name: {
                    "availability": self._store.availability(backend, now),
                    "up": self._store.state(backend).is_up,
                    "models": len(self._models(backend)),
                    "probe": _probe(self._store.state(backend), now),
                }
                for backend in backends
            },
        }

    def status(self) -> dict[str, object]:
        """The long view, for `llm-sidecar status` and for people."""
        snapshot, now = self._current.get(), self._clock()
        backends = snapshot.backends.values() if snapshot else ()
        routes = snapshot.routes.routes if snapshot else ()
        return {
            "status": self.health()["status"],
            "version": self._version,
            "uptime": round(now - self._life.born, 1),
            "draining": self._life.draining,
            "echo": snapshot is not None and _has_echo(snapshot),
            "revision": snapshot.revision if snapshot else None,
            "configuration": {
                "faults": self._current.faults,
                "warnings": self._current.warnings,
                "restart_needed": self._current.restart_needed,
            },
            "backends": [self._backend(backend, now) for backend in backends],
            "routes": [self._route(snapshot, route, now) for route in routes if snapshot],
            "listener": _load(self._store.line, snapshot.data.bounds) if snapshot else None,
            "public": self._public(snapshot.public) if snapshot and snapshot.public else None,
            **{name: tell() for name, tell in self.sections.items()},
            "last_faults": [asdict(fault) for fault in reversed(self._store.faults)],
        }

    def gauges(self) -> Iterator[Gauge]:
        """The state that metrics show, read at scrape time."""
        snapshot, now = self._current.get(), self._clock()
        if snapshot is None:
            return
        for backend in snapshot.backends.values():
            name, state = (backend.name,), self._store.state(backend)
            here = self._store.availability(backend, now)
            yield "backend_up", name, float(state.is_up)
            yield "backend_last_success_timestamp_seconds", name, state.last_success or 0.0
            yield "backend_info", (*name, backend.dialect.name, backend.preset or ""), 1.0
            has_limit = backend.bounds.in_flight is not None
            if has_limit:
                yield "queued_requests", name, float(state.line.waiting)
            for one in Availability:
                if (one is Availability.DISABLED and backend.enabled) or (
                    one is Availability.FULL and not has_limit
                ):
                    continue  # not under this configuration
                yield "backend_availability", (*name, one), float(one is here)
        for route in snapshot.routes.routes:
            ready = self._ready(snapshot, route, now)
            yield "route_available_backends", (route.name,), float(len(ready))
        known = [route.name for route in snapshot.routes.routes]
        for route_name in known:
            yield "inflight_requests", (route_name,), float(self._store.in_flight[route_name])
        if snapshot.public is not None:
            yield "public_open", (), float(snapshot.public.is_open)
        yield "inflight_requests_limit", (), float(snapshot.data.bounds.in_flight or 0)
        # a request may outlive its route
        elsewhere = [count for name, count in self._store.in_flight.items() if name not in known]
        yield "inflight_requests", (OTHER,), float(sum(elsewhere))

    def _backend(self, backend: Backend, now: float) -> dict[str, object]:
        state = self._store.state(backend)
        latency, tried = state.latency(), state.ok + state.failed
        return {
            "name": backend.name,
            "host": _host_of(backend),
            "dialect": backend.dialect.name,
            "preset": backend.preset,
            "echo": backend.echo,
            "availability": self._store.availability(backend, now),
            "up": state.is_up,
            "rest": {"seconds": round(rest, 1), "why": state.rest_why}
            if (rest := state.rest(now)) > 0
            else None,
            "breaker": _breaker(state, backend, now),
            "drained": state.drained,
            "healthy": not state.health.is_unhealthy,
            "probe": _probe(state, now),
            **_load(state.line, backend.bounds),
            "attempts": {"ok": state.ok, "failed": state.failed},
            "success_rate": round(state.ok / tried, 4) if tried else None,
            "latency": asdict(latency) if latency else None,
            "models": sorted(self._models(backend)),
            "last_success": state.last_success,
            "last_fault": asdict(state.last_fault) if state.last_fault else None,
        }

    def _route(self, snapshot: Snapshot, route: Route, now: float) -> dict[str, object]:
        return {
            "name": route.name,
            "models": route.models,
            "default": route.default,
            "relay": route.relay,
            "in_flight": self._store.in_flight[route.name],
            "available_backends": len(self._ready(snapshot, route, now)),
            "targets": [
                {
                    "backend": target.backend,
                    "model": target.model,
                    "availability": self._of(snapshot, target, now),
                }
                for target in route.targets
            ],
        }

    def _public(self, public: Public) -> dict[str, object]:
        return {
            "port": public.listener.port,
            "fault": self._current.public_fault or None,
            "open": public.is_open,
            "keys": None if public.keys is None else len(public.keys),
            "access": public.access is not None,
            "clients": [{"name": name, **asdict(used)} for name, used in self._clients.latest()],
        }

    def _ready(self, snapshot: Snapshot, route: Route, now: float) -> set[str]:
        return {
            target.backend
            for target in route.targets
            if self._of(snapshot, target, now) is Availability.READY
        }

    def _of(self, snapshot: Snapshot, target: Target, now: float) -> Availability:
        """The availability of what a target asks for, as far as the configuration tells that."""
        backend = snapshot.backends[target.backend]
        name = target.model
        if name is not None:
            name = backend.models.get(name.casefold(), name)
        return self._store.availability(backend, now, name)

    def _is_well(self, backend: Backend, now: float) -> bool:
        ready = self._store.availability(backend, now) is Availability.READY
        return ready and self._store.state(backend).is_up

    def _models(self, backend: Backend) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._store.state(backend).listed or {}).values()))


def _breaker(state: BackendState, backend: Backend, now: float) -> dict[str, object]:
    own, settings = state.breaker, backend.breaker
    return {
        "state": own.state(now),
        "failures": own.failures,
        "seconds": round(own.rest(now), 1),
        "openings": own.openings,
        "why": own.why,
        "models": {
            name: {"seconds": round(look.wait, 1), "why": one.why}
            for look, name, one in state.model_breakers.ejected(settings, now)
        },
    }


def _probe(state: BackendState, now: float) -> dict[str, object] | None:
    """What the latest probe has found; None before the first."""
    verdict, at = state.health.verdict, state.health.at
    if verdict is None or at is None:
        return None
    return {
        "found": verdict.finding,
        "message": verdict.words,
        "latency": None if verdict.latency is None else round(verdict.latency, 4),
        "age": round(now - at, 1),
    }


def _load(line: Line, bounds: Bounds) -> dict[str, object]:
    return {"in_flight": line.in_flight, "limit": bounds.in_flight, "queued": line.waiting}


def _has_echo(snapshot: Snapshot) -> bool:
    return any(backend.echo and backend.enabled for backend in snapshot.backends.values())


def _host_of(backend: Backend) -> str:
    """Scheme, host and port: an address may carry a key elsewhere, and then it is no one's."""
    if backend.echo:
        return "built in"
    parts = urlsplit(backend.base_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
