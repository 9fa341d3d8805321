"""What a client's SDK tells of itself: how long it waits, and which try of its own this is."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

# seconds, all of them. Python: between two reads; Anthropic's sends both. JavaScript: until the
# head, cut to whole seconds, so that less than one is told as 0
_WAITS = ("x-stainless-read-timeout", "x-stainless-timeout")
_RETRY = "x-stainless-retry-count"
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_COUNT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Patience:
    """`wait` is the seconds in which an answer must begin, infinite where nobody said; `retry` is
    0 for a first try and None where nobody said."""

    wait: float = math.inf
    retry: int | None = None


def patience(headers: Mapping[str, str]) -> Patience:
    """As a client's headers tell it; what makes no sense says nothing."""
    told = (headers.get(name, "").strip() for name in _WAITS)
    waits = [float(one) for one in told if _NUMBER.fullmatch(one)]
    count = headers.get(_RETRY, "").strip()
    return Patience(
        min((one for one in waits if one > 0), default=math.inf),
        int(count) if _COUNT.fullmatch(count) else None,
    )
