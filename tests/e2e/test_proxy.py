"""Proxies of the environment: honoured when a backend says so, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import chat
from tests.e2e.harness import Config, Sidecar
from tests.fakes.answers import text_of
from tests.fakes.backend import Backend


@pytest.mark.parametrize(
    ("backend", "route", "through"),
    [
        pytest.param({"proxy": "env"}, {}, True, id="configured"),
        pytest.param({}, {}, False, id="not configured"),
        pytest.param({"proxy": "env"}, {"stay": "local"}, False, id="a local route"),
    ],
)
async def test_the_proxy_of_the_environment(
    tmp_path: Path, backend: Config, route: Config, through: bool
) -> None:
    async with Backend("x") as proxy, Backend("p") as direct:
        # the proxy is asked for the whole address; without it the address itself answers
        config: Config = {
            "backends": {"p": {"dialect": "openai", "base_url": direct.base_url, **backend}},
            "routes": {"chat": {"models": ["chat"], "targets": [{"backend": "p"}], **route}},
        }
        env = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.port}"}
        async with Sidecar(tmp_path, config, env=env) as sidecar:
            got = await sidecar.ask(chat())
            assert got.text == text_of("x" if through else "p")
            if through:
                assert proxy.requests[0].target == f"{direct.base_url}/chat/completions"
                assert not direct.requests
