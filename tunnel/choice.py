"""What the next child is started with: which settings, which protocol, which flags. Pure.

New settings that never get on give way to those with which a child carried last, and these to the
new ones again. Moments are monotonic seconds.
"""

import math
from dataclasses import dataclass, replace

from tunnel.events import Cause, Exit
from tunnel.settings import Protocol, Settings
from tunnel.slot import Slot

MISSES = 3  # children in a row that never registered, before other settings have their turn
NO_QUIC = 86_400.0  # seconds until QUIC is tried again where it has failed


@dataclass(slots=True)
class Choice:
    """`wanted` is what was asked for, `good` that with which a child carried last."""

    wanted: Settings | None = None
    good: Settings | None = None
    is_plain: bool = False  # cloudflared does not know the optional flags
    _on_good: bool = False
    _misses: int = 0
    _http2_until: float = -math.inf

    def want(self, settings: Settings | None) -> None:
        """Other settings, tried from scratch."""
        before, self.wanted = self.wanted, settings
        self.is_plain = False
        self.try_wanted()
        if settings is None:
            self.good = None
        if before is None or settings is None or before.protocol != settings.protocol:
            self._http2_until = -math.inf

    def try_wanted(self) -> None:
        """Those that are asked for have their turn, whatever became of them before."""
        self._on_good, self._misses = False, 0

    def keep(self, settings: Settings) -> None:
        """The wanted ones have failed beside a child that runs with these."""
        if self.wanted is not None and needs_child(settings, self.wanted):
            self.good, self._on_good = settings, True

    @property
    def settings(self) -> Settings | None:
        """Those whose turn it is."""
        return self.good if self._on_good and self.good is not None else self.wanted

    def protocol(self, settings: Settings, now: float) -> Protocol:
        """That of the settings; http2 where QUIC has failed lately."""
        is_barred = settings.protocol != "http2" and now < self._http2_until
        return "http2" if is_barred else settings.protocol

    def learn(self, slot: Slot, now: float) -> bool:
        """Note whether QUIC fails here, of a child that asked for it and got on without, or not."""
        has_failed = slot.quic_failed and slot.protocol != "http2"
        if has_failed and (slot.up_at is None or slot.used == "http2"):
            self._http2_until = now + NO_QUIC
            return True
        return False

    def missed(self, slot: Slot) -> None:
        """A child has ended, registered once or never."""
        self._misses = 0 if slot.up_at is not None else self._misses + 1

    def turn(self, *, is_permanent: bool) -> bool:
        """Whether the others have their turn now: the good ones, or the wanted ones again."""
        if self.wanted is None or self.good is None or not needs_child(self.good, self.wanted):
            return False
        if not is_permanent and self._misses < MISSES:
            return False
        self._on_good, self._misses = not self._on_good, 0
        return True

    def leave_refused(self) -> bool:
        """Whether the good ones have their turn, because the wanted ones are refused."""
        return not self._on_good and self.turn(is_permanent=True)

    def permanent(self, end: Exit, slot: Slot) -> Cause | None:
        """The cause of an end, where trying again as before cannot help.

        Exit 0 unasked is a usage error, unless it was registered: then somebody else told it to
        end. A flag that is not known is first left out.
        """
        is_mute = end.code == 0 and end.cause is Cause.UNKNOWN and slot.up_at is None
        if end.cause is not Cause.FLAGS and not is_mute:
            return end.cause if end.cause.is_permanent else None
        if self.is_plain:
            return Cause.FLAGS
        self.is_plain = True
        return None


def needs_child(one: Settings, two: Settings) -> bool:
    """Whether what a child is started with differs; the rest is ours alone."""
    ours = replace(
        one,
        secret_file=two.secret_file,
        probe=two.probe,
        proof_secret=two.proof_secret,
        foreign_ingress=two.foreign_ingress,
        open=two.open,
    )
    return ours != two
