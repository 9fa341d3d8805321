"""Durations, sizes and rates as people write them."""

import pytest

from sidecar.config import units


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("200ms", 0.2), ("10s", 10), ("5m", 300), ("1h", 3600), ("1m30s", 90), ("1.5s", 1.5),
     (5, 5), (0.5, 0.5), ("30", 30), (0, 0)],
)  # fmt: skip
def test_durations(written: object, seconds: float) -> None:
    assert units.duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "count"),
    [("10MB", 10_000_000), ("5MiB", 5 * 2**20), ("64KB", 64_000), ("1kib", 1024), ("12 B", 12),
     ("0.5GB", 500_000_000), (4096, 4096), ("4096", 4096)],
)  # fmt: skip
def test_sizes(written: object, count: int) -> None:
    assert units.size(written) == count


@pytest.mark.parametrize(
    ("written", "times"), [("10/s", 10), ("120/min", 2), ("3600/h", 1), (4, 4), ("0.5/sec", 0.5)]
)
def test_rates(written: object, times: float) -> None:
    assert units.rate(written) == pytest.approx(times)


@pytest.mark.parametrize(
    "written",
    ["", "10x", "s", "-5s", -1, True, None, "5 s", "1e9h", float("nan"), float("inf"), [1]],
)
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="a duration"):
        units.duration(written)


@pytest.mark.parametrize("written", ["10", "10QB", "MB", "-1MB", True, None, "10 M B"][1:])
def test_what_is_no_size(written: object) -> None:
    with pytest.raises(ValueError, match="a size"):
        units.size(written)


@pytest.mark.parametrize("written", ["10/y", "fast", "/s", True, None, -1])
def test_what_is_no_rate(written: object) -> None:
    with pytest.raises(ValueError, match="a rate"):
        units.rate(written)


def test_a_duration_has_an_end() -> None:
    with pytest.raises(ValueError, match="thirty days"):
        units.duration("721h")


@pytest.mark.parametrize("seconds", [0.0, 0.2, 3.0, 60.0, 90.0, 3600.0, 1.5])
def test_a_written_duration_reads_back(seconds: float) -> None:
    assert units.duration(units.write_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("count", [1, 64_000, 65_536, 10_000_000, 2_000_000_000])
def test_a_written_size_reads_back(count: int) -> None:
    assert units.size(units.write_size(count)) == count


@pytest.mark.parametrize("times", [2.5, 10.0, 10 / 60, 7 / 60, 1 / 3600, 120 / 60])
def test_a_written_rate_reads_back(times: float) -> None:
    assert units.rate(units.write_rate(times)) == times


@pytest.mark.parametrize("times", [1.0, 1000.0, 100e6 / 60, 65_536 / 60, 1e9 / 3600])
def test_a_written_byte_rate_reads_back(times: float) -> None:
    assert units.byte_rate(units.write_byte_rate(times)) == times


@pytest.mark.parametrize(
    ("written", "bytes_a_second"),
    [("6MB/min", 100_000), ("1KiB/s", 1024), ("3.6 GB/h", 1e6), (5, 5), ("5", 5)],
)
def test_rates_of_bytes(written: object, bytes_a_second: float) -> None:
    assert units.byte_rate(written) == pytest.approx(bytes_a_second)


@pytest.mark.parametrize("written", ["6MB", "6/min", "MB/s", "6MB/d", True, None, -1, "1/s", ""])
def test_what_is_no_rate_of_bytes(written: object) -> None:
    with pytest.raises(ValueError, match="bytes by time such as 100MB/min"):
        units.byte_rate(written)
