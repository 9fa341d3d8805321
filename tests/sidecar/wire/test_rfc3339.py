"""Moments in text, checked against the standard library's calendar."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import rfc3339


@given(seconds=st.integers(-62_135_596_800, 253_402_300_799))  # the years 1 to 9999
def test_a_moment_is_written_and_read_again(seconds: int) -> None:
    text = rfc3339.written(seconds)
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(seconds, UTC)
    assert rfc3339.read(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T12:00:00.123456789Z", 1_709_208_000),
        ("2024-02-29T14:00:00+02:00", 1_709_208_000),
        ("2024-02-29T04:30:00.5-07:30", 1_709_208_000),
        ("yesterday", None),
        ("2024-02-29", None),
        ("", None),
    ],
)
def test_moments_as_others_write_them(text: str, seconds: int | None) -> None:
    assert rfc3339.read(text) == seconds
