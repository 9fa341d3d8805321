"""May a candidate take a request now, and if not, why: one rule that combines all facts. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sidecar.policy.breaker import Look


class Availability(StrEnum):
    """Whether a backend may take a request now, and if not, why."""

    READY = "ready"
    EJECTED = "ejected"  # attempts fail
    UNHEALTHY = "unhealthy"  # probes fail
    FULL = "full"  # it has as many requests as it may
    RESTING = "resting"  # it asked for time
    DRAINING = "draining"  # it takes nothing new
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a candidate may take a request now.

    `wait` is in seconds until it is worth asking again: 0 when it is ready, infinite when nobody
    knows. A crowded one is ready, but others go first. `why` is for people and may be empty.
    """

    availability: Availability
    wait: float = 0.0
    is_crowded: bool = False
    why: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it may be asked."""
        return self.availability is Availability.READY


READY = Standing(Availability.READY)
_CROWDED = Standing(Availability.READY, is_crowded=True)
_DRAINING = Standing(Availability.DRAINING, math.inf)
_DISABLED = Standing(Availability.DISABLED, math.inf)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a candidate but for its breakers; times are seconds."""

    is_enabled: bool = True
    is_draining: bool = False
    is_unhealthy: bool = False
    health_wait: float = 0.0  # until health is looked at again
    rest: float = 0.0
    rest_why: str = ""


def standing(facts: Facts, breakers: Sequence[tuple[Look, str]]) -> Standing:
    """What the facts and the looks at its breakers, each with its reason, come to.

    The gravest reason is named; the wait is the longest one.
    """
    if not facts.is_enabled:
        return _DISABLED
    if facts.is_draining:
        return _DRAINING
    shut = [(look.wait, why) for look, why in breakers if not look.may_pass]
    waits = [wait for wait, _ in shut]
    if facts.is_unhealthy:
        waits.append(facts.health_wait)
    if facts.rest > 0:
        waits.append(facts.rest)
    if shut:
        return Standing(Availability.EJECTED, max(waits), why=max(shut)[1])
    if facts.is_unhealthy:
        return Standing(Availability.UNHEALTHY, max(waits))
    if facts.rest > 0:
        return Standing(Availability.RESTING, facts.rest, why=facts.rest_why)
    return _CROWDED if any(look.is_crowded for look, _ in breakers) else READY
