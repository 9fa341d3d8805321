"""Counting within the latest seconds."""

import sys

from sidecar.policy.window import BUCKETS, Counts, SlidingWindow


def test_what_is_older_than_the_window_is_forgotten() -> None:
    window = SlidingWindow()
    window.add(60, 0, True, None)
    window.add(60, 30, False, True)
    window.add(60, 58, None, False)
    assert window.count(60, 59) == Counts(calls=2, failed=1, timed=2, slow=1)
    assert window.count(60, 61) == Counts(calls=1, failed=0, timed=2, slow=1)
    assert window.count(60, 114) == Counts(timed=1)
    assert window.count(60, 1000) == Counts()


def test_another_window_begins_anew() -> None:
    window = SlidingWindow()
    window.add(60, 0, True, None)
    assert window.count(30, 0) == Counts()
    window.add(30, 0, False, None)
    assert window.count(30, 0) == Counts(calls=1)


def test_memory_does_not_grow_with_calls() -> None:
    window = SlidingWindow()
    for step in range(100_000):
        window.add(60, step / 100, step % 2 == 0, False)
    assert len(window._ring) <= BUCKETS
    assert sys.getsizeof(window._ring) < 1000
    assert window.count(60, 1000).calls <= 6000


def test_it_can_be_cleared() -> None:
    window = SlidingWindow()
    window.add(60, 0, True, None)
    window.clear()
    assert window.count(60, 0) == Counts()
