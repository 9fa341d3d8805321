"""Marks and advice, by tables of scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.neutral.usage import Usage
from sidecar.rehearsal import advice, judging, special
from sidecar.rehearsal.client import Heard, Understood
from sidecar.rehearsal.judging import Finding, Judge, Mark, answered
from sidecar.rehearsal.stage import Scene
from sidecar.rehearsal.voice import words
from tests.sidecar.rehearsal.scenes import TEXT, asked, casting, error, heard, scene, whole

K = ProblemKind
HALF = TEXT[:200]
SPLICED = "".join([*words("a")[:40], *words("b", 40)])
ALONE = casting("p")
STINGY = casting("p", route={"retry": {"attempts": 0, "max_wait": "1s"}})
POOR = casting("p", retry_budget={"share": 0, "floor": 0})
HURRIED = casting("p", "f", route={"deadline": "5s"})
PATIENT = casting("p", "f", defaults={"timeouts": {"first_token": "90s"}})
KEEN = casting("p", "f", route={"retry": {"attempts": 9}})


def settings(found: Finding) -> list[str]:
    return [one.setting for one in found.advice]


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (Heard(is_hung=True), Understood()),
        (heard(), whole(HALF)),
        (heard(), whole(TEXT + TEXT)),
        (heard(), whole("".join([*words("a")[:40], *words("b", 39)]))),
        (heard(), whole(SPLICED)),
        (heard(), Understood(HALF)),
        (heard(), Understood(TEXT, looks_whole=True, error=error().error)),
        (Heard(), Understood()),
    ],
)
@pytest.mark.parametrize(
    "judge",
    [
        answered(), judging.after_limit, judging.honest_or_whole, special.rested_as_told,
        special.larger_or_error, special.refused_once(K.CONTENT_REFUSED), special.nobody_has_it,
        special.nobody_is_there, special.outlived, special.carried_on(stopping=True),
    ],
)  # fmt: skip
def test_a_lie_never_holds(judge: Judge, got: Heard, said: Understood) -> None:
    found = judge(scene((got, said)))
    assert found.mark is Mark.FAILS
    assert not found.advice  # no setting makes up for it


CASES: list[tuple[str, Judge, Scene, Mark, list[str]]] = [
    # the answer
    ("by-f", answered(), scene((heard(), whole())), Mark.HOLDS, []),
    (
        "alone",
        answered(kind=K.OVERLOADED),
        scene((heard(status=503), error()), of=ALONE),
        Mark.FAILS,
        ["routes.chat.targets"],
    ),
    (
        "no-retry",
        answered(kind=K.BACKEND_ERROR, recovers=True),
        scene((heard(status=500), error()), of=STINGY),
        Mark.FAILS,
        ["routes.chat.targets", "routes.chat.retry.attempts"],
    ),
    (
        "no-budget",
        answered(kind=K.BACKEND_ERROR, recovers=True),
        scene((heard(status=500), error()), of=POOR),
        Mark.FAILS,
        ["routes.chat.targets", "retry_budget"],
    ),
    (
        "deadline",
        answered(kind=K.TIMEOUT),
        scene((heard(status=504, took=5.0), error()), of=HURRIED),
        Mark.FAILS,
        ["routes.chat.deadline"],
    ),
    (
        "moved",
        answered(kind=K.TIMEOUT),
        scene(
            (heard(status=504), error()),
            of=casting("p", "f", route={"on": {"timeout": "final"}}),
        ),
        Mark.FAILS,
        ["routes.chat.on.timeout"],
    ),
    ("no-reason", answered(), scene((heard(status=502), error())), Mark.FAILS, []),
    (
        "keen",
        answered(most=3),
        scene((heard(), whole()), of=KEEN, primary=[asked()] * 10),
        Mark.BETTER,
        ["routes.chat.retry.attempts"],
    ),
    (
        "three-tries",
        answered(most=3),
        scene((heard(), whole()), primary=[asked()] * 3),
        Mark.HOLDS,
        [],
    ),
    # limits
    (
        "after-limit",
        judging.after_limit,
        scene((heard(took=60.1), whole()), primary=[asked()]),
        Mark.HOLDS,
        [],
    ),
    (
        "past-limit",
        judging.after_limit,
        scene((heard(took=63), whole()), primary=[asked()]),
        Mark.FAILS,
        [],
    ),
    (
        "silent-twice",
        judging.after_limit,
        scene(
            (heard(took=60), whole()),
            of=casting("p", "f", route={"on": {"timeout": "retry_same"}}),
            primary=[asked()] * 2,
        ),
        Mark.FAILS,
        ["routes.chat.on.timeout"],
    ),
    (
        "whole-too-late",
        judging.after_limit,
        scene((heard(took=600), whole()), primary=[asked()], stream=False),
        Mark.BETTER,
        ["defaults.timeouts.whole"],
    ),
    (
        "within",
        judging.within(15, answered(), advice.sooner),
        scene((heard(took=10), whole())),
        Mark.HOLDS,
        [],
    ),
    (
        "not-within",
        judging.within(15, answered(), advice.sooner),
        scene((heard("p", took=20), whole()), of=PATIENT),
        Mark.FAILS,
        ["defaults.timeouts.first_token"],
    ),
    (
        "not-within-alone",
        judging.within(15, answered(), advice.sooner),
        scene((heard("p", took=20), whole()), of=ALONE),
        Mark.FAILS,
        ["routes.chat.targets", "defaults.timeouts.first_token"],
    ),
    # row 1
    (
        "waited",
        special.waited_as_told(2),
        scene((heard("p", 2.1), whole()), primary=[asked(), asked(2.1)]),
        Mark.HOLDS,
        [],
    ),
    (
        "too-soon",
        special.waited_as_told(2),
        scene((heard("p", 1), whole()), primary=[asked(), asked(1)]),
        Mark.FAILS,
        [],
    ),
    (
        "max-wait",
        special.waited_as_told(2),
        scene((heard(status=429), error(K.RATE_LIMITED)), of=STINGY, primary=[asked()]),
        Mark.FAILS,
        ["routes.chat.targets", "routes.chat.retry.max_wait"],
    ),
    (
        "passed-on",
        special.rested_as_told,
        scene((heard(status=429, retry_after="60"), error(K.RATE_LIMITED)), of=ALONE),
        Mark.BETTER,
        ["routes.chat.targets"],
    ),
    (
        "header-lost",
        special.rested_as_told,
        scene((heard(status=429), error(K.RATE_LIMITED)), of=ALONE),
        Mark.FAILS,
        [],
    ),
    (
        "no-rest",
        special.rested_as_told,
        scene((heard(), whole()), (heard(), whole()), primary=[asked(), asked(5)]),
        Mark.FAILS,
        [],
    ),
    # row 2
    (
        "calm",
        special.not_stormed,
        scene((heard(), whole()), primary=[asked(float(at)) for at in range(9)]),
        Mark.HOLDS,
        [],
    ),
    (
        "storm",
        special.not_stormed,
        scene((heard(), whole()), primary=[asked(at / 4) for at in range(9)]),
        Mark.FAILS,
        [],
    ),
    # row 5
    (
        "pooled",
        special.uncounted,
        scene((heard("p", x_sidecar_attempts="1"), whole())),
        Mark.HOLDS,
        [],
    ),
    (
        "pooled-counted",
        special.uncounted,
        scene((heard("p", x_sidecar_attempts="2"), whole())),
        Mark.FAILS,
        [],
    ),
    # row 12
    (
        "no-room",
        special.larger_or_error,
        scene((heard(status=400), error(K.CONTEXT_LENGTH)), of=ALONE, primary=[asked()]),
        Mark.BETTER,
        ["routes.chat.targets"],
    ),
    (
        "room-not-used",
        special.larger_or_error,
        scene((heard(status=400), error(K.CONTEXT_LENGTH)), primary=[asked()]),
        Mark.FAILS,
        [],
    ),
    (
        "asked-twice",
        special.larger_or_error,
        scene((heard(), whole()), primary=[asked()] * 2),
        Mark.FAILS,
        [],
    ),
    # row 13
    (
        "reason",
        special.refused_once(K.CONTENT_REFUSED),
        scene((heard(status=400), error(K.CONTENT_REFUSED)), primary=[asked()]),
        Mark.HOLDS,
        [],
    ),
    (
        "other-reason",
        special.refused_once(K.CONTENT_REFUSED),
        scene((heard(status=502), error(K.BACKEND_ERROR)), primary=[asked()]),
        Mark.FAILS,
        [],
    ),
    # row 25
    (
        "client-key",
        special.own_key_refused(True, answered()),
        scene((heard(status=401), error(K.BACKEND_AUTH))),
        Mark.HOLDS,
        [],
    ),
    (
        "own-key",
        special.own_key_refused(False, answered()),
        scene((heard(status=401), error(K.BACKEND_AUTH))),
        Mark.FAILS,
        [],
    ),
    # row 29
    (
        "names-all",
        special.nobody_is_there,
        scene((heard(status=503, retry_after="5"), error(message="p: refused; f: refused"))),
        Mark.HOLDS,
        [],
    ),
    (
        "names-one",
        special.nobody_is_there,
        scene((heard(status=503, retry_after="5"), error(message="p: refused"))),
        Mark.FAILS,
        [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("judge", "seen", "mark", "advised"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_marks(judge: Judge, seen: Scene, mark: Mark, advised: list[str]) -> None:
    found = judge(seen)
    assert (found.mark, settings(found)) == (mark, advised), found.told
    assert found.told


def test_a_broken_stream_is_told_how_to_be_rescued() -> None:
    found = judging.honest_or_whole(scene((heard(), error(text=HALF))))
    assert found.mark is Mark.BETTER
    assert "not rescued" in found.told
    assert settings(found) == ["routes.chat.targets", "routes.chat.delivery"]
    rescued = judging.honest_or_whole(scene((heard(), whole())))
    assert (rescued.mark, rescued.advice) == (Mark.HOLDS, ())


def test_who_was_asked_to_go_on_may() -> None:
    seen = scene((heard(), whole(SPLICED)))
    half = "".join(words("a")[:40])
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": half}]
    request = replace(asked(), body={"model": "m", "messages": turns})
    seen.standins["f"].asked.append(request)
    assert judging.honest_or_whole(seen).mark is Mark.HOLDS


def outage(primary: list[float], took: float = 0.0) -> Scene:
    answers = [(heard("f", took), whole())] * 24
    return scene(*answers, primary=[asked(at) for at in primary])


@pytest.mark.parametrize(
    ("primary", "mark"),
    [
        ([0, 4, 34, 64], Mark.HOLDS),
        ([*range(0, 92, 4)], Mark.FAILS),  # one trial for each request
        ([0, 4, 34], Mark.FAILS),  # never again
    ],
)
def test_an_outage(primary: list[float], mark: Mark) -> None:
    assert special.outlived(outage(primary)).mark is mark


@pytest.mark.parametrize(
    ("usage", "model", "mark"),
    [(101, "m", Mark.HOLDS), (100, "m", Mark.FAILS), (101, "other", Mark.FAILS)],
)
def test_whose_usage(usage: int, model: str, mark: Mark) -> None:
    said = Understood(TEXT, True, None, model, Usage(usage, 60))
    seen = scene((heard("f"), said))
    seen.standins["f"].asked.append(asked())
    assert special.usage_of_who_answered(seen).mark is mark


@pytest.mark.parametrize(
    ("in_flight", "others", "left", "mark"),
    [
        (0, [], [1.0], Mark.HOLDS),
        (1, [], [1.0], Mark.FAILS),
        (0, [1.1], [1.0], Mark.FAILS),
        (0, [0.1], [1.0], Mark.HOLDS),  # the route fails over at once, while the client is there
        (0, [], [2.5], Mark.FAILS),
    ],
)
def test_a_client_that_left(
    in_flight: int, others: list[float], left: list[float], mark: Mark
) -> None:
    seen = scene((Heard(took=1.0), Understood()), primary=[asked()])
    seen.in_flight = in_flight
    seen.standins["f"].asked += [asked(at) for at in others]
    seen.primary.left += left
    assert special.forgotten(seen).mark is mark


@pytest.mark.parametrize(
    ("took", "stopping", "mark", "advised"),
    [
        (300.0, True, Mark.BETTER, ["drain.limit"]),
        (3.0, True, Mark.FAILS, []),
        (300.0, False, Mark.FAILS, []),
    ],
)
def test_a_drain(took: float, stopping: bool, mark: Mark, advised: list[str]) -> None:
    seen = scene((heard("p", took), error(K.SHUTDOWN)))
    found = special.carried_on(stopping)(seen)
    assert (found.mark, settings(found)) == (mark, advised)


@pytest.mark.parametrize(
    ("more", "setting"),
    [
        ({}, "defaults.timeouts.first_token"),
        ({"backends": {"timeouts": {"first_token": "9s"}}}, "backends.p.timeouts.first_token"),
        ({"target": {"first_token": "9s"}}, "routes.chat.targets[0].first_token"),
    ],
)
def test_where_a_limit_is_set(more: dict[str, Any], setting: str) -> None:
    backend = {"dialect": "openai", "base_url": "http://p.invalid/v1", **more.get("backends", {})}
    target = {"backend": "p", "model": "m", **more.get("target", {})}
    made = casting("p", route={"targets": [target]}, backends={"p": backend})
    assert advice.limit_setting(made, "first_token") == setting
