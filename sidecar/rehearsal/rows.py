"""The fault table as it is played: what the first target of a route does wrong, and who judges.

The numbers are those of docs/faults.md. A row has several plays where a backend can do the same
thing in several ways.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sidecar.config.address import key_for
from sidecar.neutral.problem import ProblemKind
from sidecar.rehearsal import advice, judging
from sidecar.rehearsal import misdeeds as m
from sidecar.rehearsal import special as j
from sidecar.rehearsal.client import KEY
from sidecar.rehearsal.judging import Judge, answered
from sidecar.rehearsal.stage import Cast, Reach, Scene, Stage
from sidecar.rehearsal.standin import Behaviour
from sidecar.rehearsal.steps import LAST, End, Send

_K = ProblemKind
STREAM, WHOLE, BOTH = (True,), (False,), (True, False)

ROWS: Mapping[int, tuple[str, str]] = {
    1: ("429 with Retry-After", "the answer: of it when the time is short, else of the next"),
    2: ("429 for ever", "the answer of the next at once; it is not stormed"),
    3: ("500 once", "the answer"),
    4: ("503 for ever", "the answer of the next"),
    5: ("refuses or resets", "the answer"),
    6: ("says nothing", "the answer of the next, after the limit"),
    7: ("first token after 20 s", "the answer within 15 s"),
    8: ("cuts the answer", "the whole answer, or an honest error event"),
    9: ("falls silent in the middle", "the whole answer, or an honest error event"),
    10: ("an event is not JSON", "the answer"),
    11: ("no end marker", "the answer at once"),
    12: ("400, context too long", "the answer of a target with more room, else that error"),
    13: ("400, content policy", "that reason"),
    14: ("cuts; next takes no prefill", "as 8, never the prefill's 400"),
    15: ("down for a minute", "every answer; it is asked again within 30 s"),
    16: ("503 for ever", "model and usage of who answered"),
    17: ("200 with an error", "the answer of the next"),
    18: ("200 with HTML", "the answer of the next"),
    19: ("200 with nothing in it", "the answer of the next"),
    20: ("an error event", "first: the answer of the next; later: as 8"),
    21: ("JSON instead of a stream", "a correct stream"),
    22: ("a stream instead of JSON", "correct JSON"),
    23: ("odd bytes, gzip, 2 MiB", "the answer, unharmed"),
    24: ("endless head or body", "the answer of the next"),
    25: ("401", "the answer of the next; of a client's own key the 401"),
    26: ("404, unknown model", "the answer of the next; when nobody has it, a 404"),
    27: ("the client leaves", "the call is given up within a second"),
    28: ("the client reads slowly", "everything, in order"),
    29: ("nobody is there", "503 with Retry-After and what is wrong with each"),
    30: ("DNS or TLS fails", "the answer of the next"),
    31: ("reload in mid-stream", "the stream ends as it began"),
    32: ("SIGTERM in mid-stream", "the stream ends within the drain"),
}

NOT_REHEARSED: Mapping[int, str] = {
    28: "no backend misbehaves, and no setting changes it",
}

Asks = Callable[[Stage], Awaitable[None]]


async def once(stage: Stage) -> None:
    """One request."""
    await stage.ask()


async def twice(stage: Stage) -> None:
    """Two, one after the other."""
    await stage.ask()
    await stage.ask()


async def at_and_past_the_rest(stage: Stage) -> None:
    """Two while a rest of a minute lasts, where somebody else can answer them."""
    await stage.ask()
    if stage.scene.cast.others:
        await stage.wait_until(5.0)
        await stage.ask()


async def crowd(stage: Stage) -> None:
    """Twelve, four a second."""
    for place in range(12):
        await stage.wait_until(place / 4)
        await stage.ask()


async def through_an_outage(stage: Stage) -> None:
    """One every four seconds, until half a minute after the outage."""
    for place in range(int((j.OUTAGE + j.BACK) / j.EVERY) + 2):
        await stage.wait_until(place * j.EVERY)
        await stage.ask()


async def leave(stage: Stage) -> None:
    """One whose client goes away after a second, or before the next backend would be asked."""
    limits = stage.scene.cast.candidates[0].timeouts
    first = limits.first_token if stage.scene.stream else limits.whole
    await stage.ask(leave_after=min(1.0, first / 2))
    await stage.wait_until(stage.now() + 3.0)
    stage.look()


async def reload(stage: Stage) -> None:
    """One, and another configuration in the middle of its answer."""
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.ask())
        await stage.wait_until(1.0)
        await stage.reload()


async def stop(stage: Stage) -> None:
    """One, and a SIGTERM in the middle of its answer."""
    async with asyncio.TaskGroup() as group:
        group.create_task(stage.ask())
        await stage.wait_until(1.0)
        await stage.stop()


@dataclass(frozen=True, slots=True)
class Play:
    """One way to play a row. `why_not` says for which cast it cannot be played, and why."""

    row: int
    name: str
    script: tuple[Behaviour, ...]
    judge: Judge
    ways: tuple[bool, ...] = BOTH  # streamed
    others: tuple[Behaviour, ...] = (m.well,)
    asks: Asks = once
    reach: Reach = "http"
    asking: bool = False
    why_not: Callable[[Cast], str | None] = lambda _: None


def _own_key(scene: Scene) -> judging.Finding:
    key = key_for(scene.cast.backends[scene.cast.primary], KEY)
    judge = answered(kind=_K.BACKEND_AUTH)
    return j.own_key_refused(key.forwarded, judge)(scene)


def _no_marker(cast: Cast) -> str | None:
    if cast.backends[cast.primary].dialect.name in ("openai", "anthropic"):
        return None
    return "its dialect has no event behind the last one of the answer"


def _alone(cast: Cast) -> str | None:
    return None if cast.others else "there is no next target"


_BROKEN = (
    ("reset", m.begun(End.RESET)),
    ("closed", m.begun(End.CLOSE)),
    ("clean-end", m.begun(Send(LAST))),
)

PLAYS: tuple[Play, ...] = (
    Play(1, "short", (m.limited(2), m.well), j.waited_as_told(2.0)),
    Play(1, "long", (m.limited(60),), j.rested_as_told, asks=at_and_past_the_rest),
    Play(2, "one", (m.limited(),), answered(kind=_K.RATE_LIMITED)),
    Play(2, "crowd", (m.limited(),), j.not_stormed, asks=crowd),
    Play(3, "once", (m.BROKEN, m.well), answered(kind=_K.BACKEND_ERROR, recovers=True)),
    Play(4, "for-ever", (m.DOWN,), answered(kind=_K.OVERLOADED, most=3)),
    Play(5, "refused", (), answered(kind=_K.CONNECT)),
    Play(5, "reset", (m.RESET,), answered(kind=_K.CONNECT)),
    Play(5, "reset-once", (m.RESET, m.well), answered(kind=_K.CONNECT, recovers=True)),
    Play(5, "pooled", (m.dies_when_reused,), j.uncounted, asks=twice),
    Play(6, "silent", (m.SILENT,), judging.after_limit),
    Play(
        7,
        "late",
        (m.late(20.0),),
        judging.within(15.0, answered(kind=_K.TIMEOUT), advice.sooner),
        STREAM,
    ),
    *(Play(8, name, (script,), judging.honest_or_whole, STREAM) for name, script in _BROKEN),
    Play(8, "reset", (m.half_a_body(End.RESET),), answered(kind=_K.TRUNCATED), WHOLE),
    Play(8, "closed", (m.half_a_body(End.CLOSE),), answered(kind=_K.TRUNCATED), WHOLE),
    Play(9, "silent", (m.begun(End.SILENCE),), judging.honest_or_whole, STREAM),
    Play(9, "silent", (m.half_a_body(End.SILENCE),), judging.after_limit, WHOLE),
    Play(10, "junk", (m.with_junk,), answered(), STREAM),
    *(
        Play(
            11,
            name,
            (m.without_mark(end),),
            judging.within(5.0, answered(), lambda _: ()),
            STREAM,
            why_not=_no_marker,
        )
        for name, end in (("ended", Send(LAST)), ("silent", End.SILENCE))
    ),
    Play(12, "too-long", (m.TOO_LONG,), j.larger_or_error),
    Play(13, "policy", (m.REFUSED,), j.refused_once(_K.CONTENT_REFUSED)),
    Play(
        14,
        "no-prefill",
        (m.begun(End.RESET),),
        judging.honest_or_whole,
        STREAM,
        others=(m.refuses_prefill,),
        why_not=_alone,
    ),
    Play(15, "outage", (m.Outage(j.OUTAGE),), j.outlived, asks=through_an_outage, asking=True),
    Play(16, "usage", (m.DOWN,), j.usage_of_who_answered),
    Play(17, "error-object", (m.error_object,), answered(kind=_K.BACKEND_ERROR)),
    Play(18, "html", (m.HTML,), answered(kind=_K.PROTOCOL)),
    Play(19, "empty", (m.empty,), answered(kind=_K.PROTOCOL)),
    Play(19, "greeting", (m.begun(Send(LAST), words=0),), answered(kind=_K.PROTOCOL), STREAM),
    Play(20, "first", (m.failing(0),), answered(kind=_K.BACKEND_ERROR), STREAM),
    Play(20, "middle", (m.failing(m.HALFWAY),), judging.honest_or_whole, STREAM),
    Play(21, "json", (m.json_to_a_stream,), answered(), STREAM),
    Play(22, "stream", (m.stream_to_a_whole,), answered(), WHOLE),
    Play(23, "bytes", (m.saying(None, 1),), answered()),
    Play(23, "crlf", (m.crlf,), answered(), STREAM),
    Play(23, "gzip", (m.zipped,), answered()),
    Play(23, "2-mib", (m.saying(m.HUGE),), answered(text=m.HUGE[0])),
    Play(24, "header", (m.BIG_HEADER,), answered(kind=_K.PROTOCOL)),
    Play(24, "endless-header", (m.ENDLESS_HEADER,), answered(kind=_K.PROTOCOL)),
    Play(24, "endless-body", (m.ENDLESS_BODY,), answered(kind=_K.PROTOCOL)),
    Play(25, "401", (m.UNAUTHORIZED,), _own_key),
    Play(26, "first", (m.UNKNOWN,), j.others_have_it),
    Play(26, "all", (m.UNKNOWN,), j.nobody_has_it, others=(m.UNKNOWN,)),
    Play(27, "before", (m.SILENT,), j.forgotten, asks=leave),
    Play(27, "waiting", (m.limited(2), m.well), j.forgotten, asks=leave),
    Play(27, "middle", (m.begun(End.SILENCE),), j.forgotten, STREAM, asks=leave),
    Play(29, "nobody", (), j.nobody_is_there, others=()),
    Play(30, "dns", (m.well,), answered(kind=_K.DNS), reach="dns"),
    Play(30, "tls", (m.well,), answered(kind=_K.TLS), reach="tls"),
    Play(31, "reload", (m.slowly,), j.carried_on(stopping=False), STREAM, asks=reload),
    Play(32, "stop", (m.slowly,), j.carried_on(stopping=True), STREAM, asks=stop),
)
