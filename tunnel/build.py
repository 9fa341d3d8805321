"""A supervisor with everything real: children, questions, probes. The one place where they meet."""

import logging
from collections.abc import Callable, Mapping

from tunnel.child import Child, SpawnFailed
from tunnel.events import Sighting
from tunnel.facts import Log, Observer
from tunnel.means import Means, Post, Process, Refusal, World
from tunnel.probe import look, look_local, reachable
from tunnel.proof import Proof
from tunnel.readiness import ask_ingress, ask_quick_hostname, ask_ready
from tunnel.settings import Settings
from tunnel.steps import Spawn
from tunnel.supervisor import Supervisor

_log = logging.getLogger("tunnel")
_LEVELS: dict[Log, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def supervisor(
    now: Callable[[], float],
    draw: Callable[[], float],
    observer: Observer,
    publish: Callable[[str], None],
    replica: str,
    environ: Mapping[str, str],
) -> Supervisor:
    """One that runs nothing yet; for the arguments see `World`."""
    journal = Journal(observer)

    async def spawn(action: Spawn, post: Post) -> Process | Refusal:
        try:
            return await Child.spawn(
                action.number, action.settings, action.protocol, post, journal, environ,
                plain=action.plain,
            )  # fmt: skip
        except SpawnFailed as error:
            return Refusal(error.cause, str(error))

    means = Means(
        spawn, ask_ready, ask_ingress, ask_quick_hostname, _look, _look_local, reachable
    )  # fmt: skip
    return Supervisor(None, means, World(now, draw, observer, _tell, publish, replica))


class Journal:
    """The lines of children go to our log, whose handlers must not block, and are counted."""

    def __init__(self, observer: Observer) -> None:
        self.logged, self.dropped = observer.logged, observer.dropped
        self._logger = logging.getLogger("tunnel.cloudflared")

    def write(self, number: int, level: Log, text: str) -> None:
        self._logger.log(_LEVELS[level], "%s", text, extra={"fields": {"child": number}})


def _tell(level: Log, message: str) -> None:
    _log.log(_LEVELS[level], "%s", message)


async def _look(url: str, settings: Settings, nonce: str) -> Sighting:
    return await look(url, settings.probe, Proof.of(settings.proof_secret), nonce)


async def _look_local(settings: Settings, nonce: str) -> bool:
    return await look_local(settings.origin, Proof.of(settings.proof_secret), nonce)
