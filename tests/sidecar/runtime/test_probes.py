"""What probes and traffic together make of a backend's availability."""

import pytest

from sidecar.neutral.problem import ProblemKind
from sidecar.policy.availability import Availability
from sidecar.policy.health import HURRIED, Finding, ProbeVerdict
from sidecar.runtime.store import RuntimeStore
from tests.sidecar.examples import backend, failed, snapshot, succeeded

HOME = backend("home")
WELL, DEAD = ProbeVerdict(Finding.WELL, "answered 200", 0.1), ProbeVerdict(Finding.LOST, "broke")
READY, EJECTED, UNHEALTHY = Availability.READY, Availability.EJECTED, Availability.UNHEALTHY


def play(script: str) -> tuple[RuntimeStore, float]:
    """One letter a second: F, S an attempt that fails or succeeds; -, + a probe that does; ! one
    that succeeds and that an operator asked for.
    """
    store, now = RuntimeStore(), 100.0
    store.reconcile(snapshot([HOME]))
    for letter in script:
        now += 1
        match letter:
            case "F":
                outcome = failed("home", ProblemKind.CONNECT)
                store.begin(HOME, now, "m").settle(outcome, now, 5000)
            case "S":
                store.begin(HOME, now, "m").settle(succeeded("home"), now, 5000)
            case "-" | "+":
                store.probed(HOME, WELL if letter == "+" else DEAD, now)
            case _:
                store.probed(HOME, WELL, now, was_asked_for=True)
    return store, now


@pytest.mark.parametrize(
    ("script", "availability"),
    [
        ("FFFFF", EJECTED),
        ("FFFFF+++", EJECTED),  # it was well for probes all the time
        ("-FFFFF+", READY),  # they failed when it was ejected, and do no more
        ("-+FFFFF+", EJECTED),
        ("FFFFF-+F++", EJECTED),
        ("FFFFF-", EJECTED),
        ("FFFFF-+", READY),
        ("FFFFF!", READY),
        ("FFFFF-+F", EJECTED),  # the trial failed
        ("FFFFF-+F+", EJECTED),
        ("FFFFF-+F-+", EJECTED),  # probes do not see what is wrong
        ("FFFFF-+F-+!", READY),
        ("FFFFF---", EJECTED),
        ("FFFFF---+", UNHEALTHY),
        ("FFFFF---++", READY),
        ("--", READY),
        ("---", UNHEALTHY),
        ("---+", UNHEALTHY),
        ("---++", READY),
        ("---!", READY),
        ("---S", READY),
        ("---F", UNHEALTHY),
        ("S---", READY),
        ("SF---", UNHEALTHY),
    ],
)
def test_who_may_be_asked(script: str, availability: Availability) -> None:
    store, now = play(script)
    assert store.availability(HOME, now) is availability


def test_an_unhealthy_backend_says_when_it_may_be_well() -> None:
    store, now = play("---")
    assert store.standing(HOME, "m", now).wait == 2 * HURRIED
    store, now = play("---+")
    assert store.standing(HOME, "m", now).wait == HURRIED


def test_up_is_told_by_traffic_and_probes() -> None:
    assert not play("---")[0].state(HOME).is_up
    assert play("---++")[0].state(HOME).is_up
    assert not play("FFF++")[0].state(HOME).is_up


def test_health_outlives_a_reload_and_not_another_target() -> None:
    store, now = play("---")
    store.reconcile(snapshot([HOME, backend("new")]))
    assert store.availability(HOME, now) is UNHEALTHY
    moved = backend("home", fingerprint="moved")
    store.reconcile(snapshot([moved]))
    assert store.availability(moved, now) is READY
