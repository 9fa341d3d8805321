"""Bytes of a child's log → lines → levels, texts and typed events. Does no I/O.

cloudflared writes JSON lines, or text where it is too old for that, and between them what does not
go through its logger: usage, panics, lines of Go's own log. A line counts as an event only where
its whole message is one, never for a phrase inside: paths of strangers stand in the log too.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tunnel.causes import cause_in
from tunnel.events import (
    Cause,
    ConfigPushed,
    ConnectorTold,
    Lost,
    MetricsTold,
    QuicFailed,
    Registered,
    Told,
    Trouble,
    VersionTold,
)
from tunnel.facts import Log

MOST = 16 * 1024  # bytes of a line; what is longer is cut
MESSAGE = 500  # characters of a message that an event carries

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_UNTOLD = frozenset({"level", "message", "time", "event"})  # fields that say nothing to people
_LEVELS: dict[str, Log] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "error": "error",
    "fatal": "error",
    "panic": "error",
    "DBG": "debug",
    "INF": "info",
    "WRN": "warning",
    "ERR": "error",
    "FTL": "error",
    "PNC": "error",
}

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# controls, what turns the direction of writing, separators of lines, halves of characters
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)
_TEXT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ([A-Z]{3}) ")
_FIELD = re.compile(r' ([A-Za-z][\w-]*)=("(?:[^"\\]|\\.)*"|[^ "]*)(?= |\Z)')
_GO_LOG = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_DUMP = re.compile(r"goroutine \d| |created by |r[0-9a-z]{1,2} +0x")
_LEVEL_FIELD = re.compile(rb'"level":"([a-z]+)"')


class Lines:
    """Cuts a stream of bytes into lines without their ends; empty ones are left out.

    Of a line longer than `MOST` the first `MOST` bytes are a line, and the rest is nothing: it may
    hold what looks like another line.
    """

    __slots__ = ("_cut", "_part")

    def __init__(self) -> None:
        self._part = b""
        self._cut = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that have come to their end, or to `MOST`, with these bytes."""
        lines = data.split(b"\n")
        if not self._cut:
            lines[0] = self._part + lines[0]
        elif len(lines) == 1:
            return []
        else:
            del lines[0]
        self._cut, self._part = False, lines.pop()
        if len(self._part) > MOST:
            lines.append(self._part)
            self._cut, self._part = True, b""
        return [line[:MOST] for line in lines if line and not line.isspace()]

    def rest(self) -> list[bytes]:
        """What was left without an end."""
        part, self._part = self._part, b""
        return [] if not part or part.isspace() else [part]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log. `text` is the whole of it for people, without time and level."""

    kind: Literal["json", "text", "foreign"]
    level: Log
    message: str
    text: str
    fields: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @property
    def error(self) -> str:
        """The error that it tells, or nothing."""
        told = self.fields.get("error")
        return told if isinstance(told, str) else ""


def read(raw: bytes) -> Line:
    """What a line of the child's standard error says, whatever it is."""
    text = raw.decode("utf-8", "ignore")
    if text.startswith("{"):
        line = _of_json(text)
        if line is not None:
            return line
    found = _TEXT.match(text := _clean(text))
    if found is not None and found[1] in _LEVELS:
        return _of_text(_LEVELS[found[1]], text[found.end() :])
    return Line("foreign", _level_of_foreign(text), text, text)


def level_at_a_glance(raw: bytes) -> Log:
    """The level of a line that there is no time to read."""
    found = _LEVEL_FIELD.search(raw)
    return _LEVELS.get(found[1].decode(), "info") if found else "warning"


def told(line: Line, *, plain: bool = False) -> Told | None:
    """The event that a line is, or None.

    `plain` is a child whose log is text by choice; of any other a line of text is no event.
    """
    if line.kind == "foreign" or (line.kind == "text" and not plain):
        return None
    simple = _EVENTS.get(line.message)
    if simple is not None:
        return simple(line)
    for pattern, make in _PATTERNS:
        found = pattern.fullmatch(line.message)
        if found is not None:
            return make(line, found)
    return None


def is_harmless(line: Line, *, draining: bool, named_edge: bool = False) -> bool:
    """Whether a line says nothing to people: no trouble, or none that is one.

    A client that left, what a drain brings, what we ask for, and reports of what we see ourselves.
    `named_edge`: the child was told where the edge is, so that it need not find that by DNS.
    """
    if line.message in _OF_STARTS or line.message.startswith(_REPORTS):
        return True
    if named_edge and line.message.startswith(_OF_DISCOVERY):
        return True
    if line.error.startswith(_OF_LOST_STREAMS):
        return True
    if "context canceled" in line.error:
        return draining or line.message in _OF_REQUESTS or "ended abruptly" in line.error
    return draining and line.message.startswith(_OF_DRAINS)


def is_of_request(line: Line) -> bool:
    """Whether a line tells of one request, and so says nothing of the tunnel."""
    return line.message in _OF_REQUESTS or "originService" in line.fields


def _of_json(text: str) -> Line | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    level, message = told.get("level"), told.get("message", "")
    if not isinstance(level, str) or level not in _LEVELS or not isinstance(message, str):
        return None
    fields = {_clean(key): _cleaned(value) for key, value in told.items() if key not in _UNTOLD}
    message = _clean(message)
    words = [message, *(f"{key}={_shown(value)}" for key, value in fields.items())]
    return Line("json", _LEVELS[level], message, " ".join(words), fields)


def _of_text(level: Log, text: str) -> Line:
    found = list(_FIELD.finditer(text))
    fields: dict[str, Any] = {each[1]: _unquoted(each[2]) for each in found}
    message = text[: found[0].start()] if found else text
    return Line("text", level, message, text, fields)


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return _clean(str(json.loads(value)))
    except ValueError:
        return value[1:-1]


def _level_of_foreign(text: str) -> Log:
    if text.startswith(("panic:", "fatal error:", "Incorrect Usage")):
        return "error"
    name, is_call, _ = text.partition(" ")[0].partition("(")
    if _DUMP.match(text) or (is_call and "." in name) or "UDP-Buffer-Sizes" in text:
        return "debug"  # stack dumps have a thousand lines; the buffer's size costs some speed only
    return "warning"


def _clean(text: str) -> str:
    return _CONTROL.sub("", _ANSI.sub("", text).replace("\t", " "))


def _cleaned(value: object) -> object:
    return _clean(value) if isinstance(value, str) else value


def _shown(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = _clean(shown)
    return f'"{shown}"' if not shown or " " in shown else shown


# -- which lines are events


def _number(line: Line, name: str) -> int | None:
    value = line.fields.get(name)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        return int(value)  # text has no other numbers
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _word(line: Line, name: str) -> str:
    value = line.fields.get(name)
    return value if isinstance(value, str) else ""


def _registered(line: Line) -> Told | None:
    index = _number(line, "connIndex")
    if index is None:
        return None
    return Registered(index, _word(line, "protocol"))


def _pushed(line: Line) -> Told | None:
    return None if _number(line, "version") is None else ConfigPushed()


def _trouble(usual: Cause) -> Callable[[Line], Told | None]:
    """A line that tells a trouble: of the kind that its error names, else of the usual one."""

    def make(line: Line) -> Told | None:
        told = f"{line.message}: {line.error}" if line.error else line.message
        cause = cause_in(line.error) or usual
        # the edge may use any word; what is wrong here was told before it was asked
        kept = usual if usual is Cause.EDGE and cause.is_permanent else cause
        return Trouble(kept, told[:MESSAGE])

    return make


def _shutdown(line: Line) -> Told | None:
    return _trouble(Cause.UNKNOWN)(line) if line.error else None


def _quick(line: Line, found: re.Match[str]) -> Told:
    status = _word(line, "status_code")
    limited = status.startswith("429") or "error code: 1015" in found[1]
    cause = Cause.QUICK_LIMITED if limited else Cause.QUICK
    return Trouble(cause, f"the service for quick tunnels answered {status or 'no JSON'}"[:MESSAGE])


_EVENTS: dict[str, Callable[[Line], Told | None]] = {
    "Registered tunnel connection": _registered,
    "Lost connection with the edge": lambda _: Lost(),
    "Serve tunnel error": lambda _: Lost(),
    "Connection terminated": lambda _: Lost(),
    "Unregistered tunnel connection": lambda _: Lost(),
    "Updated to new configuration": _pushed,
    "Failed to dial a quic connection": lambda _: QuicFailed(),
    "Unable to establish connection with Cloudflare edge": _trouble(Cause.EDGE),
    "Register tunnel error from server side": _trouble(Cause.EDGE),
    "initial tunnel connection failed": _trouble(Cause.EDGE),
    "Initiating shutdown": _shutdown,
    "Couldn't start tunnel": _trouble(Cause.CONFIG),
    "Error opening metrics server listener": _trouble(Cause.PORT),
    "edge discovery: error looking up Cloudflare edge IPs: the DNS query failed": _trouble(
        Cause.DNS
    ),
}

_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[Line, re.Match[str]], Told | None]], ...] = (
    (
        re.compile(r"Version (\d{4}\.\d{1,2}\.\d{1,3}[\w.+-]{0,40})(?: \(Checksum \w*\))?"),
        lambda _, found: VersionTold(found[1]),
    ),
    (
        re.compile(r"Generated Connector ID: ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"),
        lambda _, found: ConnectorTold(found[1]),
    ),
    (
        re.compile(r"Starting metrics server on 127\.0\.0\.1:([1-9]\d{0,4})/metrics"),
        lambda _, found: MetricsTold(int(found[1])),
    ),
    (re.compile(r"Error unmarshaling QuickTunnel response: (.*)"), _quick),
)

# events that must be seen even when there is no time to read every line
NEEDED = re.compile(
    b"Registered tunnel connection|Starting metrics server on|Generated Connector ID"
    b"|Updated to new configuration"
)

_OF_REQUESTS = frozenset({"failed to serve incoming request", "Request failed"})
# an empty configuration is what it is given; the rest serves features that are not used here
_OF_STARTS = frozenset(
    {
        "Configuration file /dev/null was empty",
        "Failed to fetch features, default to disable",
        "Failed to initialize DNS local resolver",
        "ICMP proxy feature is disabled",
        "Unable to lookup protocol percentage.",
    }
)
# tables and a self-test that blocks nothing; whether it carries is found out by probes
_REPORTS = (
    "+--",
    "|  ",
    "precheck",
    "ICMP proxy will use",
    "Tunnel connection curve preferences",
    "The user running cloudflared process has a GID",
)
# printed as well when there is nothing to discover
_OF_DISCOVERY = (
    "edge discovery: error looking up Cloudflare edge IPs",
    "Please try the following things to diagnose this issue",
    "  1. ensure that argotunnel.com is returning",
    "  2. ensure that your DNS resolver is not returning",
    "     Run your system's equivalent of",
    "     See GitHub issue https://github.com/golang/go/issues",
    "     For example, you could use Cloudflare's 1.1.1.1",
    "     https://developers.cloudflare.com/1.1.1.1/",
)
# the end of a connection, told once more as that of the stream that steers it
_OF_LOST_STREAMS = "Error shutting down control stream: "
_OF_DRAINS = (
    "Connection terminated",
    "no more connections active and exiting",
    "Serve tunnel error",
    "Lost connection with the edge",
    "Retrying connection in up to",
    "failed to serve tunnel connection",
    "Initiating shutdown",
)
