"""Where the program stands between its start and its end."""

from dataclasses import dataclass


@dataclass(slots=True)
class Life:
    """Set by the composition root, read by probes and answers.

    `born` is a time of the monotonic clock in seconds; `settling` is a gateway's drain, the only
    state in which a started program is not ready.
    """

    born: float
    started: bool = False  # listeners are bound and the start-up decision is made
    draining: bool = False
    settling: bool = False

    @property
    def ready(self) -> bool:
        """Whether new traffic should be sent here."""
        return self.started and not self.settling
