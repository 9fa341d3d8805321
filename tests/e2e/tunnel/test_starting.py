"""Faults at the start of cloudflared, seen from outside: what is told, tried again, and cured."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.client import chat
from tests.e2e.tunnel.harness import commands, secrets_of, through_the_name
from tests.e2e.tunnel.house import House
from tests.fakes.cloudflared.credentials import Tunnel as Account
from tests.fakes.cloudflared.links import Door, Refuse
from tests.fakes.cloudflared.quick_service import Mood
from tests.tunnel import doors

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)  # for arm64


def _missing(_: Path) -> None:
    pass


def _forbidden(path: Path) -> None:
    path.write_text("nothing that runs", encoding="ascii")


def _of_another_machine(path: Path) -> None:
    path.write_bytes(FOREIGN_ELF)
    path.chmod(0o755)


def _babbling(path: Path) -> None:
    path.write_text("#!/bin/sh\nhead -c 100000 /dev/urandom\nexit 3\n", encoding="ascii")
    path.chmod(0o755)


# --- 1, 2, 3: what somebody must mend -------------------------------------------------------------


@commands
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_missing, r"no file .*`[^`]*cloudflared[^`]*`"),  # the whole command
        (_forbidden, "chmod|execut"),
        (_of_another_machine, "machine|execut|system"),
        (_babbling, "is no cloudflared"),
    ],
)
async def test_a_binary_that_does_not_run(
    house: House, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "cloudflared"
    spoil(path)
    async with house.tunnel(tmp_path, binary=str(path)) as tunnel:
        seen = await tunnel.until_state("parked")
        assert re.search(says, seen["why"])
        assert seen["child"] is None
        await tunnel.until_told(says, "error")
        assert len(tunnel.told(says, "error")) == 1
        # the rest of the program is as well as ever
        assert (await house.visit(chat())).status == 200
        assert re.match(f"cloudflared could not be started: .*{says}", await tunnel.restart())
        path.unlink(missing_ok=True)
        path.symlink_to(tunnel.standin.path)
        assert "starts now" in await tunnel.restart()
        await tunnel.until_healthy()


@commands
async def test_flags_that_are_not_known_are_left_out(house: House, tmp_path: Path) -> None:
    orders = {"unknown_flags": ["management-diagnostics"]}
    async with house.tunnel(tmp_path, orders) as tunnel:
        await tunnel.until_healthy()
        first, second = tunnel.standin.starts
        assert "--management-diagnostics=false" in first["argv"]
        assert "--management-diagnostics=false" not in second["argv"]
        assert await tunnel.value("exits_total", code="0", expected="false") == 1
        assert await tunnel.ask() == 200


@commands
async def test_help_and_exit_0_is_a_fault_that_somebody_must_mend(
    house: House, tmp_path: Path
) -> None:
    async with house.tunnel(tmp_path, {"unknown_flags": ["no-autoupdate"]}) as tunnel:
        seen = await tunnel.until_state("parked")
        assert "no-autoupdate" in seen["why"]
        await tunnel.until_told("What to do: install a newer", "error")
        assert len(tunnel.told("What to do: install a newer", "error")) == 1
        assert len(tunnel.standin.starts) == 2
        assert await tunnel.value("state", state="parked") == 1
        tunnel.standin.behave(unknown_flags=None)
        await tunnel.restart()
        await tunnel.until_healthy()


async def test_a_token_that_is_none_is_parked_until_it_changes(
    house: House, tmp_path: Path
) -> None:
    told = {"a": "account", "t": "5f2c1e0a-1111-4222-8333-444455556666", "s": "$ this is no base64"}
    bad = base64.b64encode(json.dumps(told).encode()).decode()
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(bad, encoding="ascii")
    async with house.tunnel(tmp_path, token={"file": str(file)}) as tunnel:
        tunnel.secrets |= secrets_of(bad)
        seen = await tunnel.until_state("parked")
        assert "oken" in seen["why"]
        assert seen["next_start"] > 100
        assert await tunnel.value("exits_total", code="255", expected="false") == 1
        await tunnel.until_told("What to do: put a valid token", "error")
        assert len(tunnel.told("What to do: put a valid token", "error")) == 1
        beside = tmp_path / "token.new"
        beside.touch(mode=0o600)
        beside.write_text(house.ground.token, encoding="ascii")
        beside.replace(file)
        await tunnel.until_healthy()


# --- 4, 5: names that do not resolve --------------------------------------------------------------


@commands
async def test_names_that_resolve_only_after_a_while(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path, {"dns": "down"}) as tunnel:
        await tunnel.until_state("backoff")
        await tunnel.pass_by(20)
        assert 2 <= len(tunnel.standin.starts) <= 7, "no storm"
        tunnel.standin.behave(dns=None)
        await tunnel.until_healthy(seconds=30)
        assert await tunnel.ask() == 200
        assert tunnel.told("lookup|DNS", "warning")


@commands
async def test_a_metrics_port_that_is_late_is_waited_for(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path, {"holds": ["dns"]}) as tunnel:
        seen = await tunnel.until(lambda seen: seen["child"] is not None, "a child")
        await tunnel.leap(60)
        seen = await tunnel.until(lambda seen: seen["seconds"] > 60, "it waits")
        assert seen["state"] == "starting"
        tunnel.standin.behave(holds=None)
        await tunnel.until_healthy(seconds=20)
        assert len(tunnel.standin.starts) == 1
        assert await tunnel.value("start_seconds_sum") >= 60


# --- 6: somebody else at the metrics port ---------------------------------------------------------


@commands
async def test_another_process_at_the_metrics_port_is_no_health(
    house: House, tmp_path: Path
) -> None:
    """It answers 200 for four connections, as a cloudflared does that was left behind."""
    theirs = {"status": 200, "readyConnections": 4, "connectorId": str(Account.new().tunnel_id)}
    async with (
        doors.door(doors.told(theirs)) as port,
        house.tunnel(tmp_path, {"told_port": port}) as tunnel,
    ):
        await tunnel.until_told("another process answers on its metrics port", count=2)
        assert tunnel.told("tunnel: (registered|carries)") == []
        assert await tunnel.value("up") == 0
        tunnel.standin.behave(told_port=None)
        await tunnel.until_healthy(seconds=30)


# --- 7, 8: registrations that take long, or never come --------------------------------------------


@commands
async def test_a_registration_after_115_seconds_is_waited_for(house: House, tmp_path: Path) -> None:
    async with house.tunnel(tmp_path, {"holds": ["registration"]}) as tunnel:
        await tunnel.until_state("connecting")
        await tunnel.leap(115)
        tunnel.standin.behave(holds=None)
        await tunnel.until_healthy(seconds=20)
        assert len(tunnel.standin.starts) == 1
        assert await tunnel.value("start_seconds_sum") >= 115


@commands
async def test_quic_that_is_blocked_is_left_for_http2_and_remembered(
    house: House, tmp_path: Path
) -> None:
    async with house.tunnel(tmp_path, {"txt": "quic", "quic": "blocked"}) as tunnel:
        seen = await tunnel.until_healthy(seconds=30)
        assert seen["child"]["protocol"] == "http2"
        assert len(tunnel.standin.starts) == 1
        await tunnel.restart()
        assert "http2" in tunnel.standin.starts[1]["argv"]


@commands
@pytest.mark.parametrize("fault", ["silent", "no_control", "kept open", "refused", "blackhole"])
async def test_a_registration_that_never_comes_has_a_deadline(
    house: House, tmp_path: Path, fault: str
) -> None:
    edge = house.ground.inside.edge
    if fault == "refused":
        await edge.stop()
    elif fault == "blackhole":
        await edge.blackhole()
    else:
        kept: dict[str, Door] = {
            "silent": "silent", "no_control": "no_control",
            "kept open": Refuse("an error of the edge", keep=True),
        }  # fmt: skip
        edge.door = kept[fault]
    async with house.tunnel(tmp_path, protocol="http2") as tunnel:
        seen = await tunnel.until_state("connecting")
        assert fault == "blackhole" or await tunnel.ask() == 530
        assert len(tunnel.standin.starts) == 1
        await tunnel.leap(35)
        told = await tunnel.until_told(r"not registered within \d+ s")
        assert int(re.findall(r"within (\d+) s", told)[0]) >= 45
        edge.door = "open"
        await edge.heal()
        await tunnel.until_healthy(but=seen["child"]["pid"], seconds=10)
        assert len(tunnel.standin.starts) == 2
        assert await tunnel.ask() == 200


# --- 9, 10: the edge says no ----------------------------------------------------------------------


@commands
async def test_unauthorized_raises_an_alarm_and_recovers(house: House, tmp_path: Path) -> None:
    edge = house.ground.inside.edge
    edge.secrets[edge.tunnel.tunnel_id].clear()
    asked = edge.attempts
    async with house.tunnel(tmp_path) as tunnel:
        seen = await tunnel.until_state("connecting")
        await tunnel.until_told("Unauthorized")
        await tunnel.leap(58)
        seen = await tunnel.until_state("parked", seconds=5)
        assert "Unauthorized: Invalid tunnel secret" in seen["why"]
        await tunnel.until_told("What to do: put a valid token", "error")
        assert len(tunnel.told("What to do: put a valid token", "error")) == 1
        assert len(tunnel.standin.starts) == 1, "cloudflared asks by itself"
        assert edge.attempts - asked <= 120, "no hot loop"
        edge.secrets[edge.tunnel.tunnel_id].add(edge.tunnel.secret)
        await tunnel.until_healthy(seconds=20)
        assert len(tunnel.standin.starts) == 1
        assert await tunnel.ask() == 200


@commands
async def test_an_account_that_is_refused_is_asked_ever_more_seldom(
    house: House, tmp_path: Path
) -> None:
    house.ground.inside.edge.door = Refuse("this account is suspended")
    async with house.tunnel(tmp_path) as tunnel:
        await tunnel.until(lambda seen: bool(seen["crash_loop"]), "a crash loop", 20)
        assert await tunnel.value("crash_loop") == 1
        await tunnel.until_told("starts again in", count=5)
        pauses = tunnel.pauses()
        for pause, longest in zip(pauses, (1, 2, 4, 8), strict=False):
            assert longest / 2 - 0.05 <= pause <= longest + 0.05
        assert len(tunnel.standin.starts) == 5
        seen = await tunnel.until_state("backoff")
        assert "this account is suspended" in seen["why"]
        assert 15 <= await tunnel.value("backoff_seconds") <= 30, "the longest at once"
        await tunnel.until_told("^tunnel: ", "error")
        assert len(tunnel.told("^tunnel: ", "error")) == 1
        house.ground.inside.edge.door = "open"
        await tunnel.leap(pauses[-1] - 1)
        await tunnel.until_healthy(seconds=30)


# --- 11: quick tunnels ----------------------------------------------------------------------------


@through_the_name
@commands
@pytest.mark.parametrize(
    ("mood", "says", "shortest"),
    [
        ("limited", "1015", 60.0),
        ("broken", "uick", 0.5),
        ("garbage", "uick", 0.5),
        ("slow", "uick", 0.5),
    ],
)
async def test_a_quick_service_that_fails(
    house: House, tmp_path: Path, mood: Mood, says: str, shortest: float
) -> None:
    quick = house.ground.inside.quick
    quick.mood, quick.delay = mood, 30 / house.haste
    asked = quick.requests
    async with house.tunnel(tmp_path, quick=True) as tunnel:
        seen = await tunnel.until_state("backoff", seconds=20)
        assert says in seen["why"]
        assert seen["url"] is None
        await tunnel.until_told("starts again in")
        assert shortest <= tunnel.pauses()[0] <= 120
        quick.mood = "well"
        await tunnel.leap(max(0.0, shortest - 2))
        seen = await tunnel.until_healthy(seconds=20)
        assert seen["url"] in [f"https://{name}" for name in quick.handed]
        await tunnel.until_told(f"carries {seen['url']}")
        assert quick.requests - asked == len(tunnel.standin.starts), "each asks once"
