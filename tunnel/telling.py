"""The tunnel's changes of state in operators' words, and how loud each is. Pure."""

from dataclasses import dataclass

from tunnel.events import Cause, Exit
from tunnel.facts import Facts, Log, State
from tunnel.steps import Tell

ADVICE = {
    Cause.BINARY: "install cloudflared, or name it in `binary`",
    Cause.FLAGS: "install a newer cloudflared",
    Cause.CREDENTIAL: "put a valid token or credentials in their place",
    Cause.CONFIG: "mend the settings of the tunnel",
    Cause.UNAUTHORIZED: "put a valid token or credentials in their place",
}


@dataclass(frozen=True, slots=True)
class News:
    """What a line needs beyond the facts."""

    code: Cause | None = None  # of what is permanent
    took: float | None = None  # seconds without the tunnel, where it is back
    is_repeated: bool = False  # it was told before, in the same words


def line(facts: Facts, news: News) -> Tell:
    """One change of state."""
    level, message = _line(facts, news)
    return Tell("debug" if news.is_repeated else level, f"tunnel: {message}")


def _line(facts: Facts, news: News) -> tuple[Log, str]:
    why = facts.why.rstrip(".")
    back = "" if news.took is None else f", back after {news.took:.1f} s"
    match facts.state:
        case State.DISABLED:
            return "info", "off"
        case State.STARTING:
            return "info", "cloudflared starts"
        case State.CONNECTING:
            return "debug", "cloudflared looks for the edge"
        case State.UP:
            how = f" by {facts.protocol}" if facts.protocol else ""
            count = facts.ready_connections
            plural = "" if count == 1 else "s"
            return "info", f"registered with the edge, {count} connection{plural}{how}{back}"
        case State.HEALTHY:
            return "info", f"carries{'' if facts.url is None else f' {facts.url}'}{back}"
        case State.DEGRADED:
            return "warning", f"degraded: {why}{back}"
        case State.SUSPECT:
            return "warning", f"does not carry: {why}"
        case State.DRAINING:
            return "info", f"cloudflared drains{f': {why}' if why else ''}"
        case State.KILLING:
            return "warning", "cloudflared did not end in its time, and is killed"
        case State.BACKOFF | State.PARKED:
            return _pause(facts, why, news)


def _pause(facts: Facts, why: str, news: News) -> tuple[Log, str]:
    if facts.state is State.PARKED:
        advice = ADVICE.get(news.code) if news.code else None
        todo = f". What to do: {advice}" if advice else ""
        return "error", f"out of service: {why}{todo}. It is tried again now and then"
    if facts.backoff == 0:
        return "info", f"cloudflared starts soon: {why}"
    return "warning", f"{why}; starts again in {facts.backoff:.1f} s"


def crash_loop(why: str) -> Tell:
    """Several ends within minutes."""
    return Tell(
        "error",
        f"tunnel: cloudflared ends again and again, the last time: {why.rstrip('.')}. It is "
        "started on and on, with the longest pauses. What to do: look at its lines above, and "
        "whether the network of this machine works",
    )


def foreign(why: str) -> Tell:
    """It exposes what nobody here asked for."""
    return Tell(
        "error",
        f"tunnel: {why}; it is drained. What to do: see who may change the configuration of this "
        "tunnel, or say `foreign_ingress: allow`",
    )


def taken_over() -> Tell:
    """Make before break is done."""
    return Tell("info", "tunnel: another cloudflared has taken over")


def second_failed(why: str, pause: float) -> Tell:
    """A try of a replacement."""
    return Tell(
        "warning",
        f"tunnel: the second cloudflared failed: {why.rstrip('.')}; another one in {pause:.1f} s",
    )


def given_up(why: str) -> Tell:
    """All tries of a replacement."""
    return Tell(
        "error",
        f"tunnel: the replacement has failed: {why.rstrip('.')}. The first cloudflared stays as "
        "it is. What to do: mend that, then `llm-sidecar tunnel restart`",
    )


def end_words(end: Exit) -> str:
    """How a child ended: its own last words, or the code. Whole: a command may stand at the end."""
    if end.message:
        return end.message
    how = f"by signal {-end.code}" if end.code < 0 else f"with code {end.code}"
    return f"cloudflared ended {how}"
