"""Every fault of a single request, as one table of cells: docs/faults.md without its moments.

A cell is judged by what the client got and by what the backends saw, and when. Rows that need more
than one request, or a moment in the middle of one, are in tests/e2e/test_fault_moments.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.e2e.crossing import ANTHROPIC, DIALECTS, OLLAMA, OPENAI, RESPONSES
from tests.e2e.faults.cells import STREAM, WHOLE, Cell
from tests.e2e.faults.wants import answered, broken_off, refused, rescued
from tests.fakes import behaviours as b
from tests.fakes.answers import words

P, F = answered("p"), answered("f")
WELL = b.well()
ODD = ["héllo ", "wörld ", "日本語 ", "🙂 ", "e\u0301"]
HUGE = ["x" * 1_000_000, "y" * 1_097_152]
ONE_HUGE = ["z" * 2_097_152]
IN_AN_HOUR = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
FAIL, ASSURED = {"recover": ["fail"]}, {"delivery": "assured"}
SAME = (b.well(words("p")),)  # another backend, and the very words
QUIET = {"timeouts": {"first_token": "1s", "idle": "1s", "whole": "1s"}}
AT_ONCE, IN_A_SECOND = (0.0, 5.0), (1.0, 6.0)  # promised: at once, and after one second
SPEAKS_OF_POLICY = (OPENAI, RESPONSES, ANTHROPIC)
SAYS_WHAT_IT_IS = (RESPONSES, ANTHROPIC, OLLAMA)
MARKS_ITS_END = (OPENAI, RESPONSES, ANTHROPIC)

TABLE = [
    # 1: rate limited, and it says until when
    Cell(1, "short", (b.rate_limited("1"), WELL), P, 2, settled="rate_limited", at_least=1.0),
    Cell(1, "long", (b.rate_limited("60"),), F, settled="rate_limited", moved=AT_ONCE),
    Cell(1, "date", (b.rate_limited(IN_AN_HOUR),), F, settled="rate_limited", moved=AT_ONCE),
    Cell(
        1,
        "alone",
        (b.rate_limited("60"),),
        refused(429, says=("slow down",), header="retry-after"),
        fallback=None,
        result="rate_limited",
    ),
    # 2: rate limited for ever, and it does not say
    Cell(2, "no-header", (b.rate_limited(),), F, settled="rate_limited", moved=AT_ONCE),
    # 3, 4: server errors
    Cell(3, "once", (b.status(500), WELL), P, 2, settled="server_error"),
    Cell(3, "twice", (b.status(500), b.status(502), WELL), P, 3, settled="server_error"),
    Cell(4, "for-ever", (b.status(503),), F, 3, settled="server_error"),
    Cell(4, "529", (b.status(529),), F, 3, settled="server_error"),
    Cell(
        4,
        "alone",
        (b.status(503, "the fake is being mended", "mending"),),
        refused(503, says=("being mended",)),
        3,
        fallback=None,
        result="upstream_error",
    ),
    # 5: no connection, or none that lasts
    Cell(5, "refused", (), F, None, place="closed", settled="connect"),
    Cell(5, "reset", (b.reset,), F, 3, settled="connect"),
    Cell(5, "reset-once", (b.reset, WELL), P, 2, settled="connect"),
    Cell(5, "hung-up-once", (b.hang_up, WELL), P, 2, settled="connect"),
    # 6, 7: silence before the first token
    Cell(
        6,
        "silent",
        (b.silent,),
        F,
        settled="timeout",
        primary_config=QUIET,
        moved=IN_A_SECOND,
    ),
    *[
        Cell(
            7,
            name,
            (behaviour,),
            F,
            streamed=STREAM,
            settled="timeout",
            primary_config=QUIET,
            moved=IN_A_SECOND,
        )
        for name, behaviour in [
            ("head", b.opened(b.Silence())),
            ("greets", b.opened(b.Silence(), greet=True)),
            ("pings", b.pinging(0.1, 300)),
        ]
    ],
    # 8, 9, 14: broken off in the middle
    *[
        Cell(
            8,
            name,
            (behaviour,),
            broken_off(),
            streamed=STREAM,
            settled=settled,
            result="upstream_error",
            route=FAIL,
            lasts=AT_ONCE,
        )
        for name, behaviour, settled in [
            ("reset", b.cut(b.Heard(), b.Reset()), None),
            ("closed", b.cut(b.Heard(), b.Close()), None),
            ("clean-end", b.cut(b.Heard(), b.Send(b.END)), "truncated"),
            ("half-frame", b.cut(b.Heard(), b.Send(b.END), half=True), None),
        ]
    ],
    Cell(
        8,
        "done-too-early",
        (b.cut_by(b.marker),),
        broken_off(),
        streamed=STREAM,
        result="upstream_error",
        route=FAIL,
        spoken=MARKS_ITS_END,
        lasts=AT_ONCE,
    ),
    Cell(
        8,
        "repeated",
        (b.cut(b.Heard(), b.Reset()),),
        rescued(),
        streamed=STREAM,
        fallback=SAME,
        fallback_tries=1,
        lasts=AT_ONCE,
    ),
    Cell(
        8,
        "not-repeated",
        (b.cut(b.Heard(), b.Reset()),),
        broken_off(),
        2,  # at last it is asked to repeat itself, and breaks again
        streamed=STREAM,
        fallback_tries=1,
        result="upstream_error",
        lasts=AT_ONCE,
    ),
    Cell(8, "assured", (b.cut(b.Reset()),), F, streamed=STREAM, route=ASSURED, lasts=AT_ONCE),
    Cell(8, "half-a-body", (b.cut_whole(b.Close()),), F, 1, streamed=WHOLE),
    Cell(8, "reset-body", (b.cut_whole(b.Reset()),), F, 1, streamed=WHOLE),
    Cell(
        9,
        "silent-middle",
        (b.cut(b.Silence()),),
        broken_off(),
        streamed=STREAM,
        settled="timeout",
        result="timeout",
        primary_config=QUIET,
        route=FAIL,
        lasts=IN_A_SECOND,
    ),
    Cell(
        9,
        "silent-repeated",
        (b.cut(b.Silence()),),
        rescued(),
        streamed=STREAM,
        settled="timeout",
        fallback=SAME,
        fallback_tries=1,
        primary_config=QUIET,
        lasts=IN_A_SECOND,
    ),
    Cell(
        9,
        "silent-assured",
        (b.cut(b.Silence()),),
        F,
        streamed=STREAM,
        settled="timeout",
        primary_config=QUIET,
        route=ASSURED,
        moved=IN_A_SECOND,
    ),
    Cell(
        9,
        "silent-body",
        (b.cut_whole(b.Silence()),),
        F,
        streamed=WHOLE,
        settled="timeout",
        primary_config=QUIET,
        moved=IN_A_SECOND,
    ),
    Cell(
        14,
        "no-prefill",
        (b.cut(b.Heard(), b.Reset()),),
        broken_off(),
        streamed=STREAM,
        fallback=(b.PREFILL_REFUSED,),
        fallback_tries=1,
        prefill=True,
        result="upstream_error",
        route={"recover": ["continue", "fail"]},
        lasts=AT_ONCE,
    ),
    # 10, 11: small sins that do not matter
    Cell(10, "junk", (b.with_frame(lambda voice: voice.not_json),), P, streamed=STREAM),
    Cell(10, "no-object", (b.with_frame(lambda voice: voice.no_object),), P, streamed=STREAM),
    Cell(11, "no-done", (b.no_done(b.Send(b.END)),), P, streamed=STREAM),
    Cell(11, "no-done-fin", (b.no_done(b.Close()),), P, streamed=STREAM),
    Cell(
        11,
        "no-done-silent",
        (b.no_done(b.Silence()),),
        P,
        streamed=STREAM,
        primary_config={"timeouts": {"idle": "25s"}},
        lasts=(0.0, 10.0),
    ),
    # 12, 13: what the backend will not do
    Cell(12, "undeclared", (b.CONTEXT_TOO_LONG,), F, 1, settled="client_error"),
    Cell(
        12,
        "larger",
        (b.CONTEXT_TOO_LONG,),
        F,
        primary_config={"context": {"model-p": 1000}},
        fallback_config={"context": {"model-f": 2000}},
    ),
    Cell(
        12,
        "smaller",
        (b.CONTEXT_TOO_LONG,),
        refused(400, means="too long", says=("1000 tokens",)),
        primary_config={"context": {"model-p": 1000}},
        fallback_config={"context": {"model-f": 500}},
        result="client_error",
    ),
    Cell(
        12,
        "alone",
        (b.CONTEXT_TOO_LONG,),
        refused(400, means="too long"),
        fallback=None,
        result="client_error",
    ),
    Cell(
        13,
        "policy",
        (b.REFUSED_BY_POLICY,),
        refused(400, means="policy", says=("filtered",)),
        settled="client_error",
        result="client_error",
        spoken=SPEAKS_OF_POLICY,
    ),
    Cell(
        13,
        "policy-moved",
        (b.REFUSED_BY_POLICY,),
        F,
        spoken=SPEAKS_OF_POLICY,
        route={"on": {"content_refused": "fail_over"}},
    ),
    # 16: the ledger is F's
    Cell(16, "whose-usage", (b.status(503),), F, 3),
    # 17 to 20: a 200 that is none
    Cell(17, "error-object", (b.error_object,), F, None),
    # what calls itself good and is not is garbled; other dialects' errors have a type of their own
    Cell(17, "error-once", (b.error_object, WELL), F, 1, spoken=(OPENAI,)),
    Cell(17, "error-once-typed", (b.error_object, WELL), P, 2, spoken=SAYS_WHAT_IT_IS),
    Cell(18, "html", (b.html,), F, 1, settled="protocol"),
    Cell(
        18,
        "html-alone",
        (b.html,),
        refused(502, says=("text/html",)),
        fallback=None,
        result="upstream_error",
    ),
    Cell(19, "empty", (b.empty_body,), F, 1),
    Cell(19, "not-json", (b.not_json,), F, 1, streamed=WHOLE, settled="protocol"),
    Cell(19, "no-event", (b.frames_only(),), F, 1, streamed=STREAM),
    Cell(19, "greeting-only", (b.frames_only(greet=True),), F, 1, streamed=STREAM),
    Cell(19, "done-only", (b.frames_only(b.marker),), F, 1, streamed=STREAM, spoken=MARKS_ITS_END),
    Cell(19, "no-words-but-finished", (b.well([]),), answered("p", "")),
    Cell(20, "first-event", (b.frames_only(b.failure()),), F, None, streamed=STREAM),
    Cell(
        20,
        "after-greeting",
        (b.frames_only(b.failure(), greet=True),),
        F,
        None,
        streamed=STREAM,
    ),
    *[
        Cell(
            20,
            name,
            (b.cut_by(*frames),),
            broken_off(),
            streamed=STREAM,
            result="upstream_error",
            route=FAIL,
            spoken=spoken,
            lasts=AT_ONCE,
        )
        for name, frames, spoken in [
            ("middle", (b.failure(),), DIALECTS),
            ("middle-then-done", (b.failure(), b.marker), MARKS_ITS_END),
            ("middle-finish-error", (b.failure("finish"),), (OPENAI,)),
            ("middle-failed", (b.failure("failed"),), (RESPONSES,)),
        ]
    ],
    Cell(
        20,
        "middle-repeated",
        (b.cut_by(b.failure()),),
        rescued(),
        streamed=STREAM,
        fallback=SAME,
        fallback_tries=1,
        lasts=AT_ONCE,
    ),
    # 21, 22: the other kind of answer
    Cell(21, "json", (b.json_to_a_stream,), P, streamed=STREAM),
    Cell(22, "sse", (b.stream_to_a_whole,), P, streamed=WHOLE),
    Cell(22, "sse-cut", (b.cut(b.Reset()),), F, 1, streamed=WHOLE),
    Cell(22, "sse-cut-clean", (b.cut(b.Send(b.END)),), F, 1, streamed=WHOLE),
    # 23: unusual, but right
    Cell(23, "byte-by-byte", (b.in_pieces(1, ODD),), answered("p", "".join(ODD))),
    Cell(23, "in-threes", (b.in_pieces(3, ODD),), answered("p", "".join(ODD))),
    Cell(23, "crlf", (b.crlf,), P, streamed=STREAM),
    Cell(23, "gzip", (b.zipped,), P),
    Cell(23, "one-event-of-2-mib", (b.well(ONE_HUGE),), answered("p", ONE_HUGE[0])),
    Cell(23, "large-and-cut-up", (b.in_pieces(70_001, HUGE),), answered("p", "".join(HUGE))),
    # 24: hostile
    Cell(24, "big-header", (b.big_header,), F, None),
    Cell(24, "endless-header", (b.endless_header,), F, None),
    Cell(24, "endless-headers", (b.endless_headers,), F, None),
    # read up to the most that an answer may hold: how long that takes is the machine's affair
    Cell(24, "endless-body", (b.endless_body,), F, 1, lasts=(0.0, 30.0)),
    # 25, 26: the backend does not know us, or the model
    Cell(25, "401", (b.status(401, "bad key", "invalid_api_key"),), F, 1, settled="auth"),
    Cell(25, "403", (b.status(403, "not yours", "forbidden"),), F, 1, settled="auth"),
    Cell(26, "unknown", (b.UNKNOWN_MODEL,), F, 1, settled="client_error"),
    Cell(
        26,
        "unknown-to-all",
        (b.UNKNOWN_MODEL,),
        refused(404, means="unknown model"),
        fallback=(b.UNKNOWN_MODEL,),
        fallback_tries=1,
        result="client_error",
    ),
    # 29: nobody is there
    Cell(
        29,
        "all-closed",
        (),
        refused(503, says=("-p", "-f"), header="retry-after"),
        None,
        fallback=(b.reset,),
        fallback_tries=3,
        place="closed",
        result="upstream_error",
    ),
    # 30: names and certificates
    Cell(30, "dns", (), F, None, place="no-name", settled="connect"),
    Cell(30, "tls-stranger", (), F, 0, place="tls-stranger", settled="connect"),
    Cell(30, "tls-expired", (), F, 0, place="tls-expired", settled="connect"),
    Cell(30, "tls-well", (), P, None, place="tls-well", settled="ok"),
    *[
        Cell(
            30,
            f"{place}-alone",
            (),
            refused(502, 503, says=words),
            None,
            fallback=None,
            place=place,
            result="upstream_error",
        )
        for place, words in [
            ("no-name", ("nowhere.invalid",)),
            ("tls-stranger", ("certificate",)),
            ("tls-expired", ("certificate", "expired")),
        ]
    ],
]
