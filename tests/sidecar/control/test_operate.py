"""What operators do to a backend by hand, and what they are told."""

import pytest

from sidecar.config.snapshot import Backend
from sidecar.control.operate import Action, Done, Operator, Refused
from sidecar.control.prober import Prober
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.availability import Availability
from sidecar.policy.health import FALL, Finding, ProbeVerdict
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.redact import Redactor
from tests.fakes import behaviours as b
from tests.fakes.backend import Backend as Fake
from tests.fakes.backend import refusing_port
from tests.sidecar.examples import backend, failed, snapshot

READY, EJECTED, UNHEALTHY = Availability.READY, Availability.EJECTED, Availability.UNHEALTHY
HOME = backend("home")


class Program:
    def __init__(self, *backends: Backend, configured: bool = True) -> None:
        self.store, self.now = RuntimeStore(), 100.0
        self.snapshot = snapshot(backends or [HOME])
        self.store.reconcile(self.snapshot)
        self.current = Current(self.snapshot if configured else None)
        prober = Prober(self.current, self.store, Redactor(), self.clock, lambda: 0.5)
        self.operator = Operator(self.current, self.store, prober, self.clock)

    def clock(self) -> float:
        return self.now

    async def act(self, action: Action, name: str = "home") -> Done:
        return await self.operator.act(name, action)

    def fail(self, kind: ProblemKind, times: int = 1) -> None:
        for _ in range(times):
            self.store.begin(HOME, self.now).settle(failed("home", kind), self.now, 5000)

    def availability(self, one: Backend = HOME) -> Availability:
        return self.store.availability(one, self.now)


async def test_drain_and_enable_each_say_when_it_was_so_already() -> None:
    program = Program()
    attempt = program.store.begin(HOME, program.now)
    done = await program.act(Action.DRAIN)
    assert (done.changed, done.availability, done.wait) == (True, Availability.DRAINING, None)
    assert "takes nothing new; requests in flight there: 1." in done.message
    assert "until `enable`" in done.message
    attempt.settle(failed("home", ProblemKind.CLIENT_GONE), program.now, 5000)
    done = await program.act(Action.DRAIN)
    assert (done.ok, done.changed) == (True, False)
    assert "was drained already; requests in flight there: 0." in done.message
    done = await program.act(Action.ENABLE)
    assert (done.changed, done.availability) == (True, READY)
    assert done.message == "Backend 'home' takes requests again. It is ready."
    done = await program.act(Action.ENABLE)
    assert (done.changed, done.ok) == (False, True)
    assert "neither drained nor ejected" in done.message


async def test_what_is_drained_stays_so_over_a_reload() -> None:
    program = Program()
    await program.act(Action.DRAIN)
    program.store.reconcile(snapshot([HOME, backend("new")]))
    assert program.availability() is Availability.DRAINING
    changed = backend("home", fingerprint="another target")
    program.store.reconcile(snapshot([changed]))
    assert program.availability(changed) is READY


async def test_eject_lasts_as_long_as_an_ejection() -> None:
    program = Program()
    done = await program.act(Action.EJECT)
    assert (done.changed, done.availability, done.wait) == (True, EJECTED, 30.0)
    assert "`enable` takes it back sooner, `drain` keeps it out. It rests for 30 s" in done.message
    program.now += 12
    done = await program.act(Action.EJECT)
    assert (done.changed, done.wait) == (False, 18.0)
    assert "is ejected already. It rests for 18 s" in done.message
    program.now += 20
    assert program.availability() is READY, "trials may go there"
    assert (await program.act(Action.EJECT)).changed


async def test_enable_ends_what_eject_did() -> None:
    program = Program()
    await program.act(Action.EJECT)
    await program.act(Action.DRAIN)
    done = await program.act(Action.ENABLE)
    assert (done.changed, done.availability) == (True, READY)


async def test_reset_forgets_every_kind_of_failure() -> None:
    program = Program()
    program.fail(ProblemKind.CONNECT, times=5)
    program.fail(ProblemKind.RATE_LIMITED)
    for _ in range(FALL):
        program.store.probed(HOME, ProbeVerdict(Finding.DNS, "has no name"), program.now)
    assert program.availability() is EJECTED
    done = await program.act(Action.RESET)
    assert (done.changed, done.availability) == (True, READY)
    assert done.message == "What spoke against backend 'home' is forgotten. It is ready."
    assert program.store.state(HOME).is_up
    done = await program.act(Action.RESET)
    assert (done.changed, done.message) == (
        False,
        "Nothing speaks against backend 'home'. It is ready.",
    )


@pytest.mark.parametrize("kind", [ProblemKind.CONNECT, ProblemKind.RATE_LIMITED])
async def test_even_one_failure_is_something_to_forget(kind: ProblemKind) -> None:
    program = Program()
    program.fail(kind)
    assert (await program.act(Action.RESET)).changed
    assert not (await program.act(Action.RESET)).changed


async def test_a_probe_ends_an_ejection_where_it_goes_well() -> None:
    async with Fake() as server:
        home = backend("home", base_url=server.base_url)
        program = Program(home)
        await program.act(Action.EJECT)
        server.aside = b.status(503)
        done = await program.act(Action.PROBE)
        assert (done.ok, done.changed, done.availability) == (False, False, EJECTED)
        assert done.message.startswith("Backend 'home' answered 503 in ")
        assert "It rests for 30 s" in done.message
        server.aside = None
        done = await program.act(Action.PROBE)
        assert (done.ok, done.changed, done.availability) == (True, True, READY)
        assert "; its rest is over. It is ready." in done.message
        assert done.probe is not None
        assert done.probe.finding is Finding.WELL


async def test_a_probe_makes_an_unhealthy_one_healthy_and_leaves_the_drained() -> None:
    async with Fake() as server:
        home = backend("home", base_url=server.base_url)
        program = Program(home)
        for _ in range(FALL):
            program.store.probed(home, ProbeVerdict(Finding.REFUSED, "refused"), program.now)
        assert program.availability(home) is UNHEALTHY
        assert (await program.act(Action.PROBE)).availability is READY
        await program.act(Action.DRAIN)
        done = await program.act(Action.PROBE)
        assert (done.ok, done.availability) == (True, Availability.DRAINING)


async def test_a_probe_tells_a_refused_key_from_a_dead_backend() -> None:
    with refusing_port() as port:
        dead = backend("dead", base_url=f"http://127.0.0.1:{port}/v1")
        async with Fake() as server:
            server.aside = b.status(401)
            program = Program(backend("home", base_url=server.base_url), dead)
            done = await program.act(Action.PROBE)
            assert done.ok
            assert "does not take the key" in done.message
        done = await program.act(Action.PROBE, "dead")
    assert not done.ok
    assert done.message == "Backend 'dead' refused the connection. It is ready."


async def test_a_rest_that_was_asked_for_is_not_ended_by_a_probe() -> None:
    async with Fake() as server:
        home = backend("home", base_url=server.base_url)
        program = Program(home)
        outcome = failed("home", ProblemKind.RATE_LIMITED, retry_after=20)
        program.store.begin(home, program.now).settle(outcome, program.now, 5000)
        done = await program.act(Action.PROBE)
    assert (done.ok, done.availability, done.wait) == (True, Availability.RESTING, 20.0)
    assert "`reset` ends that" in done.message


async def test_the_echo_needs_no_probe() -> None:
    done = await Program(backend("echo", echo=True)).act(Action.PROBE, "echo")
    assert (done.ok, done.changed, done.probe) == (True, False, None)


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize(
    ("name", "configured", "status", "words"),
    [
        ("hom", True, 404, "no backend 'hom'. Did you mean 'home'?"),
        ("zzz", True, 404, "There are 'home', 'off'."),
        ("off", True, 409, "switched off by the configuration: `enabled: false`"),
        ("home", False, 409, "no good configuration"),
    ],
)
async def test_what_is_refused(
    name: str, configured: bool, status: int, words: str, action: Action
) -> None:
    program = Program(HOME, backend("off", enabled=False), configured=configured)
    with pytest.raises(Refused) as refused:
        await program.act(action, name)
    assert refused.value.status == status
    assert words in str(refused.value)
    assert program.availability() is READY
