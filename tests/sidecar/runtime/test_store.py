"""What attempts and reloads do to the memory of a backend."""

import pytest

from sidecar.config.snapshot import Backend
from sidecar.neutral.problem import ProblemKind
from sidecar.policy.admission import Bounds, Ticket
from sidecar.policy.availability import Availability
from sidecar.policy.outcome import Outcome
from sidecar.runtime.store import PROBATION_LOOK, BackendKey, RuntimeStore
from sidecar.wire.contract import ModelEntry
from tests.sidecar.examples import backend, bearer, failed, route, snapshot, succeeded

HOME = backend("home")
K = ProblemKind


def store_with(*backends: object) -> RuntimeStore:
    store = RuntimeStore()
    store.reconcile(snapshot(backends or (HOME,)))  # type: ignore[arg-type]
    return store


def rest_of(store: RuntimeStore, now: float, of: Backend = HOME) -> float:
    return store.standing(of, "m", now).wait


def settle(store: RuntimeStore, outcome: Outcome, now: float = 0.0) -> None:
    store.begin(HOME, now).settle(outcome, now, wall=1000 + now)


def test_an_attempt_is_in_flight_until_it_is_settled() -> None:
    store = store_with()
    first, second = store.begin(HOME, 0), store.begin(HOME, 0)
    assert store.state(HOME).in_flight == 2
    assert first.settle(succeeded("home"), 1, 1) is False
    second.settle(failed("home", K.TIMEOUT), 1, 1)
    assert store.state(HOME).in_flight == 0


def test_settling_twice_is_a_bug() -> None:
    attempt = store_with().begin(HOME, 0)
    attempt.settle(succeeded("home"), 0, 0)
    with pytest.raises(RuntimeError, match="'home' was settled twice"):
        attempt.settle(succeeded("home"), 0, 0)


@pytest.mark.parametrize(
    ("kind", "counted", "in_row"),
    [
        (K.CONNECT, 1, 1),
        (K.BACKEND_ERROR, 1, 1),
        (K.TRUNCATED, 1, 1),
        (K.RATE_LIMITED, 1, 0),
        (K.BACKEND_AUTH, 1, 0),
        (K.BAD_REQUEST, 0, 0),
        (K.CLIENT_AUTH, 0, 0),
        (K.CLIENT_GONE, 0, 0),
        (K.INTERNAL, 0, 0),
        (K.SHUTDOWN, 0, 0),
    ],
)
def test_what_counts_against_a_backend(kind: ProblemKind, counted: int, in_row: int) -> None:
    store = store_with()
    settle(store, failed("home", kind), now=7)
    state = store.state(HOME)
    assert (state.failed, state.failed_in_row, len(store.faults)) == (counted, in_row, counted)
    if counted:
        assert state.last_fault == store.faults[0]
        assert (store.faults[0].at, store.faults[0].kind) == (1007, kind)


def test_three_failures_in_a_row_speak_against_it_and_a_success_for_it() -> None:
    store = store_with()
    for _ in range(2):
        settle(store, failed("home", K.TIMEOUT))
    assert store.state(HOME).is_up
    settle(store, failed("home", K.BAD_REQUEST))
    assert store.state(HOME).is_up
    settle(store, failed("home", K.TIMEOUT))
    assert not store.state(HOME).is_up
    settle(store, succeeded("home"), now=5)
    state = store.state(HOME)
    assert (state.is_up, state.ok, state.last_success) == (True, 1, 1005)


@pytest.mark.parametrize(
    ("kind", "retry_after", "rest"),
    [
        (K.RATE_LIMITED, None, 5),
        (K.RATE_LIMITED, 30, 30),
        (K.RATE_LIMITED, 9999, 300),
        (K.OVERLOADED, 12, 12),
        (K.OVERLOADED, None, 0),
        (K.TIMEOUT, None, 0),
    ],
)
def test_who_asks_for_time_rests(kind: ProblemKind, retry_after: float | None, rest: float) -> None:
    store = store_with()
    settle(store, failed("home", kind, retry_after=retry_after), now=100)
    assert rest_of(store, 100) == rest
    expected = Availability.RESTING if rest else Availability.READY
    assert store.availability(HOME, 100) is expected
    assert store.availability(HOME, 100 + rest) is Availability.READY


def test_the_longer_rest_holds() -> None:
    store = store_with()
    settle(store, failed("home", K.RATE_LIMITED, retry_after=30), now=0)
    settle(store, failed("home", K.RATE_LIMITED), now=1)
    assert rest_of(store, 1) == 29


def test_only_a_success_that_began_after_the_rest_ends_it() -> None:
    store = store_with()
    older = store.begin(HOME, 0)
    settle(store, failed("home", K.RATE_LIMITED, retry_after=30), now=1)
    older.settle(succeeded("home"), 2, 2)
    assert rest_of(store, 2) == 29
    settle(store, succeeded("home"), now=3)
    assert rest_of(store, 3) == 0


def test_after_a_rest_one_trial_goes_first() -> None:
    store = store_with()
    settle(store, failed("home", K.RATE_LIMITED), now=0)
    assert rest_of(store, 5) == 0, "the rest is over"
    trial = store.begin(HOME, 5)
    assert rest_of(store, 5) == PROBATION_LOOK, "the others look again soon"
    trial.was_taken()
    assert rest_of(store, 5) == 0, "it was taken: all may come, however long it lasts"


def test_a_trial_that_is_refused_begins_a_new_rest() -> None:
    store = store_with()
    settle(store, failed("home", K.RATE_LIMITED), now=0)
    settle(store, failed("home", K.RATE_LIMITED), now=6)
    assert rest_of(store, 6) == 5
    settle(store, failed("home", K.CLIENT_GONE), now=12)
    assert rest_of(store, 12) == 0, "a trial that its client left lets the next one try"


def test_latency_is_of_the_latest_successes() -> None:
    store = store_with()
    assert store.state(HOME).latency() is None
    for duration in range(1, 601):
        settle(store, succeeded("home", duration=float(duration)))
    settle(store, failed("home", K.TIMEOUT, duration=99999.0))
    latency = store.state(HOME).latency()
    assert latency is not None
    assert (latency.count, latency.shortest, latency.longest) == (512, 89, 600)
    assert latency.mean == pytest.approx(344.5)
    assert latency.p95 == 575


def test_the_last_faults_are_kept() -> None:
    store = store_with()
    for now in range(30):
        settle(store, failed("home", K.TIMEOUT), now=now)
    assert [fault.at for fault in store.faults] == [1000 + now for now in range(10, 30)]


def test_a_disabled_backend_is_disabled_even_while_it_rests() -> None:
    off = backend("home", enabled=False)
    assert store_with(off).availability(off, 0) is Availability.DISABLED


def test_the_view_of_a_backend_holds_its_catalogue() -> None:
    store, seen = store_with(), snapshot([HOME])
    assert store.view(seen, "home").listed is None
    store.learn_models(HOME, [ModelEntry("Llama", context=8192), ModelEntry("qwen")])
    view = store.view(seen, "home")
    assert view.listed == {"llama": "Llama", "qwen": "qwen"}
    assert view.context == {"Llama": 8192}


def test_a_model_is_known_with_and_without_the_tag_that_is_the_default() -> None:
    store, seen = RuntimeStore(), snapshot([HOME])
    store.reconcile(seen)
    store.learn_models(HOME, [ModelEntry("Llama:latest", context=8192), ModelEntry("qwen:4b")])
    view = store.view(seen, "home")
    assert view.listed == {
        "llama": "Llama:latest", "llama:latest": "Llama:latest", "qwen:4b": "qwen:4b",
    }  # fmt: skip
    assert view.context == {"Llama": 8192, "Llama:latest": 8192}


def test_the_file_is_right_about_a_context() -> None:
    told = backend("home", context={"Llama": 4096})
    store, seen = RuntimeStore(), snapshot([told])
    store.reconcile(seen)
    store.learn_models(told, [ModelEntry("Llama", context=8192), ModelEntry("qwen", context=1)])
    assert store.view(seen, "home").context == {"Llama": 4096, "qwen": 1}


def test_requests_are_counted_by_route() -> None:
    store = store_with()
    with store.request("chat"), store.request("chat"):
        assert store.in_flight["chat"] == 2
    assert not store.in_flight


class TestReconcile:
    def test_an_unchanged_backend_keeps_everything(self) -> None:
        store = store_with()
        settle(store, failed("home", K.RATE_LIMITED), now=0)
        before = store.state(HOME)
        changed = backend("home", model="another", timeouts=None)
        assert store.reconcile(snapshot([changed, backend("new")], [route("r", "home")])) == ()
        assert store.state(changed) is before
        assert rest_of(store, 1, changed) == 4

    def test_another_target_of_the_same_name_begins_anew(self) -> None:
        store = store_with()
        settle(store, failed("home", K.RATE_LIMITED), now=0)
        moved = backend("home", fingerprint="elsewhere")
        assert store.reconcile(snapshot([moved])) == (BackendKey("home", "of home"),)
        assert store.availability(moved, 0) is Availability.READY

    def test_a_removed_backend_goes_with_its_last_attempt(self) -> None:
        store = store_with()
        first, second = store.begin(HOME, 0), store.begin(HOME, 0)
        assert store.reconcile(snapshot([])) == ()
        assert store.availability(HOME, 0) is Availability.DRAINING
        assert first.settle(succeeded("home"), 1, 1) is False
        assert store.state(HOME).ok == 1
        assert second.settle(succeeded("home"), 1, 1) is True
        assert store.state(HOME).ok == 0

    def test_a_removed_backend_may_come_back_before_it_has_drained(self) -> None:
        store = store_with()
        attempt = store.begin(HOME, 0)
        store.reconcile(snapshot([]))
        store.reconcile(snapshot([HOME]))
        assert store.availability(HOME, 0) is Availability.READY
        assert attempt.settle(succeeded("home"), 1, 1) is False
        assert store.state(HOME).ok == 1

    def test_an_older_request_may_still_come_to_a_removed_backend(self) -> None:
        store = store_with()
        store.reconcile(snapshot([]))
        assert store.begin(HOME, 0).settle(succeeded("home"), 1, 1) is True

    def test_a_new_key_clears_the_rest(self) -> None:
        old, new = backend("home", auth=bearer("one")), backend("home", auth=bearer("two"))
        store = store_with(old)
        settle(store, failed("home", K.RATE_LIMITED, retry_after=60), now=0)
        store.reconcile(snapshot([old]))
        assert rest_of(store, 0, old) == 60
        store.reconcile(snapshot([new]))
        assert rest_of(store, 0, new) == 0

    def test_a_line_is_kept_and_new_bounds_let_waiters_in(self) -> None:
        narrow = backend("home", bounds=Bounds(in_flight=1, size=1))
        store, woken = store_with(narrow), []
        for line in (store.state(narrow).line, store.line):
            assert line.enter(narrow.bounds)
            assert line.join(Ticket("a", lambda: woken.append("in")), narrow.bounds)
        assert store.availability(narrow, 0) is Availability.FULL
        wide = backend("home", bounds=Bounds(in_flight=2))
        store.reconcile(snapshot([wide]))
        assert woken == ["in", "in"]
        assert store.state(wide).line.in_flight == store.line.in_flight == 2
        assert store.availability(wide, 0) is Availability.READY
