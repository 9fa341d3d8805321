"""The way up, and every deadline: what a child tells and answers, and what follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.tunnel.play import (
    LOST,
    PLAIN,
    QUICK,
    REFUSED,
    UNPROBED,
    URL,
    Kid,
    Play,
    bare,
    healthy,
    mute,
    proof,
)
from tunnel import steps
from tunnel.events import (
    Cause,
    ConfigPushed,
    ConnectorTold,
    MetricsTold,
    QuicFailed,
    Ready,
    Registered,
    Sighting,
    Told,
    Trouble,
)
from tunnel.events import Lost as LostLine
from tunnel.facts import State
from tunnel.settings import Protocol, Settings
from tunnel.verdict import FAILURES

S = State
SERVING = [S.STARTING, S.CONNECTING, S.UP, S.HEALTHY]
# --- the way up -------------------------------------------------------------------------------


def test_off_until_there_is_something_to_run() -> None:
    play = Play()
    assert (play.state(), play.machine.deadline(play.now)) == (S.DISABLED, None)
    play.feed(steps.Apply(PLAIN))
    assert play.states == SERVING
    assert play.of(steps.CountRestart) == []
    assert [one.url for one in play.of(steps.Publish)] == [URL]


def test_a_name_that_nobody_knows_is_never_probed() -> None:
    play = Play(UNPROBED)
    play.wait(3600)
    assert play.states == [S.STARTING, S.CONNECTING, S.UP]
    assert play.of(steps.Look) == []


def test_a_name_is_learned_from_what_the_child_serves() -> None:
    play = Play()

    def named(kid: Kid) -> None:
        kid.hostnames = ("*.example.com", "llm.example.com")

    play.breed = named
    play.feed(steps.Apply(UNPROBED))
    assert play.state() is S.HEALTHY
    assert play.facts.url == URL


def test_a_quick_tunnel_is_published_after_a_probe_and_never_probed_too_soon() -> None:
    play = Play(QUICK, draw=0.0)
    assert (play.state(), play.facts.url) == (S.UP, None)
    play.wait(9.9)
    assert play.of(steps.Look) == []
    play.wait(0.2)
    assert [one.url for one in play.of(steps.Publish)] == ["https://words.trycloudflare.com"]
    assert play.lines("info")[-1] == "tunnel: carries https://words.trycloudflare.com"
    assert (play.state(), play.facts.url) == (S.HEALTHY, "https://words.trycloudflare.com")


def test_the_log_tells_the_name_of_a_quick_tunnel() -> None:
    play = healthy(QUICK)
    assert play.lines("info")[-1] == f"tunnel: carries {play.facts.url}"


def test_a_tunnel_that_is_switched_on_again_knows_nothing_of_the_one_before() -> None:
    play = healthy()
    play.end(1)
    play.wait(2)
    play.see = lambda _: proof("theirs", "them")
    play.wait(60)
    assert (play.facts.restarts, play.facts.others) == (1, ("them",))
    play.feed(steps.Apply(None))
    play.breed = mute
    play.feed(steps.Apply(PLAIN))
    facts = play.facts
    assert (facts.restarts, facts.others, facts.probe) == (0, (), None)


def test_a_quick_tunnel_without_a_proof_is_not_published() -> None:
    play = Play()
    play.see = lambda _: Sighting(None, error="dns")
    play.feed(steps.Apply(QUICK))
    play.wait(300)
    assert (play.state(), play.facts.url, play.facts.probe) == (S.UP, None, "dns")
    assert play.of(steps.Publish) == []


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(403, is_policy=True), "policy"),
        (Sighting(None, error="dns"), "dns"),
        (Sighting(None, error="connect"), "network"),
        (Sighting(429), "over_limit"),
        (Sighting(524), "slow_origin"),
        (Sighting(404), "elsewhere"),
        (proof("theirs", "them"), "other"),
    ],
)
def test_what_tells_nothing_of_the_tunnel_changes_nothing(sighting: Sighting, verdict: str) -> None:
    play = Play()
    play.see = lambda _: sighting
    play.feed(steps.Apply(PLAIN))
    play.wait(1800)
    assert (play.state(), play.facts.probe, len(play.kids)) == (S.UP, verdict, 1)
    lines = [line for line in play.lines("warning") if "probe" in line or "another" in line]
    assert len(lines) == 1


def test_another_replica_is_reported_once_and_forgotten_later() -> None:
    play = Play()
    play.see = lambda _: proof("theirs", "them")
    play.feed(steps.Apply(PLAIN))
    play.wait(300)
    assert play.facts.others == ("them",)
    assert len([line for line in play.lines("warning") if "them" in line]) == 1
    play.see = lambda look: proof(play.kids[look.number].connector)
    play.wait(700)
    assert play.state() is S.HEALTHY
    assert not play.facts.others


def test_the_answer_of_another_process_is_no_health() -> None:
    play = Play()
    play.breed = lambda kid: setattr(kid, "ready", Ready.FOREIGN)
    play.feed(steps.Apply(PLAIN))
    play.wait(60)
    assert S.UP not in play.states
    assert len(play.kids) > 1


# --- deadlines --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "protocol", "breed", "limit"),
    [
        (PLAIN, "auto", mute, 90),
        (PLAIN, "http2", mute, 90),
        (PLAIN, "http2", bare, 45),
        (PLAIN, "auto", bare, 150),
        (PLAIN, "quic", bare, 150),
        (QUICK, "auto", bare, 45),  # it has no way of its own from QUIC to http2
    ],
)
def test_a_start_that_takes_too_long(
    settings: Settings, protocol: Protocol, breed: Callable[[Kid], None], limit: float
) -> None:
    play = Play()
    play.breed = breed
    play.feed(steps.Apply(replace(settings, protocol=protocol)))
    play.wait(limit - 1)
    assert play.kids[1].signals == []
    assert len(play.kids) == 1
    play.wait(2)
    assert [name for name, _ in play.kids[1].signals] == ["TERM"]
    play.wait(2)
    assert len(play.kids) == 2
    assert not play.facts.crash_loop


def test_the_port_may_be_late_and_the_registration_still_has_its_time() -> None:
    play = Play()
    play.breed = mute
    play.feed(steps.Apply(replace(PLAIN, protocol="http2")))
    play.wait(89)
    kid = play.kids[1]
    kid.ready = Ready.NOT_READY
    play.tell(1, *boot(kid))
    assert play.state() is S.CONNECTING
    play.wait(43)
    kid.ready = Ready.READY
    play.wait(1)
    assert play.state() is S.HEALTHY
    assert len(play.kids) == 1


def boot(kid: Kid) -> list[Told]:
    return [ConnectorTold(kid.connector), MetricsTold(20_000 + kid.number)]


def test_whatever_looks_like_another_identity_is_none() -> None:
    play = healthy()
    connector = play.facts.connector
    play.tell(1, ConnectorTold("another"), MetricsTold(9))
    play.wait(2)
    assert play.facts.connector == connector == play.of(steps.AskReady)[-1].connector
    assert {ask.port for ask in play.of(steps.AskReady)} == {20_001}


def test_the_fallback_to_http2_is_waited_for_and_remembered() -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(PLAIN))
    play.tell(1, QuicFailed())
    play.wait(115)
    assert (play.state(), len(play.kids)) == (S.CONNECTING, 1)
    play.tell(1, Registered(0, "http2"))
    play.kids[1].ready = Ready.READY
    play.breed = lambda _: None
    play.wait(1)
    assert (play.state(), play.facts.protocol) == (S.HEALTHY, "http2")
    play.end(1)
    play.wait(2)
    assert play.kids[2].spawn.protocol == "http2"


@pytest.mark.parametrize("protocol", ["auto", "quic"])
def test_quic_that_failed_is_left_out_for_a_day(protocol: Protocol) -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(replace(PLAIN, protocol=protocol)))
    play.tell(1, QuicFailed())
    play.breed = lambda _: None
    play.wait(160)
    assert [kid.spawn.protocol for kid in play.kids.values()] == [protocol, "http2"]
    play.now += 86_000
    play.end(2)
    play.wait(10)
    play.now += 1000
    play.end(3)
    play.wait(10)
    assert [kid.spawn.protocol for kid in play.kids.values()][2:] == ["http2", protocol]


def test_a_quick_tunnel_leaves_quic_soon() -> None:
    play = Play()
    play.breed = bare
    play.feed(steps.Apply(replace(QUICK, protocol="auto")))
    play.wait(7)
    play.tell(1, QuicFailed())
    assert play.facts.why == "QUIC does not get through"
    play.breed = lambda _: None
    play.wait(15)
    assert [kid.spawn.protocol for kid in play.kids.values()] == ["auto", "http2"]
    assert "so the next one uses http2" in play.lines("warning")[0]


def test_what_it_got_over_is_no_trouble() -> None:
    play = Play()
    play.breed = mute
    play.feed(steps.Apply(PLAIN))
    play.tell(1, Trouble(Cause.DNS, "no such host"))
    assert play.facts.why == "no such host"
    play.kids[1].ready = Ready.NOT_READY
    play.tell(1, *boot(play.kids[1]))
    assert (play.state(), play.facts.why) == (S.CONNECTING, "")


@pytest.mark.parametrize("answer", [Ready.NO_ANSWER, Ready.FOREIGN])
def test_three_questions_without_an_answer(answer: Ready) -> None:
    play = healthy()
    play.kids[1].obeys = False
    play.silence(1, answer)
    began = play.now
    play.wait_for(S.DRAINING, 5)
    asked = play.now
    assert asked - began <= 4
    play.wait_for(S.BACKOFF, 6)
    assert play.kids[1].signals == [("TERM", asked), ("KILL", asked + 5)]
    assert S.KILLING in play.states
    play.wait(1)
    assert play.state() is S.HEALTHY


def test_an_answer_in_between_is_an_answer() -> None:
    play = healthy()
    for _ in range(20):
        play.silence(1, Ready.NO_ANSWER)
        play.wait(2)
        play.silence(1, Ready.READY)
        play.wait(1)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 1)


@pytest.mark.parametrize(("settings", "at_least", "at_most"), [(PLAIN, 25, 30), (QUICK, 120, 125)])
def test_no_connection_for_too_long(settings: Settings, at_least: float, at_most: float) -> None:
    play = healthy(settings)
    play.silence(1)
    play.kids[1].obeys = False
    play.wait_for(S.SUSPECT, 2)
    took = play.wait_for(S.DRAINING, 200)
    assert at_least <= took <= at_most
    play.wait(7)
    assert len(play.kids) == 2


def test_connections_that_come_back_by_themselves() -> None:
    play = healthy()
    play.silence(1)
    play.wait(20)
    play.silence(1, Ready.READY)
    play.wait(1)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 1)
    (recovery,) = play.of(steps.CountRecovery)
    assert 18 <= recovery.seconds <= 21


def test_flapping_restarts_nothing() -> None:
    play = healthy()
    for _ in range(100):
        play.silence(1)
        play.wait(3)
        play.silence(1, Ready.READY)
        play.wait(3)
    assert len(play.kids) == 1


def test_a_lost_line_asks_at_once() -> None:
    play = healthy()
    play.wait(0.5)
    play.silence(1)
    play.tell(1, LostLine())
    assert play.state() is S.SUSPECT


def test_fewer_connections_are_told_after_a_minute_and_restart_nothing() -> None:
    play = healthy()
    play.kids[1].connections = 3
    play.wait(59)
    assert play.state() is S.HEALTHY
    play.wait(4)
    assert (play.state(), play.facts.ready_connections) == (S.DEGRADED, 3)
    assert play.facts.most_connections == 4
    play.wait(3600)
    assert (play.state(), len(play.kids)) == (S.DEGRADED, 1)
    play.kids[1].connections = 4
    play.wait(2)
    assert play.state() is S.HEALTHY


def test_a_part_of_the_probes_is_told_and_restarts_nothing() -> None:
    play = healthy()
    count = iter(range(10_000))
    play.see = lambda _: LOST if next(count) % 4 == 0 else proof(play.kids[1].connector)
    play.wait(3600)
    assert S.DEGRADED in play.states
    assert len(play.kids) == 1
    play.see = lambda _: proof(play.kids[1].connector)
    play.wait(400)
    assert play.state() is S.HEALTHY


def test_events_of_children_that_are_gone_do_nothing() -> None:
    play = healthy()
    play.end(1)
    play.wait(2)
    before = play.facts
    play.tell(1, LostLine(), REFUSED, ConfigPushed())
    play.feed(steps.Looked(1, LOST, origin=True, network=True), steps.Spawned(7, 1))
    assert play.facts == before


def test_a_leap_of_the_clock_ends_no_child_that_answers() -> None:
    play = healthy()
    play.silence(1)
    play.wait(3)
    play.silence(1, Ready.READY)
    play.now += 100_000
    play.feed()
    play.wait(5)
    assert (play.state(), len(play.kids)) == (S.HEALTHY, 1)


def test_a_probe_that_tells_nothing_of_the_tunnel_is_told_beside_its_state() -> None:
    play = healthy()
    play.see = lambda _: Sighting(403, is_policy=True)
    play.wait(200)
    assert (play.state(), play.kids[1].signals) == (S.HEALTHY, [])
    assert play.facts.why == "the last probe says nothing of the tunnel: policy"
    play.see = lambda _: proof("connector-1")
    play.wait(40)
    assert play.facts.why == ""


def test_one_bad_connection_of_four_is_found_within_two_minutes() -> None:
    play = healthy(draw=0.0)
    turns = itertools.count()
    play.see = lambda look: LOST if next(turns) % 4 == 3 else proof("connector-1")
    play.wait_for(S.DEGRADED, 120)
    assert play.facts.why == "part of the probes fails"


def test_so_many_probes_in_a_row_make_it_suspect() -> None:
    play = healthy()
    play.see = lambda _: LOST
    looks = len(play.of(steps.Look))
    play.wait_for(S.SUSPECT, 100)
    mine = [look for look in play.of(steps.Look) if look.number == 1]
    assert len(mine) - looks == FAILURES
