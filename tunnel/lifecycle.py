"""The life of the tunnel: event and moment in; actions, the next deadline and the facts out. Pure.

One child is active; a second one beside it is a `Replacement`; those that were told to end and have
a successor are leaving. At most two run at a time. Nothing here gives up for good: a pause follows
every end, and only `Stop` ends the machine. Moments are monotonic seconds, `draw` is uniform in
[0, 1).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tunnel import steps, telling
from tunnel.backoff import MISSING, NAMED, PARKED, QUICK, Backoff
from tunnel.choice import Choice, needs_child
from tunnel.chronicle import Chronicle, Pause, View
from tunnel.events import Cause, Exit
from tunnel.facts import Facts, Reason, State
from tunnel.replacing import LOOK_EVERY, TRIES, Replacement
from tunnel.settings import Settings
from tunnel.slot import LAST_WORDS, MARGIN, After, Complaint, Ending, Fault, Slot
from tunnel.verdict import Known, Seldom, Verdict, carrier, classify, other

AT_ONCE = 2  # children, those that are leaving included


@dataclass(slots=True)
class Lifecycle:
    """`replica` names this process in proofs, `number` is that of the latest child."""

    replica: str
    number: int = 0
    _choice: Choice = field(default_factory=Choice)
    _active: Slot | None = None
    _second: Replacement | None = None
    _leaving: dict[int, Slot] = field(default_factory=dict)
    _pause: Pause | None = None
    _backoff: Backoff = field(default_factory=Backoff)
    _seldom: Seldom = field(default_factory=Seldom)
    # restarts that wait for a process, by ticket, and what is said once there is one
    _awaiting: dict[int, str] = field(default_factory=dict)
    _stop_by: float | None = None
    _has_ended: bool = False
    _chronicle: Chronicle = field(default_factory=Chronicle)
    _out: list[steps.Action] = field(default_factory=list)

    # -- in and out

    def step(self, told: Iterable[steps.Event], now: float, draw: float) -> list[steps.Action]:
        """Take all that has happened; returns what is to be done, in this order.

        Deadlines are looked at last, so that what came in time counts, however late it is read.
        """
        self._out = []
        if not self._has_ended:
            for event in told:
                self._take(event, now, draw)
            self._pass_time(now, draw)
            self._ask(now)
            self._settle(now)
        return self._out

    def deadline(self, now: float) -> float | None:
        """When a step is due, if no event comes before; None: never."""
        due = [slot.kill_at for slot in self._leaving.values()]
        if self._active is not None:
            due.append(self._active.deadline(now, may_look=self._may_look_at_first(now)))
        if self._second is not None and (self._second.slot or self._has_room):
            due.append(self._second.deadline(now))
        if self._pause is not None and self._has_room:
            due.append(self._pause.until)
        soonest = min(due, default=math.inf)
        return None if soonest == math.inf or self._has_ended else soonest

    def _take(self, event: steps.Event, now: float, draw: float) -> None:
        match event:
            case steps.Apply():
                self._apply(event.settings, now)
            case steps.Restart():
                self._restart(event.ticket, now)
            case steps.Stop():
                self._stop(event.within, now)
            case steps.NotSpawned():
                self._gone(event.number, Exit(1, event.cause, event.message), now, draw)
            case steps.FromChild(number=number, event=Exit() as end):
                self._out.append(steps.CountExit(end.code, expected=self._is_ending(number)))
                self._gone(number, end, now, draw)
            case _:
                self._of_slot(event, now, draw)

    def _of_slot(
        self,
        event: steps.OfChild,
        now: float,
        draw: float,
    ) -> None:
        slot = self._slots().get(event.number)
        if slot is None:
            return
        complaint: Complaint | None = None
        match event:
            case steps.Spawned():
                self._out += slot.was_spawned(event.pid)
                if slot is self._active:
                    self._answer()
            case steps.FromChild():
                if not isinstance(event.event, Exit):
                    slot.told(event.event, now)
            case steps.Answered():
                was_up = slot.up_at is not None
                complaint = slot.answered(event.readiness, now, draw)
                if slot.up_at is not None and not was_up:
                    self._out.append(steps.CountStart(slot.start_took(now)))
                    self._choice.learn(slot, now)
            case steps.Serves():
                complaint = slot.serves(event.ingress, now)
            case steps.Named():
                slot.named(event.hostname, now)
            case steps.Looked():
                self._looked(slot, event, now, draw)
        if complaint is not None:
            self._complained(slot, complaint, now, draw)

    # -- asked for from outside

    def _apply(self, settings: Settings | None, now: float) -> None:
        before = self._choice.wanted
        if settings == before or self._stop_by is not None:
            return
        self._choice.want(settings)
        if before is None:
            self._chronicle.begin()
        self._backoff, self._seldom = Backoff(), Seldom()
        self._drop_second("The settings changed again meanwhile.", now)
        if settings is None:
            self._pause = None
            self._answer("The tunnel was switched off meanwhile.")
            self._retire(now)
        elif self._active is None:
            self._start(None if before is None else "config", now)
        elif self._active.ending is None and not needs_child(self._active.settings, settings):
            self._active.adopt(settings, now)
        else:
            self._replace(self._active, settings, "config", now)

    def _restart(self, ticket: int, now: float) -> None:
        wanted, first = self._choice.wanted, self._active
        self._choice.try_wanted()
        if self._stop_by is not None or wanted is None:
            said = "The tunnel is off: there is nothing to restart."
        elif self._second is not None:
            self._second.tickets.append(ticket)
            return
        elif first is None:
            self._start("operator", now)
            self._await_start(ticket, "The tunnel was not running; cloudflared starts now.")
            return
        else:
            answer = self._replace(first, wanted, "operator", now, ticket)
            if answer is not None:
                self._await_start(ticket, answer)
            return
        self._out.append(steps.Reply(ticket, said))

    def _await_start(self, ticket: int, said: str) -> None:
        """Say that once there is a process, for it may be that there cannot be one."""
        self._awaiting[ticket] = said
        if not self._has_room:
            self._answer("cloudflared starts as soon as those before it have ended.")

    def _answer(self, instead: str | None = None) -> None:
        """Answer whoever waits for a process."""
        for ticket, said in self._awaiting.items():
            self._out.append(steps.Reply(ticket, instead or said))
        self._awaiting.clear()

    def _replace(
        self, first: Slot, settings: Settings, reason: Reason, now: float, *tickets: int
    ) -> str | None:
        """Make before break where it can be had; returns a sentence where it cannot."""
        is_quick = first.is_quick and settings.kind == "quick"
        if first.up_at is None or first.ending is not None or first.is_refused(now):
            said = "cloudflared had no connection; another one starts now."
        elif is_quick:
            said = "A quick tunnel starts anew: its public name changes."
        else:
            self._second = Replacement(settings, reason, due=now, tickets=list(tickets))
            return None
        self._retire(now)
        self._start(reason, now)
        return said

    def _stop(self, within: float, now: float) -> None:
        self._stop_by = min(now + within, math.inf if self._stop_by is None else self._stop_by)
        self._pause = None
        self._drop_second("The tunnel stops.", now)
        self._answer("The tunnel stops.")
        for slot in self._slots().values():
            by = min(now + slot.patience, self._stop_by)
            self._out += slot.end(Ending(After.NOTHING), by)

    # -- starts and ends

    def _slots(self) -> dict[int, Slot]:
        """Every child that has not ended."""
        slots = dict(self._leaving)
        for slot in (self._active, self._second.slot if self._second else None):
            if slot is not None:
                slots[slot.number] = slot
        return slots

    @property
    def _has_room(self) -> bool:
        return len(self._slots()) < AT_ONCE

    def _is_ending(self, number: int) -> bool:
        slot = self._slots().get(number)
        return slot is not None and slot.ending is not None

    def _start(self, reason: Reason | None, now: float) -> None:
        self._pause = Pause(now, 0.0, "those before it still drain", reason)

    def _spawn(self, settings: Settings, now: float) -> Slot:
        self.number += 1
        protocol = self._choice.protocol(settings, now)
        self._out.append(steps.Spawn(self.number, settings, protocol, self._choice.is_plain))
        return Slot(self.number, settings, protocol, spawned=now)

    def _retire(self, now: float) -> None:
        """Let the active child drain; whatever follows does not wait for it."""
        slot, self._active = self._active, None
        if slot is not None:
            self._end(slot, now)

    def _end(self, slot: Slot, now: float) -> None:
        self._out += slot.end(Ending(After.NOTHING), now + slot.patience)
        self._leaving[slot.number] = slot

    def _gone(self, number: int, end: Exit, now: float, draw: float) -> None:
        """A child has ended, or never was."""
        if self._leaving.pop(number, None) is not None:
            return
        first, one = self._active, self._second
        second = None if one is None else one.slot
        if one is not None and second is not None and second.number == number:
            one.slot = None
            self._second_failed(
                telling.end_words(end), self._choice.permanent(end, second), now, draw
            )
        elif first is not None and first.number == number:
            self._active = None
            self._first_gone(first, end, now, draw)

    def _first_gone(self, first: Slot, end: Exit, now: float, draw: float) -> None:
        if self._stop_by is not None:
            return
        self._answer(f"cloudflared could not be started: {telling.end_words(end).rstrip('.')}.")
        if self._second is not None and self._second.slot is not None:
            self._swap(self._second.slot, first, now)
            return
        self._drop_second("cloudflared ended meanwhile.", now)
        self._choice.missed(first)
        if first.ending is None:
            self._fell(first, end, now, draw)
        elif first.ending.after is After.PARK:
            self._park(first.ending.why, None, now)
        else:
            self._after_fault(first, first.ending, now, draw)

    def _fell(self, slot: Slot, end: Exit, now: float, draw: float) -> None:
        """The active child ended by itself."""
        words = telling.end_words(end)
        code = self._choice.permanent(end, slot)
        if code is not None and not self._choice.turn(is_permanent=True):
            self._park(words, code, now)
            return
        seconds = self._backoff.crashed(end.cause, slot.pace, now, draw)
        self._choice.turn(is_permanent=False)
        self._pause = Pause(now + seconds, seconds, words, "exit")

    def _after_fault(self, slot: Slot, ending: Ending, now: float, draw: float) -> None:
        """The active child was told to end, for it did not carry."""
        if ending.fault is Fault.HUNG:
            seconds = self._backoff.crashed(Cause.UNKNOWN, slot.pace, now, draw)
        else:
            seconds = self._backoff.missed(slot.pace, now - slot.spawned, draw)
        self._choice.turn(is_permanent=False)
        self._pause = Pause(now + seconds, seconds, ending.why, ending.reason)

    def _park(self, why: str, code: Cause | None, now: float) -> None:
        seconds = MISSING if code is Cause.BINARY else PARKED
        self._pause = Pause(now + seconds, seconds, why, "exit", code or Cause.UNKNOWN)

    # -- what children tell

    def _complained(self, slot: Slot, complaint: Complaint, now: float, draw: float) -> None:
        if slot.ending is not None:
            return
        fault, why = complaint.fault, complaint.message
        if fault is Fault.MISSED and self._choice.learn(slot, now):
            why += "; QUIC failed, so the next one uses http2"
        if fault is Fault.FOREIGN:
            self._chronicle.is_foreign = True
            self._out.append(telling.foreign(why))
        if slot is not self._active:
            code = Cause.CONFIG if fault is Fault.FOREIGN else None
            if self._second is not None:
                self._second_failed(why, code, now, draw)
        elif self._second is not None and self._second.slot is not None:
            second = self._second.slot
            self._retire(now)
            self._swap(second, slot, now)
        else:
            self._drop_second("cloudflared had to be ended meanwhile.", now)
            is_foreign = fault is Fault.FOREIGN
            wait = slot.settings.grace + MARGIN if is_foreign else LAST_WORDS
            after = After.PARK if is_foreign else After.PAUSE
            self._out += slot.end(Ending(after, why, "unhealthy", fault), now + wait)

    def _looked(self, slot: Slot, event: steps.Looked, now: float, draw: float) -> None:
        living = [one for one in self._slots().values() if one.ending is None]
        known = Known(
            self.replica,
            {one.connector: one.number for one in living if one.connector is not None},
            event.origin,
            event.network,
            slot.settings.open,
        )
        verdict = classify(event.sighting, known)
        self._out += self._chronicle.probed(verdict, event.sighting, now)
        self._out += self._chronicle.met(other(event.sighting, known), now)
        by = self._slots().get(carrier(event.sighting, known) or slot.number, slot)
        if by is not slot:
            by.looked(verdict, event.sighting, known, now)
            slot.judged(Verdict.OTHER)
        elif self._second is not None and verdict is not Verdict.CARRIED:
            slot.judged(verdict)  # either of both may have failed
        else:
            slot.looked(verdict, event.sighting, known, now)
        if self._second is not None and slot is self._second.slot:
            slot.look.back(now + LOOK_EVERY)
        else:
            slot.look_again(now, draw)
            self._mistrust(slot, now)

    def _mistrust(self, slot: Slot, now: float) -> None:
        """Probes may cause a restart, seldom."""
        if slot is not self._active or slot.ending is not None or self._second is not None:
            return
        if slot.record.may_restart(now, is_quick=slot.is_quick) and self._seldom.allows(now):
            self._seldom.caused(now)
            self._replace(slot, slot.settings, "unhealthy", now)

    # -- the replacement

    def _swap(self, second: Slot, first: Slot, now: float) -> None:
        """The second child is the active one; the first has ended or drains."""
        one, self._second = self._second, None
        if one is None:
            return
        if self._active is first:
            self._retire(now)
        self._active, self._pause = second, None
        self._out += self._chronicle.restarted(one.reason)
        for ticket in one.tickets:
            self._out.append(steps.Reply(ticket, "Another cloudflared has taken over."))
        self._out.append(telling.taken_over())

    def _second_failed(self, why: str, code: Cause | None, now: float, draw: float) -> None:
        one = self._second
        if one is None:
            return
        one.failures, one.ready_at = one.failures + 1, None
        if one.slot is not None:
            self._end(one.slot, now)
            one.slot = None
        if code is not None or one.failures >= TRIES:
            if self._active is not None:
                self._choice.keep(self._active.settings)
            self._out.append(telling.given_up(why))
            said = f"The replacement has failed, and all stays as it was: {why.rstrip('.')}."
            self._drop_second(said, now)
            return
        pace = QUICK if one.settings.kind == "quick" else NAMED
        one.pause = one.backoff.crashed(Cause.UNKNOWN, pace, now, draw)
        one.due = now + one.pause
        self._out.append(telling.second_failed(why, one.pause))

    def _drop_second(self, said: str, now: float) -> None:
        one, self._second = self._second, None
        if one is None:
            return
        if one.slot is not None:
            self._end(one.slot, now)
        self._out += [steps.Reply(ticket, said) for ticket in one.tickets]

    # -- what time brings

    def _pass_time(self, now: float, draw: float) -> None:
        for slot in list(self._slots().values()):
            complaint = slot.overdue(now)
            if complaint is not None:
                self._complained(slot, complaint, now, draw)
        self._pass_refusal(now)
        self._pass_second(now, draw)
        for slot in self._slots().values():
            if slot.ending is not None:
                self._out += slot.kill(now)
        if self._pause is not None and now >= self._pause.until and self._has_room:
            self._leave_pause(now)
        if self._stop_by is not None and not self._slots():
            self._has_ended = True
            self._out.append(steps.Ended())

    def _leave_pause(self, now: float) -> None:
        pause, settings = self._pause, self._choice.settings
        self._pause = None
        if settings is None or pause is None:
            return
        if pause.reason is not None:
            self._out += self._chronicle.restarted(pause.reason)
        self._active = self._spawn(settings, now)

    def _pass_refusal(self, now: float) -> None:
        """Settings that are refused give way to those that were good."""
        slot = self._active
        if slot is None or slot.ending is not None or not slot.is_refused(now):
            return
        if self._stop_by is None and self._second is None and self._choice.leave_refused():
            self._retire(now)
            self._start("unhealthy", now)

    def _pass_second(self, now: float, draw: float) -> None:
        one, first = self._second, self._active
        if one is None or first is None:
            return
        if one.slot is None:
            if now >= one.due and self._has_room:
                one.slot = self._spawn(one.settings, now)
            return
        one.watch(first, now)
        if one.may_swap(now):
            self._swap(one.slot, first, now)
        elif one.slot.is_refused(now):
            self._second_failed(one.slot.trouble, Cause.UNAUTHORIZED, now, draw)
        elif one.has_failed(now):
            self._second_failed("no probe came through it", None, now, draw)

    def _may_look_at_first(self, now: float) -> bool:
        """The second child's probes meet the first one too."""
        second = self._second.slot if self._second else None
        return second is None or not second.carries(now)

    def _ask(self, now: float) -> None:
        if self._active is not None:
            may_look = self._may_look_at_first(now)
            self._out += self._active.questions(now, may_look=may_look)
        if self._second is not None:
            self._out += self._second.questions(now)

    # -- what changed

    def _settle(self, now: float) -> None:
        slot = self._active
        if slot is not None:
            if not slot.is_well(now):
                slot.well_at = None
            else:
                slot.well_at = now if slot.well_at is None else slot.well_at
                self._note_well(slot, slot.well_at, now)
        self._out += self._chronicle.settle(self._view(now), now)

    def _note_well(self, slot: Slot, since: float, now: float) -> None:
        if slot.proven or slot.url is None:
            self._choice.good = slot.settings
        if not slot.was_stable and now >= since + slot.pace.stable:
            slot.was_stable = True
            self._backoff.is_stable()
            self._seldom.is_stable(now)

    # -- what is known

    def _state(self, now: float) -> State:
        if self._active is not None:
            return self._active.state(now)
        if self._pause is not None:
            return State.BACKOFF if self._pause.code is None else State.PARKED
        leaving = [slot.state(now) for slot in self._leaving.values()]
        if State.KILLING in leaving:
            return State.KILLING
        return State.DRAINING if leaving else State.DISABLED

    def _view(self, now: float) -> View:
        second = self._second.slot if self._second is not None else None
        return View(
            self._state(now),
            None if self._stop_by is not None else self._choice.wanted,
            self._active,
            None if second is None else second.state(now),
            self._pause,
            self._backoff,
        )

    def facts(self, now: float) -> Facts:
        """The tunnel as status tells it."""
        return self._chronicle.facts(self._view(now), now)
