"""The holder of the current snapshot.

A request reads the snapshot once and keeps it to its end. The holder is empty only after a start
without a good configuration; `faults` then says why.
"""

from sidecar.config.snapshot import Snapshot


class Current:
    """The snapshot that new requests take, and how the last reload ended."""

    __slots__ = ("_snapshot", "faults", "public_fault", "restart_needed", "warnings")

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self.faults = ""  # of the last attempt to load; empty after a good one
        self.public_fault = ""  # why nothing listens at the public listener's address
        self.warnings: tuple[str, ...] = ()
        self.restart_needed: tuple[str, ...] = ()  # changes that only a restart applies

    def get(self) -> Snapshot | None:
        """The snapshot, or None while there has never been a good configuration."""
        return self._snapshot

    def swap(self, snapshot: Snapshot) -> None:
        """Serve every request that begins from now on by this snapshot."""
        self._snapshot = snapshot
        self.faults = ""
