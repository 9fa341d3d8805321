"""A supervisor with everything real: children, questions, probes. The one place where they meet."""

import logging
from collections.abc import Callable, Mapping

from tunnel.child import Child, SpawnFailed
from tunnel.events import Sighting
from tunnel.facts import Log, Observer
from tunnel.journal import Journal
from tunnel.means import Clock, Means, Post, Process, Refusal, World
from tunnel.probe import look, look_local, reachable
from tunnel.proof import Proof
from tunnel.readiness import ask_ingress, ask_quick_hostname, ask_ready
from tunnel.settings import Settings
from tunnel.steps import Spawn
from tunnel.supervisor import Supervisor

_log = logging.getLogger("tunnel")
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def supervisor(
    clock: Clock,
    observer: Observer,
    publish: Callable[[str], None],
    replica: str,
    environ: Mapping[str, str],
) -> Supervisor:
    """One that runs nothing yet. `replica` names this process in proofs."""
    means = _Real(Journal(observer), environ)
    return Supervisor(None, means.record(), World(clock, observer, _tell, publish, replica))


def _tell(level: Log, message: str) -> None:
    _log.log(_LEVELS[level], "%s", message)


class _Real:
    """The means of a supervisor, in front of the system."""

    def __init__(self, journal: Journal, environ: Mapping[str, str]) -> None:
        self._journal, self._environ = journal, environ

    def record(self) -> Means:
        return Means(
            self._spawn, ask_ready, ask_ingress, ask_quick_hostname,
            self._look, self._look_local, reachable,
        )  # fmt: skip

    async def _spawn(self, action: Spawn, post: Post) -> Process | Refusal:
        try:
            return await Child.spawn(
                action.number, action.settings, action.protocol, post, self._journal,
                self._environ, plain=action.plain,
            )  # fmt: skip
        except SpawnFailed as error:
            return Refusal(error.cause, str(error))

    async def _look(self, url: str, settings: Settings, nonce: str) -> Sighting:
        return await look(url, settings.probe, Proof.of(settings.proof_secret), nonce)

    async def _look_local(self, settings: Settings, nonce: str) -> bool:
        return await look_local(settings.origin, Proof.of(settings.proof_secret), nonce)
