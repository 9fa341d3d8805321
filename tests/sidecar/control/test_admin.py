"""The admin listener over a real connection."""

from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web

from sidecar.control.admin import Admin
from sidecar.neutral.problem import ProblemKind
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.collector import StateCollector
from sidecar.telemetry.instruments import Instruments
from tests.sidecar.examples import backend, failed, route, snapshot

HOME = backend("home")
CONFIGURED = snapshot([HOME], [route("chat", "home")], hosts=("admin.example",))


class Listener:
    def __init__(self) -> None:
        self.current, self.store, self.life = Current(CONFIGURED), RuntimeStore(), Life(0)
        self.store.reconcile(CONFIGURED)
        self.instruments = Instruments.build("1.2.3")
        self.instruments.adopt(CONFIGURED)
        report = Report(
            self.current, self.store, self.life, "1.2.3", lambda: 10.0, ClientUsage(float)
        )
        self.instruments.metrics.registry.register(StateCollector(report.gauges))
        self.admin = Admin(self.current, self.life, report, self.instruments)
        self.client = httpx.AsyncClient()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    runner = web.ServerRunner(web.Server(listener.admin.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        listener.client = client
        yield listener
    await runner.cleanup()
    listener.instruments.logs.close()


async def test_probes_follow_the_life_of_the_program(listener: Listener) -> None:
    async def probes() -> list[int]:
        paths = ("/livez", "/startupz", "/readyz")
        return [(await listener.client.get(path)).status_code for path in paths]

    assert await probes() == [200, 503, 503]
    listener.life.started = True
    assert await probes() == [200, 200, 200]
    listener.life.draining = True
    assert await probes() == [200, 200, 200]
    listener.life.settling = True
    assert await probes() == [200, 200, 503]


async def test_health_is_200_whatever_it_says(listener: Listener) -> None:
    answer = await listener.client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    attempt = listener.store.begin(HOME, 10)
    attempt.settle(failed("home", ProblemKind.RATE_LIMITED), 10, 5000)
    answer = await listener.client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_metrics_are_for_prometheus(listener: Listener) -> None:
    answer = await listener.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'llm_sidecar_backend_up{backend="home"} 1.0' in answer.text
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    answer = await listener.client.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")


async def test_status_masks_what_a_backend_quoted(listener: Listener) -> None:
    quoting = failed("home", ProblemKind.BACKEND_AUTH)
    object.__setattr__(quoting.problem, "message", "Incorrect API key provided: sk-abc12345")
    listener.store.begin(HOME, 10).settle(quoting, 10, 5000)
    answer = await listener.client.get("/status")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["last_faults"][0]["message"] == "Incorrect API key provided: ***"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "unknown_path"),
        ("POST", "/status", {}, 405, "method_not_allowed"),
        ("OPTIONS", "/status", {"origin": "https://attacker.example"}, 403, "forbidden_origin"),
        ("GET", "/status", {"host": "attacker.example"}, 403, "forbidden_host"),
        ("GET", "/metrics", {"origin": "null"}, 403, "forbidden_origin"),
        ("GET", "/metrics", {"sec-fetch-site": "cross-site"}, 403, "forbidden_origin"),
        ("GET", "/livez", {"cf-ray": "1"}, 403, "forbidden_tunnel"),
    ],
)
async def test_refusals_are_json(
    listener: Listener, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await listener.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "access-control-allow-origin" not in answer.headers


async def test_configured_names_and_heads_come_in(listener: Listener) -> None:
    answer = await listener.client.get("/livez", headers={"host": "admin.example:1"})
    assert answer.status_code == 200
    answer = await listener.client.head("/health")
    assert (answer.status_code, answer.text) == (200, "")


async def test_without_a_configuration_it_serves_all_the_same() -> None:
    listener = Listener()
    listener.current = Current()
    listener.current.faults = "line 1: oh"
    report = Report(
        listener.current, listener.store, listener.life, "1", lambda: 1.0, ClientUsage(float)
    )
    admin = Admin(listener.current, listener.life, report, listener.instruments)
    runner = web.ServerRunner(web.Server(admin.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "not_configured")
        assert (await client.get("/metrics")).status_code == 200
    await runner.cleanup()
    listener.instruments.logs.close()
