"""A line never takes more than its bounds say, loses nobody, and lets clients take turns."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.policy.admission import Bounds, Line, Shed, Stage, Ticket, told


class Crowd:
    """A line and those who came to it; clients are letters."""

    def __init__(self, bounds: Bounds) -> None:
        self.line, self.bounds = Line(), bounds
        self.order: list[str] = []  # who was woken
        self.tickets: list[Ticket] = []

    def come(self, *clients: str) -> str:
        """Each wants in; a letter for each: in, waiting or shed."""
        return "".join(self._one(client) for client in clients)

    def _one(self, client: str) -> str:
        if self.line.enter(self.bounds):
            return "i"
        ticket = Ticket(client, lambda: self.order.append(client))
        if not self.line.join(ticket, self.bounds):
            return "s"
        self.tickets.append(ticket)
        return "w"

    def leave(self, times: int = 1) -> str:
        """So many places are left; who came in, in order."""
        self.order = []
        for _ in range(times):
            self.line.leave(self.bounds)
        return "".join(self.order)

    @property
    def stages(self) -> str:
        return "".join(ticket.stage.value[0] for ticket in self.tickets)


@pytest.mark.parametrize(
    ("bounds", "comes", "what"),
    [
        (Bounds(None, 0), "aaaa", "iiii"),
        (Bounds(1, 0), "aaa", "iss"),
        (Bounds(2, 1), "aaaa", "iiws"),
        (Bounds(1, 2), "aaaa", "iwws"),
        (Bounds(1, 2), "aaab", "iwww"),  # displaces
        (Bounds(1, 2), "aaabb", "iwwws"),
        (Bounds(1, 2), "aaaba", "iwwws"),  # and is not displaced in turn
        (Bounds(1, 1), "aab", "iws"),  # nothing gets fairer
        (Bounds(1, 3), "aaaabc", "iwwwww"),
        (Bounds(1, 3), "aaaabcd", "iwwwwws"),
    ],
)
def test_who_comes_in_waits_or_is_shed(bounds: Bounds, comes: str, what: str) -> None:
    assert Crowd(bounds).come(*comes) == what


def test_clients_take_turns_and_each_is_served_in_order() -> None:
    crowd = Crowd(Bounds(1, 100))
    crowd.come(*"a", *"aaaa", *"bb", *"c")
    assert crowd.leave(7) == "abcabaa"
    assert (crowd.line.in_flight, crowd.line.waiting) == (1, 0)


def test_who_comes_again_goes_behind_those_who_wait() -> None:
    crowd = Crowd(Bounds(1, 100))
    crowd.come(*"x", *"abb")
    assert crowd.leave() == "a"
    crowd.come("a", "c")
    assert crowd.leave(4) == "bacb"


def test_the_newest_of_those_who_wait_most_is_displaced() -> None:
    crowd = Crowd(Bounds(1, 5))
    crowd.come(*"x", *"aabbb")
    assert crowd.come("c") == "w"
    assert crowd.stages == "wwwwdw"
    assert crowd.order == ["b"]
    assert crowd.come("d") == "w"  # a and b have two each: b's turn is farther off
    assert crowd.stages == "wwwddww"


def test_a_bound_that_grows_lets_waiters_in() -> None:
    crowd = Crowd(Bounds(1, 10))
    crowd.come(*"aaaa")
    crowd.line.admit(Bounds(3, 10))
    assert crowd.stages == "aaw"
    crowd.line.admit(Bounds(None))
    assert crowd.stages == "aaa"


def test_nobody_overtakes_those_whom_a_grown_bound_has_room_for() -> None:
    crowd = Crowd(Bounds(1, 10))
    crowd.come(*"aa")
    crowd.bounds = Bounds(2, 10)
    assert crowd.come("b") == "w"
    assert crowd.stages == "aw"


def test_a_bound_that_shrinks_lets_nobody_in_before_it_holds_again() -> None:
    crowd = Crowd(Bounds(3, 10))
    crowd.come(*"aaab")
    crowd.bounds = Bounds(1, 10)
    assert crowd.leave(2) == ""
    assert crowd.leave() == "b"


@pytest.mark.parametrize(
    ("bounds", "comes", "full"),
    [
        (Bounds(None, 0), "aa", False),
        (Bounds(2, 0), "a", False),
        (Bounds(2, 0), "aa", True),
        (Bounds(1, 1), "a", False),
        (Bounds(1, 1), "aa", True),
    ],
)
def test_when_it_is_full(bounds: Bounds, comes: str, full: bool) -> None:
    crowd = Crowd(bounds)
    crowd.come(*comes)
    assert crowd.line.is_full(bounds) is full


def test_a_ticket_ends_once() -> None:
    crowd = Crowd(Bounds(1, 10))
    crowd.come(*"aa")
    crowd.line.abandon(crowd.tickets[0])
    assert (crowd.stages, crowd.line.waiting) == ("g", 0)
    with pytest.raises(RuntimeError, match="already ended: gone"):
        crowd.line.abandon(crowd.tickets[0])
    crowd.line.leave(crowd.bounds)
    with pytest.raises(RuntimeError, match="nobody had taken"):
        crowd.line.leave(crowd.bounds)


@pytest.mark.parametrize(
    ("shed", "size", "words"),
    [
        (Shed.FULL, 1, "takes no more requests, and its queue is full (1 in flight, 1 waiting)"),
        (Shed.FULL, 0, "takes no more requests at once, and has no queue (1 in flight, 1 waiting)"),
        (Shed.DISPLACED, 1, "clients with fewer requests go first (1 in flight, 1 waiting)"),
        (Shed.LATE, 1, "no free place in the time that a request may wait (1 in flight, 1 waiting"),
    ],
)
def test_a_refusal_says_how_many_there_are(shed: Shed, size: int, words: str) -> None:
    crowd = Crowd(Bounds(1, 1))
    crowd.come(*"aa")
    assert words in told(shed, crowd.line, Bounds(1, size))


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60))
def test_with_k_clients_each_is_served_within_k_turns(comes: list[str]) -> None:
    crowd = Crowd(Bounds(1, 100))
    crowd.come("x", *comes)
    waiting = {client: comes.count(client) for client in set(comes)}
    while waiting:
        served = crowd.leave(len(waiting))
        assert sorted(served) == sorted(waiting)
        waiting = {client: count - 1 for client, count in waiting.items() if count > 1}


BOUNDS = st.builds(
    Bounds, in_flight=st.one_of(st.none(), st.integers(1, 4)), size=st.integers(0, 6)
)


class Lines(RuleBasedStateMachine):
    """Any order of comings, leavings and reloads, beside a plain account of them."""

    @initialize(bounds=BOUNDS)
    def open(self, bounds: Bounds) -> None:
        self.line, self.bounds = Line(), bounds
        self.held = 0  # places
        self.waiting: list[Ticket] = []  # in order of arrival
        self.arrived: dict[Ticket, int] = {}  # how many tickets there were before
        self.ended = 0  # tickets
        self.ahead: dict[str, set[str]] = {}  # who may still be served before a client

    def _woken(self, box: list[Ticket]) -> None:
        (ticket,) = box
        self.waiting.remove(ticket)
        self.ended += 1
        if ticket.stage is Stage.DISPLACED:
            mine = [one for one in self.waiting if one.client == ticket.client]
            assert mine, "the last waiter of a client is never displaced"
            return
        assert ticket.stage is Stage.ADMITTED
        self.held += 1
        assert not any(one.client == ticket.client for one in self._before(ticket))
        for client, others in self.ahead.items():
            if client != ticket.client:
                assert ticket.client in others, f"{ticket.client} had two turns before {client}"
                others.discard(ticket.client)
        self.ahead[ticket.client] = set(self.ahead) - {ticket.client}
        self._forget(ticket.client)

    def _before(self, ticket: Ticket) -> list[Ticket]:
        """Waiters of the same client that came earlier."""
        order = self.arrived
        return [one for one in self.waiting if order[one] < order[ticket]]

    def _forget(self, client: str) -> None:
        if not any(one.client == client for one in self.waiting):
            del self.ahead[client]
            for others in self.ahead.values():
                others.discard(client)

    @rule(client=st.sampled_from("abcde"))
    def come(self, client: str) -> None:
        if self.line.enter(self.bounds):
            self.held += 1
            assert not self.waiting
            return
        box: list[Ticket] = []
        ticket = Ticket(client, lambda: self._woken(box))
        box.append(ticket)
        was_full = len(self.waiting) >= self.bounds.size
        if not self.line.join(ticket, self.bounds):
            assert was_full, "nobody is shed while there is room"
            return
        self.arrived[ticket] = len(self.arrived)
        self.ahead.setdefault(client, set(self.ahead) - {client})
        self.waiting.append(ticket)

    @precondition(lambda self: self.held)
    @rule()
    def leave(self) -> None:
        self.held -= 1
        self.line.leave(self.bounds)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def abandon(self, data: Any) -> None:
        ticket = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ticket)
        self.ended += 1
        self.line.abandon(ticket)
        self._forget(ticket.client)

    @rule(bounds=BOUNDS)
    def reload(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.line.admit(bounds)

    @invariant()
    def the_account_agrees(self) -> None:
        assert (self.line.in_flight, self.line.waiting) == (self.held, len(self.waiting))
        assert len(self.arrived) == self.ended + len(self.waiting)
        assert set(self.ahead) == {one.client for one in self.waiting}
        assert set(self.line._queues) == set(self.ahead)

    @invariant()
    def nobody_waits_while_there_is_room(self) -> None:
        limit = self.bounds.in_flight
        assert not self.waiting or (limit is not None and self.held >= limit)

    def teardown(self) -> None:
        for _ in range(self.held + len(self.waiting)):
            self.held -= 1
            self.line.leave(self.bounds)
        assert not self.waiting
        assert self.line.in_flight == 0
        assert self.ended == len(self.arrived)


class Steady(Lines):
    """Without reloads the bounds hold at every moment."""

    @rule(bounds=BOUNDS)
    def reload(self, bounds: Bounds) -> None:
        """Nothing changes."""

    @invariant()
    def the_bounds_hold(self) -> None:
        limit = self.bounds.in_flight
        assert limit is None or self.line.in_flight <= limit
        assert self.line.waiting <= self.bounds.size


TestLines = Lines.TestCase
TestSteady = Steady.TestCase
