"""Waiting for a place: how it ends, and that nobody pays for it who need not wait."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sidecar.dataplane.gate import Gate, Place, client_of
from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.policy.admission import Bounds, Line, Shed
from sidecar.runtime.current import Current
from sidecar.runtime.store import RuntimeStore
from tests.sidecar.dataplane.script import inbound
from tests.sidecar.examples import backend, snapshot

ONE = Bounds(in_flight=1, size=10, wait=60)
HOME = backend("home", bounds=ONE)


def at_once(asked: Coroutine[Any, Any, Shed | None]) -> Shed | None:
    """What a coroutine returns that waits for nothing; it runs without any event loop."""
    with pytest.raises(StopIteration) as end:
        asked.send(None)
    value: Shed | None = end.value.value
    return value


class Front:
    """A line whose only place is taken, and a gate before it."""

    def __init__(self, bounds: Bounds = ONE) -> None:
        self.line, self.bounds = Line(), bounds
        self.holder = self.place("holder")
        assert at_once(self.take(self.holder)) is None

    def place(self, client: str) -> Place:
        return Place(lambda: client)

    async def take(self, place: Place, patience: float = math.inf) -> Shed | None:
        return await place.take(self.line, lambda: self.bounds, patience)

    @property
    def numbers(self) -> tuple[int, int]:
        return self.line.in_flight, self.line.waiting


async def turns(fits: Callable[[], bool]) -> None:
    """Let the others run until it is so; that takes a few turns of the loop, and no time."""
    for _ in range(100):
        if fits():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


async def waiting(front: Front, group: asyncio.TaskGroup, client: str = "a", **more: Any) -> Any:
    """A task that waits for a place, and the place."""
    before, place = front.line.waiting, front.place(client)
    task = group.create_task(front.take(place, **more))
    await turns(lambda: front.line.waiting > before)
    return task, place


def test_who_need_not_wait_needs_no_event_loop() -> None:
    front = Front(Bounds(None))
    with front.place("a") as place:
        assert at_once(front.take(place)) is None
        assert at_once(front.take(place)) is None, "what is held is kept"
        assert front.numbers == (2, 0)
    assert front.numbers == (1, 0)


def test_who_finds_a_full_queue_does_not_wait_either() -> None:
    async def ask() -> None:
        front = Front(Bounds(in_flight=1, size=0))
        with front.place("a") as place:
            assert await front.take(place) is Shed.FULL
        assert front.numbers == (1, 0)

    asyncio.run(ask())


async def test_a_place_goes_to_who_waits_for_it() -> None:
    front = Front()
    async with asyncio.TaskGroup() as group:
        task, place = await waiting(front, group)
        front.holder.leave()
        assert await task is None
    assert front.numbers == (1, 0)
    place.leave()
    assert front.numbers == (0, 0)


@pytest.mark.parametrize(("wait", "patience"), [(0.01, math.inf), (60, 0.01), (60, 0), (60, -1)])
async def test_waiting_ends_with_the_queues_or_the_requests_time(
    wait: float, patience: float
) -> None:
    front = Front(Bounds(in_flight=1, size=10, wait=wait))
    assert await front.take(front.place("a"), patience) is Shed.LATE
    assert front.numbers == (1, 0)


async def test_who_is_displaced_is_told_at_once() -> None:
    front = Front(Bounds(in_flight=1, size=2, wait=60))
    async with asyncio.TaskGroup() as group:
        await waiting(front, group)
        newest, _ = await waiting(front, group)
        other = group.create_task(front.take(front.place("b")))
        assert await newest is Shed.DISPLACED
        assert front.numbers == (1, 2)
        front.line.admit(Bounds(None))
        assert await other is None


async def test_a_client_that_leaves_waits_no_more() -> None:
    front = Front()
    async with asyncio.TaskGroup() as group:
        task, _ = await waiting(front, group)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert front.numbers == (1, 0)


async def test_a_client_that_leaves_as_its_turn_comes_frees_the_place() -> None:
    front = Front()
    async with asyncio.TaskGroup() as group:
        leaving, _ = await waiting(front, group)
        staying, _ = await waiting(front, group)
        front.holder.leave()
        assert front.numbers == (1, 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await staying is None
    assert front.numbers == (1, 0)


async def test_moving_on_frees_the_place_before_the_next_is_waited_for() -> None:
    here, there = Front(), Front()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(there.take(here.holder))
        await turns(lambda: there.line.waiting == 1)
        assert here.numbers == (0, 0)
        there.holder.leave()
        assert await task is None
    assert there.numbers == (1, 0)


# --- the lines of a program -----------------------------------------------------------------------


class Program:
    def __init__(self, **changes: Any) -> None:
        self.began_on = snapshot([HOME], **changes)
        self.current, self.store = Current(self.began_on), RuntimeStore()
        self.store.reconcile(self.began_on)
        self.gate = Gate(self.store, self.current)

    def reload(self, *backends: Any) -> None:
        newer = snapshot(backends)
        self.current.swap(newer)
        self.store.reconcile(newer)

    async def ask(self, place: Place) -> str | None:
        return await self.gate.to_backend(place, HOME, math.inf)


def client(name: str) -> Callable[[], str]:
    return lambda: name


@pytest.mark.parametrize("limit", [2, None])
async def test_a_reload_that_raises_the_limit_lets_waiters_in(limit: int | None) -> None:
    program = Program()
    line = program.store.state(HOME).line
    with Place(client("a")) as first, Place(client("a")) as second:
        assert await program.ask(first) is None
        async with asyncio.TaskGroup() as group:
            task = group.create_task(program.ask(second))
            await turns(lambda: line.waiting == 1)
            program.reload(backend("home", bounds=Bounds(limit)))
            assert await task is None
        assert line.in_flight == 2
    assert line.in_flight == 0


async def test_what_began_before_a_reload_leaves_by_the_new_bounds() -> None:
    program = Program()
    line = program.store.state(HOME).line
    places = [Place(client("a")) for _ in range(4)]
    program.reload(backend("home", bounds=Bounds(2)))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(program.ask(place)) for place in places]
        await turns(lambda: line.waiting == 2)
        places[0].leave()
        assert await tasks[2] is None
        assert (line.in_flight, line.waiting) == (2, 1)
        places[1].leave()
    assert [task.result() for task in tasks] == [None] * 4


async def test_a_removed_backend_keeps_the_bounds_that_it_had() -> None:
    program = Program()
    with Place(client("a")) as first, Place(client("a")) as second:
        assert await program.ask(first) is None
        attempt = program.store.begin(HOME, 0)  # what keeps it in memory
        program.reload(backend("home", fingerprint="elsewhere"))
        assert program.store.state(HOME).draining
        assert await program.gate.to_backend(second, HOME, 0.01) == (
            "had no free place in the time that a request may wait (1 in flight, 0 waiting)"
        )
    assert attempt.key.name == "home"


async def test_the_listener_turns_away_what_is_too_much() -> None:
    program = Program()
    line = Line()

    def bounds() -> Bounds:
        return Bounds(1, 0)

    with Place(client("a")) as first, Place(client("b")) as second:
        await program.gate.to_listener(first, line, bounds, math.inf)
        with pytest.raises(RequestRefused) as refused:
            await program.gate.to_listener(second, line, bounds, math.inf)
    problem = refused.value.problem
    assert (problem.kind, problem.code, problem.retry_after) == (
        ProblemKind.UNAVAILABLE,
        "overloaded",
        5,
    )
    assert "The sidecar takes no more requests at once" in problem.message
    assert "1 in flight, 0 waiting" in problem.message


def test_a_client_is_its_key_else_its_address() -> None:
    key, other = inbound(key="sk-secret", peer="::1"), inbound(key="sk-other", peer="::1")
    assert client_of(key) == client_of(inbound(key="sk-secret", peer="10.0.0.9"))
    assert len({client_of(key), client_of(other), client_of(inbound(peer="::1"))}) == 3
    assert "secret" not in client_of(key)
    assert client_of(inbound(peer="10.0.0.9")) == "10.0.0.9"
