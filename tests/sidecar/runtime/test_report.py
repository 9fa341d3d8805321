"""What health, status and gauges say of a running program."""

from typing import Any

from sidecar.config.snapshot import Listener, Public, Snapshot
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.admission import Bounds, Ticket
from sidecar.policy.clients import ClientKey
from sidecar.policy.health import FALL, RISE, Finding, ProbeVerdict
from sidecar.policy.rate import ClientBounds
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import RuntimeStore
from sidecar.wire import json
from sidecar.wire.contract import ModelEntry
from tests.sidecar.examples import backend, bearer, failed, route, snapshot, succeeded

HOME = backend("home", preset="ollama", base_url="http://user:pass@home.example:11434/v1?key=x")
OFF = backend("off", enabled=False)
CONFIGURED = snapshot([HOME, OFF], [route("chat", "home", "off")])


class Program:
    def __init__(self, configured: Snapshot | None = CONFIGURED) -> None:
        self.current, self.store, self.now = Current(configured), RuntimeStore(), 100.0
        if configured is not None:
            self.store.reconcile(configured)
        life = Life(born=90.0)
        self.clients = ClientUsage(lambda: self.now + 4000)
        self.report = Report(
            self.current, self.store, life, "1.2.3", lambda: self.now, self.clients
        )

    def fail(self, kind: ProblemKind, times: int = 1) -> None:
        for _ in range(times):
            self.store.begin(HOME, self.now).settle(failed("home", kind), self.now, 5000)

    def status(self) -> Any:
        return json.loads(json.dumps(self.report.status()))

    def gauges(self) -> dict[tuple[str, ...], float]:
        return {(name, *labels): value for name, labels, value in self.report.gauges()}


def test_health_is_ok_while_every_enabled_backend_is_well() -> None:
    program = Program()
    program.store.learn_models(HOME, [ModelEntry("A:latest"), ModelEntry("B")])
    assert program.report.health() == {
        "status": "ok",
        "revision": CONFIGURED.revision,
        "echo": False,
        "models_cached": 2,
        "backends": {
            "home": {"availability": "ready", "up": True, "models": 2, "probe": None},
            "off": {"availability": "disabled", "up": True, "models": 0, "probe": None},
        },
    }


def test_health_is_degraded_while_a_backend_rests_or_fails() -> None:
    resting, failing = Program(), Program()
    resting.fail(ProblemKind.RATE_LIMITED)
    failing.fail(ProblemKind.TIMEOUT, times=3)
    assert resting.report.health()["status"] == "degraded"
    assert failing.report.health()["status"] == "degraded"
    resting.now += 6
    assert resting.report.health()["status"] == "ok"


def test_without_a_configuration_the_faults_are_told() -> None:
    program = Program(None)
    program.current.faults = "line 3: unknown key"
    health = program.report.health()
    assert (health["status"], health["faults"]) == ("not_configured", "line 3: unknown key")
    assert program.status()["configuration"]["faults"] == "line 3: unknown key"
    assert program.gauges() == {}


def test_status_tells_backends_routes_and_faults() -> None:
    program = Program()
    program.store.begin(HOME, 0).settle(succeeded("home", duration=0.5), 1, 4000)
    program.fail(ProblemKind.RATE_LIMITED)
    with program.store.request("chat"):
        status = program.status()
    assert (status["version"], status["uptime"], status["echo"]) == ("1.2.3", 10.0, False)
    home = status["backends"][0]
    assert home["host"] == "http://home.example:11434"
    assert home["success_rate"] == 0.5
    assert home["latency"]["p95"] == 0.5
    assert home["rest"] == {"seconds": 5.0, "why": "rate_limited happened"}
    assert home["last_success"] == 4000
    assert status["routes"][0]["in_flight"] == 1
    assert status["routes"][0]["available_backends"] == 0
    assert [target["availability"] for target in status["routes"][0]["targets"]] == [
        "resting",
        "disabled",
    ]
    assert [(fault["backend"], fault["kind"]) for fault in status["last_faults"]] == [
        ("home", "rate_limited")
    ]


def door(**changes: Any) -> Public:
    keys = (ClientKey("anna", b"digest"),)
    settings = {"keys": keys, "access": None} | changes
    return Public(
        Listener(("127.0.0.1",), 14402), **settings,
        per_key=ClientBounds(), per_source=ClientBounds(),
    )  # fmt: skip


def test_status_tells_who_used_the_public_listener() -> None:
    configured = snapshot([HOME], [route("chat", "home")], public=door())
    program = Program(configured)
    program.clients.used("anna", 512, streamed=True)
    assert program.status()["public"] == {
        "port": 14402, "open": False, "keys": 1, "access": False, "fault": None,
        "clients": [
            {"name": "anna", "requests": 1, "streams": 1, "bytes": 512, "last_used": 4100.0}
        ],
    }  # fmt: skip
    assert "digest" not in str(program.status())
    assert program.gauges()["public_open",] == 0
    assert "anna" not in str(program.gauges())


def test_an_open_public_listener_is_said() -> None:
    program = Program(snapshot([HOME], [route("chat", "home")], public=door(keys=None)))
    assert program.status()["public"]["open"] is True
    assert program.gauges()["public_open",] == 1


def test_without_a_public_listener_nothing_is_said_of_it() -> None:
    program = Program()
    assert program.status()["public"] is None
    assert ("public_open",) not in program.gauges()


def test_status_holds_no_secret() -> None:
    keyed = backend("keyed", auth=bearer("hunter2hunter2"), base_url="https://u:hunter3@x.example")
    program = Program(snapshot([keyed], [route("r", "keyed")], secrets=("hunter2hunter2",)))
    assert "hunter" not in str(program.status())


def test_the_echo_is_said() -> None:
    program = Program(snapshot([backend("echo", echo=True)], [route("r", "echo")]))
    assert program.report.health()["echo"] is True
    assert program.status()["backends"][0]["host"] == "built in"


def test_gauges_tell_the_state_of_this_moment() -> None:
    program = Program()
    program.fail(ProblemKind.RATE_LIMITED)
    with program.store.request("other"):
        gauges = program.gauges()
    assert gauges["backend_up", "home"] == 1
    assert gauges["backend_availability", "home", "resting"] == 1
    assert gauges["backend_availability", "home", "ready"] == 0
    assert gauges["backend_availability", "off", "disabled"] == 1
    assert gauges["backend_info", "home", "openai", "ollama"] == 1
    assert gauges["route_available_backends", "chat"] == 0
    assert gauges["inflight_requests", "other"] == 1


def test_what_probes_found() -> None:
    program = Program()
    program.store.probed(HOME, ProbeVerdict(Finding.WELL, "answered 200", 0.01234), 99.0)
    told = {"found": "well", "message": "answered 200", "latency": 0.0123, "age": 1.0}
    assert program.report.health()["backends"]["home"]["probe"] == told  # type: ignore[index]
    home = program.status()["backends"][0]
    assert (home["probe"], home["healthy"], home["up"]) == (told, True, True)


def test_a_backend_whose_probes_fail_is_unhealthy_and_not_up() -> None:
    program = Program()
    for _ in range(FALL):
        program.store.probed(HOME, ProbeVerdict(Finding.REFUSED, "refused"), program.now)
    home, gauges = program.status()["backends"][0], program.gauges()
    assert (home["availability"], home["healthy"], home["up"]) == ("unhealthy", False, False)
    assert home["probe"]["latency"] is None
    assert program.report.health()["status"] == "degraded"
    assert gauges["backend_up", "home"] == 0
    assert gauges["backend_availability", "home", "unhealthy"] == 1
    assert gauges["backend_availability", "home", "ready"] == 0
    assert gauges["backend_last_success_timestamp_seconds", "home"] == 0
    assert gauges["route_available_backends", "chat"] == 0
    for _ in range(RISE):
        program.store.probed(HOME, ProbeVerdict(Finding.WELL, "answered 200", 0.1), program.now)
    assert program.gauges()["backend_up", "home"] == 1
    assert program.gauges()["backend_last_success_timestamp_seconds", "home"] == 0, "no traffic"


def test_what_an_operator_drained_is_shown() -> None:
    program = Program()
    program.store.drain(HOME)
    home = program.status()["backends"][0]
    assert (home["availability"], home["drained"]) == ("draining", True)


def test_limits_and_queues_are_told() -> None:
    one = Bounds(in_flight=1, size=1)
    home = backend("home", bounds=one)
    data = Listener(("127.0.0.1",), 14400, bounds=Bounds(in_flight=8))
    program = Program(snapshot([home, OFF], [route("chat", "home")], data=data))
    line = program.store.state(home).line
    assert line.enter(one) and line.join(Ticket("a", lambda: None), one)
    assert program.store.line.enter(data.bounds)
    status, gauges = program.status(), program.gauges()
    first, second = status["backends"]
    assert (first["in_flight"], first["limit"], first["queued"]) == (1, 1, 1)
    assert (second["in_flight"], second["limit"], second["queued"]) == (0, None, 0)
    assert status["listener"] == {"in_flight": 1, "limit": 8, "queued": 0}
    assert first["availability"] == "full"
    assert program.report.health()["status"] == "degraded"
    assert gauges["queued_requests", "home"] == 1
    assert ("queued_requests", "off") not in gauges
    assert ("backend_availability", "off", "full") not in gauges
    assert gauges["backend_availability", "home", "full"] == 1
    assert gauges["route_available_backends", "chat"] == 0
    assert gauges["inflight_requests_limit",] == 8
    assert Program().gauges()["inflight_requests_limit",] == 0
