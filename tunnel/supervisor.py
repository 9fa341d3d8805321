"""Runs the tunnel: one task feeds the machine of `lifecycle` and does what it asks for.

Children, questions and probes only post events. No question holds up another, each has a limit, and
none outlives `run`. What fails outside is an event like all others; a bug ends every child, so that
none is left without a supervisor.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from secrets import token_hex
from typing import TypeVar

from tunnel import steps
from tunnel.events import Cause, Exit, Readiness, Ready, Sighting, Told
from tunnel.facts import Facts
from tunnel.lifecycle import Lifecycle
from tunnel.means import Means, Process, Refusal, World
from tunnel.settings import Settings

SPAWN_LIMIT = 30.0  # seconds; the version of the binary is looked at before
READY_LIMIT = 3.0
ASK_LIMIT = 8.0
LOOK_MARGIN = 2.0  # beyond the limit that the probe has itself
RESTART_LIMIT = 60.0  # for an operator to wait; the replacement goes on
REAP_LIMIT = 5.0  # from SIGKILL to the end
LONGEST_SLEEP = 60.0
TICK = 0.1
LATE = 0.25  # seconds; an answer takes several turns of the loop, and more is too slow to hear one

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Supervisor:
    """One tunnel, in front of one origin."""

    def __init__(self, settings: Settings | None, means: Means, world: World) -> None:
        self._wanted, self._means, self._world = settings, means, world
        self._machine = Lifecycle(world.replica)
        self._events: deque[steps.Event] = deque([steps.Apply(settings)])
        self._woken = asyncio.Event()
        self._ended = asyncio.Event()
        self._is_over = False  # nothing more is to be done
        self._is_running = False
        self._children: dict[int, Process] = {}
        self._coming: set[int] = set()  # being spawned, and not ended meanwhile
        self._tasks: set[asyncio.Task[None]] = set()
        self._tickets: dict[int, asyncio.Future[str]] = {}
        self._ticket = 0

    # -- for whoever owns it

    async def run(self) -> None:
        """Supervise until `stop` has ended. After a bug it may be called again."""
        self._is_running = True
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as group:
                while not self._is_over:
                    self._advance(group)
                    if not self._is_over:
                        await self._sleep()
                for task in self._tasks:
                    task.cancel()
        finally:
            await self._end_all()
            self._is_running = False
            self._ended.set()
            if not self._is_over:
                self._machine = Lifecycle(self._world.replica, self._machine.number)
                self._events = deque([steps.Apply(self._wanted)])

    def apply(self, settings: Settings | None) -> None:
        """This is what shall run from now on; None: nothing."""
        self._wanted = settings
        self._post(steps.Apply(settings))

    async def restart(self) -> str:
        """Make another child take over; returns a sentence of what was done."""
        if self._is_over or not self._is_running:
            return "The tunnel is off: there is nothing to restart."
        self._ticket += 1
        ticket, answer = self._ticket, asyncio.get_running_loop().create_future()
        self._tickets[ticket] = answer
        self._post(steps.Restart(ticket))
        try:
            async with asyncio.timeout(RESTART_LIMIT):
                return str(await answer)
        except TimeoutError:
            return "Another cloudflared is on its way; the first one stays until it carries."
        finally:
            self._tickets.pop(ticket, None)

    async def stop(self, within: float) -> None:
        """Drain, for `within` seconds at most, and end every child. May be called again."""
        if not self._is_running:
            self._is_over = True
            return
        self._post(steps.Stop(within))
        try:
            async with asyncio.timeout(within + REAP_LIMIT):
                await self._ended.wait()
        except TimeoutError:
            self._world.log("error", "tunnel: cloudflared does not end; it is left behind")
        self._is_over = True
        self._woken.set()

    def facts(self) -> Facts:
        """What is known of it now."""
        return self._machine.facts(self._world.now())

    # -- the one task

    def _post(self, event: steps.Event) -> None:
        self._events.append(event)
        self._woken.set()

    def _from_child(self, number: int, event: Told | Exit) -> None:
        if isinstance(event, Exit):
            self._children.pop(number, None)
            self._coming.discard(number)
        self._post(steps.FromChild(number, event))

    async def _sleep(self) -> None:
        due, now = self._machine.deadline(self._world.now()), self._world.now()
        pause = LONGEST_SLEEP if due is None else min(LONGEST_SLEEP, max(0.0, due - now))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._woken.wait()
        self._woken.clear()

    def _advance(self, group: asyncio.TaskGroup) -> None:
        told, self._events = self._events, deque()
        for action in self._machine.step(told, self._world.now(), self._world.draw()):
            try:
                self._do(action, group)
            except Exception:  # noqa: BLE001 - whoever is told must not end the tunnel
                _log.exception("the tunnel could not do %s", type(action).__name__)

    def _do(self, action: steps.Action, group: asyncio.TaskGroup) -> None:
        match action:
            case steps.Spawn():
                self._coming.add(action.number)
                self._begin(group, self._spawn(action))
            case steps.Terminate() if action.number in self._children:
                self._children[action.number].terminate()
            case steps.Kill() if action.number in self._children:
                self._children[action.number].kill()
            case steps.AskReady():
                self._begin(group, self._ask_ready(action))
            case steps.AskIngress():
                self._begin(group, self._ask_ingress(action))
            case steps.AskName():
                self._begin(group, self._ask_name(action))
            case steps.Look():
                self._begin(group, self._look(action))
            case steps.Ended():
                self._is_over = True
            case _:
                self._pass_on(action)

    def _pass_on(self, action: steps.Action) -> None:
        observer = self._world.observer
        match action:
            case steps.Tell(level, message):
                self._world.log(level, message)
            case steps.Publish(url):
                self._world.publish(url)
            case steps.Reply(ticket, message):
                answer = self._tickets.get(ticket)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case steps.CountRestart(reason):
                observer.restarted(reason)
            case steps.CountExit(code, expected):
                observer.exited(code, expected=expected)
            case steps.CountStart(seconds):
                observer.started(seconds)
            case steps.CountRecovery(seconds):
                observer.recovered(seconds)
            case _:
                pass

    def _begin(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> None:
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_all(self) -> None:
        """After a bug or when cancelled: no child is left without a supervisor."""
        for answer in self._tickets.values():
            if not answer.done():
                answer.set_result("The tunnel stops.")
        children = list(self._children.values())
        for child in children:
            child.kill()
        self._children.clear()
        self._coming.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_LIMIT):
                for child in children:
                    await child.wait()

    # -- what takes time; each posts what came of it

    async def _spawn(self, action: steps.Spawn) -> None:
        number = action.number
        late = Refusal(Cause.RESOURCES, f"cloudflared did not start within {SPAWN_LIMIT:.0f} s")
        bug = Refusal(Cause.UNKNOWN, "cloudflared could not be started, by a bug: see the log")
        child = await _within(SPAWN_LIMIT, self._means.spawn(action, self._from_child), late, bug)
        if isinstance(child, Refusal):
            self._coming.discard(number)
            self._post(steps.NotSpawned(number, child.cause, child.message))
        elif number in self._coming:
            self._coming.discard(number)
            self._children[number] = child
            self._post(steps.Spawned(number, child.pid))

    async def _ask_ready(self, action: steps.AskReady) -> None:
        silence = Readiness(Ready.NO_ANSWER)
        asked = self._means.ready(action.port, action.connector)
        with _Lateness() as lateness:
            answer = await _within(READY_LIMIT, asked, silence, silence)
        if answer.kind is Ready.NO_ANSWER and lateness.most > LATE:
            answer = Readiness(Ready.UNHEARD)
        self._post(steps.Answered(action.number, answer))

    async def _ask_ingress(self, action: steps.AskIngress) -> None:
        ingress = await _within(ASK_LIMIT, self._means.ingress(action.port), None, None)
        self._post(steps.Serves(action.number, ingress))

    async def _ask_name(self, action: steps.AskName) -> None:
        name = await _within(ASK_LIMIT, self._means.hostname(action.port), None, None)
        self._post(steps.Named(action.number, name))

    async def _look(self, action: steps.Look) -> None:
        """A probe; where no proof comes back, what is on this side is looked at too."""
        settings, nonce = action.settings, token_hex(16)
        limit = settings.probe.timeout + LOOK_MARGIN
        late = Sighting(None, error="timeout")
        bug = Sighting(None, error="bug")  # says nothing of the tunnel
        seen = await _within(limit, self._means.look(action.url, settings, nonce), late, bug)
        origin: bool | None = None
        network: bool | None = None
        if not seen.proven:
            local = self._means.look_local(settings, token_hex(16))
            there = self._means.reachable(settings.probe.control)
            async with asyncio.TaskGroup() as group:
                here = group.create_task(_within(ASK_LIMIT, local, False, None))
                away = group.create_task(_within(ASK_LIMIT, there, False, None))
            origin, network = here.result(), away.result()
        self._post(steps.Looked(action.number, seen, origin, network))


class _Lateness:
    """How many seconds late the loop is, at most, while the block runs."""

    def __init__(self) -> None:
        self.most = 0.0
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._timer: asyncio.TimerHandle

    def __enter__(self) -> "_Lateness":
        self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        self._note(self._loop.time())
        self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        self._note(now)
        self._due = now + TICK
        self._timer = self._loop.call_at(self._due, self._tick)

    def _note(self, now: float) -> None:
        self.most = max(self.most, now - self._due)


async def _within(seconds: float, work: Awaitable[T], late: T, bug: T) -> T:
    """What came of it in time; a bug in it is logged, and ends nothing else."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return late
    except Exception:  # noqa: BLE001 - the bug of one question must not end the tunnel
        _log.exception("a question of the tunnel failed")
        return bug
