"""Two children: make before break, and a second that fails beside a first that works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from tests.tunnel.play import (
    CHANGED,
    PLAIN,
    QUICK,
    REFUSED,
    UNPROBED,
    Kid,
    Play,
    bare,
    dying,
    healthy,
    mute,
    proof,
    stubborn,
)
from tunnel import steps
from tunnel.events import (
    Cause,
    Ready,
    Sighting,
)
from tunnel.facts import State
from tunnel.settings import Settings

S = State
SERVING = [S.STARTING, S.CONNECTING, S.UP, S.HEALTHY]


@pytest.mark.parametrize("what", ["apply", "restart"])
def test_make_before_break(what: Literal["apply", "restart"]) -> None:
    play = healthy()
    play.wait(100)
    play.feed(steps.Apply(CHANGED) if what == "apply" else steps.Restart(9))
    began = play.now
    assert play.alive == [1, 2]
    play.wait(4.9)
    assert (play.facts.replacing, play.facts.connector) == (S.HEALTHY, "connector-1")
    assert play.kids[1].signals == []
    play.wait(0.2)
    assert play.kids[1].signals == [("TERM", began + 5)]
    assert (play.state(), play.facts.connector) == (S.HEALTHY, "connector-2")
    reason: Literal["config", "operator"] = "config" if what == "apply" else "operator"
    assert play.of(steps.CountRestart) == [steps.CountRestart(reason)]
    assert play.of(steps.CountRecovery) == []
    assert play.of(steps.CountExit) == [steps.CountExit(0, expected=True)]
    assert set(play.states[3:]) == {S.HEALTHY}
    assert len(play.of(steps.Reply)) == (what == "restart")


def test_the_second_needs_a_probe_of_its_own() -> None:
    play = healthy()
    play.see = lambda _: proof("connector-1")  # the edge never chooses the second
    play.feed(steps.Restart(9))
    play.wait(57)
    assert play.alive == [1, 2]
    play.see = lambda _: proof("connector-2")
    play.wait(7)
    assert play.alive == [2]


def test_a_probe_that_hangs_does_not_use_up_the_time_of_the_second() -> None:
    play = healthy()
    play.see = lambda _: proof("connector-1")
    play.feed(steps.Restart(9))
    play.wait(50)
    patience = [look.settings.probe.timeout for look in play.of(steps.Look) if look.number == 2]
    assert patience[0] == 3.0
    assert patience == sorted(patience)  # where the way is slow, it grows
    assert patience[-1] == PLAIN.probe.timeout == 10.0


def test_a_second_that_never_carries_a_probe_is_given_up() -> None:
    play = healthy()
    play.see = lambda _: proof("connector-1")
    play.feed(steps.Restart(9))
    play.wait(300)
    assert play.alive == [1]
    assert (play.state(), play.kids[1].signals, len(play.kids)) == (S.HEALTHY, [], 4)
    (reply,) = play.of(steps.Reply)
    assert "has failed" in reply.message


def test_one_connection_is_enough_after_a_while() -> None:
    play = healthy()
    play.breed = lambda kid: setattr(kid, "connections", 1)
    play.feed(steps.Restart(9))
    play.wait(9.9)
    assert play.alive == [1, 2]
    play.wait(0.2)
    assert play.alive == [2]


@pytest.mark.parametrize(
    "settings", [UNPROBED, replace(PLAIN, open=True)], ids=["unprobed", "open"]
)
def test_where_no_probe_can_tell_being_up_is_enough(settings: Settings) -> None:
    play = Play()
    play.see = lambda _: Sighting(200)
    play.feed(steps.Apply(settings))
    play.wait(10)
    play.feed(steps.Apply(replace(settings, secret="two")))
    play.wait(11)
    assert play.alive == [2]


def test_where_probes_never_told_of_the_first_they_need_not_of_the_second() -> None:
    play = Play()
    play.see = lambda _: Sighting(403, is_policy=True)
    play.feed(steps.Apply(PLAIN))
    play.wait(60)
    play.feed(steps.Apply(CHANGED))
    play.wait(11)
    assert play.alive == [2]


def test_where_probes_told_of_the_first_they_must_of_the_second() -> None:
    play = healthy()
    play.see = lambda _: Sighting(403, is_policy=True)
    play.feed(steps.Apply(CHANGED))
    play.wait(600)
    assert play.alive == [1]


BAD: list[Callable[[Kid], None]] = [
    dying(1, Cause.EDGE),
    dying(255, Cause.CREDENTIAL),
    dying(0, Cause.FLAGS),
    bare,
    mute,
    lambda kid: setattr(kid, "ready", Ready.NO_ANSWER),
    lambda kid: setattr(kid, "services", ("ssh://localhost:22",)),
]


@pytest.mark.parametrize("breed", BAD)
def test_a_second_that_fails_never_touches_the_first(breed: Callable[[Kid], None]) -> None:
    play = healthy()
    play.breed = breed
    play.see = lambda _: proof("connector-1")
    play.feed(steps.Apply(CHANGED))
    play.wait(1000)
    assert play.kids[1].signals == []
    assert (play.state(), play.alive, play.facts.replacing) == (S.HEALTHY, [1], None)
    assert len(play.kids) <= 4
    assert len([line for line in play.lines("error") if "first cloudflared stays" in line]) == 1
    assert not play.facts.crash_loop
    assert play.facts.restarts == 0


def test_a_second_that_is_refused_is_given_up() -> None:
    play = healthy()
    play.breed = bare
    play.feed(steps.Apply(CHANGED))
    play.tell(2, REFUSED)
    assert play.facts.why == ""
    play.wait(70)
    assert (play.state(), play.alive) == (S.HEALTHY, [1])
    assert "earlier settings" in play.facts.why
    play.feed(steps.Apply(PLAIN))
    assert (play.facts.why, play.alive) == ("", [1])


def test_after_a_failed_replacement_a_crash_starts_what_was_good() -> None:
    play = healthy()
    play.breed = dying(255, Cause.CREDENTIAL)
    play.feed(steps.Apply(CHANGED))
    play.wait(100)
    play.breed = lambda _: None
    play.end(1)
    play.wait(2)
    assert (play.state(), play.last.spawn.settings) == (S.HEALTHY, PLAIN)
    play.feed(steps.Restart(1))  # the operator has mended it
    play.wait(6)
    assert (play.state(), play.last.spawn.settings) == (S.HEALTHY, CHANGED)


def test_the_first_ends_while_the_second_comes() -> None:
    play = healthy()
    play.breed = bare
    play.feed(steps.Restart(9))
    play.end(1)
    assert (play.state(), play.alive, play.facts.replacing) == (S.CONNECTING, [2], None)
    play.silence(2, Ready.READY)
    play.wait(1)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 2)


def test_the_first_hangs_while_the_second_comes() -> None:
    play = healthy()
    play.breed = bare
    play.feed(steps.Restart(9))
    play.kids[1].obeys = False
    play.silence(1, Ready.NO_ANSWER)
    play.wait(4)
    assert play.state() is S.CONNECTING
    play.wait(6)
    assert [name for name, _ in play.kids[1].signals] == ["TERM", "KILL"]
    assert play.alive == [2]


def test_settings_that_come_back_drop_the_second() -> None:
    play = healthy()
    play.breed = bare
    play.feed(steps.Apply(CHANGED))
    play.feed(steps.Apply(PLAIN))
    assert (play.alive, play.state()) == ([1], S.HEALTHY)
    play.wait(1000)
    assert len(play.kids) == 2


def test_settings_that_change_once_more_replace_the_second() -> None:
    play = healthy()
    play.breed = bare
    play.feed(steps.Apply(CHANGED))
    play.breed = lambda _: None
    play.feed(steps.Apply(replace(PLAIN, secret="three")))
    play.wait(6)
    assert [kid.spawn.settings.secret for kid in play.kids.values()] == ["one", "two", "three"]
    assert play.alive == [3]


def test_no_more_than_two_run_at_once() -> None:
    play = healthy()
    for kid in play.kids.values():
        kid.obeys = False
    play.breed = stubborn
    for one in range(20):
        play.feed(steps.Apply(replace(PLAIN, secret=f"secret {one}")))
        play.wait(3)
        assert len(play.alive) <= 2
    play.wait(60)
    assert (play.state(), play.last.spawn.settings.secret) == (S.HEALTHY, "secret 19")


def test_what_is_not_the_childs_needs_no_other_child() -> None:
    play = healthy()
    changed = replace(
        PLAIN, probe=replace(PLAIN.probe, url="https://other.example.com"), proof_secret=b"2"
    )
    play.feed(steps.Apply(changed))
    play.wait(60)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 1)
    assert play.of(steps.Look)[-1].url == "https://other.example.com"


@pytest.mark.parametrize("what", ["apply", "restart"])
def test_a_quick_tunnel_breaks_before_it_makes(what: Literal["apply", "restart"]) -> None:
    play = healthy(QUICK)
    play.kids[1].obeys = False
    play.feed(
        steps.Apply(replace(QUICK, protocol="http2")) if what == "apply" else steps.Restart(9)
    )
    assert play.kids[1].signals == [("TERM", play.now)]
    assert play.alive == [1, 2], "what is under way on the first ends"
    play.wait(20)
    assert play.state() is S.HEALTHY
    if what == "restart":
        (reply,) = play.of(steps.Reply)
        assert "public name changes" in reply.message


def test_restart_with_nothing_to_restart() -> None:
    play = Play()
    play.feed(steps.Restart(1))
    assert play.of(steps.Reply) == [
        steps.Reply(1, "The tunnel is off: there is nothing to restart.")
    ]


def test_restart_says_that_nothing_can_be_started() -> None:
    """As where the program is not there: it waits for the next look at that."""
    play = Play()
    play.spawns = False
    play.feed(steps.Apply(PLAIN))
    assert play.state() is S.BACKOFF
    play.feed(steps.Restart(1))
    assert play.of(steps.Reply) == [
        steps.Reply(1, "cloudflared could not be started: no process is left.")
    ]
    play.spawns = True
    play.feed(steps.Restart(2))
    assert play.of(steps.Reply)[1:] == [
        steps.Reply(2, "The tunnel was not running; cloudflared starts now.")
    ]


@pytest.mark.parametrize("end", [steps.Apply(None), steps.Stop(5)])
def test_who_waits_for_a_process_is_told_that_there_will_be_none(end: steps.Event) -> None:
    play = healthy()
    play.kids[1].boots = False
    play.end(1)
    machine = play.machine
    told = machine.step([steps.Restart(1)], play.now, 0.5)
    told += machine.step([end], play.now, 0.5)
    assert len([one for one in told if isinstance(one, steps.Reply)]) == 1


def test_two_restarts_are_one() -> None:
    play = healthy()
    play.feed(steps.Restart(1), steps.Restart(2))
    play.wait(6)
    assert [reply.ticket for reply in play.of(steps.Reply)] == [1, 2]
    assert len(play.kids) == 2


@pytest.mark.parametrize("breed", [dying(1, Cause.EDGE), dying(255, Cause.CREDENTIAL), bare])
def test_restart_ends_every_waiting(breed: Callable[[Kid], None]) -> None:
    play = Play()
    play.breed = breed
    play.feed(steps.Apply(PLAIN))
    play.breed = lambda _: None
    play.feed(steps.Restart(1))
    play.wait(0.1)
    assert play.state() is S.HEALTHY
    assert len(play.of(steps.Reply)) == 1
