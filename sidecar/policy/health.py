"""Active health: what a probe finds, what follows from it, and when the next one is due. Pure.

A probe asks what a dialect offers for free. It tells whether a backend is there, not whether its
models answer; so traffic always knows better, and a refused key is told but never held against it.
`now` is monotonic seconds, `draw` uniform in [0, 1).
"""

from dataclasses import dataclass
from enum import StrEnum

FALL = 3  # failures in a row that make a backend unhealthy
RISE = 2  # successes in a row that make it healthy again; one alone may be a crash loop's moment
HURRIED = 5.0  # seconds between probes of a backend that is in doubt, unhealthy or ejected
SPREAD = 2.0  # seconds over which the first probes after a start are spread
JITTER = 0.1  # of a pause, either way
LOOK = 0.5  # seconds until it is worth while to look again whether a probe has come back

Era = tuple[int, ...]  # counts the openings of a backend's breakers: each begins another one


class Finding(StrEnum):
    """What a probe found."""

    WELL = "well"  # what the dialect promises
    ANSWERS = "answers"  # another status, such as 404, which proves that somebody is there
    AUTH = "auth"  # the key was refused; vendors scope keys, so that this may mean nothing
    REFUSED = "refused"
    LOST = "lost"  # connected, but closed or broke HTTP
    DNS = "dns"
    TLS = "tls"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    SHAPE = "shape"  # a 200 that is not what the dialect promises, such as HTML
    NOT_ASKED = "not_asked"  # its name leads to a public address, and its traffic stays local


_ALIVE = frozenset({Finding.WELL, Finding.ANSWERS, Finding.AUTH})
# may be true of the path that is probed and of nothing else
_OF_THE_PATH = frozenset({Finding.SERVER_ERROR, Finding.SHAPE})


@dataclass(frozen=True, slots=True)
class ProbeVerdict:
    """One probe: what it found, in words for people, and how long the whole answer took.

    `latency` is in seconds; None where no answer came.
    """

    finding: Finding
    words: str
    latency: float | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it speaks for the backend."""
        return self.finding in _ALIVE

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against it."""
        return not self.is_alive and self.finding is not Finding.NOT_ASKED


def finding_of(status: int, *, is_well_formed: bool) -> Finding:
    """What an answer says; `is_well_formed` is asked of a 200 only."""
    if status == 200:
        return Finding.WELL if is_well_formed else Finding.SHAPE
    if status in (401, 403):
        return Finding.AUTH
    return Finding.SERVER_ERROR if status >= 500 else Finding.ANSWERS


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How often a backend is probed, and how long one probe may take; seconds.

    Infinite `every`: never, but for operators.
    """

    every: float = 60.0
    timeout: float = 3.0

    @property
    def hurried(self) -> float:
        """Seconds between probes of a backend that is in doubt."""
        return min(self.every, HURRIED)


@dataclass(slots=True)
class Health:
    """What probes and traffic say of one backend. It counts as healthy until they say else."""

    is_unhealthy: bool = False
    since: float | None = None  # when that changed last
    verdict: ProbeVerdict | None = None  # the latest
    at: float | None = None  # when it came
    failed_in: Era | None = None  # the era of breakers in which a probe failed last
    answered_at: float | None = None  # when an attempt succeeded, and none has failed since
    _failures: int = 0  # in a row, those that count
    _successes: int = 0  # in a row
    _disproved: Finding | None = None  # said of a backend that answered its traffic
    _pause: float = HURRIED

    @property
    def is_in_doubt(self) -> bool:
        """Whether it should be looked at again soon."""
        return self.is_unhealthy or self._failures > 0

    def retry_in(self, now: float) -> float:
        """Seconds until it can be healthy again at the soonest; 0 while it is."""
        if not self.is_unhealthy or self.at is None:
            return 0.0
        missing = max(0, RISE - self._successes - 1)
        return max(LOOK, self.at + self._pause - now) + missing * self._pause

    def probed(
        self,
        verdict: ProbeVerdict,
        settings: ProbeSettings,
        now: float,
        *,
        era: Era = (),
        is_final: bool = False,
    ) -> None:
        """A probe has come back. `is_final`: one success is enough, for an operator asked for it.

        A failure does not count against a backend that has answered traffic since the probe before,
        or within `every`. What traffic has disproved so of a status or a shape counts no more until
        a probe goes well: then the fault is of the path that is probed.
        """
        before, self.verdict, self.at, self._pause = self.at, verdict, now, settings.hurried
        if verdict.is_alive:
            self._failures, self._disproved = 0, None
            self._successes += 1
            if self.is_unhealthy and (is_final or self._successes >= RISE):
                self._turn(False, now)
        elif verdict.is_failure:
            self.failed_in, self._successes = era, 0
            if self._answers_traffic(before, settings.every, now):
                self._failures = 0
                self._disproved = verdict.finding if verdict.finding in _OF_THE_PATH else None
            elif verdict.finding is not self._disproved:
                self._failures += 1
                if not self.is_unhealthy and self._failures >= FALL:
                    self._turn(True, now)

    def answered(self, began: float, now: float) -> None:
        """An attempt that began then has succeeded.

        That makes it healthy at once, unless the attempt is older than what the probes found: old
        connections may live on where new ones fail.
        """
        if self.is_unhealthy and self.since is not None and began < self.since:
            return
        self.answered_at = now
        self._failures = 0
        if self.is_unhealthy:
            self._turn(False, now)

    def failed(self) -> None:
        """An attempt has failed by the backend's fault: traffic speaks for it no more."""
        self.answered_at = None

    def forget(self) -> None:
        """Healthy until probes fail anew; the latest verdict stays to be shown."""
        self._failures = self._successes = 0
        self._disproved = None
        self.is_unhealthy, self.since, self.failed_in = False, None, None

    def _answers_traffic(self, before: float | None, every: float, now: float) -> bool:
        if self.answered_at is None:
            return False
        return self.answered_at >= min(now - every, now if before is None else before)

    def _turn(self, is_unhealthy: bool, now: float) -> None:
        self.is_unhealthy, self.since = is_unhealthy, now
        self._failures = self._successes = 0


def ends_rest(
    verdict: ProbeVerdict,
    before: ProbeVerdict | None,
    *,
    has_failed_since: bool,
    was_asked_for: bool,
) -> bool:
    """Whether a probe ends an ejection.

    Only where it is news: an operator asked for it, the probe `before` had failed, or one has since
    the ejection. Else a backend that lists its models while its completions fail would be let back
    every few seconds.
    """
    is_news = has_failed_since or (before is not None and before.is_failure)
    return verdict.is_alive and (was_asked_for or is_news)


def due(
    health: Health, asked_at: float, settings: ProbeSettings, *, hurry: bool, draw: float
) -> float:
    """When a backend is to be probed again, after a probe that began at `asked_at`.

    One that answers traffic puts its probe off; where there is a `hurry`, nothing does.
    """
    jitter = 1 - JITTER + 2 * JITTER * draw
    if hurry:
        return asked_at + settings.hurried * jitter
    return max(asked_at, health.answered_at or asked_at) + settings.every * jitter


def first_due(health: Health, seen_at: float, settings: ProbeSettings, draw: float) -> float:
    """When a backend is probed first: soon after it was seen, unless traffic speaks for it."""
    soon = seen_at + min(SPREAD, settings.every) * draw
    if health.answered_at is None:
        return soon
    return max(soon, health.answered_at + settings.every)
