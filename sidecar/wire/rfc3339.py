"""Moments as RFC 3339 writes them, such as 2026-08-21T18:48:22Z, from and to seconds."""

import re

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))"
)
_DAY = 86400  # seconds
_CYCLE = 146097  # days of 400 years, after which the calendar repeats itself
_TO_EPOCH = 719468  # days from 0000-03-01 to 1970-01-01


def written(seconds: int) -> str:
    """The moment that many seconds after 1970, in UTC."""
    days, rest = divmod(seconds, _DAY)
    year, month, day = _date(days)
    hours, rest = divmod(rest, 3600)
    return f"{year:04}-{month:02}-{day:02}T{hours:02}:{rest // 60:02}:{rest % 60:02}Z"


def read(text: str) -> int | None:
    """The seconds since 1970 of a moment; None where the text is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    sign, ahead_hours, ahead_minutes = found.groups()[6:]
    ahead = 3600 * int(ahead_hours or 0) + 60 * int(ahead_minutes or 0)
    local = _days(year, month, day) * _DAY + 3600 * hour + 60 * minute + second
    return local + ahead if sign == "-" else local - ahead


# Both count years from March, so that a leap day is the last day of its year. The algorithms are
# Howard Hinnant's: https://howardhinnant.github.io/date_algorithms.html


def _date(days: int) -> tuple[int, int, int]:
    cycle, day = divmod(days + _TO_EPOCH, _CYCLE)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day -= (153 * month + 2) // 5 - 1
    return 400 * cycle + year + month // 10, (month + 2) % 12 + 1, day


def _days(year: int, month: int, day: int) -> int:
    cycle, year = divmod(year - (month <= 2), 400)
    past = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return cycle * _CYCLE + 365 * year + year // 4 - year // 100 + past - _TO_EPOCH
