"""What an operator does to one backend by hand: probe, reset, eject, drain, enable.

State, not configuration: it outlives reloads and ends with the process. The sentences say what was
done and what follows.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sidecar.config.snapshot import Backend
from sidecar.control.prober import Prober
from sidecar.policy.availability import Availability, Standing
from sidecar.policy.health import Finding, ProbeVerdict
from sidecar.policy.routing import nearest
from sidecar.runtime.current import Current
from sidecar.runtime.store import BackendState, RuntimeStore

_log = logging.getLogger(__name__)


class Action(StrEnum):
    """What can be done to a backend."""

    PROBE = "probe"
    RESET = "reset"
    EJECT = "eject"
    DRAIN = "drain"
    ENABLE = "enable"


class Refused(Exception):
    """Nothing was done; the message says why and what to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, for the one who asked for it.

    `ok` is false where a probe failed. `wait` is in seconds until the backend may be asked, None
    where nobody knows.
    """

    backend: str
    action: Action
    ok: bool
    changed: bool
    message: str
    availability: Availability
    wait: float | None
    probe: ProbeVerdict | None = None


class Operator:
    """Carries the actions out."""

    def __init__(
        self, current: Current, store: RuntimeStore, prober: Prober, clock: Callable[[], float]
    ) -> None:
        self._current, self._store, self._prober = current, store, prober
        self._clock = clock

    async def act(self, name: str, action: Action) -> Done:
        """Do it. Raises Refused."""
        backend = self._find(name)
        if action is Action.PROBE:
            return await self._probe(backend)
        changed, message = self._change(backend, action)
        if changed:
            _log.info("%s by hand: %s", action, message)
        return self._done(backend, action, changed, message)

    def _find(self, name: str) -> Backend:
        snapshot = self._current.get()
        if snapshot is None:
            told = (
                "There is no good configuration, and so no backend; `llm-sidecar status` says why."
            )
            raise Refused(409, "not_configured", told)
        backend = snapshot.backends.get(name)
        if backend is None:
            close = nearest(name, snapshot.backends)
            names = ", ".join(map(repr, close or sorted(snapshot.backends)[:5]))
            hint = f"Did you mean {names}?" if close else f"There are {names}."
            told = f"There is no backend {name[:100]!r}. {hint}"
            raise Refused(404, "unknown_backend", told)
        if not backend.enabled:
            told = (
                f"Backend {name!r} is switched off by the configuration: `enabled: false`, or "
                "--local-only and a public address. Change it there; it is followed at once."
            )
            raise Refused(409, "disabled_backend", told)
        return backend

    async def _probe(self, backend: Backend) -> Done:
        if backend.echo:
            told = f"Backend {backend.name!r} is the built-in echo: there is nothing to probe."
            return self._done(backend, Action.PROBE, False, told)
        before = self._standing(backend)
        verdict = await self._prober.probe_now(backend)
        message = f"Backend {backend.name!r} {verdict.words}"
        if verdict.latency is not None:
            message += f" in {verdict.latency * 1000:.0f} ms"
        if verdict.finding is Finding.AUTH:
            message += ": it is there, but does not take the key for this question"
        after = self._standing(backend)
        changed = after.availability is not before.availability
        if changed and before.availability is Availability.EJECTED:
            message += "; its rest is over"
        return self._done(backend, Action.PROBE, changed, message + ".", verdict)

    def _change(self, backend: Backend, action: Action) -> tuple[bool, str]:
        """Whether anything changed, and what, in a sentence."""
        name, now, state = repr(backend.name), self._clock(), self._store.state(backend)
        match action:
            case Action.RESET:
                clean = _is_clean(state, now)
                self._store.reset(backend, now)
                return (
                    (False, f"Nothing speaks against backend {name}.")
                    if clean
                    else (True, f"What spoke against backend {name} is forgotten.")
                )
            case Action.EJECT:
                if state.breaker.rest(now) > 0:
                    return False, f"Backend {name} is ejected already."
                self._store.eject(backend, now)
                return True, (
                    f"Backend {name} is out, as if it had failed. `enable` takes it back sooner, "
                    "`drain` keeps it out."
                )
            case Action.DRAIN:
                was = state.drained
                self._store.drain(backend)
                word = "was drained already" if was else "takes nothing new"
                return (
                    not was,
                    f"Backend {name} {word}; requests in flight there: {state.in_flight}.",
                )
            case _:
                was = state.drained or not state.breaker.is_closed
                self._store.enable(backend)
                return (
                    (True, f"Backend {name} takes requests again.")
                    if was
                    else (False, f"Backend {name} was neither drained nor ejected.")
                )

    def _standing(self, backend: Backend) -> Standing:
        return self._store.standing(backend, None, self._clock())

    def _done(
        self,
        backend: Backend,
        action: Action,
        changed: bool,
        message: str,
        verdict: ProbeVerdict | None = None,
    ) -> Done:
        standing = self._standing(backend)
        return Done(
            backend=backend.name,
            action=action,
            ok=verdict is None or verdict.is_alive,
            changed=changed,
            message=f"{message} {_in_words(standing)}",
            availability=standing.availability,
            wait=round(standing.wait, 1) if math.isfinite(standing.wait) else None,
            probe=verdict,
        )


def _is_clean(state: BackendState, now: float) -> bool:
    """Whether there is nothing to forget."""
    return (
        state.breaker.is_closed
        and not state.breaker.failures
        and all(one.is_closed and not one.failures for _, one in state.model_breakers)
        and not state.health.is_in_doubt
        and not state.failed_in_row
        and state.rest(now) <= 0
    )


def _in_words(standing: Standing) -> str:
    seconds, why = f"{math.ceil(min(standing.wait, 1e6))} s", f" ({standing.why})"
    why = why if standing.why else ""
    match standing.availability:
        case Availability.READY:
            return "It is ready."
        case Availability.EJECTED:
            return f"It rests for {seconds}, then trials go there{why}."
        case Availability.UNHEALTHY:
            return (
                f"It is unhealthy: probes that go well bring it back, in {seconds} at the soonest."
            )
        case Availability.RESTING:
            return f"It asked for time and rests for {seconds}{why}; `reset` ends that."
        case Availability.DRAINING:
            return "It is drained: nothing new goes there until `enable`."
        case Availability.FULL:
            return "It has as many requests as it may."
        case Availability.DISABLED:
            return "It is disabled."
