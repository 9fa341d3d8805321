"""Faults of a tunnel that starts: binary, flags, token, names, port, registration, quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.tunnel.harness import Ground, commands
from tests.e2e.tunnel.supervised import CARRIES, SPEED, Plan, fast, stage
from tests.fakes.cloudflared.links import UNAUTHORIZED, Door, Refuse
from tests.fakes.cloudflared.quick_service import Mood
from tunnel.facts import State

HELP = "Incorrect Usage: flag provided but not defined: -no-such\n\nNAME:\n   cloudflared tunnel\n"


def ordered(**orders: Any) -> Callable[[Ground], None]:
    """The stand-in obeys this from the beginning."""
    return lambda ground: ground.inside.standin.behave(**orders)


def scripted(*starts: dict[str, Any]) -> Callable[[Ground], None]:
    """The first starts are so, and all later ones well."""
    return lambda ground: ground.inside.standin.script(*starts)


def closed(door: Door) -> Callable[[Ground], None]:
    """Registrations meet this from the beginning."""

    def close(ground: Ground) -> None:
        ground.inside.edge.door = door

    return close


def empty_file(folder: Path) -> Path:
    return folder / "absent"


def no_program(folder: Path) -> Path:
    path = folder / "cloudflared"
    path.write_text("#!/bin/sh\n", encoding="ascii")
    path.chmod(0o600)
    return path


def other_machine(folder: Path) -> Path:
    path = folder / "cloudflared"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(100))
    path.chmod(0o755)
    return path


def garbage(folder: Path) -> Path:
    path = folder / "cloudflared"
    path.write_text("#!/bin/sh\necho nothing that one could read\n", encoding="ascii")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("make", [empty_file, no_program, other_machine, garbage])
@fast
async def test_01_a_binary_that_is_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    binary = make(tmp_path)
    async with stage(Plan(tmp_path, binary=str(binary))) as one:
        await one.until_state(State.PARKED)
        assert str(binary) in one.facts.why or str(binary) in one.log
        assert one.metric("state", state="parked") == 1
        await one.for_seconds(20, lambda: one.state is State.PARKED)
        # it is put right, and the next configuration is tried at once
        one.apply(binary=str(one.ground.binary))
        await one.until(lambda: one.state in CARRIES)


@commands
@fast
async def test_02_help_and_exit_0_is_no_success(tmp_path: Path) -> None:
    before = ordered(exit={"code": 0, "stdout": HELP})
    async with stage(Plan(tmp_path, before)) as one:
        await one.until_state(State.PARKED)
        assert 1 <= len(one.standin.starts) <= 3
        assert one.metric("exits_total", code="0", expected="false") == len(one.standin.starts)


@commands
@fast
async def test_02_flags_that_an_older_one_lacks_are_left_out(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, ordered(unknown_flags=["max-edge-addr-retries"]))) as one:
        await one.healthy()
        assert len(one.standin.starts) == 2
        assert "--max-edge-addr-retries" not in one.standin.starts[-1]["argv"]


@commands
@fast
async def test_03_a_token_that_is_none_parks_until_it_changes(tmp_path: Path) -> None:
    def spoil(ground: Ground) -> None:
        ground.inside.standin.script({"exit": {"code": 255, "stderr": "not valid.\n"}})

    async with stage(Plan(tmp_path, spoil)) as one:
        await one.until_state(State.PARKED)
        await one.for_seconds(15, lambda: len(one.standin.starts) == 1)
        one.apply(secret=one.ground.rotate().token)
        began = one.now()
        await one.healthy()
        assert one.now() - began < 60, "at once, and not when the pause is over"


@commands
@fast
async def test_04_names_that_do_not_resolve_at_boot(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, scripted({"dns": "down"}, {"dns": "down"}))) as one:
        await one.healthy()
        assert len(one.standin.starts) == 3
        assert one.metric("exits_total", code="1", expected="false") == 2
        assert one.metric("state", state="parked") == 0


@commands
@fast
async def test_05_names_that_resolve_slowly(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, ordered(dns_takes=60 / SPEED))) as one:
        await one.until_state(State.STARTING)
        await one.healthy()
        assert len(one.standin.starts) == 1
        assert one.metric("restarts_total") == 0


@commands
@fast
async def test_06_another_server_at_the_metrics_port(tmp_path: Path) -> None:
    body = (
        b'{"status":200,"readyConnections":4,"connectorId":"6d0b2f63-3b45-4d6c-9a7e-1f0f7c3f2a11"}'
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def lead_astray(ground: Ground) -> None:
        ground.inside.edge.door = "silent"
        ground.inside.standin.behave(told_port=port)

    async with server, stage(Plan(tmp_path, lead_astray, every=2)) as one:
        await one.until_state(State.CONNECTING)
        await one.for_seconds(15, lambda: one.state not in CARRIES)
        assert one.metric("up") == 0


@commands
@fast
async def test_07_a_registration_after_two_minutes_is_waited_for(tmp_path: Path) -> None:
    late = ordered(register_after=115 / SPEED)
    async with stage(Plan(tmp_path, late, protocol="auto")) as one:
        await one.healthy()
        assert len(one.standin.starts) == 1
        assert one.metric("restarts_total") == 0


@pytest.mark.parametrize("door", ["silent", "no_control", Refuse("no", keep=True)])
@commands
@fast
async def test_08_what_hangs_is_given_up_at_its_deadline(tmp_path: Path, door: Door) -> None:
    async with stage(Plan(tmp_path, closed(door))) as one:
        await one.until(lambda: len(one.standin.starts) == 2)
        one.edge.door = "open"
        await one.healthy()
        assert one.metric("restarts_total") >= 1


@commands
@fast
async def test_08_an_edge_that_swallows_everything(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, closed("no_control"))) as one:
        await one.edge.blackhole()
        await one.until(lambda: len(one.standin.starts) == 2)
        one.edge.door = "open"
        await one.edge.heal()
        await one.healthy()


@commands
@fast
async def test_09_unauthorized_is_waited_out_by_the_child_itself(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, closed(UNAUTHORIZED))) as one:
        await one.until(lambda: "Unauthorized" in one.facts.why or "Unauthorized" in one.log)
        await one.until_state(State.PARKED)
        assert len(one.standin.starts) == 1
        await one.until(lambda: one.alarms, "somebody is told")
        one.edge.door = "open"
        await one.healthy()
        assert len(one.standin.starts) == 1


@commands
@fast
async def test_10_a_refusal_at_each_start_is_tried_more_and_more_seldom(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path, closed(Refuse("Account is disabled")))) as one:
        await one.until(lambda: one.facts.crash_loop, "it tells that it fails again and again")
        assert one.metric("crash_loop") == 1
        seen = len(one.standin.starts)
        assert seen >= 5
        await one.for_seconds(20, lambda: len(one.standin.starts) <= seen + 4)
        await one.until(lambda: len(one.standin.starts) > seen, "it never gives up")
        assert 0 <= one.metric("backoff_seconds") <= 30
        one.edge.door = "open"
        await one.healthy()


@pytest.mark.parametrize("mood", ["limited", "broken", "garbage", "slow"])
@commands
@fast
async def test_11_a_quick_service_that_fails(tmp_path: Path, mood: Mood) -> None:
    def spoil(ground: Ground) -> None:
        ground.inside.quick.mood = mood
        ground.inside.quick.delay = 3600

    async with stage(Plan(tmp_path, spoil, kind="quick")) as one:
        await one.until(lambda: one.metric("exits_total", code="1", expected="false") >= 1)
        await one.until_state(State.BACKOFF, State.PARKED)
        if mood == "limited":
            assert one.metric("backoff_seconds") >= 30
        assert one.published == []
        one.inside.quick.mood = "well"
        await one.healthy()
        assert one.published == [f"https://{one.inside.quick.handed[-1]}"]


@fast
async def test_a_start_without_any_fault(tmp_path: Path) -> None:
    async with stage(Plan(tmp_path)) as one:
        await one.until(lambda: one.state in CARRIES)
        assert one.facts.ready_connections >= 1
        assert one.metric("start_seconds_count") == 1
