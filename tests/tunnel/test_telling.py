"""One line for each change, at a level that fits it."""

from __future__ import annotations

import pytest

from tests.tunnel.play import LOST, PLAIN, Play, dying, healthy, proof
from tunnel import steps, telling
from tunnel.events import Cause, Exit, Sighting
from tunnel.facts import Facts, State
from tunnel.telling import ADVICE, News


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (State.DISABLED, "info"),
        (State.STARTING, "info"),
        (State.CONNECTING, "debug"),
        (State.UP, "info"),
        (State.HEALTHY, "info"),
        (State.DEGRADED, "warning"),
        (State.SUSPECT, "warning"),
        (State.DRAINING, "info"),
        (State.KILLING, "warning"),
        (State.BACKOFF, "warning"),
        (State.PARKED, "error"),
    ],
)
def test_every_state_has_its_line(state: State, level: str) -> None:
    told = telling.line(Facts(state, 0.0, why="so it is.", backoff=1.0), News())
    assert told.level == level
    assert told.message.startswith("tunnel: ")
    assert ".." not in told.message
    repeated = telling.line(Facts(state, 0.0), News(is_repeated=True))
    assert repeated.level == "debug"


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause.is_permanent])
def test_every_permanent_cause_says_what_to_do(cause: Cause) -> None:
    told = telling.line(Facts(State.PARKED, 0.0, why="so it is"), News(code=cause))
    assert told.message.endswith(f"What to do: {ADVICE[cause]}. It is tried again now and then")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Exit(1, Cause.EDGE, "its own words"), "its own words"),
        (Exit(3, Cause.UNKNOWN), "cloudflared ended with code 3"),
        (Exit(-9, Cause.UNKNOWN), "cloudflared ended by signal 9"),
        (Exit(1, Cause.BINARY, "x" * 400 + "`a command`"), "x" * 400 + "`a command`"),
    ],
)
def test_how_a_child_ended(end: Exit, words: str) -> None:
    assert telling.end_words(end) == words


def test_a_name_that_leads_elsewhere_is_told_once_and_that_it_is_over() -> None:
    play = healthy()
    play.see = lambda _: Sighting(404)
    play.wait(300)
    assert play.lines("warning") == ["tunnel: a probe did not come through (elsewhere): status 404"]
    play.see = lambda _: proof("connector-1")
    play.wait(60)
    assert play.lines("info")[-1] == "tunnel: probes come through again"
    assert play.facts.restarts == 0


def test_one_bad_connection_of_four_fills_no_log() -> None:
    play = healthy()
    count = iter(range(10_000))
    play.see = lambda _: LOST if next(count) % 4 == 0 else proof("connector-1")
    play.wait(3600)
    assert len(play.lines("warning")) <= 2


def test_an_hour_of_failures_is_told_in_few_lines() -> None:
    play = Play()
    play.breed = dying(1, Cause.EDGE, "refused")
    play.feed(steps.Apply(PLAIN))
    play.wait(3600)
    told = [one for one in play.of(steps.Tell) if one.level != "debug"]
    assert len(told) <= 2 * len(play.kids) + 1
