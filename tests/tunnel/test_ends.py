"""How a child ends, what probes and a foreign ingress cause, and what comes after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tunnel.play import (
    CHANGED,
    LOST,
    PLAIN,
    QUICK,
    REFUSED,
    UNPROBED,
    Play,
    bare,
    dying,
    healthy,
    proof,
)
from tunnel import steps
from tunnel.events import (
    Cause,
    ConfigPushed,
    Ready,
)
from tunnel.facts import State

S = State
SERVING = [S.STARTING, S.CONNECTING, S.UP, S.HEALTHY]
# --- ends of a child --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1, 2, -9, -13, -6, 0, 10])
def test_a_child_that_ends_is_started_again(code: int) -> None:
    play = healthy()
    play.end(1, code)
    assert play.state() is S.BACKOFF
    assert 0 < play.facts.backoff <= 1
    play.wait(1.01)
    assert (play.state(), play.facts.restarts) == (S.HEALTHY, 1)
    assert play.of(steps.CountExit) == [steps.CountExit(code, expected=False)]
    assert play.of(steps.CountRestart) == [steps.CountRestart("exit")]
    assert len(play.of(steps.CountRecovery)) == 1


def test_one_that_replaced_its_file_starts_at_once() -> None:
    play = healthy()
    play.end(1, 11, Cause.UPDATED)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 2)


@pytest.mark.parametrize(("lived", "is_soon"), [(61, True), (2, False)])
def test_only_a_stable_run_makes_the_pauses_short(lived: float, is_soon: bool) -> None:
    play = Play(draw=0.0)
    play.breed = dying(1, Cause.EDGE)
    play.feed(steps.Apply(PLAIN))
    play.wait(2.0)  # failures: three, and pauses of 0.5, 1 and 2
    play.breed = lambda _: None
    play.wait_for(S.HEALTHY, 5)
    play.wait(lived)
    play.end(max(play.kids))
    assert play.facts.backoff == pytest.approx(0.2 if is_soon else 4)


def test_up_without_a_probe_counts_as_stable() -> None:
    play = Play(UNPROBED, draw=0.0)
    play.wait(61)
    play.end(1)
    assert play.facts.backoff == pytest.approx(0.2)


def test_a_crash_loop_is_flagged_told_once_and_goes_on() -> None:
    play = Play()
    play.breed = dying(1, Cause.EDGE, "the edge refuses this account")
    play.feed(steps.Apply(PLAIN))
    play.wait(3600)
    assert play.facts.crash_loop
    assert len(play.lines("error")) == 1
    gaps = [b - a for a, b in zip(play.spawned(), play.spawned()[1:], strict=False)]
    assert gaps[:4] == pytest.approx([0.75, 1.5, 3, 6])
    assert all(15 <= gap <= 30 for gap in gaps[4:])
    assert play.now - play.spawned()[-1] <= 30
    play.breed = lambda _: None
    play.wait(31)
    assert (play.state(), play.facts.crash_loop) == (S.HEALTHY, True)
    play.wait(61)
    assert not play.facts.crash_loop


def test_an_edge_that_is_down_is_no_crash_loop_and_no_idle_time() -> None:
    play = healthy(replace(PLAIN, protocol="http2"))
    play.wait(100)
    play.breed = bare
    play.silence(1)
    play.wait(600)
    assert not play.facts.crash_loop
    gaps = [b - a for a, b in zip(play.spawned()[1:], play.spawned()[2:], strict=False)]
    assert all(45 <= gap <= 46.1 for gap in gaps)


@pytest.mark.parametrize(
    ("code", "cause", "pause"),
    [
        (255, Cause.CREDENTIAL, 300),
        (1, Cause.CONFIG, 300),
        (1, Cause.BINARY, 30),  # a look for a file costs nothing
    ],
)
def test_a_permanent_cause_is_parked(code: int, cause: Cause, pause: int) -> None:
    play = Play()
    play.breed = dying(code, cause, "it says why")
    play.feed(steps.Apply(PLAIN))
    assert (play.state(), play.facts.why) == (S.PARKED, "it says why")
    assert play.facts.next_start == play.now + pause
    play.wait(3601)
    assert len(play.kids) == 1 + 3600 // pause
    assert len(play.lines("error")) == 1, "told once"
    assert "What to do" in play.lines("error")[0]
    play.breed = lambda _: None
    play.feed(steps.Apply(CHANGED))
    assert play.state() is S.HEALTHY
    assert play.last.spawn.settings == CHANGED


def test_no_binary_is_parked_and_no_process_is_waited_for() -> None:
    play = Play()
    play.spawns = False
    play.feed(steps.Apply(PLAIN))
    assert play.state() is S.BACKOFF
    assert play.of(steps.CountExit) == []
    play.spawns = True
    play.wait(1)
    assert play.state() is S.HEALTHY


@pytest.mark.parametrize("cause", [Cause.FLAGS, Cause.UNKNOWN])
def test_a_usage_error_leaves_flags_out_and_then_parks(cause: Cause) -> None:
    play = Play()
    play.breed = dying(0, cause)
    play.feed(steps.Apply(PLAIN))
    assert play.state() is S.BACKOFF
    play.wait(1)
    assert [kid.spawn.plain for kid in play.kids.values()] == [False, True]
    assert play.state() is S.PARKED
    play.breed = lambda _: None
    play.feed(steps.Restart(1))
    assert (play.state(), play.kids[3].spawn.plain) == (S.HEALTHY, True)


def test_unauthorized_parks_with_the_child_that_goes_on_asking() -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(replace(PLAIN, protocol="http2")))
    for wait in (0, 2, 4, 8, 16, 29):
        play.wait(wait)
        play.tell(1, REFUSED)
    assert play.state() is S.CONNECTING
    play.wait(2)
    assert play.state() is S.PARKED
    assert "Unauthorized" in play.facts.why
    assert len(play.lines("error")) == 1
    for _ in range(60):
        play.wait(64)
        play.tell(1, REFUSED)
    assert (len(play.kids), play.kids[1].signals) == (1, [])
    play.kids[1].ready = Ready.READY
    play.wait(1)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 1)


def test_one_that_was_refused_and_fell_silent_is_started_again() -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(PLAIN))
    play.tell(1, REFUSED)
    play.wait(300)
    assert len(play.kids) == 2


def test_a_new_secret_ends_the_waiting_of_a_refused_child() -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(PLAIN))
    play.tell(1, REFUSED)
    play.wait(70)
    assert play.state() is S.PARKED
    play.breed = lambda _: None
    play.feed(steps.Apply(CHANGED))
    play.wait(0.1)
    assert (play.state(), play.alive) == (S.HEALTHY, [2])


def test_too_many_quick_tunnels_are_told_and_waited_out() -> None:
    play = Play()
    play.breed = dying(1, Cause.QUICK_LIMITED, "429 Too Many Requests")
    play.feed(steps.Apply(QUICK))
    assert (play.state(), play.facts.backoff) == (S.BACKOFF, 60)
    assert "429 Too Many Requests" in play.lines("warning")[0]
    play.wait(3600)
    gaps = [b - a for a, b in zip(play.spawned(), play.spawned()[1:], strict=False)]
    assert min(gaps) >= 60
    assert max(gaps) <= 300


# --- probes that cause a restart --------------------------------------------------------------


def test_a_frozen_edge_is_seen_by_probes_alone() -> None:
    """`/ready` says 200 all the while; the second child is the one that carries."""
    play = healthy()
    play.wait(30)
    play.see = lambda look: LOST if look.number == 1 else proof("connector-2")
    took = play.wait_for(S.SUSPECT, 60)
    assert took <= 25 + 3 * 5 * 1.25
    assert play.facts.replacing is not None
    play.wait(6)
    assert (play.state(), play.alive) == (S.HEALTHY, [2])
    assert play.of(steps.CountRestart) == [steps.CountRestart("unhealthy")]


@pytest.mark.parametrize(("origin", "network"), [(False, True), (True, False), (None, True)])
def test_no_restart_without_a_well_origin_and_a_network(
    origin: bool | None, network: bool | None
) -> None:
    play = healthy()
    play.see = lambda _: LOST
    play.origin, play.network = origin, network
    play.wait(1800)
    assert (play.state(), len(play.kids)) == (S.SUSPECT, 1)


def test_an_outage_of_the_edge_causes_few_restarts() -> None:
    """Each one brings up to three children, and none of them touches the first."""
    play = healthy()
    play.see = lambda _: LOST
    play.wait(4 * 3600)
    assert play.kids[1].signals == []
    assert play.state() is S.SUSPECT
    given_up = [line for line in play.lines("error") if "has failed" in line]
    assert 7 <= len(given_up) <= 11  # after 5, 10, 20 and then every 30 minutes
    play.see = lambda look: proof(play.kids[look.number].connector)
    play.wait(60)
    assert play.state() is S.HEALTHY


def test_a_quick_tunnel_starts_anew_where_probes_fail_for_long() -> None:
    play = healthy(QUICK)
    play.see = lambda look: LOST if look.number == 1 else proof("connector-2")
    play.wait(100)
    assert (play.state(), len(play.kids)) == (S.SUSPECT, 1)
    play.wait(100)
    assert (play.state(), play.alive) == (S.HEALTHY, [2])


# --- what it serves ---------------------------------------------------------------------------


def test_a_foreign_ingress_is_an_alarm_and_a_drain() -> None:
    play = healthy()
    play.kids[1].services = ("ssh://localhost:22",)
    play.breed = lambda kid: setattr(kid, "services", ("ssh://localhost:22",))
    play.tell(1, ConfigPushed())
    assert play.kids[1].signals == [("TERM", play.now)]
    assert (play.state(), play.facts.foreign_ingress) == (S.PARKED, True)
    told = next(line for line in play.lines("error") if "foreign_ingress" in line)
    assert "it serves ssh://localhost:22, which is not ours" in told
    assert "ssh://localhost:22" in play.facts.why
    play.wait(299)
    assert play.alive == []
    play.wait(2)
    assert (play.state(), len(play.kids)) == (S.PARKED, 2)
    play.breed = lambda _: None
    play.wait(400)
    assert (play.state(), play.facts.foreign_ingress) == (S.HEALTHY, False)


def test_a_push_that_the_log_does_not_tell_is_found() -> None:
    play = healthy()
    play.kids[1].services = ("http://127.0.0.1:11434",)
    play.kids[1].obeys = False
    play.wait(16)
    assert (play.state(), play.facts.foreign_ingress) == (S.DRAINING, True)
    play.wait(23)
    assert play.kids[1].signals[-1][0] == "TERM", "what is under way has its grace"
    play.wait(2)
    assert play.kids[1].signals[-1][0] == "KILL"


def test_a_foreign_ingress_may_be_allowed() -> None:
    play = Play()
    play.breed = lambda kid: setattr(kid, "services", ("ssh://localhost:22",))
    play.feed(steps.Apply(replace(PLAIN, foreign_ingress="allow")))
    play.wait(600)
    assert (play.state(), play.facts.foreign_ingress) == (S.HEALTHY, False)
