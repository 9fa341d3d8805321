"""The life of a pod, with processes in the order in which kubelet starts and signals them."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sidecar.inject.settings import Mode
from tests.e2e.client import chat
from tests.e2e.harness import Config, Sidecar, chain, until
from tests.fakes import behaviours as b
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend
from tests.kubernetes.kubelet import HOLD, POD_IP, Pod

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the pod's address is 127.0.0.2")

SOON = 1.5 * 5  # seconds; the promise is 1.5
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p") as fake:
        yield fake


async def test_a_whole_life(tmp_path: Path, backend: Backend) -> None:
    """A start with a broken configuration, the good one, some calls, and the end of the pod."""
    pod = Pod(tmp_path, {**chain(backend), "routs": {}})
    async with pod:  # the application starts: a fault does not keep it from that
        assert await pod.app.call() == "503"
        assert [await pod.probe(name) for name in PROBES] == [200, 200, 200]
        assert not backend.requests

        pod.write(chain(backend))
        await pod.sidecar.until_metric(
            lambda now: now.value("config_last_reload_successful") == 1, "the good file is read"
        )
        assert await pod.app.call() == "200"

        took = await pod.delete()
        assert await pod.app.says() == "200", "what it asks after its own signal is served"
    assert pod.app.process.returncode == 0
    assert took < SOON
    assert len(backend.requests) == 2


async def test_the_application_may_call_at_once(tmp_path: Path, backend: Backend) -> None:
    """The start gate: when the probe passes, the data listener is there, on loopback only."""
    pod = Pod(tmp_path, chain(backend))
    async with pod:
        assert await pod.app.call() == "200"
        with pytest.raises(aiohttp.ClientConnectionError):
            await pod.sidecar.http.get(f"http://{POD_IP}:{pod.sidecar.data_port}/health")
        with pytest.raises(aiohttp.ClientConnectionError):
            await pod.sidecar.http.get(f"http://127.0.0.1:{pod.sidecar.admin_port}/livez")


@pytest.mark.parametrize("text", ["listeners: [", "\x00"])
async def test_no_text_keeps_the_application_from_starting(tmp_path: Path, text: str) -> None:
    """Kubelet comes to the pod's address, whatever a file says or lacks."""
    pod = Pod(tmp_path, chain())
    # the ports stay: those by default may be somebody else's on this machine
    listeners = pod.sidecar.text({}).partition("log:")[0]
    pod.volume.write({"config.yaml": listeners + "backends: [\n" + text})
    async with pod:
        assert [await pod.probe(name) for name in PROBES] == [200, 200, 200]
        assert await pod.app.call() == "503"


async def test_readiness_stays_whatever_backends_do(tmp_path: Path) -> None:
    async with Backend("p", rest=b.reset) as backend, Pod(tmp_path, chain(backend)) as pod:
        assert await pod.app.call() == "503"
        assert [await pod.probe(name) for name in PROBES] == [200, 200, 200]


async def test_a_native_sidecar_is_ready_to_its_end(tmp_path: Path, backend: Backend) -> None:
    """A stream in flight goes on after the signal, and readiness does not flip meanwhile."""
    go = asyncio.Event()
    pod = Pod(tmp_path, chain(backend))
    async with pod:
        backend.script = [b.gated(go)]
        async with asyncio.TaskGroup() as group:
            call = group.create_task(pod.sidecar.ask(chat(stream=True)))
            await backend.seen()
            end = group.create_task(pod.delete())
            await pod.sidecar.until_metric(lambda now: now.value("draining") == 1, "it drains")
            assert [await pod.probe(name) for name in PROBES] == [200, 200, 200]
            go.set()
        assert (call.result().text, call.result().done) == (text_of("p"), True)
        assert end.result() < SOON


async def test_an_ordinary_container_is_held_open(tmp_path: Path, backend: Backend) -> None:
    """The application is told to end at the same time, and calls when nothing was in flight."""
    lingers = 1.0  # seconds; a sidecar without preStop would be gone after half a second
    pod = Pod(tmp_path, chain(backend), Mode.CONTAINER, lingers)
    assert lingers < HOLD
    async with pod:
        assert await pod.app.call() == "200"
        took = await pod.delete()
        assert await pod.app.says() == "200"
    assert took < SOON


async def test_a_gateway_drains(tmp_path: Path, backend: Backend) -> None:
    """Unready first; then no new connections; a stream runs on, to its end."""
    go = asyncio.Event()
    backend.script = [b.gated(go)]
    sidecar = Sidecar(tmp_path, None, env={"LLM_SIDECAR_ADMIN_BIND": POD_IP})
    sidecar.admin_url = f"http://{POD_IP}:{sidecar.admin_port}"
    sidecar.base_url = f"http://{POD_IP}:{sidecar.data_port}"
    data: Config = {"port": sidecar.data_port, "bind": POD_IP, "i_know_this_is_open": True}
    sidecar.config = {
        **chain(backend),
        "listeners": {"data": data, "admin": {"port": sidecar.admin_port},
                      "control": {"socket": str(sidecar.socket)}},
        "hosts": ["llm-gateway"],
        "drain": {"mode": "gateway", "settle": "2s", "limit": "60s"},
    }  # fmt: skip
    async with sidecar:
        by_service = {"host": f"llm-gateway:{sidecar.data_port}"}
        async with asyncio.TaskGroup() as group:
            call = group.create_task(sidecar.ask(chat(stream=True), headers=by_service))
            await backend.seen()
            sidecar.signal(signal.SIGTERM)

            async def unready() -> bool:
                return (await sidecar.admin("/readyz")).status == 503

            await until(unready, "/readyz says 503")
            got = await sidecar.ask(chat(), headers=by_service)
            assert (got.status, got.headers["connection"].lower()) == (200, "close")

            async def closed() -> bool:
                try:
                    _, writer = await asyncio.open_connection(POD_IP, sidecar.data_port)
                except OSError:
                    return True
                writer.close()
                return False

            await until(closed, "no new connections")
            assert (await sidecar.admin("/livez")).status == 200
            assert not call.done(), "the stream runs on"
            go.set()
        assert call.result().done
        assert await sidecar.exit_code() == 0
