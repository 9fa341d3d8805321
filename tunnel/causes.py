"""Why a child ended, by its exit code and its last words. Pure."""

import re
import signal
from collections.abc import Sequence

from tunnel.events import Cause

MOST = 500  # characters of last words that are told

# what a text tells, the first that fits; the words are those of cloudflared
_WORDS: tuple[tuple[re.Pattern[str], Cause], ...] = tuple(
    (re.compile(words), cause)
    for words, cause in (
        (r"Incorrect Usage|flag provided but not defined", Cause.FLAGS),
        (r"QuickTunnel.*(?:429 Too Many|error code: 1015)", Cause.QUICK_LIMITED),
        (r"QuickTunnel|quick[ -][Tt]unnel", Cause.QUICK),
        (r"metrics server listener|failed to bind to address", Cause.PORT),
        (r"Unauthorized: ", Cause.UNAUTHORIZED),
        (
            r"Could not lookup srv records|Couldn't resolve SRV|SRV record .* had no IPs"
            r"|looking up Cloudflare edge IPs|server misbehaving|no such host",
            Cause.DNS,
        ),
        (
            r"Tunnel token is not valid|Failed to read token file|requires the ID or name"
            r"|[Cc]redentials|origin cert|cert\.pem",
            Cause.CREDENTIAL,
        ),
        (
            r"unknown protocol|invalid value for edge-|must be equal or less than|[Yy][Aa]?[Mm][Ll]"
            r"|[Ii]ngress|invalid edge-bind-address|valid additional argument|origin URL"
            r"|Tag parse failure|token that has an endpoint|error parsing|has invalid format"
            r"|is an invalid address|TLS config|CA pool|does not support",
            Cause.CONFIG,
        ),
        (r"failed to execute|[Ee]xec format error", Cause.BINARY),
        (
            r"resource temporarily unavailable|too many open files|cannot allocate memory"
            r"|pthread_create failed",
            Cause.RESOURCES,
        ),
        (
            r"initial tunnel connection failed|Register tunnel error|connection with edge"
            r"|Cloudflare edge|Initiating shutdown|dial to edge|control stream|tunnel connection",
            Cause.EDGE,
        ),
    )
)

_AT_THE_EDGE = re.compile(r"\A(?:initial tunnel connection failed|Register tunnel error from)")


def cause_in(words: str) -> Cause | None:
    """The cause that a text names."""
    for pattern, cause in _WORDS:
        if pattern.search(words):
            return cause
    return None


def cause_of(
    code: int, *, asked: bool, carried: bool, words: Sequence[str], output: str = ""
) -> tuple[Cause, str]:
    """Why it ended, and a sentence about it.

    A negative code is a signal. `carried`: it was registered at the edge once. `words` are the last
    lines of its log that told of something wrong, the newest last; `output` is what it wrote to
    standard output, where the help goes.
    """
    if asked:
        return Cause.ASKED, "it was told to stop"
    cause, said = _cause_of(code, words, output)
    # what came as far as the edge can be run as it is, whatever words the edge had for it
    if cause.is_permanent and carried:
        cause = Cause.UNKNOWN
    elif cause.is_permanent and any(map(_AT_THE_EDGE.search, words)):
        cause = Cause.EDGE
    return cause, said


def _cause_of(code: int, words: Sequence[str], output: str) -> tuple[Cause, str]:
    usage = _usage_in(output) or next(filter(None, map(_usage_in, words)), "")
    if code == 0:
        if usage:
            return Cause.FLAGS, f"cloudflared does not know an argument: {usage}"[:MOST]
        return Cause.UNKNOWN, "cloudflared ended by itself, with exit code 0"
    if code < 0:
        return Cause.UNKNOWN, f"cloudflared was ended by {_signal(-code)}"
    if code == 11:
        return Cause.UPDATED, "cloudflared replaced its own file by a newer version"
    if code == 255:
        return Cause.CREDENTIAL, _sentence(code, words)
    if code in (126, 127):  # those of a shell, and of what starts it
        return Cause.BINARY, _sentence(code, words)
    for each in reversed(words):
        found = cause_in(each)
        if found in (Cause.QUICK, Cause.QUICK_LIMITED):
            return _quick(words, each)
        if found is not None:
            return found, _sentence(code, [each])
    return Cause.UNKNOWN, _sentence(code, words)


def _quick(words: Sequence[str], last: str) -> tuple[Cause, str]:
    """What the service for quick tunnels said stands before what became of it."""
    if any(cause_in(one) is Cause.QUICK_LIMITED for one in words):
        # what it sends then is a page for browsers
        return Cause.QUICK_LIMITED, "too many quick tunnels were asked for from here (429, 1015)"
    return Cause.QUICK, f"the service for quick tunnels failed: {last}"[:MOST]


def _sentence(code: int, words: Sequence[str]) -> str:
    telling = [each for each in words if not each.startswith("See 'cloudflared")]
    said = f": {telling[-1]}" if telling else ""
    return f"cloudflared ended with exit code {code}{said}"[:MOST]


def _usage_in(text: str) -> str:
    """What an argument's fault is called; of a help without one, its first line."""
    found = re.search(r"Incorrect Usage[:.]? *(.*)", text)
    if found is not None:
        return found[1].strip() or "incorrect usage"
    return "it only showed its help" if re.search(r"(?m)^(?:USAGE|OPTIONS):", text) else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
