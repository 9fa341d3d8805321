"""The control socket as a file, and what comes through it."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sidecar.control.operate import Operator
from sidecar.control.prober import Prober
from sidecar.control.reload import Reload, Result
from sidecar.control.socket import ControlSocket, ControlSocketError, TunnelDoor, bind
from sidecar.runtime.clients import ClientUsage
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.runtime.store import RuntimeStore
from sidecar.telemetry.redact import Redactor
from tests.sidecar.examples import backend, snapshot


class Control(ControlSocket):
    """A control socket whose reloads end as the test says."""

    def __init__(self, path: Path) -> None:
        current, store = Current(snapshot([backend("home.1")])), RuntimeStore()
        store.reconcile(snapshot([backend("home.1")]))
        report = Report(current, store, Life(0), "1.2.3", lambda: 1.0, ClientUsage(float))
        prober = Prober(current, store, Redactor(), lambda: 1.0, lambda: 0.5)
        operator = Operator(current, store, prober, lambda: 1.0)
        self.tunnel: dict[str, object] | None = None
        tunnel = TunnelDoor(lambda: self.tunnel, self.restart)
        super().__init__(path, self.reload, operator, report, tunnel, Redactor())
        self.next = Reload(Result.APPLIED, "abc")

    async def restart(self) -> str:
        return "restarted"

    async def reload(self) -> Reload:
        return self.next


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    control = Control(tmp_path / "private" / "c.sock")
    await control.open()
    yield control
    await control.close()


async def ask(path: Path, method: str, target: str) -> tuple[int, Any]:
    transport = httpx.AsyncHTTPTransport(uds=str(path))
    async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as client:
        answer = await client.request(method, target)
        return answer.status_code, answer.json()


async def test_only_its_owner_may_open_it(control: Control, tmp_path: Path) -> None:
    folder, file = tmp_path / "private", tmp_path / "private" / "c.sock"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await control.close()
    assert not file.exists()


async def test_reload_and_status(control: Control, tmp_path: Path) -> None:
    file = tmp_path / "private" / "c.sock"
    status, answer = await ask(file, "POST", "/reload")
    assert (status, answer["result"], answer["revision"]) == (200, "applied", "abc")
    control.next = Reload(Result.FAILED, "abc", faults="line 3: oh")
    status, answer = await ask(file, "POST", "/reload")
    assert (status, answer["result"], answer["faults"]) == (422, "failed", "line 3: oh")
    status, answer = await ask(file, "GET", "/status")
    assert (status, answer["status"]) == (200, "ok")
    assert (await ask(file, "GET", "/reload"))[0] == 404


async def test_actions_on_backends(control: Control, tmp_path: Path) -> None:
    file = tmp_path / "private" / "c.sock"
    status, answer = await ask(file, "POST", "/backends/home.1/drain")
    assert (status, answer["backend"], answer["changed"]) == (200, "home.1", True)
    assert answer["availability"] == "draining"
    assert answer["wait"] is None
    status, answer = await ask(file, "POST", "/backends/home.1/enable")
    assert (status, answer["availability"], answer["wait"]) == (200, "ready", 0)
    for name in ("home", "a%2Fb", "%C3%A4%0A", "home.1/drain"):
        status, answer = await ask(file, "POST", f"/backends/{name}/drain")
        assert (status, answer["error"]["code"]) == (404, "unknown_backend"), name
        assert "home.1" in answer["error"]["message"]
    for method, target in (
        ("GET", "/backends/home.1/drain"),
        ("POST", "/backends/home.1/kill"),
        ("POST", "/backends/home.1"),
        ("POST", "/backends//drain"),
    ):
        status, answer = await ask(file, method, target)
        assert (status, answer["error"]["code"]) == (404, "unknown_path"), target


async def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    control = Control(path)
    await control.open()
    assert (await ask(path, "GET", "/status"))[0] == 200
    await control.close()


async def test_a_live_one_is_left_alone(control: Control, tmp_path: Path) -> None:
    path = tmp_path / "private" / "c.sock"
    with pytest.raises(ControlSocketError, match="Another sidecar answers"):
        await Control(path).open()
    assert (await ask(path, "GET", "/status"))[0] == 200


async def test_the_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    first, second = Control(path), Control(path)
    await first.open()
    path.rename(tmp_path / "aside.sock")
    await second.open()
    await first.close()
    assert (await ask(path, "GET", "/status"))[0] == 200
    await second.close()


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ControlSocketError, match="longer than 103 bytes"):
        bind(tmp_path / ("x" * 110))
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlSocketError, match="is not a socket"):
        bind(tmp_path / "file")
    with pytest.raises(ControlSocketError, match="cannot be opened"):
        bind(tmp_path / "file" / "c.sock")
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chmod(shared, 0o777)  # noqa: S103 - the case under test
    with pytest.raises(ControlSocketError, match="Others may write"):
        bind(shared / "c.sock")
    assert (tmp_path / "file").exists()


async def test_a_closed_socket_may_be_closed_again(control: Control) -> None:
    await control.close()
    await asyncio.wait_for(control.close(), 5)


async def test_the_tunnel_is_told_of_and_started_anew(control: Control, tmp_path: Path) -> None:
    path = tmp_path / "private" / "c.sock"
    for method, target in (("GET", "/tunnel"), ("POST", "/tunnel/restart")):
        code, told = await ask(path, method, target)
        assert (code, told["error"]["code"]) == (404, "no_tunnel")
    control.tunnel = {"state": "up"}
    assert await ask(path, "GET", "/tunnel") == (200, {"state": "up"})
    assert await ask(path, "POST", "/tunnel/restart") == (200, {"message": "restarted"})
