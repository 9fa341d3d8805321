"""Whose fault an outcome is, and when it may cause a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunnel.events import Sighting
from tunnel.verdict import (
    BETWEEN,
    FAILURES,
    LONGEST,
    QUICK_PATIENCE,
    SILENT_PATIENCE,
    Known,
    Record,
    Seldom,
    Verdict,
    carrier,
    classify,
    foreign,
    other,
    shown,
)

KNOWN = Known("me", {"a": 1, "b": 2}, origin=True, network=True)
V = Verdict


def proven(connector: str | None, replica: str = "me") -> Sighting:
    return Sighting(200, proven=True, connector=connector, replica=replica)


def error(name: str) -> Sighting:
    return Sighting(None, error=name)


# --- who carried it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sighting", "children", "by", "who"),
    [
        (proven("a"), {"a": 1, "b": 2}, 1, None),
        (proven("b"), {"a": 1, "b": 2}, 2, None),
        (proven("b", "the sidecar behind it"), {"b": 2}, 2, None),
        (proven("x", "them"), {"a": 1}, None, "them"),
        (proven("x"), {"a": 1}, None, "x"),  # a child of nobody here feeds our own origin
        (proven(None), {"a": 1}, 1, None),
        (proven(None), {"a": 1, "b": 2}, None, None),
        (proven(None, "them"), {"a": 1}, None, "them"),
        (Sighting(200), {"a": 1}, None, None),
    ],
)
def test_who_carried_it(
    sighting: Sighting, children: dict[str, int], by: int | None, who: str | None
) -> None:
    known = Known("me", children)
    assert (carrier(sighting, known), other(sighting, known)) == (by, who)


# --- whose fault it is ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (proven("a"), V.CARRIED),
        (proven("x", "them"), V.OTHER),
        (Sighting(530), V.TUNNEL),
        (Sighting(502), V.TUNNEL),
        (Sighting(502, from_cloudflared=True), V.TUNNEL),
        (Sighting(504), V.TUNNEL),
        (Sighting(521), V.TUNNEL),
        (Sighting(503, from_cloudflared=True), V.TUNNEL),
        (Sighting(503), V.ORIGIN),
        (Sighting(500), V.ORIGIN),
        (Sighting(524), V.SLOW_ORIGIN),
        (Sighting(403), V.POLICY),
        (Sighting(401), V.POLICY),
        (Sighting(302), V.POLICY),
        (Sighting(200, is_policy=True), V.POLICY),
        (Sighting(503, is_policy=True), V.POLICY),
        (Sighting(429), V.OVER_LIMIT),
        (Sighting(200), V.ELSEWHERE),
        (Sighting(404), V.ELSEWHERE),
        (error("dns"), V.DNS),
        (error("connect"), V.NETWORK),
        (error("tls"), V.NETWORK),
        (error("timeout"), V.TUNNEL),
        (error("broken"), V.TUNNEL),
    ],
)
def test_whose_fault_it_is_where_all_else_is_well(sighting: Sighting, verdict: Verdict) -> None:
    assert classify(sighting, KNOWN) is verdict


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(502), V.ORIGIN),
        (Sighting(502, from_cloudflared=True), V.ORIGIN),
        (error("timeout"), V.ORIGIN),
        (Sighting(404), V.ORIGIN),  # it answers no probes, so that nobody else need be meant
        (Sighting(530), V.TUNNEL),  # nothing reached the origin
        (error("dns"), V.DNS),
    ],
)
def test_whose_fault_it_is_where_the_origin_fails(sighting: Sighting, verdict: Verdict) -> None:
    assert classify(sighting, replace(KNOWN, origin=False)) is verdict


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (error("timeout"), V.NETWORK),
        (error("broken"), V.NETWORK),
        (Sighting(530), V.TUNNEL),  # an answer came, whatever the control target says
    ],
)
def test_whose_fault_it_is_where_the_network_fails(sighting: Sighting, verdict: Verdict) -> None:
    assert classify(sighting, replace(KNOWN, network=False)) is verdict


@pytest.mark.parametrize(
    ("sighting", "verdict"),
    [
        (Sighting(200), V.CARRIED),
        (Sighting(404), V.CARRIED),
        (Sighting(403), V.POLICY),
        (Sighting(502), V.ORIGIN),
        (Sighting(530), V.TUNNEL),
    ],
)
def test_an_open_origin_needs_no_proof(sighting: Sighting, verdict: Verdict) -> None:
    known = replace(KNOWN, origin=False, is_open=True)
    assert classify(sighting, known) is verdict


# --- what may cause a restart -----------------------------------------------------------------


def failing(
    sighting: Sighting, count: int = FAILURES, known: Known = KNOWN, apart: float = 20.0
) -> Record:
    record = Record()
    for one in range(count):
        record.add(Verdict.TUNNEL, sighting, known, one * apart)
    return record


@pytest.mark.parametrize(
    ("count", "origin", "network", "sighting", "named", "quick"),
    [
        (FAILURES - 1, True, True, Sighting(530), False, False),
        (FAILURES, True, True, Sighting(530), True, True),
        (FAILURES, False, True, Sighting(530), False, False),
        (FAILURES, None, True, Sighting(530), False, False),
        (FAILURES, True, False, Sighting(530), False, False),
        (FAILURES, True, None, Sighting(530), True, True),  # an answer proves the network
        (FAILURES, True, None, error("timeout"), True, False),  # silence does not
        (FAILURES, True, True, error("timeout"), True, True),
    ],
)
def test_what_may_cause_a_restart(
    count: int,
    origin: bool | None,
    network: bool | None,
    sighting: Sighting,
    named: bool,
    quick: bool,
) -> None:
    record = failing(sighting, count, replace(KNOWN, origin=origin, network=network))
    assert 3 <= FAILURES <= 5
    assert record.may_restart(500.0, is_quick=False) is named
    assert record.may_restart(SILENT_PATIENCE - 1, is_quick=True) is quick


def test_a_quick_tunnel_keeps_its_name_for_longer() -> None:
    record = failing(Sighting(530))
    assert not record.may_restart(QUICK_PATIENCE - 1, is_quick=True)
    assert record.may_restart(QUICK_PATIENCE, is_quick=True)


def test_a_quick_tunnel_that_is_silent_for_very_long_loses_its_name_after_all() -> None:
    record = failing(error("timeout"), known=replace(KNOWN, network=None))
    assert not record.may_restart(SILENT_PATIENCE - 1, is_quick=True)
    assert record.may_restart(SILENT_PATIENCE, is_quick=True)


@pytest.mark.parametrize(
    ("between", "is_suspect"),
    [
        (V.CARRIED, False),
        (V.OTHER, False),
        (V.POLICY, False),
        (V.ORIGIN, False),
        (V.DNS, True),
        (V.NETWORK, True),
    ],
)
def test_what_ends_a_row_of_failures(between: Verdict, is_suspect: bool) -> None:
    record = failing(Sighting(530), FAILURES - 1)
    record.add(between, Sighting(None), KNOWN, 100.0)
    assert not record.is_suspect
    record.add(Verdict.TUNNEL, Sighting(530), KNOWN, 120.0)
    assert record.is_suspect is is_suspect


@pytest.mark.parametrize(
    ("told", "is_mixed"),
    [
        ("", False),
        ("....", False),
        (".x..", False),
        (".x.x", True),
        ("xx.", True),
        ("xx", False),  # nothing carries: that is no part
        ("xxxx.", False),  # an outage that is over
        (".x.x........", False),
    ],
)
def test_a_part_that_fails(told: str, is_mixed: bool) -> None:
    record = Record()
    for one in told:
        record.add(V.TUNNEL if one == "x" else V.CARRIED, Sighting(530), KNOWN, 0.0)
    assert record.is_mixed is is_mixed


@pytest.mark.parametrize(
    ("told", "is_in_question"),
    [
        ("", False),
        ("........", False),
        ("x", True),
        (".x", True),
        (".x......", True),  # one of four connections has its turn at every fourth probe
        (".x........", False),
        (".x.x", True),
        (".x.x.", False),  # that is an answer
        ("xxx", True),
        ("xxxx", False),
        ("xxxx.", False),
    ],
)
def test_until_when_more_must_be_asked(told: str, is_in_question: bool) -> None:
    record = Record()
    for one in told:
        record.add(V.TUNNEL if one == "x" else V.CARRIED, Sighting(530), KNOWN, 0.0)
    assert record.is_in_question is is_in_question


def test_probes_cause_restarts_seldom() -> None:
    seldom, now, gaps = Seldom(), 0.0, []
    for _ in range(6):
        began = now
        while not seldom.allows(now):
            now += 1.0
        gaps.append(now - began)
        seldom.caused(now)
    assert gaps == [0, BETWEEN, 2 * BETWEEN, 4 * BETWEEN, LONGEST, LONGEST]
    assert (BETWEEN, LONGEST) == (300, 1800)


def test_a_stable_run_makes_the_pauses_short_again_but_never_the_one_that_runs() -> None:
    seldom = Seldom()
    seldom.caused(0.0)
    seldom.caused(BETWEEN)
    seldom.is_stable(BETWEEN + 60)
    assert not seldom.allows(BETWEEN + 2 * BETWEEN - 1)
    seldom.is_stable(5000.0)
    assert seldom.allows(5000.0)
    seldom.caused(5000.0)
    assert seldom.allows(5000.0 + BETWEEN)


# --- what is ours -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "ours"),
    [
        ([], True),
        (["http_status:404"], True),
        (["http://127.0.0.1:14402", "http_status:404"], True),
        (["http://localhost:14402/"], True),
        (["http://[::1]:14402"], True),
        (["http://127.0.0.1:11434"], False),
        (["http://127.0.0.1:14402", "ssh://localhost:22"], False),
        (["https://127.0.0.1:14402"], False),
        (["http://127.0.0.1.evil.example:14402"], False),
        (["http://127.0.0.1:14402@evil.example"], False),
        (["http://127.0.0.1:99999999"], False),
        (["unix:/run/docker.sock"], False),
        (["hello_world"], False),
    ],
)
def test_what_is_ours(services: list[str], ours: bool) -> None:
    assert (foreign(services, "http://127.0.0.1:14402") == []) is ours


@pytest.mark.parametrize(
    ("services", "told"),
    [
        (["ssh://localhost:22"], "ssh://localhost:22"),
        (["http://192.168.1.9:11434", "http://192.168.1.9:11434"], "http://192.168.1.9:11434"),
        (["http://me:hush@nas.local/api?token=hush#x"], "http://nas.local/api"),
        (["unix:/run/docker.sock", "hello_world"], "unix:/run/docker.sock, hello_world"),
        (["a\nb\x1b[31m"], "a?b?[31m"),
        ([f"tcp://h:{port}" for port in range(1, 9)], "tcp://h:1, tcp://h:2, tcp://h:3 and 5 more"),
        (["tcp://" + "h" * 500], "tcp://" + "h" * 94 + "…"),
    ],
)
def test_what_is_not_ours_is_named_without_a_secret(services: list[str], told: str) -> None:
    assert shown(foreign(services, "http://127.0.0.1:14402")) == told
