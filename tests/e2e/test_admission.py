"""Limits, queues and their fairness, as clients and backends see them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.client import Got, chat
from tests.e2e.crossing import ANTHROPIC, BOTH, DIALECTS, OLLAMA, PATHS, fault
from tests.e2e.crossing import chat as ask_of
from tests.e2e.harness import Config, Metrics, Sidecar, chain
from tests.fakes import answers
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.seen import Seen

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREEDY, MODEST = {"authorization": "Bearer key-greedy"}, {"authorization": "Bearer key-modest"}


def at_p(**bounds: object) -> dict[str, Config]:
    """These bounds for the backend `p`."""
    return {"p": {"in_flight": 1, **bounds}}


def data(sidecar: Sidecar, **bounds: object) -> Config:
    """These bounds for the data listener."""
    return {
        "listeners": {
            "data": {"port": sidecar.data_port, **bounds},
            "admin": {"port": sidecar.admin_port},
            "control": {"socket": str(sidecar.socket)},
        }
    }


class Crowd:
    """Requests on their way, each sent when the one before it is where it belongs."""

    def __init__(self, sidecar: Sidecar, group: asyncio.TaskGroup) -> None:
        self.sidecar, self.group = sidecar, group

    def send(self, who: str = "", headers: Mapping[str, str] | None = None) -> asyncio.Task[Got]:
        return self.group.create_task(self.sidecar.ask(chat(user=who), headers=headers))

    async def queue(
        self, *names: str, headers: Mapping[str, str] | None = None
    ) -> list[asyncio.Task[Got]]:
        """Requests that wait at `p`, in this order."""
        tasks = []
        before = (await self.sidecar.metrics()).value("queued_requests", backend="p")
        for number, name in enumerate(names, 1):
            tasks.append(self.send(name, headers))
            await self.queued(before + number)
        return tasks

    async def queued(self, count: float) -> Metrics:
        return await self.sidecar.until_metric(
            lambda now: now.value("queued_requests", backend="p") == count, f"{count} wait"
        )


def order(fake: Backend) -> list[object]:
    """Who was served, in order."""
    return [seen.json["user"] for seen in fake.requests]


async def test_no_more_reach_a_backend_than_it_may_and_all_are_answered(shared: Sidecar) -> None:
    at_once: list[int] = []
    all_places = asyncio.Event()

    def count(seen: Seen) -> b.Steps:
        """The first ones wait until every place is taken."""
        at_once.append(sum(not one.answered.is_set() for one in p.requests))
        if at_once[-1] == 3:
            all_places.set()
        return (b.Until(all_places), *b.well()(seen))

    async with (
        Backend("p", rest=count) as p,
        shared.playing(chain(p, backends=at_p(in_flight=3))) as sidecar,
    ):
        answers = await asyncio.gather(*(sidecar.ask(chat()) for _ in range(40)))
        assert {got.status for got in answers} == {200}
        assert len(at_once) == 40
        assert max(at_once) == 3
        await sidecar.idle()
        status = (await sidecar.admin("/status")).json
    backend = status["backends"][0]  # type: ignore[index]
    assert (backend["in_flight"], backend["limit"], backend["queued"]) == (0, 3, 0)


async def test_those_who_wait_are_served_in_order(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        shared.playing(chain(p, backends=at_p())) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(sidecar, group)
        first = crowd.send("first")
        await p.seen()
        waiting = await crowd.queue(*"abcd")
        assert len(p.requests) == 1
        gate.set()
        assert [(await task).status for task in [first, *waiting]] == [200] * 5
        assert order(p) == ["first", *"abcd"]


@pytest.mark.parametrize("queue", [{"size": 0}, {"size": 5, "wait": "200ms"}])
async def test_without_a_place_in_time_the_fallback_is_asked(
    shared: Sidecar, queue: Config
) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        Backend("f") as f,
        shared.playing(chain(p, f, backends=at_p(queue=queue))) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        first = Crowd(sidecar, group).send()
        await p.seen()
        got = await sidecar.ask(chat())
        assert (got.status, got.headers["x-sidecar-backend"]) == (200, "f")
        assert got.headers["x-sidecar-attempts"] == "1"
        metrics = await sidecar.metrics()
        assert metrics.value("fallbacks_total", reason="full") == 1
        assert metrics.value("attempts_total", backend="p") == 0, "the first one is under way"
        assert metrics.value("rejected_requests_total") == 0
        assert metrics.value("backend_up", backend="p") == 1
        gate.set()
        assert (await first).headers["x-sidecar-backend"] == "p"
        assert len(p.requests) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_with_nowhere_to_go_the_client_is_told_to_come_back(
    tmp_path: Path, dialect: str
) -> None:
    gate = asyncio.Event()
    config = chain(p := Backend("p", rest=b.gated(gate)), backends=at_p(queue={"size": 0}))
    async with p:
        config["backends"]["p"]["base_url"] = p.base_url  # type: ignore[index]
        async with Sidecar(tmp_path, config) as sidecar, asyncio.TaskGroup() as group:
            first = Crowd(sidecar, group).send()
            await p.seen()
            for stream in BOTH:
                got = await sidecar.ask(ask_of(dialect, stream=stream), PATHS[dialect])
                assert (got.status, got.headers["retry-after"]) == (503, "5")
                assert "x-should-retry" not in got.headers, "it may come back"
                _, words = fault(dialect, got)
                assert "p: takes no more requests at once, and has no queue (1 in flight" in words
                assert "Come back in 5 s" in words
                assert "raise `in_flight`" in words and "add a target" in words
                assert code_of(dialect, got) == "overloaded"
                line = await sidecar.request_line(got.headers["x-request-id"])
                assert (line["result"], line["attempts"]) == ("overloaded", [])
            metrics = await sidecar.metrics()
            assert metrics.value("rejected_requests_total", reason="overload") == 2
            assert metrics.value("requests_total", route="chat", outcome="overloaded") == 2
            assert metrics.value("backend_availability", backend="p", state="full") == 1
            assert metrics.value("fallbacks_total") == 0
            gate.set()
            assert (await first).status == 200
            assert len(p.requests) == 1


def code_of(dialect: str, got: Got) -> object:
    told = json.loads(got.raw)
    return told["code"] if dialect == OLLAMA else told["error"]["code"]


async def test_one_greedy_client_does_not_starve_another(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        shared.playing(chain(p, backends=at_p())) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(sidecar, group)
        greedy = [crowd.send("greedy", GREEDY) for _ in range(101)]
        full = await crowd.queued(100)
        assert full.value("backend_availability", backend="p", state="full") == 1
        modest = crowd.send("modest", MODEST)  # in the place of one of the greedy ones
        async with asyncio.timeout(20):
            shed, _ = await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().status for task in shed] == [503]
        gate.set()
        assert (await modest).status == 200
        answers = [await task for task in greedy]
        assert sorted(got.status for got in answers) == [200] * 100 + [503]
        assert order(p).index("modest") <= 2, "before the backlog"
        assert "key-greedy" not in sidecar.output


async def test_a_client_that_leaves_the_queue_frees_its_place(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        shared.playing(chain(p, backends=at_p(queue={"size": 1}))) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(sidecar, group)
        first = crowd.send("first")
        await p.seen()
        (leaving,) = await crowd.queue("leaving")
        assert (await sidecar.ask(chat())).status == 503
        leaving.cancel()
        await crowd.queued(0)
        (second,) = await crowd.queue("second")
        gate.set()
        assert [(await first).status, (await second).status] == [200, 200]
        assert order(p) == ["first", "second"]
        metrics = await sidecar.idle()
        assert metrics.value("requests_total", outcome="client_disconnect") == 1


async def test_a_client_that_leaves_in_mid_answer_frees_its_place(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", b.gated(gate)) as p,
        shared.playing(chain(p, backends=at_p())) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        async with sidecar.opened(chat(stream=True)) as reply:
            await reply.content.readany()
            (waiting,) = await Crowd(sidecar, group).queue("next")
        assert (await waiting).status == 200


async def test_the_clients_own_patience_ends_the_wait(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        Backend("f") as f,
        shared.playing(chain(p, f, backends=at_p())) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        first = Crowd(sidecar, group).send()
        await p.seen()
        got = await sidecar.ask(chat(), headers={"x-stainless-read-timeout": "0.3"})
        assert (got.status, got.code) == (503, "overloaded")
        assert got.seconds < 5
        assert not f.requests, "nothing is begun that nobody waits for"
        gate.set()
        assert (await first).status == 200


async def test_a_reload_that_raises_the_limit_lets_waiters_in(shared: Sidecar) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        shared.playing(chain(p, backends=at_p())) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(sidecar, group)
        first = crowd.send("first")
        await p.seen()
        waiting = await crowd.queue(*"abc")
        await sidecar.reload(chain(p, backends=at_p(in_flight=3)))
        await p.seen(3)
        await crowd.queued(1)
        gate.set()
        assert {(await task).status for task in [first, *waiting]} == {200}
        assert len(p.requests) == 4


async def test_who_still_waits_at_the_end_of_the_drain_is_told(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with (
        Backend("p", rest=b.gated(gate)) as p,
        Sidecar(tmp_path, {**chain(p, backends=at_p()), "drain": {"limit": "300ms"}}) as sidecar,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(sidecar, group)
        first = crowd.send("first")
        await p.seen()
        waiting = await crowd.queue("a", "b")
        sidecar.signal(signal.SIGTERM)
        told = [await task for task in [first, *waiting]]
        assert [(got.status, got.code) for got in told] == [(503, "shutdown")] * 3
        assert all("x-should-retry" not in got.headers for got in told), "they may come back"
        assert order(p) == ["first"]
        assert await sidecar.exit_code() == 0


@pytest.mark.parametrize("size", [0, 1])
async def test_a_broken_stream_goes_on_only_where_there_is_room(shared: Sidecar, size: int) -> None:
    """What takes up a stream is a request like any other to the backend that gets it."""
    gate, words = asyncio.Event(), answers.words("p")

    def rest(seen: Seen) -> b.Steps:
        held = (b.Until(gate),) if seen.json["model"] == "busy" else ()
        return (*held, *b.well(words)(seen))

    cut = b.cut(b.Close(), after=20)
    async with Backend("p", rest=cut) as p, Backend("f", rest=rest) as f:
        bounds: dict[str, Config] = {"f": {"in_flight": 1, "queue": {"size": size}}}
        config = chain(p, f, backends=bounds, retry={"attempts": 0})
        routes = config["routes"]
        assert isinstance(routes, dict)
        routes["busy"] = {"targets": [{"backend": "f", "model": "busy"}]}
        async with shared.playing(config) as sidecar, asyncio.TaskGroup() as group:
            busy = group.create_task(sidecar.ask(chat("busy")))
            await f.seen()
            task = group.create_task(sidecar.ask(chat(stream=True)))
            if size:
                await sidecar.until_metric(
                    lambda now: now.value("queued_requests", backend="f") == 1, "it waits"
                )
                assert len(f.requests) == 1
                gate.set()
                got = await task
                assert (got.text, got.done) == ("".join(words), True)
            else:
                got = await task
                assert (got.text, got.code, got.done) == ("".join(words[:20]), "truncated", False)
                assert len(f.requests) == 1
                gate.set()
            assert (await busy).status == 200


# --- the listener -----------------------------------------------------------------------------


@pytest.mark.parametrize("client", DIALECTS)
async def test_who_waits_for_the_listener_hears_signs_of_life(tmp_path: Path, client: str) -> None:
    gate = asyncio.Event()
    async with Backend("p", rest=b.gated(gate)) as p:
        sidecar = Sidecar(tmp_path, None)
        bounds = data(sidecar, in_flight=1, keepalive="50ms", commit_after="50ms")
        sidecar.config = {**chain(p), **bounds}
        async with sidecar, asyncio.TaskGroup() as group:
            busy = group.create_task(sidecar.ask(chat()))
            await p.seen()
            body = json.dumps(ask_of(client, stream=True)).encode()
            reply = await sidecar.http.post(
                sidecar.base_url + PATHS[client],
                data=body,
                headers={"content-type": "application/json"},
            )
            assert reply.status == 200
            assert await reply.content.readany(), "a sign of life, while it waits"
            assert len(p.requests) == 1
            gate.set()
            raw = await reply.read()
            assert b"p-00 " in raw
            assert b"p-59 " in raw
            assert (await busy).status == 200


async def test_the_listener_takes_no_more_than_it_may_and_the_probes_answer_all_the_same(
    tmp_path: Path,
) -> None:
    gate = asyncio.Event()
    async with Backend("p", rest=b.gated(gate)) as p:
        sidecar = Sidecar(tmp_path, None)
        bounds = data(sidecar, in_flight=2, queue={"size": 1, "wait": "20s"})
        sidecar.config = {**chain(p), **bounds}
        async with sidecar, asyncio.TaskGroup() as group:
            crowd = Crowd(sidecar, group)
            busy = [crowd.send() for _ in range(3)]
            await p.seen(2)
            await sidecar.until_metric(lambda now: now.value("inflight_requests") == 3, "3 are in")
            for dialect in DIALECTS:
                got = await sidecar.ask(ask_of(dialect), PATHS[dialect])
                assert (got.status, got.headers["retry-after"]) == (503, "5")
                assert code_of(dialect, got) == "overloaded"
                assert "2 in flight, 1 waiting" in fault(dialect, got)[1]
                assert "`listeners.data`" in fault(dialect, got)[1]
            assert (await sidecar.get("/health")).status == 200
            assert (await sidecar.get("/v1/models")).status == 200
            for path in ("/livez", "/readyz", "/startupz"):
                assert (await sidecar.admin(path)).status == 200
            metrics = await sidecar.metrics()
            assert metrics.value("inflight_requests_limit") == 2
            assert metrics.value("rejected_requests_total", reason="overload") == 4
            status = (await sidecar.admin("/status")).json
            assert status["listener"] == {"in_flight": 2, "limit": 2, "queued": 1}
            gate.set()
            assert [(await task).status for task in busy] == [200] * 3
            assert len(p.requests) == 3


async def test_livez_answers_whatever_the_load(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with Backend("p", rest=b.gated(gate)) as p:
        sidecar = Sidecar(tmp_path, None)
        sidecar.config = {**chain(p), **data(sidecar, in_flight=1, queue={"size": 20})}
        async with sidecar, asyncio.TaskGroup() as group:
            crowd = Crowd(sidecar, group)
            load = [crowd.send() for _ in range(200)]
            await p.seen()
            alive = [await sidecar.admin("/livez") for _ in range(20)]
            assert {got.status for got in alive} == {200}
            assert max(got.seconds for got in alive) < 5
            await sidecar.until_metric(
                lambda now: now.value("rejected_requests_total", reason="overload") == 179,
                "who has no room is turned away",
            )
            gate.set()
            answers = [await task for task in load]
            assert sorted(got.status for got in answers) == [200] * 21 + [503] * 179
            assert len(p.requests) == 21


async def test_the_listener_is_fair_between_keys_of_any_dialect(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with Backend("p", rest=b.gated(gate)) as p:
        sidecar = Sidecar(tmp_path, None)
        sidecar.config = {**chain(p), **data(sidecar, in_flight=1)}
        async with sidecar, asyncio.TaskGroup() as group:
            crowd = Crowd(sidecar, group)
            greedy = [crowd.send("greedy", GREEDY) for _ in range(30)]
            await sidecar.until_metric(
                lambda now: now.value("inflight_requests") == 30, "30 are in"
            )
            body = ask_of(ANTHROPIC, metadata={"user_id": "modest"})
            headers = {"x-api-key": "key-modest"}
            modest = group.create_task(sidecar.ask(body, PATHS[ANTHROPIC], headers=headers))
            await sidecar.until_metric(
                lambda now: now.value("inflight_requests") == 31, "31 are in"
            )
            gate.set()
            assert (await modest).status == 200
            assert {(await task).status for task in greedy} == {200}
            places = [seen.json.get("user") != "greedy" for seen in p.requests]
            assert places.index(True) <= 2, "before the backlog"
