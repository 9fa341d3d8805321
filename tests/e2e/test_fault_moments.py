"""The rows of docs/faults.md that take more than one request, or a moment in the middle of one."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import HANG, Got, chat
from tests.e2e.harness import NEVER_EJECTED, Config, Sidecar, chain, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend, closed_port

LEAVES = 5.0  # seconds; the promise is one, a test allows five times as much
MIB = 1024 * 1024


@asynccontextmanager
async def stage(
    folder: Path,
    primary: Backend,
    fallback: Backend | None = None,
    *,
    top: Config | None = None,
    **route: Any,
) -> AsyncIterator[Sidecar]:
    """A primary, perhaps a fallback, and a sidecar before them."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(primary)]
        if fallback is not None:
            fakes.append(await stack.enter_async_context(fallback))
        config = {**chain(*fakes, **route), **(top or {})}
        yield await stack.enter_async_context(Sidecar(folder, config))


async def test_row_1_the_primary_rests_until_it_said(tmp_path: Path) -> None:
    p, f = Backend("p", rest=b.rate_limited("60")), Backend("f")
    async with stage(tmp_path, p, f) as sidecar:
        for _ in range(3):
            assert (await sidecar.ask(chat())).text == text_of("f")
        assert (len(p.requests), len(f.requests)) == (1, 3)
        metrics = await sidecar.metrics()
        assert metrics.value("fallbacks_total", reason="rate_limited") >= 1
        assert metrics.value("backend_availability", backend="p", state="resting") == 1


async def test_row_2_a_crowd_does_not_storm_the_primary(tmp_path: Path) -> None:
    p, f = Backend("p", rest=b.rate_limited()), Backend("f")
    async with stage(tmp_path, p, f) as sidecar:

        async def ask_five_times() -> None:
            for _ in range(5):
                assert (await sidecar.ask(chat())).text == text_of("f")

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_five_times())
        start = p.requests[0].at
        assert sum(seen.at - start < 3.0 for seen in p.requests) <= 4


async def test_row_3_without_budget_the_fallback_is_asked_at_once(tmp_path: Path) -> None:
    p, f = Backend("p", rest=b.status(500)), Backend("f")
    budget: Config = {"retry_budget": {"share": 0, "floor": "0/s"}}
    async with stage(tmp_path, p, f, top=budget) as sidecar:
        assert (await sidecar.ask(chat())).text == text_of("f")
        assert (len(p.requests), len(f.requests)) == (1, 1)
        assert (await sidecar.metrics()).value("retry_budget_exhausted_total") >= 1


async def test_row_4_retries_add_about_a_fifth(tmp_path: Path) -> None:
    p, f = Backend("p", rest=b.status(503)), Backend("f")
    budget: Config = {"retry_budget": {"share": 0.2, "floor": "1/s"}}
    never = {"p": NEVER_EJECTED}
    async with stage(tmp_path, p, f, top=budget, backends=never) as sidecar:
        start = time.monotonic()
        for _ in range(60):
            assert (await sidecar.ask(chat())).text == text_of("f")
        seconds = time.monotonic() - start
        assert len(p.requests) - 60 <= 0.2 * 60 + seconds + 15, "retries stay within the budget"


async def test_row_5_a_pooled_connection_that_was_dead_is_nobodys_fault(tmp_path: Path) -> None:
    p, f = Backend("p", rest=b.dead_when_reused), Backend("f")
    async with stage(tmp_path, p, f, retry={"attempts": 0}) as sidecar:
        for _ in range(4):
            assert (await sidecar.ask(chat())).text == text_of("p")
        metrics = await sidecar.metrics()
        assert metrics.value("attempts_total", backend="p", outcome="connect") == 0
        assert not f.requests


async def test_a_sidecar_that_gave_up_tells_the_client_not_to_try_again(tmp_path: Path) -> None:
    async with stage(tmp_path, Backend("p", rest=b.status(503))) as sidecar:
        got = await sidecar.ask(chat())
        assert (got.status, got.headers.get("x-should-retry")) == (503, "false")
        assert got.headers["x-sidecar-attempts"] == "3"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_deadline_ends_every_wait(tmp_path: Path, stream: bool) -> None:
    p = Backend("p", rest=b.silent)
    async with stage(tmp_path, p, deadline="500ms") as sidecar:
        got = await sidecar.ask(chat(stream=stream))
        assert (got.status, got.code) == (504, "deadline_exceeded")
        assert got.seconds < 5
        await asyncio.wait_for(p.requests[0].left.wait(), LEAVES)


async def test_the_deadline_of_the_clients_sdk_travels(tmp_path: Path) -> None:
    async with stage(tmp_path, Backend("p", rest=b.silent)) as sidecar:
        got = await sidecar.ask(chat(), headers={"x-stainless-read-timeout": "1"})
        assert got.status == 504
        assert got.seconds < 10


@pytest.mark.parametrize("behaviour", [b.endless_header, b.endless_headers, b.endless_body])
@pytest.mark.parametrize("stream", [True, False])
async def test_row_24_memory_stays_bounded(
    tmp_path: Path, behaviour: b.Behaviour, stream: bool
) -> None:
    p, f = Backend("p", rest=behaviour), Backend("f")
    async with stage(tmp_path, p, f) as sidecar:
        before = sidecar.rss
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(sidecar.ask(chat(stream=stream))) for _ in range(3)]
        assert {each.result().text for each in asked} == {text_of("f")}
        # three answers at a time, each allowed as much as the largest right answer may be
        assert sidecar.rss - before < 400 * MIB


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(b.silent, id="before-the-head"),
        pytest.param(b.opened(b.Silence(), greet=True), id="before-the-first-token"),
        pytest.param(b.cut(b.Silence()), id="in-mid-answer"),
    ],
)
async def test_row_27_the_client_leaves(
    tmp_path: Path, behaviour: b.Behaviour, stream: bool
) -> None:
    p, f = Backend("p", behaviour), Backend("f")
    async with stage(tmp_path, p, f) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=stream)))
            seen = await p.seen()
            call.cancel()
        await asyncio.wait_for(seen.left.wait(), LEAVES)
        metrics = await sidecar.idle()
        assert metrics.value("attempts_total", backend="p", outcome="cancelled") == 1
        assert metrics.value("attempts_total", backend="p") == 1
        assert metrics.value("requests_total", outcome="client_disconnect") == 1
        assert metrics.value("requests_total") == 1
        assert not f.requests
        assert (await sidecar.ask(chat())).text == text_of("p"), "nobody was blamed"


async def test_row_27_who_leaves_with_the_whole_answer_did_not_leave_early(tmp_path: Path) -> None:
    """The backend holds its connection open behind the answer; the client hangs up at once."""
    body = json.dumps(chat(stream=True)).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    p = Backend("p", rest=lambda seen: (*tuple(b.well()(seen))[:-1], b.Silence()))
    async with stage(tmp_path, p) as sidecar:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
            writer.write(head.encode() + body)
            async with asyncio.timeout(HANG):
                assert b"[DONE]" in await reader.readuntil(b"\r\n0\r\n\r\n")
            writer.close()
        metrics = await sidecar.idle()
        assert metrics.value("requests_total", outcome="ok") == 3
        assert metrics.value("requests_total") == 3
        assert metrics.value("attempts_total", backend="p", outcome="ok") == 3
        assert metrics.value("streams_aborted_total") == 0


async def test_row_27_the_client_leaves_while_a_retry_waits(tmp_path: Path) -> None:
    p = Backend("p", b.rate_limited("2"))
    async with stage(tmp_path, p) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat()))
            seen = await p.seen()
            await asyncio.wait_for(seen.answered.wait(), HANG)
            call.cancel()
        await sidecar.idle()
        assert len(p.requests) == 1


async def test_row_28_a_slow_reader_slows_the_backend(tmp_path: Path) -> None:
    words = [f"{number:06d} " + "x" * 65536 for number in range(1000)]
    p = Backend("p", rest=b.well(words))
    async with stage(tmp_path, p) as sidecar:
        before = sidecar.rss
        async with sidecar.opened(chat(stream=True)) as reply:
            seen = await p.seen()

            async def stands_still() -> bool:
                earlier = seen.sent
                await asyncio.sleep(0.3)
                return 0 < earlier == seen.sent

            await until(stands_still, "the backend is held back")
            assert seen.sent < 40 * MIB, "what the kernel's buffers hold, and little more"
            assert sidecar.rss - before < 40 * MIB
            raw = bytearray()
            async with asyncio.timeout(HANG):
                async for part in reply.content.iter_any():
                    raw += part
        assert Got(200, reply.headers, bytes(raw), 0.0).text == "".join(words)


@pytest.mark.parametrize("stream", [True, False])
async def test_row_29_all_targets_rest(tmp_path: Path, stream: bool) -> None:
    p, f = Backend("p", rest=b.rate_limited("60")), Backend("f", rest=b.rate_limited("50"))
    async with stage(tmp_path, p, f) as sidecar:
        first = await sidecar.ask(chat(stream=stream))
        assert (first.status, "retry-after" in first.headers) == (429, True)
        second = await sidecar.ask(chat(stream=stream))
        assert second.status in {429, 503}
        assert 1 <= int(second.headers["retry-after"]) <= 60
        assert "p" in second.message
        assert "f" in second.message
        assert (len(p.requests), len(f.requests)) == (1, 1)


async def test_row_30_every_target_has_its_own_plain_reason(tmp_path: Path) -> None:
    p, f = Backend("p"), Backend("f")
    addresses: dict[str, Config] = {
        "p": {"base_url": "http://nowhere.invalid/v1"},
        "f": {"base_url": f"http://127.0.0.1:{closed_port()}/v1"},
    }
    async with p, f, Sidecar(tmp_path, chain(p, f, backends=addresses)) as sidecar:
        got = await sidecar.ask(chat())
        assert got.status == 503
        assert "nowhere.invalid" in got.message
        assert "refused" in got.message


async def test_row_31_a_stream_ends_on_the_configuration_that_it_began_with(
    tmp_path: Path,
) -> None:
    go = asyncio.Event()
    old, new = Backend("old", rest=b.gated(go)), Backend("new")
    async with old, new, Sidecar(tmp_path, chain(old)) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await old.seen()
            await sidecar.reload(chain(new))
            assert (await sidecar.ask(chat())).text == text_of("new")
            go.set()
        assert call.result().text == text_of("old")
        assert call.result().done


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
async def test_row_32_a_stream_ends_well_within_the_drain(tmp_path: Path, mode: str) -> None:
    go = asyncio.Event()
    p = Backend("p", rest=b.gated(go))
    drain: Config = {"drain": {"mode": mode, "settle": "200ms", "limit": "60s"}}
    async with stage(tmp_path, p, top=drain) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await p.seen()
            sidecar.signal(signal.SIGTERM)
            await sidecar.until_metric(lambda now: now.value("draining") == 1, "it drains")
            go.set()
        assert (call.result().text, call.result().done) == (text_of("p"), True)
        assert await sidecar.exit_code() == 0


@pytest.mark.parametrize("mode", ["sidecar", "gateway"])
async def test_row_32_past_the_drain_the_stream_ends_honestly(tmp_path: Path, mode: str) -> None:
    p = Backend("p", rest=b.gated(asyncio.Event()))
    drain: Config = {"drain": {"mode": mode, "settle": "100ms", "limit": "1s"}}
    async with stage(tmp_path, p, top=drain) as sidecar:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True)))
            await p.seen()
            sidecar.signal(signal.SIGTERM)
        got = call.result()
        assert (got.text, got.done, got.finish) == (text_of("p", 20), False, None)
        assert got.error is not None
        await sidecar.exit_code()
