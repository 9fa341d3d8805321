"""The rows of docs/faults.md that take more than one request, or a moment in the middle of one.

Each is played before the clients of all four dialects, whose backends speak the client's own.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import client as raw
from tests.e2e.client import HANG, Got
from tests.e2e.crossing import DIALECTS, PATHS, RESPONSES, chat
from tests.e2e.faults.hearing import Heard, hear
from tests.e2e.faults.held import moment
from tests.e2e.harness import NEVER_EJECTED, Config, Sidecar, chain, until
from tests.fakes import behaviours as b
from tests.fakes import voices
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend, refusing_port
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAVES = 5.0  # seconds; the promise is one, a test allows five times as much
MIB = 1024 * 1024
STREAMED, WHOLE = True, False


@dataclass(frozen=True)
class Stage:
    """A sidecar, and a client of one dialect before it."""

    sidecar: Sidecar
    dialect: str

    async def ask(self, *, stream: bool = False) -> Got:
        return await self.sidecar.ask(chat(self.dialect, stream=stream), PATHS[self.dialect])

    async def hears(self, *, stream: bool = False) -> Heard:
        """The answer, which must be a good one."""
        got = await self.ask(stream=stream)
        assert got.status == 200, got.raw[:2000]
        return hear(self.dialect, got)


@asynccontextmanager
async def stage(
    playing: Callable[[Config], AbstractAsyncContextManager[Sidecar]],
    primary: Backend,
    fallback: Backend | None = None,
    *,
    top: Config | None = None,
    **route: Any,
) -> AsyncIterator[Stage]:
    """A primary, perhaps a fallback, and before them the sidecar of `playing`."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(primary)]
        if fallback is not None:
            fakes.append(await stack.enter_async_context(fallback))
        config = {**chain(*fakes, **route), **(top or {})}
        sidecar = await stack.enter_async_context(playing(config))
        yield Stage(sidecar, primary.dialect)


@moment(1, STREAMED, WHOLE)
async def test_row_1_the_primary_rests_until_it_said(shared: Sidecar, dialect: str) -> None:
    p = Backend("p", rest=b.rate_limited("60"), dialect=dialect)
    f = Backend("f", dialect=dialect)
    async with stage(shared.playing, p, f) as on:
        for stream in (True, False, True):
            assert (await on.hears(stream=stream)).text == text_of("f")
        assert (len(p.requests), len(f.requests)) == (1, 3)
        metrics = await on.sidecar.metrics()
        assert metrics.value("fallbacks_total", reason="rate_limited") >= 1
        assert metrics.value("backend_availability", backend="p", state="resting") == 1


@moment(2, STREAMED, WHOLE)
async def test_row_2_a_crowd_does_not_storm_the_primary(shared: Sidecar, dialect: str) -> None:
    p, f = Backend("p", rest=b.rate_limited(), dialect=dialect), Backend("f", dialect=dialect)
    async with stage(shared.playing, p, f) as on:

        async def ask_five_times() -> None:
            for number in range(5):
                assert (await on.hears(stream=number % 2 == 0)).text == text_of("f")

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_five_times())
        start = p.requests[0].at
        assert sum(seen.at - start < 3.0 for seen in p.requests) <= 4


@moment(3, STREAMED, WHOLE)
async def test_row_3_without_budget_the_fallback_is_asked_at_once(
    shared: Sidecar, dialect: str
) -> None:
    p, f = Backend("p", rest=b.status(500), dialect=dialect), Backend("f", dialect=dialect)
    budget: Config = {"retry_budget": {"share": 0, "floor": "0/s"}}
    async with stage(shared.playing, p, f, top=budget) as on:
        before = (await shared.metrics()).value("retry_budget_exhausted_total")
        for stream in (True, False):
            assert (await on.hears(stream=stream)).text == text_of("f")
        assert (len(p.requests), len(f.requests)) == (2, 2)
        assert (await shared.metrics()).value("retry_budget_exhausted_total") > before


@moment(4, STREAMED, WHOLE)
async def test_row_4_retries_add_about_a_fifth(shared: Sidecar, dialect: str) -> None:
    p, f = Backend("p", rest=b.status(503), dialect=dialect), Backend("f", dialect=dialect)
    budget: Config = {"retry_budget": {"share": 0.2, "floor": "1/s"}}
    never = {"p": NEVER_EJECTED}
    async with stage(shared.playing, p, f, top=budget, backends=never) as on:
        start = time.monotonic()
        for number in range(60):
            assert (await on.hears(stream=number % 2 == 0)).text == text_of("f")
        seconds = time.monotonic() - start
        assert len(p.requests) - 60 <= 0.2 * 60 + seconds + 15, "retries stay within the budget"


@moment(5, STREAMED, WHOLE)
async def test_row_5_a_pooled_connection_that_was_dead_is_nobodys_fault(
    shared: Sidecar, dialect: str
) -> None:
    p, f = Backend("p", rest=b.dead_when_reused, dialect=dialect), Backend("f", dialect=dialect)
    async with stage(shared.playing, p, f, retry={"attempts": 0}) as on:
        for stream in (False, True, True, False):
            assert (await on.hears(stream=stream)).text == text_of("p")
        metrics = await on.sidecar.metrics()
        assert metrics.value("attempts_total", backend="p", outcome="connect") == 0
        assert not f.requests


async def test_a_sidecar_that_gave_up_tells_the_client_not_to_try_again(shared: Sidecar) -> None:
    async with stage(shared.playing, Backend("p", rest=b.status(503))) as on:
        got = await on.ask()
        assert (got.status, got.headers.get("x-should-retry")) == (503, "false")
        assert got.headers["x-sidecar-attempts"] == "3"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_deadline_ends_every_wait(shared: Sidecar, stream: bool) -> None:
    p = Backend("p", rest=b.silent)
    async with stage(shared.playing, p, deadline="500ms") as on:
        got = await on.ask(stream=stream)
        assert (got.status, got.code) == (504, "deadline_exceeded")
        assert got.seconds < 5
        await asyncio.wait_for(p.requests[0].left.wait(), LEAVES)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_short_deadline_leaves_time_for_the_next_target(
    shared: Sidecar, dialect: str
) -> None:
    p, f = Backend("p", rest=b.silent, dialect=dialect), Backend("f", dialect=dialect)
    async with stage(shared.playing, p, f, deadline="4s") as on:
        assert (await on.hears(stream=True)).text == text_of("f")
        metrics = await on.sidecar.idle()
        assert metrics.value("attempts_total", backend="p", outcome="timeout") == 1
        assert metrics.value("backend_up", backend="p") == 1, "nobody is blamed for a hurry"


async def test_the_deadline_of_the_clients_sdk_travels(shared: Sidecar) -> None:
    async with stage(shared.playing, Backend("p", rest=b.silent)) as on:
        got = await on.sidecar.ask(raw.chat(), headers={"x-stainless-read-timeout": "1"})
        assert got.status == 504
        assert got.seconds < 10


@moment(15, STREAMED, WHOLE)
async def test_row_15_it_is_tried_now_and_then_and_answers_soon_after_its_recovery(
    shared: Sidecar, dialect: str, stream: bool
) -> None:
    """A minute and a request every four seconds, scaled down by thirty: 2 s, and 0.13 s."""
    p, f = Backend("p", rest=b.status(503), dialect=dialect), Backend("f", dialect=dialect)
    breaker: Config = {"p": {"breaker": {"rest": "1s", "ceiling": "10s"}}}
    async with stage(shared.playing, p, f, backends=breaker) as on:
        asked, start = 0, time.monotonic()
        while time.monotonic() - start < 2.0:
            assert (await on.hears(stream=stream)).text == text_of("f")
            asked += 1
            await asyncio.sleep(4 / 30)  # the pace of the row, not a wait for anything
        tried = len(p.requests)
        assert 5 <= tried <= 8 and tried < asked, "five failures, then a trial now and then"
        p.rest, recovered = b.well(), time.monotonic()
        while (heard := await on.hears(stream=stream)).text != text_of("p"):
            assert heard.text == text_of("f"), "every answer is whole meanwhile"
            assert time.monotonic() - recovered < 5 * 1.0
            await asyncio.sleep(4 / 30)


@moment(24, STREAMED, WHOLE)
async def test_row_24_memory_stays_bounded(tmp_path: Path, dialect: str, stream: bool) -> None:
    hostile = (b.endless_header, b.endless_headers, b.endless_body, b.endless_body)
    p, f = Backend("p", *hostile, dialect=dialect), Backend("f", dialect=dialect)
    async with stage(partial(Sidecar, tmp_path), p, f, retry={"attempts": 0}) as on:
        before = on.sidecar.rss
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(on.hears(stream=stream)) for _ in hostile]
        assert {each.result().text for each in asked} == {text_of("f")}
        # each answer is allowed as much as the largest right answer may be
        assert on.sidecar.rss - before < 400 * MIB


@moment(25, STREAMED, WHOLE)
async def test_row_25_each_further_key_is_tried_once_and_the_good_one_stays(
    shared: Sidecar, tmp_path: Path, dialect: str, stream: bool
) -> None:
    keys = ["key-number-one", "key-number-two", "key-number-six"]
    files: list[Config] = []
    for key in keys:
        (tmp_path / key).write_text(key)
        files.append({"file": str(tmp_path / key)})
    refused = b.status(401, "bad key", "invalid_api_key")

    def play(seen: Seen) -> b.Steps:
        good = seen.header("authorization") == f"Bearer {keys[-1]}"
        return (b.well() if good else refused)(seen)

    p, f = Backend("p", rest=play, dialect=dialect), Backend("f", dialect=dialect)
    auth: Config = {"bearer": files[0], "further": files[1:]}
    async with p, f:
        config = chain(p, f, backends={"p": {"auth": auth}})
        async with shared.playing(config) as sidecar:
            on = Stage(sidecar, dialect)
            for _ in range(2):
                assert (await on.hears(stream=stream)).text == text_of("p")
            metrics = await sidecar.metrics()
            assert metrics.value("attempts_total", backend="p", outcome="auth") == 2
    told = [(seen.header("authorization") or "").removeprefix("Bearer ") for seen in p.requests]
    assert told == [*keys, keys[-1]]
    assert not f.requests


@moment(27, STREAMED, WHOLE)
async def test_row_27_the_client_leaves(shared: Sidecar, dialect: str, stream: bool) -> None:
    """Before the head, before the first token, in mid-answer."""
    silences = (b.silent, b.opened(b.Silence(), greet=True), b.cut(b.Silence()))
    p, f = Backend("p", *silences, dialect=dialect), Backend("f", dialect=dialect)
    async with stage(shared.playing, p, f) as on:
        for number in range(1, 4):
            async with asyncio.TaskGroup() as group:
                call = group.create_task(on.ask(stream=stream))
                seen = await p.seen(number)
                call.cancel()
            await asyncio.wait_for(seen.left.wait(), LEAVES)
        metrics = await on.sidecar.idle()
        assert metrics.value("attempts_total", backend="p", outcome="cancelled") == 3
        assert metrics.value("attempts_total", backend="p") == 3
        assert metrics.value("requests_total", outcome="client_disconnect") == 3
        assert metrics.value("requests_total") == 3
        assert not f.requests
        assert (await on.hears(stream=stream)).text == text_of("p"), "nobody was blamed"


@moment(27, STREAMED)
async def test_row_27_who_leaves_with_the_whole_answer_did_not_leave_early(
    shared: Sidecar, dialect: str
) -> None:
    """The backend holds its connection open behind the answer; the client hangs up at once."""
    body = json.dumps(chat(dialect, stream=True)).encode()
    head = (
        f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    p = Backend("p", rest=lambda seen: (*tuple(b.well()(seen))[:-1], b.Silence()), dialect=dialect)
    async with stage(shared.playing, p) as on:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", on.sidecar.data_port)
            writer.write(head.encode() + body)
            async with asyncio.timeout(HANG):
                await reader.readuntil(b"\r\n0\r\n\r\n")
            writer.close()
        metrics = await on.sidecar.idle()
        assert metrics.value("requests_total", outcome="ok") == 3
        assert metrics.value("requests_total") == 3
        assert metrics.value("attempts_total", backend="p", outcome="ok") == 3
        assert metrics.value("streams_aborted_total") == 0


@moment(27, STREAMED)
async def test_row_27_the_client_leaves_a_stream_that_it_hears(
    shared: Sidecar, dialect: str
) -> None:
    p = Backend("p", b.cut(b.Silence()), dialect=dialect)
    async with stage(shared.playing, p) as on:
        body, path = chat(dialect, stream=True), PATHS[dialect]
        async with asyncio.timeout(HANG), on.sidecar.opened(body, path=path) as reply:
            assert await reply.content.readany()
        await asyncio.wait_for(p.requests[0].left.wait(), LEAVES)
        metrics = await on.sidecar.idle()
        assert metrics.value("attempts_total", backend="p", outcome="cancelled") == 1


@moment(27, WHOLE)
async def test_row_27_the_client_leaves_while_a_retry_waits(shared: Sidecar, dialect: str) -> None:
    p = Backend("p", b.rate_limited("2"), dialect=dialect)
    async with stage(shared.playing, p) as on:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.ask())
            seen = await p.seen()
            await asyncio.wait_for(seen.answered.wait(), HANG)
            call.cancel()
        await on.sidecar.idle()
        assert len(p.requests) == 1


@moment(28, STREAMED)
async def test_row_28_a_slow_reader_slows_the_backend(tmp_path: Path, dialect: str) -> None:
    # Responses say all of the text again, in events of which none may be larger than 16 MiB
    count = 180 if dialect == RESPONSES else 600
    words = [f"{number:06d} " + "x" * 65536 for number in range(count)]
    p = Backend("p", rest=b.well(words), dialect=dialect)
    async with stage(partial(Sidecar, tmp_path), p) as on:
        before = on.sidecar.rss
        body, path = chat(dialect, stream=True), PATHS[dialect]
        async with on.sidecar.opened(body, path=path) as reply:
            seen = await p.seen()

            async def stands_still() -> bool:
                earlier = seen.sent
                await asyncio.sleep(0.3)
                return 0 < earlier == seen.sent

            await until(stands_still, "the backend is held back")
            assert seen.sent < 30 * MIB, "what the kernel's buffers hold, and little more"
            assert on.sidecar.rss - before < 40 * MIB
            told = bytearray()
            async with asyncio.timeout(HANG):
                async for part in reply.content.iter_any():
                    told += part
        heard = hear(dialect, Got(200, reply.headers, bytes(told), 0.0))
        assert (heard.text, heard.ended) == ("".join(words), True)


@moment(29, STREAMED, WHOLE)
async def test_row_29_all_targets_rest(shared: Sidecar, dialect: str, stream: bool) -> None:
    p = Backend("p", rest=b.rate_limited("60"), dialect=dialect)
    f = Backend("f", rest=b.rate_limited("50"), dialect=dialect)
    async with stage(shared.playing, p, f) as on:
        first = await on.ask(stream=stream)
        assert (first.status, "retry-after" in first.headers) == (429, True)
        second = await on.ask(stream=stream)
        assert second.status in {429, 503}
        assert 1 <= int(second.headers["retry-after"]) <= 60
        told = hear(dialect, second).message
        assert "p" in told
        assert "f" in told
        assert (len(p.requests), len(f.requests)) == (1, 1)


@moment(30, STREAMED, WHOLE)
async def test_row_30_every_target_has_its_own_plain_reason(shared: Sidecar, dialect: str) -> None:
    prefix = voices.VOICES[dialect].prefix
    p, f = Backend("p", dialect=dialect), Backend("f", dialect=dialect)
    with refusing_port() as closed:
        addresses: dict[str, Config] = {
            "p": {"base_url": f"http://nowhere.invalid{prefix}"},
            "f": {"base_url": f"http://127.0.0.1:{closed}{prefix}"},
        }
        async with p, f, shared.playing(chain(p, f, backends=addresses)) as sidecar:
            for stream in (True, False):
                got = await Stage(sidecar, dialect).ask(stream=stream)
                assert got.status in {502, 503}
                told = hear(dialect, got).message
                assert "nowhere.invalid" in told
                assert "refused" in told


@moment(31, STREAMED)
async def test_row_31_a_stream_ends_on_the_configuration_that_it_began_with(
    shared: Sidecar, dialect: str
) -> None:
    go = asyncio.Event()
    old, new = Backend("old", rest=b.gated(go), dialect=dialect), Backend("new", dialect=dialect)
    async with old, new, shared.playing(chain(old)) as sidecar:
        on = Stage(sidecar, dialect)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.hears(stream=True))
            await old.seen()
            await sidecar.reload(chain(new))
            assert (await on.hears()).text == text_of("new")
            go.set()
        assert (call.result().text, call.result().ended) == (text_of("old"), True)


@moment(31, WHOLE)
async def test_row_31_an_answer_comes_from_the_configuration_that_it_was_asked_of(
    shared: Sidecar, dialect: str
) -> None:
    go = asyncio.Event()
    old, new = Backend("old", rest=b.gated(go), dialect=dialect), Backend("new", dialect=dialect)
    async with old, new, shared.playing(chain(old)) as sidecar:
        on = Stage(sidecar, dialect)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.hears())
            await old.seen()
            await sidecar.reload(chain(new))
            go.set()
        assert call.result().text == text_of("old")


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
@moment(32, STREAMED)
async def test_row_32_a_stream_ends_well_within_the_drain(
    tmp_path: Path, dialect: str, mode: str
) -> None:
    go = asyncio.Event()
    p = Backend("p", rest=b.gated(go), dialect=dialect)
    drain: Config = {"drain": {"mode": mode, "settle": "200ms", "limit": "60s"}}
    async with stage(partial(Sidecar, tmp_path), p, top=drain) as on:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.hears(stream=True))
            await p.seen()
            on.sidecar.signal(signal.SIGTERM)
            await on.sidecar.until_metric(lambda now: now.value("draining") == 1, "it drains")
            go.set()
        assert (call.result().text, call.result().ended) == (text_of("p"), True)
        assert await on.sidecar.exit_code() == 0


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
@moment(32, STREAMED)
async def test_row_32_past_the_drain_the_stream_ends_honestly(
    tmp_path: Path, dialect: str, mode: str
) -> None:
    p = Backend("p", rest=b.gated(asyncio.Event()), dialect=dialect)
    drain: Config = {"drain": {"mode": mode, "settle": "100ms", "limit": "1s"}}
    async with stage(partial(Sidecar, tmp_path), p, top=drain) as on:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(on.hears(stream=True))
            await p.seen()
            on.sidecar.signal(signal.SIGTERM)
        heard = call.result()
        assert (heard.text, heard.ended, heard.finish) == (text_of("p", 20), False, None)
        assert heard.error is not None
        await on.sidecar.exit_code()
