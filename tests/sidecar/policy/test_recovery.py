"""Whom to ask to go on with a broken stream, and how."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.outcome import Disposition, Outcome, disposition_of
from sidecar.policy.recovery import RECOVERABLE, Recovery, can_recover, next_recovery
from sidecar.policy.routing import Plan, Way
from tests.sidecar.policy.plans import plan_of

REPLAY, CONTINUE, FAIL = Way.REPLAY, Way.CONTINUE, Way.FAIL
K = ProblemKind
WAYS = (REPLAY, CONTINUE, FAIL)


def ended(candidate: int, kind: ProblemKind, *, spoke: bool = True) -> Outcome:
    """An attempt that broke, behind its first token or before."""
    problem = Problem(kind, "broke")
    disposition = disposition_of(problem, {})
    ttft = 0.1 if spoke else None
    return Outcome(candidate, "b", "m", disposition, problem, ttft=ttft, committed=True)


def chain(*prefills: bool, recover: Sequence[Way] = WAYS, attempts: int = 2) -> Plan:
    """A plan with a candidate for each; whether it goes on from a partial turn."""
    plan = plan_of(len(prefills))
    retry = replace(plan.route.retry, attempts=attempts)
    candidates = tuple(
        replace(one, continues=able) for one, able in zip(plan.candidates, prefills, strict=True)
    )
    return Plan(replace(plan.route, recover=tuple(recover), retry=retry), candidates)


CUT, SILENT = ended(0, K.TRUNCATED), ended(0, K.TIMEOUT)
THREE = chain(False, False, False)
LAST = chain(False, False, True)


@pytest.mark.parametrize(
    ("plan", "history", "tried", "step"),
    [
        pytest.param(THREE, [CUT], [], (REPLAY, 1), id="the next one"),
        pytest.param(
            THREE, [CUT, ended(1, K.DIVERGED)], [(REPLAY, 1)], (REPLAY, 2), id="and the next"
        ),
        pytest.param(
            THREE,
            [CUT, ended(1, K.CONNECT, spoke=False), ended(2, K.DIVERGED)],
            [(REPLAY, 1), (REPLAY, 2)],
            (REPLAY, 0),
            id="the one that broke, at last",
        ),
        pytest.param(
            THREE,
            [CUT, ended(1, K.DIVERGED), ended(2, K.DIVERGED), CUT],
            [(REPLAY, 1), (REPLAY, 2), (REPLAY, 0)],
            None,
            id="everybody was asked",
        ),
        pytest.param(
            LAST,
            [CUT, ended(1, K.DIVERGED), ended(2, K.DIVERGED), CUT],
            [(REPLAY, 1), (REPLAY, 2), (REPLAY, 0)],
            (CONTINUE, 2),
            id="then who goes on from the text",
        ),
        pytest.param(
            LAST,
            [CUT, ended(1, K.DIVERGED), ended(2, K.CONNECT, spoke=False), CUT],
            [(REPLAY, 1), (REPLAY, 2), (REPLAY, 0)],
            None,
            id="but nobody who could not be reached",
        ),
        pytest.param(
            THREE,
            [ended(0, K.BACKEND_ERROR, spoke=False), ended(1, K.TRUNCATED)],
            [],
            (REPLAY, 2),
            id="nobody who failed before",
        ),
        pytest.param(chain(False), [CUT], [], (REPLAY, 0), id="alone"),
        pytest.param(chain(False), [SILENT], [], None, id="alone, and silent"),
        pytest.param(chain(False, attempts=0), [CUT], [], None, id="alone, and nothing is retried"),
        pytest.param(chain(False, False, recover=[FAIL]), [CUT], [], None, id="the route fails"),
        pytest.param(
            chain(False, True, recover=[CONTINUE, FAIL]), [CUT], [], (CONTINUE, 1), id="continue"
        ),
        pytest.param(
            chain(False, True, recover=[CONTINUE, REPLAY, FAIL]),
            [CUT, ended(1, K.DIVERGED)],
            [(CONTINUE, 1)],
            (REPLAY, 1),
            id="the other way round",
        ),
    ],
)
def test_next_recovery(
    plan: Plan,
    history: Sequence[Outcome],
    tried: Sequence[tuple[Way, int]],
    step: tuple[Way, int] | None,
) -> None:
    found = next_recovery(
        plan,
        history,
        [Recovery(*one) for one in tried],
        may_continue=True,
        is_ready=lambda _: True,
        may_retry=lambda: True,
    )
    assert found == (None if step is None else Recovery(*step))


def test_who_may_not_be_asked_is_passed_over() -> None:
    found = next_recovery(
        THREE, [CUT], [], may_continue=True, is_ready=lambda place: place != 1, may_retry=bool
    )
    assert found == Recovery(REPLAY, 2)


def test_asking_the_same_again_takes_a_retry_from_the_budget() -> None:
    asked: list[bool] = []

    def may_retry() -> bool:
        asked.append(True)
        return False

    alone = chain(False)
    assert (
        next_recovery(
            alone, [CUT], [], may_continue=True, is_ready=lambda _: True, may_retry=may_retry
        )
        is None
    )
    assert asked == [True]


def test_what_no_target_may_be_handed_is_not_continued() -> None:
    plan = chain(False, True, recover=[CONTINUE, FAIL])
    found = next_recovery(
        plan, [CUT], [], may_continue=False, is_ready=lambda _: True, may_retry=lambda: True
    )
    assert found is None


@pytest.mark.parametrize("kind", ProblemKind)
def test_which_breaks_are_worth_it(kind: ProblemKind) -> None:
    assert can_recover(ended(0, kind)) is (kind in RECOVERABLE)


def test_a_route_may_make_a_break_final() -> None:
    assert not can_recover(replace(CUT, disposition=Disposition.FINAL))
