"""Probes of real servers that are well, that misbehave, and that come back."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.secret import Secret
from sidecar.config.snapshot import Backend, Credential, Forward
from sidecar.control.inquiry import Clients
from sidecar.control.prober import Prober
from sidecar.dialects import by_name
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.availability import Availability
from sidecar.policy.health import FALL, HURRIED, RISE, SPREAD, Finding, ProbeSettings, ProbeVerdict
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.redact import Redactor
from tests.fakes import behaviours as b
from tests.fakes.answers import dump
from tests.fakes.backend import Backend as Fake
from tests.fakes.backend import refusing_port
from tests.fakes.behaviours import Behaviour, whole
from tests.fakes.certificates import Authority
from tests.sidecar.examples import backend, bearer, failed, route, snapshot, succeeded
from tests.toy.dialect import DIALECT as TOY

QUICK = ProbeSettings(every=60, timeout=20)


class Program:
    def __init__(self, *backends: Backend, **changes: Any) -> None:
        self.current, self.store, self.now = Current(), RuntimeStore(), 100.0
        self.configure(*backends, **changes)
        self.prober = Prober(
            self.current, self.store, Redactor(), lambda: self.now, draw=lambda: 0.5
        )

    def configure(self, *backends: Backend, routes: Any = ()) -> None:
        configured = snapshot(backends, routes)
        self.store.reconcile(configured)
        self.current.swap(configured)

    async def look(self) -> float:
        """Look once who is due, and wait for the probes."""
        async with Clients(keep=False) as clients, asyncio.TaskGroup() as group:
            return self.prober.probe_due(clients, group)

    async def probe(self, times: int = 1) -> None:
        """Let so many probes of everybody come and go."""
        for _ in range(times):
            self.now += 2 * QUICK.every
            await self.look()
            self.now += SPREAD
            await self.look()

    def verdict(self, one: Backend) -> ProbeVerdict:
        found = self.store.state(one).health.verdict
        assert found is not None
        return found

    def is_unhealthy(self, one: Backend) -> bool:
        return self.store.state(one).health.is_unhealthy

    def answer(self, one: Backend) -> None:
        self.store.begin(one, self.now).settle(succeeded(one.name), self.now, 5000)

    def fail(self, one: Backend) -> None:
        outcome = failed(one.name, ProblemKind.CONNECT)
        self.store.begin(one, self.now).settle(outcome, self.now, 5000)


def of(server: Fake, name: str = "home", **changes: Any) -> Backend:
    return backend(name, **{"base_url": server.base_url, "probe": QUICK, **changes})


@pytest.fixture
def dead() -> Iterator[Backend]:
    """A backend where nobody listens."""
    with refusing_port() as port:
        yield backend("dead", base_url=f"http://127.0.0.1:{port}/v1", probe=QUICK)


@pytest.mark.parametrize(
    ("aside", "finding", "words"),
    [
        (None, Finding.WELL, "answered 200"),
        (b.status(401), Finding.AUTH, "answered 401"),
        (b.status(403), Finding.AUTH, "answered 403"),
        (b.status(404), Finding.ANSWERS, "answered 404"),
        (b.status(429), Finding.ANSWERS, "answered 429"),
        (b.status(500), Finding.SERVER_ERROR, "answered 500"),
        (b.html, Finding.SHAPE, "answered 200, but with HTML instead of JSON"),
        (b.empty_body, Finding.SHAPE, "answered 200, but with nothing instead of JSON"),
        (b.error_object, Finding.SHAPE, "answered 200, but "),
        (b.silent, Finding.TIMEOUT, "did not answer within 0.3 s"),
        (b.reset, Finding.LOST, "closed the connection"),
        (b.hang_up, Finding.LOST, "closed the connection"),
        (b.endless_headers, Finding.LOST, "broke HTTP"),
        (lambda _: whole(200, b" " * 9_000_000), Finding.SHAPE, "larger than"),
    ],
)
async def test_what_a_probe_finds(aside: Behaviour | None, finding: Finding, words: str) -> None:
    async with Fake() as server:
        server.aside = aside
        home = of(server, probe=ProbeSettings(60, timeout=0.3 if aside is b.silent else 20))
        program = Program(home)
        await program.probe()
        found = program.verdict(home)
    assert found.finding is finding
    assert words in found.words
    has_status = found.words.startswith(("answered 2", "answered 4", "answered 5"))
    assert (found.latency is not None) is has_status


async def test_where_nobody_listens(dead: Backend) -> None:
    program = Program(dead)
    await program.probe()
    assert program.verdict(dead) == ProbeVerdict(Finding.REFUSED, "refused the connection")


@pytest.mark.parametrize("name", ["nobody.invalid", f"{'n' * 70}.invalid"])
async def test_a_name_that_nobody_knows(name: str) -> None:
    lost = backend("lost", base_url=f"http://{name}/v1")
    program = Program(lost)
    await program.probe()
    assert program.verdict(lost).finding is Finding.DNS


async def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    authority = Authority()
    pem = authority.write_bundle(tmp_path).read_text()
    async with Fake(tls=authority.server()) as server:
        trusting, wary = of(server, "trusting", ca=pem), of(server, "wary")
        program = Program(trusting, wary)
        await program.probe()
    assert program.verdict(trusting).finding is Finding.WELL
    assert program.verdict(wary).finding is Finding.TLS
    assert "certificate that was refused" in program.verdict(wary).words


async def test_plain_http_where_tls_was_expected() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        home = backend("home", base_url=f"https://127.0.0.1:{port}/v1")
        program = Program(home)
        await program.probe()
    assert program.verdict(home).finding is Finding.TLS


@pytest.mark.parametrize(
    ("dialect", "base", "method", "path"),
    [
        ("openai", "/v1", "GET", "/v1/models"),
        ("openai-responses", "/v1", "GET", "/v1/models"),
        ("anthropic", "", "GET", "/v1/models"),
        ("ollama", "", "GET", "/api/version"),
        ("toy", "", "HEAD", "/"),
    ],
)
async def test_each_dialect_is_asked_what_it_offers_for_free(
    dialect: str, base: str, method: str, path: str
) -> None:
    async with Fake() as server:
        root = server.base_url.removesuffix("/v1")
        home = of(server, base_url=root + base, dialect=by_name(dialect) or TOY)
        program = Program(home)
        if dialect == "toy":
            server.aside = lambda _: (b.Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),)
        await program.probe()
    assert program.verdict(home).finding is Finding.WELL
    assert {(seen.method, seen.path) for seen in server.others} == {(method, path)}
    assert server.requests == []


@pytest.mark.parametrize("answer", [{"no": "version"}, [], {"version": 7}])
async def test_an_ollama_names_its_version(answer: object) -> None:
    async with Fake() as server:
        server.aside = lambda _: whole(200, dump(answer))
        home = of(server, base_url=server.base_url.removesuffix("/v1"), dialect=by_name("ollama"))
        program = Program(home)
        await program.probe()
    assert program.verdict(home).finding is Finding.SHAPE


async def test_it_carries_the_key_of_the_backend_alone() -> None:
    async with Fake() as server:
        own = of(server, "own", auth=bearer("k"))
        query = of(server, "query", auth=Credential("query", "key", Secret("k", "env K")))
        clients_own = of(server, "clients-own", auth=Forward())
        await Program(own, query, clients_own).probe()
    told = sorted((seen.target, seen.header("authorization") or "") for seen in server.others)
    assert told == [("/v1/models", ""), ("/v1/models", "Bearer k"), ("/v1/models?key=k", "")]


async def test_what_stays_local_is_not_asked_at_a_public_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(*_: object, **__: object) -> list[Any]:
        return [(None, None, None, "", ("93.184.216.34", 80))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with Fake() as server:
        home = of(server, local=None)
        program = Program(home, routes=[replace(route("r", "home"), stay_local=True)])
        await program.probe(FALL)
        assert server.connections == 0
    assert program.verdict(home).finding is Finding.NOT_ASKED
    assert not program.is_unhealthy(home)


async def test_disabled_and_built_in_backends_are_not_probed() -> None:
    async with Fake() as server:
        await Program(of(server, "off", enabled=False), backend("echo", echo=True)).probe(2)
        assert server.connections == 0


async def test_the_pace_while_all_is_well_and_while_it_is_not() -> None:
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        assert await program.look() == pytest.approx(SPREAD / 2)
        assert server.connections == 0
        program.now += SPREAD / 2
        await program.look()
        assert server.connections == 1
        program.now += QUICK.every - 0.5
        assert await program.look() == pytest.approx(0.5)
        assert server.connections == 1
        server.aside = b.status(500)
        program.now += 0.5
        for asked in range(2, 6):
            await program.look()
            assert server.connections == asked
            program.now += HURRIED


async def test_an_ejected_backend_is_probed_every_few_seconds() -> None:
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        await program.probe()
        program.now += HURRIED
        await program.look()
        assert server.connections == 1
        program.store.eject(home, program.now)
        for asked in (2, 3, 4):
            await program.look()
            assert server.connections == asked
            program.now += HURRIED


async def test_a_rest_that_a_probe_has_ended_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar.control.prober")
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        await program.probe()
        program.store.eject(home, program.now)
        for aside in (b.status(503), None):
            server.aside = aside
            program.now += HURRIED
            await program.look()
        assert program.store.availability(home, program.now) is Availability.READY
    assert [record.getMessage() for record in caplog.records] == [
        "a probe of backend home went well: its rest is over"
    ]


async def test_each_probe_makes_a_connection_of_its_own() -> None:
    async with Fake() as server:
        await Program(of(server)).probe(2)
        assert server.connections == len(server.others) == 2


async def test_a_busy_backend_is_not_probed() -> None:
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        for _ in range(20):
            program.answer(home)
            program.now += QUICK.every / 2
            await program.look()
        assert server.connections == 0
        program.now += QUICK.every
        await program.look()
        assert server.connections == 1


async def test_a_failing_probe_is_no_match_for_traffic() -> None:
    async with Fake() as server:
        server.aside = b.status(500)
        home = of(server)
        program = Program(home)
        for _ in range(FALL + 1):
            program.answer(home)
            await program.prober.probe_now(home)
        assert program.verdict(home).finding is Finding.SERVER_ERROR
        assert not program.is_unhealthy(home)


async def test_it_falls_and_rises_and_says_each_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar.control.prober")
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        server.aside = b.status(503)
        await program.probe(FALL - 1)
        assert not program.is_unhealthy(home)
        await program.probe(3)
        assert program.is_unhealthy(home)
        server.aside = None
        await program.probe(RISE)
        assert not program.is_unhealthy(home)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "backend home is unhealthy: its probes fail, it answered 503"),
        ("INFO", "backend home is healthy again"),
    ]


async def test_traffic_that_makes_it_healthy_is_told_too(
    caplog: pytest.LogCaptureFixture, dead: Backend
) -> None:
    caplog.set_level(logging.INFO, "sidecar.control.prober")
    program = Program(dead)
    await program.probe(FALL)
    assert program.is_unhealthy(dead)
    program.answer(dead)
    assert not program.is_unhealthy(dead)
    await program.look()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_refused_key_is_told_once_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sidecar.control.prober")
    async with Fake() as server:
        server.aside = b.status(401)
        home, forwards = of(server, auth=bearer("k")), of(server, "forwards", auth=Forward())
        program = Program(home, forwards)
        await program.probe(FALL + 1)
    assert not program.is_unhealthy(home)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("a probe of backend home was refused (answered 401)")


async def test_an_operator_needs_one_probe_only() -> None:
    async with Fake() as server:
        home = of(server)
        program = Program(home)
        server.aside = b.status(503)
        await program.probe(FALL)
        server.aside = None
        assert (await program.prober.probe_now(home)).finding is Finding.WELL
        assert not program.is_unhealthy(home)


async def test_those_that_hang_hold_up_nobody_for_long() -> None:
    slow = ProbeSettings(every=60, timeout=20)
    async with Fake("well") as well, Fake("hanging") as hanging:
        hanging.aside = b.silent
        hangs = [of(hanging, f"h{number}", probe=slow) for number in range(8)]
        healthy = of(well)
        program = Program(*hangs, healthy)
        for one in hangs:  # they are in doubt already
            program.store.probed(one, ProbeVerdict(Finding.TIMEOUT, ""), program.now)
        async with Clients(keep=False) as clients, asyncio.TaskGroup() as group:
            program.now += SPREAD
            program.prober.probe_due(clients, group)
            program.now += SPREAD
            program.prober.probe_due(clients, group)
            await until(lambda: program.store.state(healthy).health.verdict is not None)
            assert hanging.connections <= 3
            program.prober.give_up()


async def test_it_runs_and_follows_the_configuration() -> None:
    async with Fake("first") as first, Fake("second") as second:
        program = Program(of(first, probe=ProbeSettings(0.1, 5)))
        prober = Prober(program.current, program.store, Redactor(), time.monotonic, lambda: 0.5)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(prober.run())
            await until_asked(first, 3)
            first.aside = b.silent
            await until_asked(first, len(first.others) + 1)
            program.configure(of(second, "second", probe=ProbeSettings(0.1, 5)))
            prober.wake()
            await until_asked(second, 3)
            assert all(seen.left.is_set() for seen in first.others[-1:]), "it hung up on the old"
            task.cancel()


async def until_asked(server: Fake, times: int) -> None:
    await until(lambda: len(server.others) >= times)


async def until(fits: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fits():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def test_who_is_never_to_be_probed_is_only_by_operators() -> None:
    async with Fake("home") as fake:
        home = backend("home", base_url=fake.base_url, probe=ProbeSettings(every=math.inf))
        program = Program(home)
        await program.probe(3)
        assert not fake.others
        assert (await program.prober.probe_now(home)).finding is Finding.WELL
        assert len(fake.others) == 1
