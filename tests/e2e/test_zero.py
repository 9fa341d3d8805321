"""Without a configuration file: what is found, what the banner says, who answers."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import chat, fetch
from tests.e2e.harness import DEFAULT_PORTS, Sidecar, until
from tests.fakes.answers import dump, text_of
from tests.fakes.backend import Backend
from tests.fakes.behaviours import Steps, whole
from tests.fakes.cloudflared.edge import Edge
from tests.fakes.cloudflared.launch import Standin
from tests.fakes.cloudflared.quick_service import QuickService
from tests.fakes.seen import Seen

OWN = f"http://localhost:{DEFAULT_PORTS[0]}"
OLLAMA_PORT = 11434


def zero(folder: Path, **settings: Any) -> Sidecar:
    """A sidecar without a file: nothing says where to listen but the defaults."""
    return Sidecar(folder, None, ports=DEFAULT_PORTS, **settings)


def names(listed: object, key: str) -> set[str]:
    assert isinstance(listed, list)
    return {one[key] for one in listed}


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def free_defaults() -> None:
    """Zero configuration listens at the default ports and looks for an Ollama at its own."""
    for port in (*DEFAULT_PORTS, OLLAMA_PORT):
        if is_taken(port):
            pytest.skip(f"port {port} is in use on this machine, so what is found depends on it")


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    async with Backend("p", models=("big", "small")) as fake:
        yield fake


async def test_nothing_found_is_the_echo_and_everything_says_so(tmp_path: Path) -> None:
    async with zero(tmp_path, args=("--echo",)) as sidecar:
        for stream in (False, True):
            got = await sidecar.ask(chat("auto", stream=stream))
            assert (got.status, got.is_stream) == (200, stream)
            assert "llm-sidecar echo" in got.text
            assert got.headers["x-sidecar-echo"] == "true"
        assert "built-in echo" in sidecar.output
        assert (await sidecar.admin("/status")).json["echo"] is True
        code, shown = await sidecar.command("status")
        assert (code, "echo" in shown) == (0, True)
        for line in ("OPENAI_BASE_URL=", "ANTHROPIC_BASE_URL=", "OLLAMA_HOST="):
            assert line in sidecar.output


async def test_without_a_terminal_nobody_asked_for_the_echo(tmp_path: Path) -> None:
    async with zero(tmp_path, ready=False) as sidecar:
        assert await sidecar.exit_code() == 78
        for word in ("OPENAI_API_KEY", "--config", "--echo"):
            assert word in sidecar.output


async def test_a_degraded_start_never_echoes(tmp_path: Path) -> None:
    async with zero(tmp_path, args=("--start", "degraded", "--echo")) as sidecar:
        got = await sidecar.ask(chat("auto"))
        assert (got.status, got.code) == (503, "not_configured")


def as_ollama(seen: Seen) -> Steps:
    """A chat as Ollama's own API answers it, and the little that it tells of a model."""
    if seen.path == "/api/show":
        return whole(200, dump({"capabilities": ["completion"], "model_info": {}}))
    message = {"role": "assistant", "content": text_of(seen.backend)}
    return whole(200, dump({"model": seen.model, "message": message, "done": True}))


async def test_ollama_goes_first_and_who_lists_the_model_before_it(
    tmp_path: Path, backend: Backend
) -> None:
    async with Backend("o", rest=as_ollama, models=("llama3:8b",)) as ollama:
        env = {
            "OLLAMA_HOST": f"0.0.0.0:{ollama.port}",
            "OPENAI_API_KEY": "sk-openai-0123456789",
            "OPENAI_BASE_URL": backend.base_url,
            "OPENAI_MODEL": "small",
            "ANTHROPIC_API_KEY": "sk-ant-0123456789",
            "ANTHROPIC_BASE_URL": backend.base_url,
        }
        async with zero(tmp_path, env=env) as sidecar:

            async def knows_both() -> bool:
                ids = names((await sidecar.get("/v1/models")).json["data"], "id")
                return {"auto", "llama3:8b", "big", "small"} <= ids

            await until(knows_both, "the catalogues are known")
            asked = {"auto": ("o", "llama3:8b"), "big": ("p", "big"), "nobody": ("o", "llama3:8b")}
            for model, (who, sent) in asked.items():
                assert (await sidecar.ask(chat(model))).text == text_of(who), model
                asked_of = ollama if who == "o" else backend
                chats = [one for one in asked_of.requests if one.path != "/api/show"]
                assert chats[-1].model == sent, model
                assert chats[-1].path == ("/api/chat" if who == "o" else "/v1/chat/completions")
            assert backend.requests[-1].header("authorization") == "Bearer sk-openai-0123456789"
            assert "ANTHROPIC_API_KEY" in sidecar.output
            assert "sk-" not in sidecar.output


async def test_the_lines_of_the_banner_lead_nowhere_when_they_come_back(
    tmp_path: Path, backend: Backend
) -> None:
    env = {
        "OPENAI_API_KEY": "sidecar",
        "OPENAI_BASE_URL": f"{OWN}/v1",
        "ANTHROPIC_API_KEY": "sidecar",
        "ANTHROPIC_BASE_URL": OWN,
        "OLLAMA_HOST": f"0.0.0.0:{DEFAULT_PORTS[0]}",
        "CUSTOM_BACKEND_1_API_URL": backend.base_url,
        "CUSTOM_BACKEND_1_API_KEY": "key-0123456789",
        "CUSTOM_BACKEND_1_MODEL": "small",
        "CUSTOM_BACKEND_1_REQUEST_TIMEOUT": "20000",
    }
    async with zero(tmp_path, env=env) as sidecar:
        assert (await sidecar.ask(chat("auto"))).text == text_of("p")
        assert backend.requests[0].model == "small"
        assert backend.requests[0].header("authorization") == "Bearer key-0123456789"
        for name in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"):
            assert f"{name} points to this sidecar itself" in sidecar.output


async def test_a_full_completions_address_is_trimmed_and_said(
    tmp_path: Path, backend: Backend
) -> None:
    env = {
        "BACKEND_URL": f"{backend.base_url}/chat/completions",
        "BACKEND_KEY": "key-0123456789",
        "BACKEND_TIMEOUT_SECS": "20",
    }
    async with zero(tmp_path, env=env) as sidecar:
        assert (await sidecar.ask(chat("big"))).text == text_of("p")
        assert backend.requests[0].path == "/v1/chat/completions"
        assert "BACKEND_URL" in sidecar.output


async def test_local_only_leaves_remote_services_out(tmp_path: Path, backend: Backend) -> None:
    env = {
        "OPENAI_API_KEY": "sk-openai-0123456789",  # its address is public
        "BACKEND_URL": backend.base_url,
    }
    async with zero(tmp_path, env=env, args=("--local-only",)) as sidecar:
        assert (await sidecar.ask(chat("big"))).text == text_of("p")
        assert "openai" not in names((await sidecar.admin("/status")).json["backends"], "name")
        assert "Prompts stay on this machine and on private addresses" in sidecar.output


async def test_a_quick_tunnel_shows_its_key_once(tmp_path: Path, backend: Backend) -> None:
    """The public name is another matter: `tunnel/test_quick.py`."""
    standin = Standin(tmp_path / "bin", scale=0.05)
    async with Edge() as edge, QuickService(edge) as quick:
        env = {
            "PATH": f"{standin.folder}:{os.environ['PATH']}",
            "BACKEND_URL": backend.base_url,
            "TUNNEL_EDGE": edge.addresses,
            "TUNNEL_QUICK_SERVICE": quick.url,
        }
        async with zero(tmp_path, env=env, args=("--quick-tunnel",)) as sidecar:
            (key,) = re.findall(r"^  (\S+)$", sidecar.output.split("not shown again")[1], re.M)[:1]
            listed = tmp_path / "keys.txt"
            assert (listed.stat().st_mode & 0o777, key in listed.read_text()) == (0o600, False)
            await edge.until_registered()
            public = f"http://localhost:{DEFAULT_PORTS[1] + 1}/v1/chat/completions"
            for given, status in ((key, 200), ("another", 401)):
                told = {"authorization": f"Bearer {given}"}
                got = await fetch(
                    sidecar.http, public, method="POST", body=chat("auto"), headers=told
                )
                assert got.status == status
            assert quick.handed[0] not in sidecar.output, "no request has come back through it"
            assert sidecar.output.count(key) == 1
        async with zero(tmp_path, env=env, args=("--quick-tunnel",)) as sidecar:
            await edge.until(lambda: len(quick.handed) == 2)
            assert "not shown again" not in sidecar.output
            assert key not in sidecar.output
    assert standin.alive() == []
    (tmp_path / "sidecar.yaml").write_text("backends: {}\n")
    code, said = await zero(tmp_path).command("run", "--quick-tunnel")
    assert (code, "is for a start without a configuration file" in said) == (2, True)
