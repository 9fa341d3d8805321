"""One child as it is known: what it told, what it answered, and what follows for itself. Pure.

It complains when it must be ended; what comes after is decided in `lifecycle`. Its state is derived
from what is known, so that no two facts can disagree. Moments are monotonic seconds, `draw` is
uniform in [0, 1).
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from tunnel import events
from tunnel.backoff import NAMED, QUICK, Pace
from tunnel.events import Cause, Ingress, Readiness, Ready, Sighting
from tunnel.facts import Reason, State
from tunnel.settings import Protocol, Settings
from tunnel.steps import Action, AskIngress, AskName, AskReady, Kill, Look, Terminate
from tunnel.verdict import Known, Record, Verdict, foreign, shown

START = 90.0  # until its metrics port is known: names may resolve slowly
CONNECT = 45.0  # from there until it is registered
CONNECT_AUTO = 150.0  # its own way from QUIC to http2 takes nearly two minutes
CONNECT_QUICK = 20.0  # a quick tunnel has no such way, so that QUIC which fails ends it sooner
READY_EVERY = 1.0
SILENT = 3  # questions without an answer in a row: it hangs
LOST = 27.0  # without a connection; it comes back within 20 s by itself
LOST_QUICK = 120.0  # another child would have another name
UNAUTHORIZED = 60.0  # refused for so long: somebody must change something
QUIET = 180.0  # a refused child asks again every 64 s at the latest, and says so
FEWER = 60.0  # with fewer connections than it had
LAST_WORDS = 5.0  # for a child that carries nothing, from SIGTERM to SIGKILL
MARGIN = 5.0  # beyond the grace, for one that does
KILL_AGAIN = 5.0
INGRESS_EVERY = 15.0
NAME_EVERY = 2.0
# the record of a new name appears seconds after the registration; who asks before that is told for
# half an hour that there is none
QUICK_FIRST_LOOK = 10.0
QUICK_SPREAD = 5.0
HURRY = 4  # times as often are probes sent while it is open what fails
SHORTEST = 1.0  # between probes
BLIND = 3  # probes that told nothing


class Fault(StrEnum):
    """Why a child must be ended."""

    HUNG = "hung"
    MISSED = "missed"  # it did not register in time
    LOST = "lost"  # its connections are gone for too long
    FOREIGN = "foreign"  # it serves what is not ours
    REFUSED = "refused"  # unauthorized, and silent about it since


class After(StrEnum):
    """What follows the end of a child that was told to end."""

    NOTHING = "nothing"
    PAUSE = "pause"  # back-off, then the next one
    PARK = "park"


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why it must be ended, in a sentence."""

    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What was decided when it was told to end."""

    after: After
    why: str = ""
    reason: Reason = "unhealthy"
    fault: Fault | None = None


@dataclass(slots=True)
class Question:
    """One that is put to a child again and again, never twice at a time."""

    due: float = math.inf
    is_out: bool = False
    _is_stale: bool = False

    def hurry(self, now: float) -> None:
        """Something has happened: an answer that is under way may be older than that."""
        self.due, self._is_stale = now, self.is_out

    def take(self, now: float) -> bool:
        """Whether it is to be put now; then it is out."""
        if self.is_out or now < self.due:
            return False
        self.is_out = True
        return True

    def back(self, due: float) -> None:
        """It was answered, or could not be; the next one is due then."""
        self.is_out, self.due = False, self.due if self._is_stale else due
        self._is_stale = False

    @property
    def deadline(self) -> float:
        return math.inf if self.is_out else self.due


@dataclass(slots=True)
class Slot:
    """A child from its spawn to its end."""

    number: int
    settings: Settings
    protocol: Protocol
    spawned: float
    pid: int | None = None
    port: int | None = None
    connector: str | None = None
    version: str | None = None
    used: str | None = None  # the protocol of its connections
    trouble: str = ""  # what keeps it from carrying, in its own words
    connecting_at: float | None = None
    registered_at: float | None = None
    up_at: float | None = None  # the first answer that it is ready
    connections: int = 0
    most: int = 0
    silent: int = 0
    lost_at: float | None = None
    fewer_at: float | None = None
    refused_at: float | None = None  # the first "Unauthorized" in a row
    refused_last: float = 0.0
    quic_failed: bool = False
    hostname: str | None = None
    is_foreign: bool = False
    ours: int = 0  # answers in a row that it serves what is ours
    proven: bool = False  # a probe came through it since it was last without connections
    was_proven: bool = False
    verdict: Verdict | None = None  # the last on it
    blind: int = 0  # probes in a row that told nothing
    record: Record = field(default_factory=Record)
    well_at: float | None = None
    was_stable: bool = False
    ending: Ending | None = None
    kill_at: float = math.inf
    is_killing: bool = False
    ready: Question = field(default_factory=Question)
    ingress: Question = field(default_factory=Question)
    name: Question = field(default_factory=Question)
    look: Question = field(default_factory=Question)

    # -- what is known

    @property
    def is_quick(self) -> bool:
        return self.settings.kind == "quick"

    @property
    def pace(self) -> Pace:
        return QUICK if self.is_quick else NAMED

    @property
    def url(self) -> str | None:
        """Its public name, where it is known."""
        if self.settings.probe.url is not None and not self.is_quick:
            return self.settings.probe.url
        return None if self.hostname is None else f"https://{self.hostname}"

    def state(self, now: float) -> State:
        """Where it is in its life."""
        if self.ending is not None:
            return State.KILLING if self.is_killing else State.DRAINING
        if self.port is None:
            return State.STARTING
        if self.is_refused(now):
            return State.PARKED
        if self.up_at is None:
            return State.CONNECTING
        if self.lost_at is not None or self.record.is_suspect:
            return State.SUSPECT
        if self.is_fewer(now) or self.record.is_mixed:
            return State.DEGRADED
        return State.HEALTHY if self.proven else State.UP

    def is_refused(self, now: float) -> bool:
        """Whether the edge refuses its secret for so long that it counts as permanent."""
        return self.refused_at is not None and now >= self.refused_at + UNAUTHORIZED

    def is_fewer(self, now: float) -> bool:
        """Whether it has had fewer connections than before for long."""
        return self.fewer_at is not None and now >= self.fewer_at + FEWER

    def carries(self, now: float) -> bool:
        """Whether it carries, for all that is known."""
        return self.state(now) in (State.UP, State.HEALTHY, State.DEGRADED)

    def is_well(self, now: float) -> bool:
        """Whether it carries, and nothing that was to be asked for that is still open."""
        is_asked = self.url is not None and self.verdict in (None, Verdict.TUNNEL)
        return self.carries(now) and (self.proven or not is_asked)

    @property
    def patience(self) -> float:
        """Seconds from SIGTERM to SIGKILL: the grace where something may be in flight."""
        carries = self.up_at is not None and self.lost_at is None and self.silent < SILENT
        return self.settings.grace + MARGIN if carries else LAST_WORDS

    # -- what it told

    def told(self, event: events.Told, now: float) -> None:
        """A line of its log."""
        match event:
            case events.VersionTold():
                self.version = event.version
            case events.ConnectorTold() if self.connector is None:
                self.connector = event.connector
            case events.MetricsTold() if self.port is None:
                self.port, self.connecting_at, self.ready.due = event.port, now, now
                self.trouble = ""  # it has got over whatever it was, such as a failed look-up
            case events.Registered():
                self.used = event.protocol
                self.registered_at = now if self.registered_at is None else self.registered_at
                self._hurry(self.ready, now)
            case events.Lost():
                self._hurry(self.ready, now)
            case events.Trouble():
                self._troubled(event, now)
            case events.QuicFailed():
                self.quic_failed = True
                if self.up_at is None:
                    self.trouble = "QUIC does not get through"
            case events.ConfigPushed():
                self._hurry(self.ingress, now)
            case events.ConnectorTold() | events.MetricsTold():
                pass  # each is told once; whatever looks like another is none

    def _hurry(self, question: Question, now: float) -> None:
        if self.port is not None:
            question.hurry(now)

    def _troubled(self, event: events.Trouble, now: float) -> None:
        if self.up_at is not None and self.lost_at is None:
            return  # others of its connections carry
        self.trouble = event.message
        if event.cause is Cause.UNAUTHORIZED:
            self.refused_at = now if self.refused_at is None else self.refused_at
            self.refused_last = now

    def start_took(self, now: float) -> float:
        """Seconds from its spawn to its registration."""
        return (now if self.registered_at is None else self.registered_at) - self.spawned

    def adopt(self, settings: Settings, now: float) -> None:
        """Other settings, for which it need not be started anew."""
        before, self.settings = self.url, settings
        if self.url != before:
            self.proven, self.verdict = False, None
            self.record.clear()
        if self._can_look:
            self.look.hurry(now)
        self._hurry(self.ingress, now)

    # -- what it answered

    def answered(self, answer: Readiness, now: float, draw: float) -> Complaint | None:
        """An answer to `/ready`, or none."""
        self.ready.back(now + READY_EVERY)
        match answer.kind:
            case Ready.READY:
                self._is_ready(answer.connections, now, draw)
            case Ready.NOT_READY:
                return self._is_not_ready(now)
            case Ready.UNHEARD:
                pass  # it says nothing of the child
            case Ready.NO_ANSWER | Ready.FOREIGN:
                self.silent += 1
                if self.silent >= SILENT:
                    who = (
                        "another process answers on its metrics port"
                        if answer.kind is Ready.FOREIGN
                        else "it does not answer on its metrics port"
                    )
                    return Complaint(Fault.HUNG, f"cloudflared hangs: {who}")
        return None

    def _is_ready(self, connections: int, now: float, draw: float) -> None:
        self.silent, self.refused_at, self.trouble = 0, None, ""
        if self.up_at is None:
            self.up_at = now
            self.registered_at = now if self.registered_at is None else self.registered_at
            self.ingress.due = self.name.due = self.look.due = now
            if self.is_quick:
                wait = QUICK_FIRST_LOOK + QUICK_SPREAD * draw
                self.look.due = max(now, self.registered_at + wait)
        elif self.lost_at is not None:
            self.ingress.due = now
            self.look.due = now if self.was_proven else max(now, self.look.due)
        self.lost_at = None
        self.connections, self.most = connections, max(self.most, connections)
        if connections >= self.most:
            self.fewer_at = None
        elif self.fewer_at is None:
            self.fewer_at = now

    def _is_not_ready(self, now: float) -> Complaint | None:
        self.silent, self.connections, self.fewer_at = 0, 0, None
        if self.up_at is None:
            return None
        if self.lost_at is None:
            self.lost_at, self.proven, self.verdict = now, False, None
            self.record.clear()
        limit = LOST_QUICK if self.is_quick else LOST
        if now - self.lost_at < limit or self.refused_at is not None:
            return None
        return Complaint(
            Fault.LOST, f"no connection with the edge for {now - self.lost_at:.0f} s{self._words}"
        )

    @property
    def _words(self) -> str:
        return f" ({self.trouble})" if self.trouble else ""

    def serves(self, ingress: Ingress | None, now: float) -> Complaint | None:
        """What it exposes; None: it did not say."""
        self.ingress.back(now + INGRESS_EVERY)
        if ingress is None:
            return None
        is_allowed = self.settings.foreign_ingress == "allow"
        others = [] if is_allowed else foreign(ingress.services, self.settings.origin)
        self.is_foreign = bool(others)
        self.ours = 0 if self.is_foreign else self.ours + 1
        if self.is_foreign:
            return Complaint(
                Fault.FOREIGN,
                f"it serves {shown(others)}, which is not ours: a configuration was pushed",
            )
        if not self.is_quick:
            named = (one for one in ingress.hostnames if one and "*" not in one)
            self.hostname = next(named, self.hostname)
        return None

    def named(self, hostname: str | None, now: float) -> None:
        """The name of a quick tunnel."""
        self.hostname = hostname or self.hostname
        self.name.back(math.inf if self.hostname else now + NAME_EVERY)

    def looked(self, verdict: Verdict, sighting: Sighting, known: Known, now: float) -> None:
        """A probe that speaks of this child."""
        self.judged(verdict)
        self.record.add(verdict, sighting, known, now)

    def judged(self, verdict: Verdict) -> None:
        """A probe that may speak of another child too, unless it was carried."""
        self.verdict = verdict
        self.blind = self.blind + 1 if verdict.tells_nothing else 0
        if verdict is Verdict.CARRIED and self.up_at is not None and self.lost_at is None:
            self.proven = self.was_proven = True

    def look_again(self, now: float, draw: float) -> None:
        """Plan the next probe: jittered, and soon while it is open what fails."""
        every = self.settings.probe.every
        if self.record.is_in_question:
            every = max(SHORTEST, every / HURRY)
        self.look.back(now + every * (0.75 + draw / 2))

    # -- what it must do

    def overdue(self, now: float) -> Complaint | None:
        """Whether it has missed a deadline."""
        if self.ending is not None or now < self._limit():
            return None
        if self.port is None:
            return Complaint(Fault.MISSED, f"cloudflared did not start up within {START:.0f} s")
        if self.refused_at is not None:
            return Complaint(Fault.REFUSED, "refused, and silent about it since")
        took = now - (now if self.connecting_at is None else self.connecting_at)
        return Complaint(Fault.MISSED, f"not registered within {took:.0f} s{self._words}")

    def _limit(self) -> float:
        if self.port is None:
            return self.spawned + START
        if self.refused_at is not None:
            return self.refused_last + QUIET
        if self.up_at is None and self.connecting_at is not None:
            return self.connecting_at + self._patience
        return math.inf

    @property
    def _patience(self) -> float:
        """Seconds for the registration."""
        if self.protocol == "http2":
            return CONNECT
        if self.is_quick:
            return CONNECT_QUICK if self.quic_failed else CONNECT
        return CONNECT_AUTO

    def questions(self, now: float, *, may_look: bool) -> list[Action]:
        """Those that are due; each waits for its answer before it is put again."""
        asked: list[Action] = []
        if self.ending is not None or self.port is None:
            return asked
        if self.ready.take(now):
            asked.append(AskReady(self.number, self.port, self.connector))
        if self.ingress.take(now):
            asked.append(AskIngress(self.number, self.port))
        if self.is_quick and self.name.take(now):
            asked.append(AskName(self.number, self.port))
        if may_look and self._can_look and self.url is not None and self.look.take(now):
            asked.append(Look(self.number, self.url, self.settings))
        return asked

    @property
    def _can_look(self) -> bool:
        return self.up_at is not None and self.lost_at is None and self.url is not None

    def end(self, ending: Ending, kill_at: float) -> list[Action]:
        """Tell it to end, once; a further call may only shorten its time."""
        self.kill_at = min(self.kill_at, kill_at)
        if self.ending is not None:
            self.ending = ending
            return []
        self.ending = ending
        return [] if self.pid is None else [Terminate(self.number)]

    def was_spawned(self, pid: int) -> list[Action]:
        """It runs; what was asked for meanwhile follows."""
        self.pid = pid
        if self.ending is None:
            return []
        return [Kill(self.number)] if self.is_killing else [Terminate(self.number)]

    def kill(self, now: float) -> list[Action]:
        """End it by force where its time is over."""
        if now < self.kill_at:
            return []
        self.is_killing, self.kill_at = True, now + KILL_AGAIN
        return [] if self.pid is None else [Kill(self.number)]

    def deadline(self, now: float, *, may_look: bool) -> float:
        """When something is due, or its state changes by itself."""
        if self.ending is not None:
            return self.kill_at
        passing = [
            self.refused_at + UNAUTHORIZED if self.refused_at is not None else math.inf,
            self.fewer_at + FEWER if self.fewer_at is not None else math.inf,
            math.inf if self.was_stable or self.well_at is None
            else self.well_at + self.pace.stable,
        ]  # fmt: skip
        due = [one for one in passing if one > now]
        due.append(self._limit())
        if self.port is not None:
            due += [self.ready.deadline, self.ingress.deadline]
            due += [self.name.deadline] if self.is_quick else []
            due += [self.look.deadline] if may_look and self._can_look else []
        return min(due)
