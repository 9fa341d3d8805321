"""Every fault of a single request, as one table: docs/faults.md in the OpenAI dialect.

A cell is judged by what the client got and by what the backends saw. All cells share one sidecar:
each has a route and two backends of its own. Rows that need more than one request, or a moment in
the middle of one, are in test_fault_moments.py; row 15 is in test_ejection.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.cells import STREAM, WHOLE, Cell, answered, broken_off, refused
from tests.e2e.client import Got, chat
from tests.e2e.harness import QUICK_RETRY, Config, Sidecar, of
from tests.fakes import behaviours as b
from tests.fakes.answers import DONE, error, frame, text_of
from tests.fakes.backend import Backend, closed_port
from tests.fakes.certificates import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

P, F = answered("p"), answered("f")
WELL = b.well()
ODD = ["héllo ", "wörld ", "日本語 ", "🙂 ", "e\u0301"]
HUGE = ["x" * 1_000_000, "y" * 1_097_152]
ONE_HUGE = ["z" * 2_097_152]
IN_AN_HOUR = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
ERROR_FINISH = frame(
    {
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        **error("the engine died", "502"),
    }
)

TABLE = [
    # 1: rate limited, and it says until when
    Cell(1, "short", (b.rate_limited("1"), WELL), P, 2, settled="rate_limited", at_least=1.0),
    Cell(1, "long", (b.rate_limited("60"),), F, 1, settled="rate_limited"),
    Cell(1, "date", (b.rate_limited(IN_AN_HOUR),), F, 1, settled="rate_limited"),
    Cell(
        1,
        "alone",
        (b.rate_limited("60"),),
        refused(429, says=("slow down",), header="retry-after"),
        fallback=None,
        result="rate_limited",
    ),
    # 2: rate limited for ever, and it does not say
    Cell(2, "no-header", (b.rate_limited(),), F, 1, settled="rate_limited"),
    # 3, 4: server errors
    Cell(3, "once", (b.status(500), WELL), P, 2, settled="server_error"),
    Cell(3, "twice", (b.status(500), b.status(502), WELL), P, 3, settled="server_error"),
    Cell(4, "for-ever", (b.status(503),), F, 3, settled="server_error"),
    Cell(4, "529", (b.status(529),), F, 3, settled="server_error"),
    Cell(
        4,
        "alone",
        (b.status(503, "the fake is being mended", "mending"),),
        refused(503, code="mending", says=("being mended",)),
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
    Cell(6, "silent", (b.silent,), F, 1, settled="timeout"),
    Cell(7, "head", (b.opened(b.Silence()),), F, 1, streamed=STREAM, settled="timeout"),
    Cell(7, "greets", (b.opened(b.Silence(), greet=True),), F, 1, streamed=STREAM),
    Cell(
        7,
        "pings",
        (b.opened(*(b.Pause(0.1), b.Send(b.chunked(b": ping\n\n"))) * 300),),
        F,
        1,
        streamed=STREAM,
    ),
    # 8, 9, 14: broken off in the middle
    Cell(8, "reset", (b.cut(b.Reset()),), broken_off(), streamed=STREAM, result="upstream_error"),
    Cell(8, "closed", (b.cut(b.Close()),), broken_off(), streamed=STREAM, result="upstream_error"),
    Cell(
        8,
        "clean-end",
        (b.cut(b.Send(b.END)),),
        broken_off(),
        streamed=STREAM,
        settled="truncated",
        result="upstream_error",
    ),
    Cell(
        8,
        "half-frame",
        (b.cut(b.Send(b.END), half=True),),
        broken_off(),
        streamed=STREAM,
        result="upstream_error",
    ),
    Cell(
        8,
        "done-too-early",
        (b.cut(b.Send(b.chunked(DONE) + b.END)),),
        broken_off(),
        streamed=STREAM,
        result="upstream_error",
    ),
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
    ),
    Cell(9, "silent-body", (b.cut_whole(b.Silence()),), F, 1, streamed=WHOLE, settled="timeout"),
    Cell(
        14,
        "no-prefill",
        (b.cut(b.Reset()),),
        broken_off(),
        streamed=STREAM,
        fallback=(b.PREFILL_REFUSED,),
        result="upstream_error",
    ),
    # 10, 11: small sins that do not matter
    Cell(10, "junk", (b.with_frame(b"data: {not json\n\n"),), P, streamed=STREAM),
    Cell(10, "no-object", (b.with_frame(b"data: 17\n\n"),), P, streamed=STREAM),
    Cell(11, "no-done", (b.no_done(b.Send(b.END)),), answered("p", done=False), streamed=STREAM),
    Cell(11, "no-done-fin", (b.no_done(b.Close()),), answered("p", done=False), streamed=STREAM),
    Cell(
        11,
        "no-done-silent",
        (b.no_done(b.Silence()),),
        answered("p", done=False),
        streamed=STREAM,
        primary_config={"timeouts": {"idle": "25s"}},
        within=10.0,
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
        refused(400, code="context_length_exceeded", says=("1000 tokens",)),
        primary_config={"context": {"model-p": 1000}},
        fallback_config={"context": {"model-f": 500}},
        result="client_error",
    ),
    Cell(
        12,
        "alone",
        (b.CONTEXT_TOO_LONG,),
        refused(400, code="context_length_exceeded"),
        fallback=None,
        result="client_error",
    ),
    Cell(
        13,
        "policy",
        (b.REFUSED_BY_POLICY,),
        refused(400, code="content_filter", says=("filtered",)),
        settled="client_error",
        result="client_error",
    ),
    Cell(
        13,
        "policy-moved",
        (b.REFUSED_BY_POLICY,),
        F,
        route={"on": {"content_refused": "fail_over"}},
    ),
    # 16: the ledger is F's
    Cell(16, "whose-usage", (b.status(503),), F, 3),
    # 17 to 20: a 200 that is none
    Cell(17, "error-object", (b.error_object,), F, None),
    Cell(17, "error-once", (b.error_object, WELL), F, 1),
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
    Cell(19, "greeting-only", (b.opened(b.Send(b.END), greet=True),), F, 1, streamed=STREAM),
    Cell(19, "done-only", (b.frames_only(DONE),), F, 1, streamed=STREAM),
    Cell(19, "no-words-but-finished", (b.well([]),), answered("p", "")),
    Cell(20, "first-event", (b.frames_only(b.ERROR_EVENT),), F, None, streamed=STREAM),
    Cell(
        20,
        "after-greeting",
        (b.opened(b.Send(b.chunked(b.ERROR_EVENT) + b.END), greet=True),),
        F,
        None,
        streamed=STREAM,
    ),
    *[
        Cell(
            20,
            name,
            (b.cut(b.Send(b.chunked(event) + b.END)),),
            broken_off(),
            streamed=STREAM,
            result="upstream_error",
        )
        for name, event in [
            ("middle", b.ERROR_EVENT),
            ("middle-then-done", b.ERROR_EVENT + DONE),
            ("middle-finish-error", ERROR_FINISH),
        ]
    ],
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
    Cell(24, "endless-body", (b.endless_body,), F, 1),
    # 25, 26: the backend does not know us, or the model
    Cell(25, "401", (b.status(401, "bad key", "invalid_api_key"),), F, 1, settled="auth"),
    Cell(25, "403", (b.status(403, "not yours", "forbidden"),), F, 1, settled="auth"),
    Cell(26, "unknown", (b.UNKNOWN_MODEL,), F, 1, settled="client_error"),
    Cell(
        26,
        "unknown-to-all",
        (b.UNKNOWN_MODEL,),
        refused(404, code="model_not_found"),
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
CASES = [
    pytest.param(cell, streamed, id=cell.key(streamed))
    for cell in TABLE
    for streamed in cell.streamed
]


@dataclass
class World:
    """One sidecar and the two backends of each cell."""

    sidecar: Sidecar
    primaries: Mapping[str, Backend]
    fallbacks: Mapping[str, Backend]


def script(behaviours: tuple[b.Behaviour, ...]) -> tuple[tuple[b.Behaviour, ...], b.Behaviour]:
    return behaviours[:-1], behaviours[-1] if behaviours else WELL


async def places(stack: AsyncExitStack, folder: Path) -> dict[str, Config]:
    """Backend configurations that lead to no good, by name."""
    authority, stranger = Authority(), Authority()
    trusted: Config = {"ca": str(authority.write_bundle(folder))}

    async def tls(owner: Authority, *, expired: bool) -> str:
        server = Backend("p", tls=owner.server(expired=expired))
        return (await stack.enter_async_context(server)).base_url

    return {
        "closed": {"base_url": f"http://127.0.0.1:{closed_port()}/v1"},
        "no-name": {"base_url": "http://nowhere.invalid/v1"},
        "tls-well": {"base_url": await tls(authority, expired=False), **trusted},
        "tls-expired": {"base_url": await tls(authority, expired=True), **trusted},
        "tls-stranger": {"base_url": await tls(stranger, expired=False), **trusted},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    primaries: dict[str, Backend] = {}
    fallbacks: dict[str, Backend] = {}
    backends: dict[str, Config] = {}
    routes: dict[str, Config] = {}
    async with AsyncExitStack() as stack:
        known = await places(stack, folder)
        for cell, streamed in [(one, way) for one in TABLE for way in one.streamed]:
            key = cell.key(streamed)
            first, rest = script(cell.primary)
            primary = await stack.enter_async_context(Backend("p", *first, rest=rest))
            primaries[key] = primary
            place = known[cell.place] if cell.place else {}
            backends[f"{key}-p"] = {**of(primary), **place, **cell.primary_config}
            targets: list[Config] = [{"backend": f"{key}-p", "model": "model-p"}]
            if cell.fallback is not None:
                first, rest = script(cell.fallback)
                fallback = await stack.enter_async_context(Backend("f", *first, rest=rest))
                fallbacks[key] = fallback
                backends[f"{key}-f"] = {**of(fallback), **cell.fallback_config}
                targets.append({"backend": f"{key}-f", "model": "model-f"})
            route: Config = {"models": [key], "targets": targets, "retry": QUICK_RETRY}
            routes[key] = {**route, "recover": ["fail"], **cell.route}
        config: Config = {
            "backends": backends,
            "routes": routes,
            "defaults": {
                "timeouts": {"connect": "2s", "first_token": "1s", "idle": "1s", "whole": "3s"}
            },
            "retry_budget": {"share": 0.2, "floor": "1000/s"},
        }
        sidecar = await stack.enter_async_context(Sidecar(folder, config))
        yield World(sidecar, primaries, fallbacks)


@pytest.mark.parametrize(("cell", "streamed"), CASES)
async def test_fault(world: World, cell: Cell, streamed: bool) -> None:
    key = cell.key(streamed)
    primary, fallback = world.primaries[key], world.fallbacks.get(key)

    got = await world.sidecar.ask(chat(key, stream=streamed))

    if got.status == 200:
        assert got.is_stream is streamed
    cell.want(got)
    if cell.tries is not None:
        assert len(primary.requests) == cell.tries
    if fallback is not None:
        by_answer = int(got.headers.get("x-sidecar-backend", "").endswith("-f"))
        expected = by_answer if cell.fallback_tries is None else cell.fallback_tries
        assert len(fallback.requests) == expected
    if cell.at_least is not None:
        assert primary.requests[1].at - primary.requests[0].at >= cell.at_least
    if cell.within is not None:
        assert got.seconds < cell.within
    if cell.row == 11:
        assert got.usage is None, "usage was not asked for"
    await check_metrics(world, cell, key, got)
    if cell.row == 16:
        await check_ledger(world, key, got.usage, streamed=streamed)


async def check_metrics(world: World, cell: Cell, key: str, got: Got) -> None:
    """One request with the right result; its failed tries are attempts, never requests."""
    metrics = await world.sidecar.until_metric(
        lambda now: now.value("requests_total", route=key) == 1, "the request is counted"
    )
    assert metrics.value("requests_total", route=key, outcome=cell.result) == 1
    assert metrics.value("inflight_requests", route=key) == 0
    if cell.settled is not None:
        assert metrics.value("attempts_total", backend=f"{key}-p", outcome=cell.settled) >= 1
    if not got.headers.get("x-sidecar-backend", "").endswith("-p") or got.error is not None:
        assert metrics.value("attempts_total", backend=f"{key}-p", outcome="ok") == 0


async def check_ledger(world: World, key: str, usage: object, *, streamed: bool) -> None:
    """Usage is that of the backend that answered."""
    metrics = await world.sidecar.metrics()
    assert metrics.value("tokens_total", backend=f"{key}-f", type="output") == 60
    assert metrics.value("tokens_total", backend=f"{key}-p") == 0
    if not streamed:
        assert usage == {"prompt_tokens": 7, "completion_tokens": 60, "total_tokens": 67}


async def test_no_done_means_the_answer_at_once_with_usage(world: World) -> None:
    """Row 11 for a client that asked for usage."""
    key = next(cell for cell in TABLE if cell.name == "no-done").key(streamed=True)
    asked = chat(key, stream=True, stream_options={"include_usage": True})
    got = await world.sidecar.ask(asked)
    assert got.text == text_of("p")
    assert got.usage == {"prompt_tokens": 7, "completion_tokens": 60, "total_tokens": 67}
