"""The stand-in and its edge together: what they carry, how they part, how they come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.fakes import behaviours as b
from tests.fakes.backend import Backend
from tests.fakes.cloudflared.edge import Edge
from tests.fakes.cloudflared.launch import Standin
from tests.fakes.cloudflared.links import UNAUTHORIZED, Door, Refuse
from tests.fakes.cloudflared.public import NAME, Instead, Public
from tests.fakes.cloudflared.quick_service import Mood, QuickService
from tests.fakes.cloudflared.running import Running

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
WHOLE = {**CHAT, "stream": False}
PATH = "/v1/chat/completions"
HOST = {"host": NAME}


@dataclass
class Scene:
    """An edge with its entry in plain HTTP, an executable, and an origin."""

    edge: Edge
    public: Public
    standin: Standin
    origin: Backend
    http: aiohttp.ClientSession

    def child(
        self,
        *tunnel: str,
        run: Sequence[str] | None = (),
        env: dict[str, str] | None = None,
        reads: bool = True,
    ) -> Running:
        where = {"TUNNEL_EDGE": self.edge.addresses, "HOME": str(self.standin.folder)}
        address = f"http://127.0.0.1:{self.origin.port}"
        quick = ("--url", address) if run is None else ()
        child = Running(
            self.standin.path,
            tunnel=("--grace-period", "5s", "--retries", "1", *tunnel, *quick),
            run=None if run is None else ["--url", address, *run],
            token=None if run is None else self.edge.tunnel.token,
            env={**where, **(env or {})},
        )
        child.reads = reads
        return child

    async def ask(self, body: object = WHOLE, **headers: str) -> tuple[int, str]:
        async with self.http.post(PATH, json=body, headers={**HOST, **headers}) as answer:
            return answer.status, await answer.text()

    async def get(self, host: str = NAME) -> int:
        async with self.http.get("/v1/models", headers={"host": host}) as answer:
            return answer.status


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    standin = Standin(tmp_path / "bin", scale=0.01)
    async with Backend() as origin, Edge() as edge, Public(edge) as public:
        address = f"http://127.0.0.1:{public.port}"
        async with aiohttp.ClientSession(address, timeout=aiohttp.ClientTimeout(20)) as http:
            yield Scene(edge, public, standin, origin, http)
    assert standin.alive() == []


# --- it carries -----------------------------------------------------------------------------------


async def test_four_connections_share_the_requests(scene: Scene) -> None:
    assert await scene.get() == 530
    async with scene.child() as child:
        await child.up(4)
        assert await child.ready() == (200, 4)
        assert [await scene.get() for _ in range(4)] == [200] * 4
        assert {each.index for each in scene.edge.carried} == {0, 1, 2, 3}
        assert {each.connector for each in scene.edge.carried} == {await child.connector()}


async def test_what_the_origin_is_told(scene: Scene) -> None:
    async with scene.child(run=["--http-host-header", "localhost:11434"]) as child:
        await child.up()
        assert (await scene.ask(**{"cf-connecting-ip": "9.9.9.9", "x-made-up": "1"}))[0] == 200
        seen = scene.origin.requests[0]
        assert seen.header("host") == "localhost:11434"
        assert seen.header("x-forwarded-host") == NAME
        assert seen.header("cf-warp-tag-id") == await child.connector()
        assert seen.header("cf-connecting-ip") == "203.0.113.7"
        assert seen.header("x-made-up") == "1"
        assert seen.json == WHOLE


async def test_it_asks_for_gzip_where_nobody_did_and_unpacks_it(scene: Scene) -> None:
    scene.origin.rest = b.zipped
    url = f"http://127.0.0.1:{scene.public.port}{PATH}"
    async with (
        scene.child(),
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["accept-encoding"]) as http,
    ):
        await scene.edge.until_registered()
        async with http.post(url, json=WHOLE, headers=HOST) as answer:
            assert "content-encoding" not in answer.headers
            assert json.loads(await answer.read())["object"] == "chat.completion"
    assert scene.origin.requests[0].header("accept-encoding") == "gzip"


async def test_a_stream_comes_piece_by_piece(scene: Scene) -> None:
    go = asyncio.Event()
    scene.origin.rest = b.gated(go, after=5)
    async with scene.child():
        await scene.edge.until_registered()
        async with scene.http.post(PATH, json=CHAT, headers=HOST) as answer:
            first = await answer.content.readany()
            assert first.startswith(b"data: ")
            assert not go.is_set()
            go.set()
            assert (first + await answer.content.read()).endswith(b"data: [DONE]\n\n")
    assert scene.edge.carried[0].whole


async def test_a_body_of_a_megabyte_goes_up_and_down(scene: Scene) -> None:
    async with scene.child():
        await scene.edge.until_registered()
        body = {**WHOLE, "more": "x" * 1_000_000}
        assert (await scene.ask(body))[0] == 200
        assert scene.origin.requests[0].json == body


async def test_a_visitor_who_leaves_cancels_the_request(scene: Scene) -> None:
    scene.origin.rest = b.opened(b.Silence(), greet=True)
    async with scene.child() as child:
        await child.up()
        async with scene.http.post(PATH, json=CHAT, headers=HOST) as answer:
            await answer.content.readany()
            answer.close()
        await asyncio.wait_for((await scene.origin.seen()).left.wait(), 10)
        await child.says("Incoming request ended abruptly: context canceled", 2)


async def test_an_origin_that_is_down_is_502_with_two_lines(scene: Scene) -> None:
    async with scene.child(run=["--url", "http://127.0.0.1:9"]) as child:
        await child.up()
        assert await scene.ask() == (502, "error code: 502")
        await child.says("Unable to reach the origin service", 2)
        assert (await child.ready())[0] == 200


async def test_an_answer_that_breaks_off_is_cut_for_the_visitor(scene: Scene) -> None:
    scene.origin.rest = b.cut(b.Reset(), after=5)
    async with scene.child():
        await scene.edge.until_registered()
        with pytest.raises(aiohttp.ClientError):
            await scene.ask(CHAT)
        scene.origin.rest = b.well()
        assert (await scene.ask())[0] == 200


async def test_a_default_configuration_file_takes_the_tunnel_over(scene: Scene) -> None:
    folder = scene.standin.folder / ".cloudflared"
    folder.mkdir()
    (folder / "config.yml").write_text("ingress:\n  - service: http_status:404\n", encoding="ascii")
    # with a --config of its own it does not look for one
    async with scene.child():
        await scene.edge.until_registered()
        assert await scene.get() == 200
    async with scene.child("--config", str(folder / "config.yml"), "--metrics", "127.0.0.1:0"):
        await scene.edge.until_registered()
        assert await scene.get() == 404
    found = Running(
        scene.standin.path,
        tunnel=["--metrics", "127.0.0.1:0"],
        run=["--url", f"http://127.0.0.1:{scene.origin.port}"],
        token=scene.edge.tunnel.token,
        env={"TUNNEL_EDGE": scene.edge.addresses, "HOME": str(scene.standin.folder)},
    )
    found.isolated = False
    async with found as child:
        await scene.edge.until_registered()
        assert await scene.get() == 404
        assert (await child.ready())[0] == 200


async def test_a_pushed_configuration_replaces_the_ingress(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up()
        _, page = await child.page("/config")
        assert json.loads(page)["version"] == -1
        await scene.edge.push("no JSON")
        await child.says("Failed to deserialize new configuration")
        assert await scene.get() == 200
        version = await scene.edge.push({"ingress": [{"service": "http_status:418"}]})
        await child.says("Updated to new configuration")
        assert await scene.get() == 418
        told = json.loads((await child.page("/config"))[1])
        assert told["version"] == version
        assert [each["service"] for each in told["config"]["ingress"]] == ["http_status:418"]


# --- it ends --------------------------------------------------------------------------------------


async def test_a_drain_lets_a_stream_end(scene: Scene) -> None:
    go = asyncio.Event()
    scene.origin.rest = b.gated(go, after=5)
    async with scene.child() as child:
        await child.up(4)
        async with scene.http.post(PATH, json=CHAT, headers=HOST) as answer:
            first = await answer.content.readany()
            child.signal(signal.SIGTERM)
            await child.says("Unregistered tunnel connection", 4)
            assert await child.ready() == (503, 0)
            assert await scene.get() == 530
            go.set()
            assert (first + await answer.content.read()).endswith(b"data: [DONE]\n\n")
        assert await child.end() == 0
        assert "Initiating graceful shutdown due to signal terminated" in child.log
        assert child.log.rstrip().endswith("Metrics server stopped")


async def test_the_grace_cuts_what_lasts_longer(scene: Scene) -> None:
    scene.origin.rest = b.opened(b.Silence(), greet=True)
    async with scene.child("--grace-period", "200ms") as child:
        await child.up(4)
        async with scene.http.post(PATH, json=CHAT, headers=HOST) as answer:
            await answer.content.readany()
            child.signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
        assert await child.end() == 0


async def test_an_edge_that_never_answers_costs_the_whole_grace(scene: Scene) -> None:
    scene.edge.answers_unregister = False
    async with scene.child("--grace-period", "300ms") as child:
        await child.up()
        started = asyncio.get_running_loop().time()
        child.signal(signal.SIGTERM)
        assert await child.end() == 0
        assert asyncio.get_running_loop().time() - started >= 0.3


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 0),
        (signal.SIGINT, 0),
        (signal.SIGHUP, -1),
        (signal.SIGQUIT, 2),
        (signal.SIGKILL, -9),
    ],
)
async def test_signals(scene: Scene, number: signal.Signals, code: int) -> None:
    async with scene.child() as child:
        await child.up()
        for harmless in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            child.signal(harmless)
        assert await scene.get() == 200
        child.signal(number)
        assert await child.end() == code


async def test_a_second_sigterm_kills(scene: Scene) -> None:
    scene.origin.rest = b.opened(b.Silence(), greet=True)
    async with scene.child() as child:
        await child.up()
        async with scene.http.post(PATH, json=CHAT, headers=HOST) as answer:
            await answer.content.readany()
            child.signal(signal.SIGTERM)
            await child.says("Unregistered tunnel connection")
            child.signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await answer.content.read()
        assert await child.end() == -15


async def test_a_log_that_nobody_reads_stops_it(scene: Scene) -> None:
    async with scene.child(reads=False) as child:
        await scene.edge.until_registered(4)
        port = scene.standin.ports[-1]
        scene.standin.behave(log={"flood": 100_000, "seconds": 60})
        await asyncio.sleep(0.3)  # until the pipe is full there is nothing to be seen
        child.signal(signal.SIGTERM)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(child.process.wait(), 0.5)
        assert (await child.page("/ready", port))[0] == 200


async def test_a_log_whose_reader_has_gone_kills_it(scene: Scene) -> None:
    async with scene.child(reads=False) as child:
        await scene.edge.until_registered(4)
        child.hang_up()
        scene.standin.behave(log={"lines": ["one more"]})
        assert await child.end() == -13


# --- it comes, and comes back ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("door", "words"),
    [
        (Refuse("Account is disabled"), "initial tunnel connection failed"),
        ("close", "connection with edge closed"),
    ],
)
async def test_what_ends_it_at_the_first_registration(scene: Scene, door: Door, words: str) -> None:
    scene.edge.door = door
    async with scene.child() as child:
        assert await child.end() == 1
        assert words in child.log
        assert scene.edge.attempts == 1


@pytest.mark.parametrize("door", ["silent", "no_control", Refuse("Account", keep=True)])
async def test_what_hangs_for_ever(scene: Scene, door: Door) -> None:
    scene.edge.door = door
    async with scene.child("--rpc-timeout", "5s") as child:
        await scene.edge.until(lambda: scene.edge.attempts == 1)
        if door != "no_control":
            await child.says("failed to serve incoming request")
        assert await child.ready() == (503, 0)
        assert scene.edge.attempts == 1
        child.signal(signal.SIGTERM)
        assert await child.end() == 0


@pytest.mark.parametrize("door", [UNAUTHORIZED, "bad_ca", Refuse("EDUPCONN")])
async def test_what_it_tries_again(scene: Scene, door: Door) -> None:
    scene.edge.door = door
    async with scene.child() as child:
        await scene.edge.until(lambda: scene.edge.attempts >= 3)
        assert await child.ready() == (503, 0)
        scene.edge.door = "open"
        await child.up(4)


async def test_a_wrong_secret_is_unauthorized(scene: Scene) -> None:
    scene.edge.secrets[scene.edge.tunnel.tunnel_id] = {"another"}
    async with scene.child() as child:
        await child.says('error="Unauthorized: Invalid tunnel secret"', 2)


async def test_one_connection_that_drops_comes_back(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up(4)
        assert scene.edge.drop(index=2) == 1
        await child.says("Lost connection with the edge")
        await child.up(5)
        assert await child.ready() == (200, 4)


async def test_an_edge_that_was_down_is_found_again(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up(4)
        await scene.edge.stop()
        await child.says("Lost connection with the edge", 4)
        await child.says("Unable to establish connection with Cloudflare edge")
        assert await child.ready() == (503, 0)
        assert await scene.get() == 530
        await scene.edge.start()
        await child.up(8)
        assert await scene.get() == 200


@pytest.mark.parametrize("turns", range(8))
async def test_an_edge_that_stops_keeps_nobody_who_was_just_coming_in(turns: int) -> None:
    async with Edge() as edge:
        coming = [asyncio.open_connection(host, edge.port) for host in edge.hosts]
        asked = asyncio.gather(*coming, return_exceptions=True)
        for _ in range(turns):
            await asyncio.sleep(0)
        await edge.stop()
        for came in await asked:
            if isinstance(came, BaseException):
                assert isinstance(came, OSError)
                continue
            reader, writer = came
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()


async def test_a_frozen_edge_leaves_ready_as_it_is(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up(4)
        scene.edge.freeze()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(scene.get(), 0.3)
        assert await child.ready() == (200, 4)
        scene.edge.thaw()
        assert await scene.get() == 200


async def test_a_blackhole_lets_nobody_in(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up(4)
        await scene.edge.blackhole()
        assert await child.ready() == (200, 4)
        scene.edge.drop(index=1)
        await child.says("i/o timeout")
        await scene.edge.heal()
        await child.up(8)


async def test_healing_an_edge_that_was_well_shuts_nobody_out(scene: Scene) -> None:
    await scene.edge.heal()
    async with scene.child() as child:
        await child.up(4)
        assert await scene.get() == 200


async def test_a_wedged_connection_costs_its_share(scene: Scene) -> None:
    scene.edge.patience = 0.2
    async with scene.child():
        await scene.edge.until_registered(4)
        assert scene.edge.wedge(index=3) == 1
        statuses = [await scene.get() for _ in range(8)]
        assert statuses.count(502) == 2
        assert statuses.count(200) == 6


async def test_without_udp_it_falls_back(scene: Scene) -> None:
    scene.standin.behave(quic="blocked", txt="quic")
    async with scene.child("--max-edge-addr-retries", "1") as child:
        await child.says("Switching to fallback protocol http2")
        await child.up(1)
        assert child.log.count("Failed to dial a quic connection") == 2
        assert scene.edge.registrations[0]["protocol"] == "http2"


async def test_two_connectors_share_a_tunnel(scene: Scene) -> None:
    async with scene.child() as one, scene.child() as two:
        await scene.edge.until_registered(8)
        for _ in range(8):
            assert await scene.get() == 200
        both = {await one.connector(), await two.connector()}
        assert {each.connector for each in scene.edge.carried} == both
        one.signal(signal.SIGTERM)
        assert await one.end() == 0
        assert await scene.get() == 200


# --- quick ----------------------------------------------------------------------------------------


async def test_a_quick_tunnel(scene: Scene) -> None:
    async with (
        QuickService(scene.edge) as service,
        scene.child("--quick-service", service.url, run=None) as child,
    ):
        await scene.edge.until_registered()
        (name,) = service.handed
        assert json.loads((await child.page("/quicktunnel"))[1]) == {"hostname": name}
        assert f"|  https://{name} " in child.log
        assert await scene.get(name) == 200
        assert await scene.get("else.trycloudflare.com") == 530
        assert await child.ready() == (200, 1)


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        ("limited", 'status_code="429 Too Many Requests"'),
        ("broken", "failed to parse quick Tunnel ID: invalid UUID length: 0"),
        ("garbage", "failed to unmarshal quick Tunnel"),
        ("slow", "failed to request quick Tunnel: Post"),
    ],
)
async def test_a_quick_service_that_fails(scene: Scene, mood: Mood, words: str) -> None:
    async with QuickService(scene.edge) as service:
        service.mood = mood
        async with scene.child("--quick-service", service.url, run=None) as child:
            assert await child.end() == 1
            assert words in child.log


async def test_no_quick_service(scene: Scene) -> None:
    async with scene.child("--quick-service", "http://127.0.0.1:9", run=None) as child:
        assert await child.end() == 1
        assert 'Post "http://127.0.0.1:9/tunnel"' in child.log


# --- what it says, and what it answers ------------------------------------------------------------


async def test_a_log_in_json_is_sorted_and_holds_other_lines_too(scene: Scene) -> None:
    scene.edge.door = Refuse("<no>")
    async with scene.child("--output", "json") as child:
        assert await child.end() == 1
    *lines, last = child.log.splitlines()
    told = [json.loads(line) for line in lines]
    assert all(list(each) == sorted(each) for each in told)
    assert {"level", "message", "time"} <= set(told[0])
    assert told[0]["message"] == "Starting tunnel"
    assert any("\\u003cno\\u003e" in line for line in lines)
    assert last == "<no>"


@pytest.mark.parametrize(
    ("odd", "status"),
    [
        ({"lie": True}, 200),
        ({"status": 500}, 500),
        ({"huge": 100_000}, 503),
        ({"connector": "00000000-0000-4000-8000-000000000000"}, 503),
        ({"after": 0.1}, 503),
    ],
)
async def test_odd_answers_to_ready(scene: Scene, odd: dict[str, object], status: int) -> None:
    scene.edge.door = "silent"
    scene.standin.behave(ready=odd)
    async with scene.child() as child:
        assert (await child.page("/ready"))[0] == status
        scene.standin.behave(ready=None)
        assert await child.ready() == (503, 0)


@pytest.mark.parametrize("odd", [{"cut": True}, {"endless": True}, {"hang": True}])
async def test_answers_to_ready_that_never_end_well(scene: Scene, odd: dict[str, object]) -> None:
    scene.edge.door = "silent"
    scene.standin.behave(ready=odd)
    async with scene.child() as child:
        port = await child.port()
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            async with asyncio.timeout(0.3):
                await child.page("/ready", port)


async def test_orders_while_it_runs(scene: Scene) -> None:
    async with scene.child() as child:
        await child.up(4)
        scene.standin.behave(log={"lines": ["said on order"], "raw": "AP8bWzFtCg==", "token": True})
        await child.says("said on order")
        await child.says("\0\ufffd\x1b[1m\n")
        await child.says(scene.edge.tunnel.token)
        scene.standin.behave(exit={"code": 11})
        assert await child.end() == 11


async def test_sigterm_is_ignored_on_order(scene: Scene) -> None:
    scene.standin.behave(ignore_sigterm=True)
    async with scene.child() as child:
        await child.up()
        for _ in range(2):
            child.signal(signal.SIGTERM)
        assert await scene.get() == 200
        assert "Initiating graceful shutdown" not in child.log


async def test_an_answer_of_cloudflare_itself(scene: Scene) -> None:
    scene.public.instead = Instead(403, "Forbidden", {"cf-mitigated": "challenge"})
    async with scene.http.get("/", headers=HOST) as answer:
        assert (answer.status, answer.headers["cf-mitigated"]) == (403, "challenge")
    scene.public.instead = None
    assert await scene.get() == 530
