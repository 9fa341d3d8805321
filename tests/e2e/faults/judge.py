"""Judges one unit as it was played: the client's answer, the backends' requests, the metrics."""

from __future__ import annotations

from tests.e2e.client import Got
from tests.e2e.crossing import OPENAI, PATHS, RESPONSES
from tests.e2e.faults.hearing import hear, is_stream
from tests.e2e.faults.stage import Played
from tests.e2e.faults.wants import rescued
from tests.e2e.matrix.talk import Answer, Failed


def judge(went: Played) -> None:
    """What the client got, what the backends saw and when, what is told of it. Raises."""
    unit, cell = went.unit, went.unit.cell
    match went.outcome:
        case Got() as got:
            if got.status == 200:
                assert is_stream(unit.client, got) is unit.streamed
            cell.want.on_the_wire(unit.client, got)
        case Answer() | Failed() as outcome:
            cell.want.by_the_sdk(outcome)
        case error:
            raise error
    shortest, longest = cell.lasts
    assert shortest <= went.seconds <= longest
    check_requests(went)
    check_moments(went)
    check_metrics(went)
    if cell.row == 11:
        check_usage(went)
    if cell.row == 16:
        check_usage(went)
        assert went.f.value("tokens_total", type="output") == 60
        assert went.p.value("tokens_total") == 0


def by_fallback(went: Played) -> bool:
    """Whether the last one that the client was told of is the fallback."""
    match went.outcome:
        case Got() as got:
            return got.headers.get("x-sidecar-backend", "").endswith("-f")
        case Answer() as answer:
            return answer.model == "model-f"
        case _:
            return False  # the client of a vendor tells no headers of a failure


def check_requests(went: Played) -> None:
    """How often each backend was asked, and in which dialect."""
    cell, unit = went.unit.cell, went.unit
    if cell.tries is not None:
        assert len(went.primary) == cell.tries
    if cell.fallback is not None:
        expected = cell.fallback_tries
        if cell.prefill and unit.f == RESPONSES:
            expected = 0  # that dialect has no way to continue a turn
        assert len(went.fallback) == (int(by_fallback(went)) if expected is None else expected)
    assert {seen.path for seen in went.primary} <= {PATHS[unit.p]}
    assert {seen.path for seen in went.fallback} <= {PATHS[unit.f]}


def check_moments(went: Played) -> None:
    """When they were asked."""
    cell = went.unit.cell
    if cell.at_least is not None:
        assert went.primary[1].at - went.primary[0].at >= cell.at_least
    if cell.moved is not None:
        soonest, latest = cell.moved
        assert soonest <= went.fallback[0].at - went.start <= latest


def check_metrics(went: Played) -> None:
    """One request with the right result; its failed tries are attempts, never requests."""
    cell, outcome = went.unit.cell, went.outcome
    assert went.route.value("requests_total") == 1
    assert went.route.value("requests_total", outcome=cell.result) == 1
    if cell.settled is not None:
        assert went.p.value("attempts_total", outcome=cell.settled) >= 1
    by_primary = cell.result == "ok" and not by_fallback(went) and cell.want != rescued()
    assert went.p.value("attempts_total", outcome="ok") == int(by_primary), outcome


def check_usage(went: Played) -> None:
    """Usage is told where it was asked for, and where the dialect always tells it."""
    match went.outcome:
        case Answer(tokens=tokens):
            assert tokens is not None
            assert (tokens.input, tokens.output) == (7, 60)
        case Got() as got:
            usage = hear(went.unit.client, got).usage
            asked = went.unit.client != OPENAI or not went.unit.streamed
            assert usage == ((7, 60) if asked else None)
        case _:
            raise AssertionError(went.outcome)
