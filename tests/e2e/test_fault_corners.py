"""Corners of the fault table that a careless sidecar gets wrong: each was wrong here once."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.client import chat, rude, status_of
from tests.e2e.harness import Sidecar, chain, with_relay
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRAY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_row_5_what_nobody_asked_for_is_never_an_answer(shared: Sidecar) -> None:
    """Bytes that come on an idle connection would look like the answer to the next request."""

    def then_more(seen: Seen) -> b.Steps:
        return (*b.well()(seen), b.Send(STRAY))

    async with Backend("p", rest=then_more) as p, shared.playing(chain(p)) as sidecar:
        for _ in range(4):
            got = await sidecar.ask(chat())
            assert (got.status, got.text) == (200, text_of("p"))


async def test_row_5_a_crash_on_a_pooled_connection_is_tried_once_more_and_then_counted(
    shared: Sidecar,
) -> None:
    held = asyncio.Event()

    def wait_then_answer(seen: Seen) -> b.Steps:
        return (b.Until(held), *b.well()(seen))

    p, f = Backend("p", rest=wait_then_answer), Backend("f")
    async with p, f, shared.playing(chain(p, f, retry={"attempts": 0})) as sidecar:
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(sidecar.ask(chat()))
            await p.seen(5)
            held.set()
        p.rest = b.reset
        assert (await sidecar.ask(chat())).text == text_of("f")
        assert len(p.requests) == 5 + 2, "one resend on a fresh connection, no more"


async def test_row_8_a_choice_that_never_began_is_missed(shared: Sidecar) -> None:
    p = Backend("p", rest=b.no_done(b.Reset()))  # one choice, whole, and then a break
    async with p, shared.playing(chain(p)) as sidecar:
        got = await sidecar.ask({**chat(stream=True), "n": 2})
        assert got.error is not None
        assert not got.done


async def test_row_11_complete_in_one_piece_without_done_ends_at_once(shared: Sidecar) -> None:
    def in_one_piece(seen: Seen) -> b.Steps:
        sent = [step.data for step in b.no_done()(seen) if isinstance(step, b.Send)]
        return (b.Send(b"".join(sent)), b.Silence())

    async with (
        Backend("p", rest=in_one_piece) as p,
        shared.playing(chain(p, backends={"p": {"timeouts": {"idle": "60s"}}})) as sidecar,
    ):
        got = await sidecar.ask(chat(stream=True))
        assert (got.text, got.error) == (text_of("p"), None)
        assert got.seconds < 10


async def test_row_20_an_event_named_error_is_one(shared: Sidecar) -> None:
    named = b'event: error\ndata: {"message": "the engine died"}\n\n'
    async with (
        Backend("p", rest=b.with_frame(named)) as p,
        shared.playing(chain(p)) as sidecar,
    ):
        got = await sidecar.ask(chat(stream=True))
        assert got.error is not None
        assert "the engine died" in got.message
        assert not got.done


async def test_after_a_rest_one_trial_goes_before_the_crowd(shared: Sidecar) -> None:
    p, f = Backend("p", b.rate_limited("1")), Backend("f")
    async with p, f, shared.playing(chain(p, f, retry={"max_wait": "0s"})) as sidecar:
        assert (await sidecar.ask(chat())).text == text_of("f"), "it rests for a second"
        p.rest = b.rate_limited()
        metrics = await sidecar.until_metric(
            lambda now: now.value("backend_availability", backend="p", state="ready") == 1,
            "the rest is over",
        )
        assert metrics.value("attempts_total", backend="p") == 1
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(sidecar.ask(chat())) for _ in range(20)]
        assert {task.result().text for task in asked} == {text_of("f")}
        assert len(p.requests) == 2, "only one of twenty tried it"


async def test_a_relayed_error_counts_as_one_and_falls_over(shared: Sidecar) -> None:
    p, f = Backend("p", rest=b.status(500)), Backend("f")
    p.models = ()
    async with p, f, shared.playing(with_relay(p, f)) as sidecar:
        body = b'{"x": 1}'
        got = await sidecar.ask(path="/v1/other", data=body, headers={"content-type": "text/x"})
        assert got.status == 500, "its body has flowed and cannot be sent again"
        metrics = await sidecar.metrics()
        assert metrics.value("attempts_total", backend="p", outcome="server_error") == 1
        assert metrics.value("attempts_total", backend="p", outcome="ok") == 0


@pytest.mark.parametrize("told", [True, False])
async def test_an_upload_past_the_limit_is_the_clients_413(shared: Sidecar, told: bool) -> None:
    async with Backend("p") as p:
        config = {**with_relay(p), "limits": {"body": "1KB"}}
        async with shared.playing(config) as sidecar:
            length = b"content-length: 2000" if told else b"transfer-encoding: chunked"
            body = b"x" * 2000 if told else b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n"
            head = b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\n" + length + b"\r\n\r\n"
            answer = await rude(sidecar.data_port, head + body)
            assert status_of(answer) == 413
            assert b"request_too_large" in answer
            metrics = await sidecar.metrics()
            assert metrics.value("attempts_total", backend="p", outcome="connect") == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
async def test_a_client_that_waits_for_a_continue_gets_it(shared: Sidecar, path: str) -> None:
    async with Backend("p") as p, shared.playing(with_relay(p)) as sidecar:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.data_port)
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            "content-length: 10\r\nexpect: 100-continue\r\n\r\n".encode()
        )
        async with asyncio.timeout(10):
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        writer.close()


async def test_a_model_that_is_a_novel_is_refused(shared: Sidecar) -> None:
    async with Backend("p") as p, shared.playing(chain(p)) as sidecar:
        got = await sidecar.ask(chat("x" * 1000))
        assert (got.status, got.code) == (400, "invalid_model")
        assert not p.requests
