"""What probes find, what follows, and when the next one is due."""

import pytest

from sidecar.policy.health import (
    FALL,
    HURRIED,
    LOOK,
    RISE,
    SPREAD,
    Finding,
    Health,
    ProbeSettings,
    ProbeVerdict,
    due,
    ends_rest,
    finding_of,
    first_due,
)

SETTINGS = ProbeSettings(every=60, timeout=3)
ALIVE = (Finding.WELL, Finding.ANSWERS, Finding.AUTH)
FAILURES = (
    Finding.REFUSED, Finding.LOST, Finding.DNS, Finding.TLS, Finding.TIMEOUT,
    Finding.SERVER_ERROR, Finding.SHAPE,
)  # fmt: skip


def verdict(finding: Finding) -> ProbeVerdict:
    return ProbeVerdict(finding, f"found {finding}")


WELL, DEAD = verdict(Finding.WELL), verdict(Finding.REFUSED)


@pytest.mark.parametrize(
    ("status", "well_formed", "finding"),
    [
        (200, True, Finding.WELL),
        (200, False, Finding.SHAPE),
        (204, False, Finding.ANSWERS),
        (301, False, Finding.ANSWERS),
        (400, False, Finding.ANSWERS),
        (401, False, Finding.AUTH),
        (403, False, Finding.AUTH),
        (404, False, Finding.ANSWERS),
        (405, False, Finding.ANSWERS),
        (429, False, Finding.ANSWERS),
        (500, False, Finding.SERVER_ERROR),
        (503, False, Finding.SERVER_ERROR),
        (529, False, Finding.SERVER_ERROR),
    ],
)
def test_what_a_status_says(status: int, well_formed: bool, finding: Finding) -> None:
    assert finding_of(status, is_well_formed=well_formed) is finding


def test_every_finding_speaks_for_against_or_not_at_all() -> None:
    assert {one for one in Finding if verdict(one).is_alive} == set(ALIVE)
    assert {one for one in Finding if verdict(one).is_failure} == set(FAILURES)


W, D, A, N = WELL, DEAD, verdict(Finding.AUTH), verdict(Finding.NOT_ASKED)


@pytest.mark.parametrize(
    ("verdicts", "unhealthy"),
    [
        ([], False),
        ([D] * (FALL - 1), False),
        ([D] * FALL, True),
        ([D] * (FALL - 1) + [W] + [D] * (FALL - 1), False),  # not in a row
        ([D] * (FALL - 1) + [N, D], True),  # what says nothing interrupts no row
        ([verdict(one) for one in FAILURES[:FALL]], True),  # of any kinds
        ([N] * 9, False),
        ([A] * 9, False),
        ([D] * FALL + [W] * (RISE - 1), True),
        ([D] * FALL + [W] * RISE, False),
        ([D] * FALL + [A] * RISE, False),
        ([D] * FALL + [W] * (RISE - 1) + [D] + [W] * (RISE - 1), True),
        ([D] * FALL + [W] * RISE + [D] * (FALL - 1), False),
    ],
)
def test_thresholds_both_ways(verdicts: list[ProbeVerdict], unhealthy: bool) -> None:
    health = Health()
    for second, one in enumerate(verdicts):
        health.probed(one, SETTINGS, float(second))
    assert health.is_unhealthy is unhealthy


def fallen(at: float = 100.0) -> Health:
    health = Health()
    for _ in range(FALL):
        health.probed(DEAD, SETTINGS, at)
    assert health.is_unhealthy
    return health


def test_one_success_is_enough_where_an_operator_asked() -> None:
    health = fallen()
    health.probed(WELL, SETTINGS, 101, is_final=True)
    assert not health.is_unhealthy
    assert health.since == 101
    assert health.verdict is WELL


def test_a_failure_that_an_operator_asked_for_counts_as_any() -> None:
    health = Health()
    health.probed(DEAD, SETTINGS, 1, is_final=True)
    assert not health.is_unhealthy
    assert health.is_in_doubt


@pytest.mark.parametrize(
    ("began", "unhealthy"),
    [
        (99.0, True),  # an old connection lives on where new ones fail
        (100.0, False),
        (101.0, False),
    ],
)
def test_traffic_makes_it_healthy_at_once(began: float, unhealthy: bool) -> None:
    health = fallen(at=100)
    health.answered(began, 102)
    assert health.is_unhealthy is unhealthy
    assert health.is_in_doubt is unhealthy


@pytest.mark.parametrize(
    ("answered", "probes", "unhealthy"),
    [
        (None, [100, 105, 110], True),
        (99, [100, 105, 110], False),
        (39, [100, 105, 110], True),  # before `every`, and before the probe before
        (41, [100, 105, 110], False),  # the first was disproved
        (41, [100, 105, 110, 115], True),
        (50, [100, 105, 110, 112, 113], False),
        (50, [100, 105, 110, 112, 113, 114], True),
    ],
)
def test_a_probe_is_no_match_for_traffic(
    answered: float | None, probes: list[float], unhealthy: bool
) -> None:
    health = Health()
    if answered is not None:
        health.answered(answered, answered)
    for at in probes:
        health.probed(DEAD, SETTINGS, at)
    assert health.is_unhealthy is unhealthy


def test_traffic_since_the_probe_before_counts_however_long_ago() -> None:
    health = Health()
    health.probed(WELL, SETTINGS, 0)
    health.answered(10, 10)
    health.probed(DEAD, SETTINGS, 500)
    assert not health.is_in_doubt
    health.probed(DEAD, SETTINGS, 600)
    assert health.is_in_doubt


def test_traffic_that_fails_speaks_for_it_no_more() -> None:
    health = Health()
    health.answered(99, 99)
    health.failed()
    for at in (100, 105, 110):
        health.probed(DEAD, SETTINGS, at)
    assert health.is_unhealthy


@pytest.mark.parametrize("finding", FAILURES)
def test_what_traffic_disproved_of_a_path_counts_no_more(finding: Finding) -> None:
    health, broken = Health(), verdict(finding)
    health.answered(99, 99)
    health.probed(broken, SETTINGS, 100)
    for later in range(300, 300 + 10 * FALL, 10):  # traffic has paused
        health.probed(broken, SETTINGS, later)
    is_of_path = finding in (Finding.SERVER_ERROR, Finding.SHAPE)
    assert health.is_unhealthy is not is_of_path
    if is_of_path:
        assert not health.is_in_doubt
        health.probed(WELL, SETTINGS, 400)
        for later in range(410, 410 + 10 * FALL, 10):
            health.probed(broken, SETTINGS, later)
        assert health.is_unhealthy, "the path works after all"


def test_what_a_reset_forgets() -> None:
    health = fallen()
    health.forget()
    assert (health.is_unhealthy, health.is_in_doubt, health.failed_in) == (False, False, None)
    assert health.verdict is DEAD


@pytest.mark.parametrize(
    ("verdicts", "now", "wait"),
    [
        ([], 100, 0),
        ([DEAD], 100, 0),
        ([DEAD] * FALL, 100, HURRIED * RISE),
        ([DEAD] * FALL, 102, HURRIED * RISE - 2),
        ([DEAD] * FALL + [WELL], 101, HURRIED - 1),
        ([DEAD] * FALL + [WELL], 200, LOOK),
        ([DEAD] * FALL + [WELL] * RISE, 100, 0),
    ],
)
def test_when_it_can_be_healthy_again(
    verdicts: list[ProbeVerdict], now: float, wait: float
) -> None:
    health = Health()
    for one in verdicts:
        health.probed(one, SETTINGS, 100)
    assert health.retry_in(now) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("finding", "before", "failed_since", "asked", "ends"),
    [
        (Finding.WELL, None, False, False, False),
        (Finding.WELL, WELL, False, False, False),  # it has listed its models all the time
        (Finding.WELL, DEAD, False, False, True),
        (Finding.WELL, WELL, True, False, True),
        (Finding.WELL, DEAD, True, False, True),
        (Finding.AUTH, DEAD, True, False, True),  # somebody is there again
        (Finding.WELL, verdict(Finding.AUTH), False, False, False),
        (Finding.WELL, verdict(Finding.NOT_ASKED), False, False, False),
        (Finding.WELL, None, False, True, True),
        (Finding.WELL, WELL, False, True, True),
        (Finding.REFUSED, DEAD, True, False, False),
        (Finding.REFUSED, DEAD, True, True, False),
        (Finding.NOT_ASKED, DEAD, True, True, False),
    ],
)
def test_which_probe_ends_a_rest(
    finding: Finding, before: ProbeVerdict | None, failed_since: bool, asked: bool, ends: bool
) -> None:
    told = ends_rest(verdict(finding), before, has_failed_since=failed_since, was_asked_for=asked)
    assert told is ends


def test_the_era_of_a_failure_is_remembered_beyond_a_success() -> None:
    health = Health()
    health.probed(DEAD, SETTINGS, 1, era=(4,))
    health.probed(WELL, SETTINGS, 2, era=(4,))
    assert health.failed_in == (4,)


@pytest.mark.parametrize(
    ("every", "answered", "hurry", "draw", "at"),
    [
        (60, None, False, 0.5, 160),
        (60, None, False, 0.0, 154),
        (60, None, False, 0.999999, 166),
        (60, 130, False, 0.5, 190),  # traffic counts as a probe
        (60, 90, False, 0.5, 160),
        (60, 130, True, 0.5, 105),
        (60, None, True, 0.0, 104.5),
        (2, None, True, 0.5, 102),
    ],
)
def test_when_the_next_probe_is_due(
    every: float, answered: float | None, hurry: bool, draw: float, at: float
) -> None:
    health = Health(answered_at=answered)
    settings = ProbeSettings(every)
    assert due(health, 100, settings, hurry=hurry, draw=draw) == pytest.approx(at, abs=1e-3)


@pytest.mark.parametrize(
    ("every", "answered", "draw", "at"),
    [
        (60, None, 0.0, 100),
        (60, None, 0.5, 100 + SPREAD / 2),
        (1, None, 0.5, 100.5),
        (60, 90, 0.5, 150),
    ],
)
def test_the_first_probes_are_soon_and_spread(
    every: float, answered: float | None, draw: float, at: float
) -> None:
    health = Health(answered_at=answered)
    assert first_due(health, 100, ProbeSettings(every), draw) == pytest.approx(at)
