"""Off and on again, and stop in every state."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.tunnel.play import (
    PLAIN,
    REFUSED,
    UNPROBED,
    Kid,
    Play,
    bare,
    dying,
    healthy,
    mute,
)
from tunnel import steps
from tunnel.events import (
    Cause,
    Exit,
    Ready,
)
from tunnel.facts import State

S = State
SERVING = [S.STARTING, S.CONNECTING, S.UP, S.HEALTHY]


def test_switched_off_and_on() -> None:
    play = healthy()
    play.kids[1].obeys = False
    play.feed(steps.Apply(None))
    assert play.state() is S.DRAINING
    play.wait(24.9)
    assert play.kids[1].signals[-1][0] == "TERM"
    play.wait(0.2)
    assert play.kids[1].signals[-1][0] == "KILL"
    assert play.state() is S.DISABLED
    assert play.machine.deadline(play.now) is None
    play.feed(steps.Apply(PLAIN))
    assert play.state() is S.HEALTHY
    assert play.of(steps.CountRecovery) == []


STATES: dict[str, Callable[[], Play]] = {}


def state(name: str) -> Callable[[Callable[[], Play]], Callable[[], Play]]:
    def keep(make: Callable[[], Play]) -> Callable[[], Play]:
        STATES[name] = make
        return make

    return keep


@state("disabled")
def _disabled() -> Play:
    return Play()


@state("starting")
def _starting() -> Play:
    return shaped(mute)


@state("connecting")
def _connecting() -> Play:
    return shaped(bare)


def shaped(breed: Callable[[Kid], None]) -> Play:
    play = Play()
    play.breed = breed
    play.feed(steps.Apply(PLAIN))
    return play


@state("up")
def _up() -> Play:
    return Play(UNPROBED)


@state("healthy")
def _healthy() -> Play:
    return healthy()


@state("degraded")
def _degraded() -> Play:
    play = healthy()
    play.kids[1].connections = 1
    play.wait(70)
    return play


@state("suspect")
def _suspect() -> Play:
    play = healthy()
    play.silence(1)
    play.wait(5)
    return play


@state("draining")
def _draining() -> Play:
    play = healthy()
    play.kids[1].obeys = False
    play.silence(1, Ready.NO_ANSWER)
    play.wait(4)
    return play


@state("backoff")
def _backoff() -> Play:
    return shaped(dying(1, Cause.EDGE))


@state("parked")
def _parked() -> Play:
    return shaped(dying(255, Cause.CREDENTIAL))


@state("parked with its child")
def _parked_with_its_child() -> Play:
    play = shaped(bare)
    play.tell(1, REFUSED)
    play.wait(61)
    return play


@state("replacing")
def _replacing() -> Play:
    play = healthy()
    play.breed = bare
    play.feed(steps.Restart(9))
    return play


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("obeys", [True, False], ids=["obeys", "does not"])
@pytest.mark.parametrize("name", STATES)
def test_stop_in_every_state(name: str, obeys: bool, again: bool) -> None:
    play = STATES[name]()
    assert play.state().value == name.split()[0].replace("replacing", "healthy")
    for kid in play.kids.values():
        kid.obeys = obeys
    before = list(play.alive)
    play.feed(steps.Stop(12))
    if again:
        play.wait(1)
        play.feed(steps.Stop(12))
    play.wait(13)
    assert play.alive == []
    assert (play.state(), play.machine.deadline(play.now)) == (S.DISABLED, None)
    assert len(play.of(steps.Ended)) == 1
    assert len(play.kids) == len(set(before) | set(play.kids)), "none was started"
    for number in before:
        sent = [one for one, _ in play.kids[number].signals]
        assert sent.count("TERM") == 1
        hangs = name == "draining"  # it was told to end before, and did not
        assert sent.count("KILL") == (0 if obeys and not hangs else 1)
    assert len(play.of(steps.Reply)) == (name == "replacing")


@pytest.mark.parametrize(("within", "expected"), [(600.0, 25.0), (12.0, 12.0), (0.0, 0.0)])
def test_stop_leaves_the_grace_but_no_more_than_there_is(within: float, expected: float) -> None:
    play = healthy()
    play.kids[1].obeys = False
    began = play.now
    play.feed(steps.Stop(within))
    play.wait(700)
    assert play.kids[1].signals == [("TERM", began), ("KILL", began + expected)]


@pytest.mark.parametrize("name", ["starting", "connecting", "suspect"])
def test_stop_waits_a_moment_for_what_carries_nothing(name: str) -> None:
    play = STATES[name]()
    play.kids[1].obeys = False
    began = play.now
    play.feed(steps.Stop(600))
    play.wait(700)
    assert play.kids[1].signals == [("TERM", began), ("KILL", began + 5)]


def test_one_answer_that_was_late_costs_no_stream_its_grace() -> None:
    play = healthy()
    play.kids[1].obeys = False
    play.silence(1, Ready.NO_ANSWER)
    play.wait(1.5)
    began = play.now
    play.feed(steps.Stop(600))
    play.wait(700)
    assert play.kids[1].signals == [("TERM", began), ("KILL", began + 25)]


def test_stop_of_a_child_that_is_not_spawned_yet() -> None:
    play = Play()
    machine = play.machine
    (spawn,) = [
        one
        for one in machine.step([steps.Apply(PLAIN)], play.now, 0.5)
        if isinstance(one, steps.Spawn)
    ]
    told = machine.step([steps.Stop(10)], play.now, 0.5)
    assert steps.Terminate(1) not in told
    told = machine.step([steps.Spawned(spawn.number, 101)], play.now + 1, 0.5)
    assert told == [steps.Terminate(1)]
    told = machine.step([steps.FromChild(1, Exit(0, Cause.ASKED))], play.now + 2, 0.5)
    assert steps.Ended() in told


def test_one_that_outlives_sigkill_is_killed_again_and_not_forgotten() -> None:
    play = healthy()
    machine, sent = play.machine, []
    machine.step([steps.Stop(0)], play.now, 0.5)
    for _ in range(4):
        due = machine.deadline(play.now)
        assert due is not None
        play.now = due
        sent += machine.step([], play.now, 0.5)
    assert sent.count(steps.Kill(1)) == 4
    assert machine.facts(play.now).state is S.KILLING
