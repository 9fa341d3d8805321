"""What is told of the tunnel: its facts, a line for each change, the counts of recoveries. Pure.

It decides nothing. Moments are monotonic seconds.
"""

from dataclasses import dataclass, field

from tunnel import telling
from tunnel.backoff import Backoff
from tunnel.choice import needs_child
from tunnel.events import Cause, Sighting
from tunnel.facts import Facts, Reason, State
from tunnel.settings import Settings
from tunnel.slot import Slot
from tunnel.steps import Action, CountRecovery, CountRestart, Publish, Tell
from tunnel.telling import News
from tunnel.verdict import Verdict

SEEN = 600.0  # seconds that another replica stays in the facts
OTHERS = 16  # that are remembered
QUOTED = 200  # letters of what comes from outside


@dataclass(frozen=True, slots=True)
class Pause:
    """No child is active until then."""

    until: float
    seconds: float
    why: str
    reason: Reason | None  # for the count of restarts; None: the first start is none
    code: Cause | None = None  # a permanent cause: parked


@dataclass(frozen=True, slots=True)
class View:
    """The machine as it stands after an event."""

    state: State
    wanted: Settings | None  # None too once the tunnel is to stop
    active: Slot | None
    second: State | None
    pause: Pause | None
    backoff: Backoff


@dataclass(slots=True)
class Chronicle:
    """What was told so far."""

    restarts: int = 0
    is_foreign: bool = False
    state: State = State.DISABLED
    since: float | None = None  # None: nothing has happened yet
    why: str = ""
    verdict: Verdict | None = None
    verdict_at: float | None = None
    published: str | None = None
    _reported: Verdict | None = None
    _others: dict[str, float] = field(default_factory=dict)
    _lost_at: float | None = None
    _did_carry: bool = False
    _parked_why: str | None = None
    _crash_told: bool = False

    def begin(self) -> None:
        """There is a tunnel again: what was told of an earlier one says nothing of it."""
        self.restarts, self.verdict, self.verdict_at, self.published = 0, None, None, None
        self._others.clear()

    def restarted(self, reason: Reason) -> list[Action]:
        """A child took the place of another."""
        self.restarts += 1
        return [CountRestart(reason)]

    def probed(self, verdict: Verdict, sighting: Sighting, now: float) -> list[Action]:
        """A probe was judged. What is the tunnel's own fault shows in its state; else a line."""
        self.verdict, self.verdict_at = verdict, now
        told: list[Action] = []
        if verdict.tells_nothing and verdict is not self._reported:
            self._reported = verdict
            what = sighting.detail or sighting.error or f"status {sighting.status}"
            told.append(
                Tell(
                    "warning", f"tunnel: a probe did not come through ({verdict}): {what[:QUOTED]}"
                )
            )
        elif verdict is Verdict.CARRIED and self._reported is not None:
            self._reported = None
            told.append(Tell("info", "tunnel: probes come through again"))
        return told

    def met(self, name: str | None, now: float) -> list[Action]:
        """A proof of somebody else on the same tunnel."""
        if name is None:
            return []
        is_known = self._others.pop(name, None) is not None
        self._others[name] = now
        while len(self._others) > OTHERS:
            del self._others[next(iter(self._others))]
        words = f"tunnel: another process ({name[:QUOTED]}) carries this tunnel too"
        return [] if is_known else [Tell("warning", f"{words}; requests reach either of both")]

    def settle(self, view: View, now: float) -> list[Action]:
        """What an event has changed."""
        told: list[Action] = []
        why = _why(view, now)
        took = self._note_carrying(view, now)
        if took is not None:
            told.append(CountRecovery(took))
        # what is pushed arrives after the registration: the first answer may be older
        if view.active is None:
            self.is_foreign = self.is_foreign and view.wanted is not None
        elif view.active.ours > 1:
            self.is_foreign = False
        url = view.active.url if view.active is not None and view.active.proven else None
        is_published = url is None or url == self.published
        self.published = url or self.published
        is_new = view.state is not self.state
        is_parked = view.state is State.PARKED
        if is_new or self.since is None:
            self.since = now
        if is_new or (is_parked and why != self.why):
            self.state, self.why = view.state, why
            news = News(_code(view), took, is_parked and why == self._parked_why)
            self._parked_why = why if is_parked else self._parked_why
            told.append(telling.line(self.facts(view, now), news))
        self.why = why
        if view.backoff.is_crash_loop and not self._crash_told:
            told.append(telling.crash_loop(why))
        self._crash_told = view.backoff.is_crash_loop
        if url is not None and not is_published:
            told.append(Publish(url))
        return told

    def _note_carrying(self, view: View, now: float) -> float | None:
        """Returns the seconds without the tunnel, where it is back."""
        carries = view.state in (State.UP, State.HEALTHY, State.DEGRADED)
        took: float | None = None
        if carries:
            took = None if self._lost_at is None else now - self._lost_at
            self._lost_at = self._parked_why = None
        elif view.wanted is None:
            self._lost_at = None
        elif self._did_carry:
            self._lost_at = now
        self._did_carry = carries
        return took

    def facts(self, view: View, now: float) -> Facts:
        """The tunnel as status tells it."""
        slot, pause = view.active, view.pause
        return Facts(
            state=view.state,
            since=now if self.since is None else self.since,
            why=self.why,
            replacing=view.second,
            url=_url(view, self.published),
            connector=slot.connector if slot else None,
            pid=slot.pid if slot else None,
            version=slot.version if slot else None,
            protocol=slot.used if slot else None,
            ready_connections=slot.connections if slot else 0,
            most_connections=slot.most if slot else 0,
            started=slot.spawned if slot else None,
            probe=None if self.verdict is None else str(self.verdict),
            probe_at=self.verdict_at,
            next_start=pause.until if pause else None,
            backoff=pause.seconds if pause else 0.0,
            restarts=self.restarts,
            crash_loop=view.backoff.is_crash_loop,
            foreign_ingress=self.is_foreign,
            others=tuple(name for name, seen in self._others.items() if now - seen < SEEN),
        )


def _url(view: View, published: str | None) -> str | None:
    """A public name that was given is known from the start, others once a probe has passed."""
    slot = view.active
    settings = slot.settings if slot is not None else view.wanted
    if settings is not None and settings.kind != "quick" and settings.probe.url is not None:
        return settings.probe.url
    return published if slot is not None and slot.was_proven and slot.url == published else None


def _code(view: View) -> Cause | None:
    if view.pause is not None:
        return view.pause.code
    return Cause.UNAUTHORIZED if view.state is State.PARKED else None


def _why(view: View, now: float) -> str:
    """What is wrong, if something is."""
    slot = view.active
    if slot is None:
        return view.pause.why if view.pause is not None else ""
    if slot.ending is not None:
        return slot.ending.why
    match view.state:
        case State.PARKED | State.STARTING | State.CONNECTING:
            return slot.trouble
        case State.SUSPECT if slot.lost_at is not None:
            return f"no connection with the edge{f' ({slot.trouble})' if slot.trouble else ''}"
        case State.SUSPECT:
            return f"{slot.record.failures} probes in a row failed{slot.record.doubt}"
        case State.DEGRADED if slot.is_fewer(now):
            return f"{slot.connections} of {slot.most} connections are left"
        case State.DEGRADED:
            return "part of the probes fails"
        case State.UP if slot.verdict is not None:
            return f"no probe has come through it yet, the last one says: {slot.verdict}"
        case State.HEALTHY if slot.verdict is not None and slot.verdict.tells_nothing:
            return f"the last probe says nothing of the tunnel: {slot.verdict}"
    if view.wanted is not None and view.second is None and needs_child(slot.settings, view.wanted):
        return "it runs with earlier settings: those that are asked for have not come up"
    return ""
