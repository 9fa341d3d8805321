"""The supervisor with scripted children: what it tells, that nothing holds it up, that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.tunnel.play import PLAIN, QUICK, UNPROBED, URL
from tests.tunnel.staging import Scripted, Stage
from tests.tunnel.timeless import Timeless, play
from tunnel.events import Cause, Exit, Ready, Sighting
from tunnel.facts import State
from tunnel.means import Refusal

S = State


def test_up_and_down() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one:
            facts = await stage.until(one, S.HEALTHY)
            assert (facts.pid, facts.connector, facts.url) == (101, "connector-1", URL)
            assert (facts.protocol, facts.ready_connections, facts.probe) == ("quic", 4, "carried")
            assert facts.started == pytest.approx(1000.0)
            assert stage.published == [URL]
            assert len(stage.counts.of("started")) == 1
        assert one.facts().state is S.DISABLED
        assert stage.kids[1].signals == ["TERM"]
        assert stage.counts.of("exited") == [(0, True)]
        assert stage.words("error") == stage.words("warning") == []

    play(work())


def test_a_child_that_is_killed_is_replaced_within_a_second() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            stage.kids[1].end(Exit(-9, Cause.UNKNOWN))
            await stage.until(one, S.BACKOFF, 1)
            facts = await stage.until(one, S.HEALTHY, 2)
            assert (facts.restarts, facts.pid) == (1, 102)
            assert stage.counts.of("exited") == [(-9, False)]
            assert stage.counts.of("restarted") == ["exit"]
            (seconds,) = stage.counts.of("recovered")
            assert seconds == pytest.approx(0.77, abs=0.1)
            assert len(stage.words("warning")) == 1

    play(work())


@pytest.mark.parametrize("what", ["ready", "ingress", "look", "look here"])
def test_no_question_holds_up_another(what: str) -> None:
    async def work() -> None:
        stage = Stage(slow={what: 1e5})
        async with stage.running(UNPROBED if what == "ingress" else PLAIN) as one:
            await asyncio.sleep(2)
            began = asyncio.get_running_loop().time()
            one.apply(None)
            await stage.until(one, S.DISABLED, 1)
            assert asyncio.get_running_loop().time() - began < 0.5

    play(work())


def test_a_child_that_answers_nothing_is_ended_by_force() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            stage.kids[1].drains = None
            stage.slow["ready"] = 1e5
            await stage.until(one, S.DRAINING, 15)
            stage.slow.clear()
            await stage.until(one, S.HEALTHY, 10)
            assert stage.kids[1].signals == ["TERM", "KILL"]
            assert stage.counts.of("restarted") == ["unhealthy"]

    play(work())


def test_a_child_is_not_ended_for_what_this_process_was_too_slow_to_hear() -> None:
    async def work() -> None:
        stage = Stage()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Timeless)
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            stage.slow["ready"] = 1e5
            for _ in range(100):
                await asyncio.sleep(0.4)
                loop.stall(0.4)
            assert stage.kids[1].signals == []
            await stage.until(one, S.DRAINING, 15)
            stage.slow.clear()

    play(work())


@pytest.mark.parametrize("what", ["ready", "ingress", "look", "spawn", "look here", "reachable"])
def test_a_bug_in_a_question_ends_nothing(what: str) -> None:
    async def work() -> None:
        stage = Stage(faults={what: ValueError("a bug")})
        if what in ("look here", "reachable"):
            stage.see = lambda _: Sighting(530)
        async with stage.running(PLAIN) as one:
            await asyncio.sleep(30)
            stage.faults.clear()
            stage.see = None
            await stage.until(one, S.HEALTHY, 60)

    play(work())


def test_a_bug_in_a_probe_restarts_nothing() -> None:
    async def work() -> None:
        stage = Stage(faults={"look": ValueError("a bug")})
        async with stage.running(PLAIN) as one:
            await asyncio.sleep(600)
            assert (one.facts().state, one.facts().probe, len(stage.kids)) == (S.UP, "network", 1)

    play(work())


def test_whoever_is_told_may_fail() -> None:
    async def work() -> None:
        stage = Stage()
        stage.published = None  # type: ignore[assignment] # append fails
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)

    play(work())


def test_this_side_is_looked_at_only_where_no_proof_comes() -> None:
    async def work() -> None:
        stage = Stage()
        settings = replace(PLAIN, probe=replace(PLAIN.probe, control=("https://example.com",)))
        async with stage.running(settings) as one:
            await stage.until(one, S.HEALTHY)
            await asyncio.sleep(100)
            assert (stage.looked_here, stage.asked_controls) == (0, [])
            stage.see = lambda _: Sighting(502)
            await stage.until(one, S.SUSPECT, 100)
            assert stage.looked_here == len(stage.asked_controls) >= 4
            assert stage.asked_controls[0] == ("https://example.com",)
            assert all(len(nonce) == 32 for nonce in stage.nonces)
            assert len(set(stage.nonces)) == len(stage.nonces)

    play(work())


def test_restart_replaces_before_it_ends() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            said = await one.restart()
            assert said == "Another cloudflared has taken over."
            assert one.facts().connector == "connector-2"
            assert stage.counts.of("restarted") == ["operator"]
            assert stage.counts.of("recovered") == []

    play(work())


def test_restart_waits_no_longer_than_an_operator() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            stage.shape = lambda kid: setattr(kid, "ready", Ready.NOT_READY)
            began = asyncio.get_running_loop().time()
            said = await one.restart()
            assert "on its way" in said
            assert asyncio.get_running_loop().time() - began == pytest.approx(60, abs=1)
            assert one.facts().replacing is S.CONNECTING
            assert one.facts().state is S.HEALTHY

    play(work())


def test_restart_of_a_quick_tunnel_says_that_the_name_changes() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(QUICK) as one:
            await stage.until(one, S.HEALTHY)
            assert "public name changes" in await one.restart()
            await stage.until(one, S.HEALTHY, 30)

    play(work())


def test_restart_of_what_is_off() -> None:
    async def work() -> None:
        stage = Stage()
        one = stage.supervisor(PLAIN)
        assert "nothing to restart" in await one.restart()
        async with stage.running(None) as two:
            assert "nothing to restart" in await two.restart()

    play(work())


def test_stop_answers_an_operator_who_waits() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(PLAIN) as one, asyncio.TaskGroup() as group:
            await stage.until(one, S.HEALTHY)
            waiting = group.create_task(one.restart())
            await asyncio.sleep(1)
            await one.stop(10)
            assert await waiting == "The tunnel stops."

    play(work())


def test_new_settings_take_over_and_none_switch_off() -> None:
    async def work() -> None:
        stage = Stage()
        async with stage.running(None) as one:
            assert one.facts().state is S.DISABLED
            one.apply(PLAIN)
            await stage.until(one, S.HEALTHY, 1)
            one.apply(replace(PLAIN, secret="two"))
            await asyncio.sleep(7)
            assert (one.facts().connector, one.facts().state) == ("connector-2", S.HEALTHY)
            one.apply(None)
            await stage.until(one, S.DISABLED, 1)
            assert stage.counts.of("restarted") == ["config"]

    play(work())


def test_another_supervisor_is_told_apart() -> None:
    async def work() -> None:
        stage = Stage()
        stage.see = lambda _: Sighting(200, proven=True, connector="x", replica="them")
        async with stage.running(PLAIN) as one:
            await asyncio.sleep(100)
            assert (one.facts().others, one.facts().state) == (("them",), S.UP)
            assert len([line for line in stage.words("warning") if "them" in line]) == 1

    play(work())


# --- stop -------------------------------------------------------------------------------------


async def _while_spawning(stage: Stage) -> None:
    stage.slow["spawn"] = 3


async def _while_it_hangs(stage: Stage) -> None:
    stage.shape = lambda kid: setattr(kid, "drains", None)


async def _in_back_off(stage: Stage) -> None:
    stage.refusal = Refusal(Cause.RESOURCES, "no process is left")


async def _parked(stage: Stage) -> None:
    stage.refusal = Refusal(Cause.BINARY, "there is no cloudflared")


async def _replacing(stage: Stage) -> None:
    stage.shape = lambda kid: setattr(
        kid, "ready", Ready.READY if kid.number == 1 else Ready.NOT_READY
    )


@pytest.mark.parametrize(
    "arrange", [_while_spawning, _while_it_hangs, _in_back_off, _parked, _replacing]
)
@pytest.mark.parametrize("twice", [False, True])
def test_stop_ends_every_child(arrange: Callable[[Stage], Awaitable[None]], twice: bool) -> None:
    async def work() -> None:
        stage = Stage()
        await arrange(stage)
        async with stage.running(PLAIN) as one:
            await asyncio.sleep(1)
            if arrange is _replacing:
                one.apply(replace(PLAIN, secret="two"))
                await asyncio.sleep(1)
                assert len(stage.kids) == 2
            began = asyncio.get_running_loop().time()
            if twice:
                async with asyncio.TaskGroup() as group:
                    group.create_task(one.stop(10))
                    group.create_task(one.stop(10))
            else:
                await one.stop(10)
            assert asyncio.get_running_loop().time() - began <= 10.5
            assert one.facts().state is S.DISABLED
            assert one.facts().next_start is None
            if arrange is _while_it_hangs:
                assert stage.kids[1].signals == ["TERM", "KILL"]

    play(work())


def test_one_that_outlives_sigkill_is_left_behind_and_told() -> None:
    async def work() -> None:
        stage = Stage()

        def immortal(kid: Scripted) -> None:
            kid.drains, kid.dies_of_kill = None, False

        stage.shape = immortal
        async with stage.running(PLAIN) as one:
            await stage.until(one, S.HEALTHY)
            await one.stop(10)
            assert any("left behind" in line for line in stage.words("error"))
            stage.kids[1].end(Exit(-9, Cause.ASKED))

    play(work())


def test_stop_before_it_ran() -> None:
    async def work() -> None:
        stage = Stage()
        one = stage.supervisor(PLAIN)
        await one.stop(10)
        await one.run()
        assert stage.kids == {}

    play(work())


def test_cancelled_it_leaves_no_child() -> None:
    async def work() -> None:
        stage = Stage()
        one = stage.supervisor(PLAIN)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.run())
            await asyncio.sleep(1)
            task.cancel()
        assert stage.kids[1].signals == ["KILL"]
        await one.stop(10)

    play(work())


def test_after_a_bug_it_leaves_no_child_and_can_run_again() -> None:
    async def work() -> None:
        stage = Stage()
        one = stage.supervisor(PLAIN)

        def broken() -> float:
            raise ArithmeticError("no chance")

        async with asyncio.TaskGroup() as group:
            first = group.create_task(_failing(one.run()))
            await stage.until(one, S.HEALTHY)
            stage.draw = broken
            await first
            assert stage.kids[1].signals == ["KILL"]
            stage.draw = lambda: 0.5
            group.create_task(one.run())
            await stage.until(one, S.HEALTHY)
            assert one.facts().pid == 102
            await one.stop(10)

    async def _failing(run: Awaitable[None]) -> None:
        with pytest.RaisesGroup(ArithmeticError):
            await run

    play(work())


def test_a_thousand_ends_leave_nothing_behind() -> None:
    async def work() -> None:
        stage = Stage()
        tasks = []
        async with stage.running(PLAIN) as one:
            for number in range(1, 1001):
                while number not in stage.kids:  # noqa: ASYNC110 - no real time passes
                    await asyncio.sleep(0.5)
                stage.kids.pop(number - 1, None)
                stage.kids[number].end(Exit(1, Cause.EDGE))
                tasks.append(len(asyncio.all_tasks()))
            assert max(tasks) <= 6
            assert one.facts().restarts == 999
            stage.counts.told.clear()
            await stage.until(one, S.HEALTHY, 60)

    play(work())
