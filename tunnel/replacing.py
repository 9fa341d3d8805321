"""The second child beside the first: when it may take over, and when it has failed. Pure.

The first is not touched before the second carries: it is registered, it has carried a probe of its
own, and both have run side by side for a while. What fails here is never held against the first.
"""

import math
from dataclasses import dataclass, field, replace

from tunnel.backoff import Backoff
from tunnel.facts import Reason
from tunnel.settings import Settings
from tunnel.slot import BLIND, Slot
from tunnel.steps import Action, Look

TRIES = 3  # children, before a replacement is given up
ENOUGH = 2  # connections that may take over at once
ALONE = 5.0  # seconds after which one connection is enough
HOLD = 5.0  # seconds in which both run, ready
PROOF = 60.0  # seconds for a registered child to carry a probe
LOOK_EVERY = 1.0  # the edge chooses who carries a probe; several are needed to meet this child
# the first is perhaps replaced because it hangs, and probes that meet it must not use up the time;
# where the way is slow, patience grows while the second one lives
PATIENCE, PATIENCE_GROWS = 3.0, 0.15


@dataclass(slots=True)
class Replacement:
    """One way from the first child to a second. `due` is when the next try may begin."""

    settings: Settings
    reason: Reason
    due: float
    tickets: list[int] = field(default_factory=list)  # operators who wait for the outcome
    slot: Slot | None = None
    failures: int = 0
    pause: float = 0.0
    ready_at: float | None = None  # since when the second could take over
    backoff: Backoff = field(default_factory=Backoff)

    def watch(self, first: Slot, now: float) -> None:
        """Note whether the second could take over."""
        if self.slot is None or not self._is_ready(self.slot, first, now):
            self.ready_at = None
        elif self.ready_at is None:
            self.ready_at = now

    def questions(self, now: float) -> list[Action]:
        """Those for the second child that are due."""
        slot = self.slot
        if slot is None:
            return []
        return [
            self._brief(one, slot, now) if isinstance(one, Look) else one
            for one in slot.questions(now, may_look=True)
        ]

    def _brief(self, look: Look, slot: Slot, now: float) -> Look:
        lived = 0.0 if slot.up_at is None else now - slot.up_at
        probe = look.settings.probe
        timeout = min(probe.timeout, PATIENCE + PATIENCE_GROWS * lived)
        return replace(look, settings=replace(look.settings, probe=replace(probe, timeout=timeout)))

    def may_swap(self, now: float) -> bool:
        """Whether it takes over now."""
        return self.ready_at is not None and now >= self.ready_at + HOLD

    def has_failed(self, now: float) -> bool:
        """Whether it is registered for long, and still could not take over."""
        slot = self.slot
        if slot is None or slot.up_at is None or self.ready_at is not None:
            return False
        return now >= slot.up_at + PROOF

    def _is_ready(self, slot: Slot, first: Slot, now: float) -> bool:
        if not slot.carries(now) or slot.up_at is None:
            return False
        if slot.connections < ENOUGH and now < slot.up_at + ALONE:
            return False
        return slot.proven or not _needs_proof(slot, first)

    def deadline(self, now: float) -> float:
        """When something is due."""
        slot = self.slot
        if slot is None:
            return self.due
        due = [slot.deadline(now, may_look=True)]
        if self.ready_at is not None:
            due.append(self.ready_at + HOLD)
        elif slot.up_at is not None:
            due += [one for one in (slot.up_at + ALONE,) if one > now] + [slot.up_at + PROOF]
        return min(due, default=math.inf)


def _needs_proof(slot: Slot, first: Slot) -> bool:
    """Whether a probe can tell at all. Where it never told of the first, it need not of the second.

    An open origin answers without a proof, so that nobody knows which child it came through.
    """
    if slot.url is None or slot.settings.open:
        return False
    return first.was_proven or slot.blind < BLIND
