"""Keys of clients, from the command that makes one to the sidecar that runs and knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.client_keys import PREFIX, written
from tests.e2e.client import chat
from tests.e2e.harness import Config, Sidecar, chain, free_port, until
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend

SECONDS = 5.0  # a change must be in force within one second; a test allows five


@pytest.fixture
def sidecar(tmp_path: Path) -> Sidecar:
    found = Sidecar(tmp_path, None)
    config: Config = {
        "backends": {"echo": {"preset": "echo"}},
        "routes": {"chat": {"public": True, "targets": [{"backend": "echo"}]}},
        "listeners": {
            "data": {"port": found.data_port},
            "admin": {"port": found.admin_port},
            "control": {"socket": str(found.socket)},
            "public": {"port": free_port(), "keys": {"file": "keys.txt"}},
        },
    }
    found.config = config
    found.rewrite_config(config)
    return found


async def public(sidecar: Sidecar) -> Any:
    return json.loads((await sidecar.admin("/status")).raw)["public"]


async def test_keys_come_and_go_while_it_runs(sidecar: Sidecar) -> None:
    async def keys(*arguments: str) -> str:
        code, told = await sidecar.command("keys", *arguments)
        assert code == 0, told
        return told

    async def hold(count: int) -> None:
        async def fits() -> bool:
            return bool((await public(sidecar))["keys"] == count)

        await until(fits, f"there are {count} keys", SECONDS)

    key, _ = (await keys("add", "laptop")).split("\n", 1)
    async with sidecar:
        await hold(1)
        await keys("add", "phone")
        await hold(2)
        await keys("remove", "laptop")
        await hold(1)
        await keys("remove", "phone")
        await hold(0)
        seen = await public(sidecar)
        assert (seen["open"], seen["access"], seen["clients"]) == (False, False, [])
        metrics = await sidecar.metrics()
        assert metrics.value("public_open") == 0
        assert {"llm_sidecar_public_rejected_total", "llm_sidecar_public_open"} <= metrics.names()
    assert key.startswith("sk-sidecar-")
    assert key not in sidecar.output
    assert key not in (sidecar.folder / "keys.txt").read_text()


async def test_without_a_key_it_does_not_start_and_says_how_to_make_one(sidecar: Sidecar) -> None:
    code, told = await sidecar.command("run")
    assert code == 78
    assert "'keys.txt': no such file" in told
    assert "`llm-sidecar keys add NAME`" in told


async def test_applications_may_need_a_key_as_well(tmp_path: Path) -> None:
    """What a gateway has that is bound beyond loopback; its keys are for itself alone."""
    home = Backend("home")
    key = f"{PREFIX}{'a' * 43}"
    async with home:
        sidecar = Sidecar(tmp_path, None)
        config = chain(home, backends={"home": {"auth": {"forward": {}}}})
        config["listeners"] = {
            "data": {"port": sidecar.data_port, "bind": "0.0.0.0", "keys": {"file": "keys.txt"}},  # noqa: S104
            "admin": {"port": sidecar.admin_port},
            "control": {"socket": str(sidecar.socket)},
        }
        sidecar.config = config
        sidecar.rewrite_config(config)
        (tmp_path / "keys.txt").write_text(written("app", key, "2026-11-27"))
        async with sidecar:
            for brought in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}):
                answer = await sidecar.ask(chat(), headers=brought)
                assert answer.status == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert json.loads(answer.raw)["error"]["code"] == "unauthorized"
            assert not home.requests
            for brought in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
                assert (await sidecar.ask(chat(), headers=brought)).text == text_of("home")
            assert not any(key in str(seen.headers) for seen in home.requests)
            metrics = await sidecar.metrics()
            assert metrics.value("rejected_requests_total", reason="auth") == 3
    assert '"client":"app"' in sidecar.output
    assert key not in sidecar.output
