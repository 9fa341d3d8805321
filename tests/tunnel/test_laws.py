"""What holds whatever happens: one SIGTERM, no child forgotten, no storm, no harm to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.tunnel.play import LOST, ORIGIN, PLAIN, QUICK, REFUSED, UNPROBED, Kid, Play, proof
from tunnel import steps
from tunnel.events import Cause, ConfigPushed, Exit, Lost, QuicFailed, Ready, Sighting, Told
from tunnel.facts import Facts, State
from tunnel.settings import Settings

CARRYING = (State.UP, State.HEALTHY, State.DEGRADED)
FOREIGN = ("ssh://localhost:22",)
SETTINGS = [
    None,
    PLAIN,
    replace(PLAIN, secret="two"),
    replace(PLAIN, protocol="http2"),
    replace(PLAIN, open=True),
    UNPROBED,
    QUICK,
    replace(QUICK, protocol="http2"),
]
ENDS = [
    Exit(0, Cause.UNKNOWN),
    Exit(0, Cause.FLAGS),
    Exit(1, Cause.EDGE),
    Exit(1, Cause.DNS),
    Exit(1, Cause.CONFIG),
    Exit(1, Cause.QUICK_LIMITED),
    Exit(11, Cause.UPDATED),
    Exit(255, Cause.CREDENTIAL),
    Exit(-9, Cause.UNKNOWN),
]
SIGHTINGS = [LOST, Sighting(502), Sighting(403), Sighting(None, error="dns"), proof("x", "them")]
WORDS = [REFUSED, QuicFailed(), Lost(), ConfigPushed()]


class Watched(Play):
    """Looks at every step."""

    asked = 0  # times that somebody else decided on a child

    def watch(
        self, told: Sequence[steps.Event], before: Facts, actions: Sequence[steps.Action]
    ) -> None:
        outside = any(isinstance(one, steps.Apply | steps.Restart | steps.Stop) for one in told)
        self.asked += outside
        ended = [one.number for one in actions if isinstance(one, steps.Terminate)]
        spawned = [one for one in actions if isinstance(one, steps.Spawn)]
        if before.next_start is not None and before.next_start > self.now and not outside:
            assert not spawned, "it starts before its pause is over"
        first = before.pid - 100 if before.pid is not None else 0
        numbers = {getattr(one, "number", first) for one in told}
        if before.state in CARRYING and first in ended and not outside and numbers != {first}:
            assert self.state() in CARRYING, "somebody else's failure touched it"
        for number in ended:
            assert "TERM" not in [one for one, _ in self.kids[number].signals]


class Lives(RuleBasedStateMachine):
    """Anything may happen at any moment."""

    play: Watched
    shape: dict[str, object]

    @initialize(draw=st.floats(0, 0.999), given=st.sampled_from(SETTINGS))
    def begin(self, draw: float, given: Settings | None) -> None:
        self.play, self.shape = Watched(draw=draw), {}
        self.began, self.tickets = self.play.now, 0

        def breed(kid: Kid) -> None:
            for name, value in self.shape.items():
                setattr(kid, name, value)

        self.play.breed = breed
        self.wanted = given
        self.play.feed(steps.Apply(given))

    @rule(seconds=st.sampled_from([0.3, 1.1, 3.7, 11.0, 31.0, 71.0, 310.0]))
    def wait(self, seconds: float) -> None:
        self.play.wait(seconds)

    @rule(given=st.sampled_from(SETTINGS))
    def apply(self, given: Settings | None) -> None:
        self.wanted = given
        self.play.feed(steps.Apply(given))

    @rule()
    def restart(self) -> None:
        self.tickets += 1
        self.play.feed(steps.Restart(self.tickets))

    @rule(
        shape=st.fixed_dictionaries(
            {},
            optional={
                "boots": st.booleans(),
                "ready": st.sampled_from(Ready),
                "connections": st.sampled_from([1, 4]),
                "obeys": st.booleans(),
                "dies": st.sampled_from([None, *ENDS]),
                "services": st.sampled_from([(ORIGIN,), FOREIGN]),
            },
        )
    )
    def breed(self, shape: dict[str, object]) -> None:
        self.shape = shape

    @rule(spawns=st.booleans())
    def refuse(self, spawns: bool) -> None:
        self.play.spawns = spawns

    @rule(which=st.integers(0, 1), end=st.sampled_from(ENDS))
    def end(self, which: int, end: Exit) -> None:
        if kid := self._pick(which):
            kid.ended = True
            self.play.tell(kid.number, end)

    @rule(which=st.integers(0, 1), ready=st.sampled_from(Ready), count=st.integers(1, 4))
    def change(self, which: int, ready: Ready, count: int) -> None:
        if kid := self._pick(which):
            kid.ready, kid.connections = ready, count

    @rule(which=st.integers(0, 1), words=st.sampled_from(WORDS))
    def tell(self, which: int, words: Told) -> None:
        if kid := self._pick(which):
            self.play.tell(kid.number, words)

    @rule(which=st.integers(0, 1))
    def push(self, which: int) -> None:
        if kid := self._pick(which):
            kid.services = FOREIGN

    @rule(
        seen=st.sampled_from([None, *SIGHTINGS]),
        origin=st.sampled_from([True, False]),
        network=st.sampled_from([True, False, None]),
    )
    def see(self, seen: Sighting | None, origin: bool, network: bool | None) -> None:
        play = self.play
        play.see = lambda look: seen or proof(play.kids[look.number].connector)
        play.origin, play.network = origin, network

    def _pick(self, which: int) -> Kid | None:
        alive = self.play.alive
        return self.play.kids[alive[which % len(alive)]] if alive else None

    @invariant()
    def at_most_two_run(self) -> None:
        assert len(self.play.alive) <= 2

    @invariant()
    def it_never_storms(self) -> None:
        elapsed = self.play.now - self.began
        assert len(self.play.kids) <= 12 + 6 * self.play.asked + elapsed / 10

    @invariant()
    def it_never_gives_up(self) -> None:
        facts, due = self.play.facts, self.play.machine.deadline(self.play.now)
        assert facts.state is State.DISABLED or due is not None
        assert facts.state in CARRYING or due is None or due <= self.play.now + 300

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        play = self.play
        play.feed(steps.Stop(10))
        play.wait(10)
        assert play.alive == [], "a child was forgotten"
        assert (play.state(), play.machine.deadline(play.now)) == (State.DISABLED, None)
        answered = [action.ticket for _, action in play.done if isinstance(action, steps.Reply)]
        assert sorted(answered) == list(range(1, self.tickets + 1))


class Recovering(Lives):
    """However bad it was: once all is well again, the tunnel carries within its longest pause."""

    def teardown(self) -> None:
        if not hasattr(self, "play"):
            return
        play, self.shape = self.play, {}
        play.spawns, play.origin, play.network = True, True, True
        play.see = lambda look: proof(play.kids[look.number].connector)
        for number in play.alive:
            kid = play.kids[number]
            kid.obeys, kid.services, kid.connections = True, (ORIGIN,), 4
            kid.ready = Ready.READY if kid.boots else kid.ready
        play.wait(301 + 61 + 150 + 90)
        assert self.wanted is None or play.state() in CARRYING
        super().teardown()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=30)
TestRecovering = Recovering.TestCase
TestRecovering.settings = settings(max_examples=40, stateful_step_count=20)
