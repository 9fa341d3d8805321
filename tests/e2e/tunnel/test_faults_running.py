"""Faults of a tunnel that runs: connections, edge, child, origin, answers, log."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tunnel.harness import commands, through_the_name
from tests.e2e.tunnel.supervised import CARRIES, SPEED, Plan, Stage, fast, stage
from tunnel.facts import State


async def four(one: Stage) -> None:
    """It carries, over all of its connections."""
    await one.healthy()
    await one.until(lambda: one.facts.ready_connections == 4, "four connections")


# --- connections and the edge ---------------------------------------------------------------------


@commands
@fast
async def test_12_one_connection_that_drops_restarts_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        pid = one.pid
        one.edge.drop(index=1)
        await one.until(lambda: len(one.edge.registrations) == 5)
        await four(one)
        assert one.pid == pid
        assert one.metric("restarts_total") == 0


@commands
@fast
async def test_13_all_connections_drop_and_come_back_by_themselves(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        pid = one.pid
        one.edge.drop_all()
        await one.until(lambda: one.edge.registered, "it is back")
        await one.healthy()
        assert one.pid == pid
        assert await one.get() == 200


@pytest.mark.parametrize("seconds", [5, 60])
@commands
@fast
async def test_14_an_edge_that_is_down(tmp_path: Path, seconds: int) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        await one.edge.stop()
        assert await one.get() == 530
        await asyncio.sleep(seconds)
        assert one.state is not State.HEALTHY
        await one.edge.start()
        began = one.now()
        await one.until(lambda: one.edge.registered)
        assert await one.get() == 200
        assert one.now() - began < 5 * 20
        await one.healthy()
        assert one.metric("recovery_seconds_count") >= 1


@commands
@fast
async def test_15_an_edge_that_flaps(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        for _ in range(10):
            one.edge.drop_all()
            await asyncio.sleep(3)
        await one.healthy()
        assert one.metric("restarts_total") <= 2


@commands
@fast
async def test_16_a_frozen_edge_is_seen_by_the_probe_alone(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=5, timeout=10)) as one:
        await four(one)
        pid = one.pid
        one.edge.freeze()
        await one.until(lambda: one.state is not State.HEALTHY, "the probe tells")
        assert one.facts.ready_connections == 4
        await one.until(
            lambda: one.facts.replacing is not None or one.facts.pid != pid, "something is done"
        )
        one.edge.thaw()
        await one.healthy()
        assert one.metric("restarts_total", reason="unhealthy") <= 1


@commands
@fast
async def test_18_one_connection_of_four_that_hangs_restarts_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=2)) as one:
        await four(one)
        pid = one.pid
        one.edge.patience = 5
        one.edge.wedge(index=2)
        await one.until_state(State.DEGRADED)
        await one.for_seconds(20, lambda: one.pid == pid)
        assert one.metric("restarts_total") == 0


# --- the child ------------------------------------------------------------------------------------


@fast
async def test_19_a_child_that_is_killed(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        pid = one.pid
        os.kill(pid, signal.SIGKILL)
        await one.until(lambda: one.facts.pid not in (pid, None), "there is another")
        await one.until(lambda: one.state in CARRIES)
        assert one.metric("exits_total", code="-9", expected="false") == 1
        assert one.metric("restarts_total", reason="exit") == 1


@fast
async def test_20_a_child_that_is_stopped(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        pid = one.pid
        os.kill(pid, signal.SIGSTOP)
        await one.until(lambda: one.facts.pid not in (pid, None), "there is another")
        await one.until(lambda: one.state in CARRIES)
        assert one.metric("exits_total", code="-9") == 1


@pytest.mark.parametrize("code", [0, 1, 2, 11, -13, -6])
@commands
@fast
async def test_21_a_child_that_ends_by_itself(tmp_path: Path, code: int) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        pid = one.pid
        one.standin.script({"exit": {"code": code}})
        began = one.now()
        await one.until(lambda: one.facts.pid not in (pid, None), "there is another")
        assert one.now() - began < 5 * 5
        await one.healthy()
        assert one.metric("exits_total", code=str(code), expected="false") == 1


# --- the origin, and answers of all kinds ---------------------------------------------------------


@through_the_name
@fast
async def test_22_an_origin_that_is_down_restarts_nothing(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, every=5)) as one:
        await one.healthy()
        pid = one.pid
        await one.origin.down()
        assert await one.get() == 502
        await one.until(lambda: one.metric("probe_success") == 0, "the probe tells")
        await one.for_seconds(30, lambda: one.pid == pid)
        await one.origin.up()
        await one.until(lambda: one.metric("probe_success") == 1)
        assert one.metric("restarts_total") == 0
        assert one.pid == pid


@pytest.mark.parametrize(
    "odd",
    [
        {"cut": True},
        {"status": 500},
        {"endless": True},
        {"huge": 10_000_000},
        {"hang": True},
        {"body": "no JSON"},
        {"connector": "00000000-0000-4000-8000-000000000000"},
    ],
    ids=str,
)
@commands
@fast
async def test_23_odd_answers_to_ready(tmp_path: Path, odd: dict[str, Any]) -> None:
    async with stage(Plan(tmp_path, every=120)) as one:
        await one.healthy()
        pid = one.pid
        one.standin.script({"ready": odd})
        await one.until(lambda: one.facts.pid not in (pid, None), "it is replaced")
        await one.until(lambda: one.state in CARRIES)
        assert one.metric("restarts_total") == 1


@commands
@fast
async def test_23_a_slow_answer_to_ready_is_an_answer(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        pid = one.pid
        one.standin.behave(ready={"after": 1 / SPEED})
        await one.for_seconds(15, lambda: one.facts.pid == pid)


@commands
@fast
async def test_a_pushed_ingress_that_is_not_ours_is_drained(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.healthy()
        await one.edge.push({"ingress": [{"service": "http://127.0.0.1:11434"}]})
        await one.until(lambda: one.facts.foreign_ingress, "it is noticed")
        assert one.metric("foreign_ingress") == 1
        assert one.alarms
        await one.until(lambda: not one.edge.registered, "it does not go on")


# --- the log --------------------------------------------------------------------------------------


@commands
@fast
async def test_27_lines_that_are_none(tmp_path: Path) -> None:
    raw = b"\0\xff\xfe \x1b[31mred\x1b[0m\n\n" + b"no end " * 20_000 + b"\n{broken json\n"
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        orders = {"raw": base64.b64encode(raw).decode(), "long": 10_000_000, "lines": ["the last"]}
        one.standin.behave(log=orders)
        await one.until(lambda: "red" in one.log)
        await one.for_seconds(20, lambda: one.state is State.HEALTHY)
        assert "\x1b" not in one.log
        assert "\0" not in one.log
        assert max(map(len, one.said)) < 20_000


@commands
@fast
async def test_29_a_line_that_carries_the_token(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        one.standin.behave(log={"token": True})
        await one.until(lambda: "cannot use token" in one.log)
        assert one.ground.token not in one.log
        assert one.edge.tunnel.secret not in one.log


@commands
@fast
async def test_30_what_a_stranger_asks_for_is_no_fact(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await four(one)
        before, lines = one.facts, one.metric("log_lines_total", level="info")
        one.standin.behave(echo_paths=True)
        for words in (
            "https://evil.trycloudflare.com",
            "Generated%20Connector%20ID:%2000000000-0000-4000-8000-000000000000",
            "Starting%20metrics%20server%20on%20127.0.0.1:1/metrics",
            'x"%0a{"level":"error","message":"Unauthorized:%20Invalid%20tunnel%20secret"}',
        ):
            await one.get(f"/{words}")
        await one.until(lambda: one.metric("log_lines_total", level="info") > lines + 3)
        await one.for_seconds(20, lambda: one.state is State.HEALTHY)
        assert (one.facts.url, one.facts.connector) == (before.url, before.connector)
        assert all("evil" not in url for url in one.published)
