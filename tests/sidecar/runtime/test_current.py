"""The holder of the snapshot, and the life of the program."""

import pytest

from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from tests.sidecar.examples import snapshot


def test_a_good_snapshot_ends_a_degraded_start() -> None:
    current = Current()
    current.faults = "line 1: oh"
    assert current.get() is None
    good = snapshot([])
    current.swap(good)
    assert (current.get(), current.faults) == (good, "")


@pytest.mark.parametrize(
    ("life", "ready"),
    [
        (Life(born=0), False),
        (Life(born=0, started=True), True),
        (Life(born=0, started=True, draining=True), True),
        (Life(born=0, started=True, draining=True, settling=True), False),
    ],
)
def test_only_a_gateway_that_settles_is_not_ready(life: Life, ready: bool) -> None:
    assert life.ready is ready
