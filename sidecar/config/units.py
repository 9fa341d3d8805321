"""Durations, sizes and rates as people write them.

Every reader takes what stood in the file and returns a plain number, or raises ValueError whose
message says what was expected.
"""

import re

_TOO_MUCH = 2.0**62
_NUMBER = r"(\d+(?:\.\d+)?)"

SHORTEST = 0.001  # seconds of a limit
LONGEST = 30 * 24 * 3600.0

DURATION_PATTERN = rf"^(?:{_NUMBER}(?:ms|s|m|h))+$".replace("(\\d", "(?:\\d")
SIZE_PATTERN = r"^\d+(?:\.\d+)? ?(?:[KMGkmg][Ii]?)?[Bb]$"
RATE_PATTERN = r"^\d+(?:\.\d+)?/(?:s|sec|m|min|h|hour)$"
BYTE_RATE_PATTERN = SIZE_PATTERN.removesuffix("$") + RATE_PATTERN[RATE_PATTERN.index("/") :]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {
    "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_PER = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}

_A_DURATION = "a duration such as 200ms, 10s, 5m or 1m30s (a plain number means seconds)"
_A_SIZE = "a size such as 64KB, 10MB or 5MiB (a plain number means bytes)"
_A_RATE = "a rate such as 10/s or 120/min (a plain number means per second)"
_A_BYTE_RATE = "bytes by time such as 100MB/min (a plain number means bytes per second)"


def duration(value: object) -> float:
    """Seconds, at most thirty days."""
    seconds = _plain(value)
    if seconds is None and isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        parts = re.findall(rf"{_NUMBER}(ms|s|m|h)", value)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds is None:
        raise ValueError(_A_DURATION)
    if seconds > LONGEST:
        raise ValueError("a duration of at most thirty days (720h)")
    return seconds


def limit(value: object) -> float:
    """Seconds of a limit: a duration that is not nothing."""
    seconds = duration(value)
    if seconds < SHORTEST:
        raise ValueError("a duration of at least 1ms")
    return seconds


def size(value: object) -> int:
    """Bytes; KB, MB and GB are decimal, KiB, MiB and GiB binary."""
    count = _plain(value)
    if count is None and isinstance(value, str) and re.fullmatch(SIZE_PATTERN, value):
        found = re.fullmatch(rf"{_NUMBER} ?([a-z]+)", value.lower())
        assert found is not None
        count = float(found[1]) * _BYTES[found[2]]
    if count is None or count > _TOO_MUCH:
        raise ValueError(_A_SIZE)
    return round(count)


def rate(value: object) -> float:
    """Times a second."""
    times = _plain(value)
    if times is None and isinstance(value, str) and re.fullmatch(RATE_PATTERN, value):
        number, unit = value.split("/")
        times = float(number) / _PER[unit]
    if times is None or times > _TOO_MUCH:
        raise ValueError(_A_RATE)
    return times


def byte_rate(value: object) -> float:
    """Bytes a second."""
    if isinstance(value, str) and re.fullmatch(BYTE_RATE_PATTERN, value):
        count, unit = value.split("/")
        return size(count) / _PER[unit]
    if (count_a_second := _plain(value)) is None:
        raise ValueError(_A_BYTE_RATE)
    return count_a_second


def write_duration(seconds: float) -> str:
    """The shortest way to write a duration that reads back as the same number."""
    for unit in ("h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{int(seconds / _SECONDS[unit])}{unit}"
    milliseconds = seconds * 1000
    return f"{round(milliseconds)}ms" if seconds else "0s"


def write_size(count: int) -> str | int:
    """The shortest way to write a size that reads back as the same number."""
    for unit, name in (("gb", "GB"), ("mb", "MB"), ("kb", "KB")):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{name}"
    return count


def write_rate(times: float) -> str:
    """The shortest way to write a rate that reads back as the same number."""
    for unit in ("s", "min", "h"):
        if (whole := round(times * _PER[unit])) and whole / _PER[unit] == times:
            return f"{whole}/{unit}"
    return f"{times:g}/s"


def write_byte_rate(times: float) -> str:
    """The same for bytes a second."""
    for unit in ("s", "min", "h"):
        if (whole := round(times * _PER[unit])) and whole / _PER[unit] == times:
            written = write_size(whole)
            return f"{written}{'B' if isinstance(written, int) else ''}/{unit}"
    return f"{times:.0f}B/s"


def _plain(value: object) -> float | None:
    """A number that has no unit, written as a number or as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        if not re.fullmatch(_NUMBER, value):
            return None
        value = float(value)
    if isinstance(value, int | float) and 0 <= value < _TOO_MUCH:
        return float(value)
    return None
