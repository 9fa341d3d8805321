"""Whose fault it is when nothing comes through the public name, and whether a restart may help.

Pure. A restart cures nothing but the tunnel itself: an origin that is down, a policy in front, a
name that does not resolve and a network that is gone stay what they are. `now`
is monotonic seconds.
"""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from tunnel.events import Sighting

FAILURES = 4  # of the tunnel in a row, before it is suspected
WINDOW = 8  # verdicts on the tunnel that are remembered
PART = 2  # failures among them that make it degraded
BETWEEN = 300.0  # seconds between two restarts that probes cause; doubles up to LONGEST
LONGEST = 1800.0
QUICK_PATIENCE = 120.0  # seconds that probes must fail before a quick tunnel loses its name
SILENT_PATIENCE = 300.0  # where nothing but silence says so
NAMED = 3  # services that are told by name
QUOTED = 100  # letters of each

_USER = re.compile(r"(?<=://)[^/]*@")


class Verdict(StrEnum):
    """What a probe says."""

    CARRIED = "carried"  # our origin answered, through a child of ours
    OTHER = "other"  # through somebody else's child: the tunnel lives, ours is unproven
    TUNNEL = "tunnel"  # the tunnel's own fault
    ORIGIN = "origin"  # what it exposes is down or answers no probes
    SLOW_ORIGIN = "slow_origin"
    POLICY = "policy"  # a login page, a challenge or a redirect stands in front
    DNS = "dns"  # the name does not resolve here
    OVER_LIMIT = "over_limit"
    ELSEWHERE = "elsewhere"  # something else answers under this name
    NETWORK = "network"  # from here the way to the public name is shut

    @property
    def tells_nothing(self) -> bool:
        """Whether the child that was asked may carry or not, for all that is known."""
        return self not in (Verdict.CARRIED, Verdict.OTHER, Verdict.TUNNEL)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known on this side of the tunnel.

    `children` are our own by connector. `origin` tells whether the origin answered the same path on
    loopback, `network` whether a control target could be reached; None: not asked.
    """

    replica: str
    children: Mapping[str, int] = field(default_factory=dict)
    origin: bool | None = None
    network: bool | None = None
    is_open: bool = False  # the origin need not answer probes


def carrier(sighting: Sighting, known: Known) -> int | None:
    """The child of ours that carried a probe, where that is sure."""
    if not sighting.proven:
        return None
    if sighting.connector is not None:
        return known.children.get(sighting.connector)
    only = list(known.children.values())
    return only[0] if len(only) == 1 and sighting.replica == known.replica else None


def other(sighting: Sighting, known: Known) -> str | None:
    """Who else carried a probe: its replica, or the connector of one that feeds our own origin."""
    if not sighting.proven or carrier(sighting, known) is not None:
        return None
    if sighting.replica is not None and sighting.replica != known.replica:
        return sighting.replica
    return sighting.connector


def classify(sighting: Sighting, known: Known) -> Verdict:
    """Whose fault it is, if it is one."""
    if sighting.proven:
        return Verdict.OTHER if carrier(sighting, known) is None else Verdict.CARRIED
    if sighting.status is None:
        return _unanswered(sighting.error, known)
    return _answered(sighting, sighting.status, known)


def _unanswered(error: str | None, known: Known) -> Verdict:
    if error == "dns":
        return Verdict.DNS
    # unless the edge was reached nothing is known of the tunnel behind it
    if error not in ("timeout", "broken") or known.network is False:
        return Verdict.NETWORK
    return Verdict.ORIGIN if known.origin is False else Verdict.TUNNEL


def _answered(sighting: Sighting, status: int, known: Known) -> Verdict:
    if status == 530:
        return Verdict.TUNNEL
    if status == 429:
        return Verdict.OVER_LIMIT
    if sighting.is_policy or status in (401, 403) or 300 <= status < 400:
        return Verdict.POLICY
    if status == 524:
        return Verdict.SLOW_ORIGIN
    if status < 500:
        if known.is_open:
            return Verdict.CARRIED
        return Verdict.ORIGIN if known.origin is False else Verdict.ELSEWHERE
    if known.origin is False:
        return Verdict.ORIGIN
    # 500, 501 and so on are of whoever serves; what is in between says 502, 503, 504 or 52x
    is_between = status in (502, 504) or 520 <= status <= 527
    return Verdict.TUNNEL if sighting.from_cloudflared or is_between else Verdict.ORIGIN


def foreign(services: Sequence[str], origin: str) -> list[str]:
    """What an ingress serves beside the origin; `http_status:…` serves nothing."""
    ours = _place(origin)
    return [one for one in services if not one.startswith("http_status:") and _place(one) != ours]


def shown(services: Sequence[str]) -> str:
    """Services as they may be told: the few first, without what may be a secret."""
    told = list(dict.fromkeys(map(_bare, services)))
    more = f" and {len(told) - NAMED} more" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more


def _bare(service: str) -> str:
    """Without a user's name, a password and a query; printable, and not long."""
    text = _USER.sub("", re.split(r"[?#]", service)[0])
    text = "".join(mark if mark.isprintable() else "?" for mark in text)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}…"


def _place(url: str) -> tuple[str, str, int | None, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return url, "", None, ""
    host = (parts.hostname or "").rstrip(".")
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, host, port or default, parts.path.rstrip("/")


@dataclass(slots=True)
class Record:
    """The latest verdicts on one child."""

    failures: int = 0  # of the tunnel, in a row
    since: float | None = None  # when those began
    proves_network: bool = False  # one of them was an answer: the network works
    origin: bool | None = None  # as it was at the last of them
    network: bool | None = None
    _window: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def add(self, verdict: Verdict, sighting: Sighting, known: Known, now: float) -> None:
        """One probe more; without a name or a network it was none, and ends no row of failures."""
        if verdict is Verdict.TUNNEL:
            self.since = now if self.since is None else self.since
            self.failures += 1
            self.proves_network = self.proves_network or sighting.status is not None
            self.origin, self.network = known.origin, known.network
            self._window.append(False)
        elif verdict not in (Verdict.NETWORK, Verdict.DNS):
            self._end_row()
        if verdict in (Verdict.CARRIED, Verdict.OTHER):
            self._window.append(True)

    def clear(self) -> None:
        """Begin anew: what was seen belongs to connections that are gone."""
        self._end_row()
        self._window.clear()

    def _end_row(self) -> None:
        if self.is_suspect:
            self._window.clear()  # all failed, and that is over: no part fails
        self.failures, self.since, self.proves_network = 0, None, False

    @property
    def is_suspect(self) -> bool:
        """Whether so many failed in a row that the tunnel does not carry."""
        return self.failures >= FAILURES

    @property
    def is_mixed(self) -> bool:
        """Whether a part fails, as with one bad connection among several."""
        return any(self._window) and self._window.count(False) >= PART

    @property
    def is_in_question(self) -> bool:
        """Whether more must be asked to tell a bad connection from bad luck."""
        return 0 < self.failures < FAILURES or 0 < self._window.count(False) < PART

    @property
    def doubt(self) -> str:
        """Why no restart follows from the failures, where that is so; to end a sentence."""
        if self.origin is not True:
            return "; the origin does not answer them on loopback either"
        return "; nor can other addresses be reached" if self.network is False else ""

    def may_restart(self, now: float, *, is_quick: bool) -> bool:
        """Whether the failures allow for a restart: the origin is fine, and so is the network.

        Without a control target an answer of the edge proves that the network works; silence, for
        all that the edge was reached, only when it lasts. A named tunnel may be replaced sooner,
        for its first child stays until the second has carried a probe. A quick one loses its name.
        """
        if not self.is_suspect or self.origin is not True or self.network is False:
            return False
        if not is_quick:
            return True
        knows = self.network is True or self.proves_network
        patience = QUICK_PATIENCE if knows else SILENT_PATIENCE
        return self.since is not None and now - self.since >= patience


@dataclass(slots=True)
class Seldom:
    """How often probes may cause a restart: each doubles the pause, a stable run ends that."""

    _last: float | None = None
    _pause: float = BETWEEN

    def allows(self, now: float) -> bool:
        """Whether one may be caused now."""
        return self._last is None or now - self._last >= self._pause

    def caused(self, now: float) -> None:
        """One was."""
        self._pause = BETWEEN if self._last is None else min(LONGEST, self._pause * 2)
        self._last = now

    def is_stable(self, now: float) -> None:
        """All was well for long enough; the pause that runs stays, those behind it are short."""
        if self._last is not None and now - self._last >= self._pause:
            self._last, self._pause = None, BETWEEN
