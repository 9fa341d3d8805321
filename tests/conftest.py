"""Settings for all tests: nothing of the person who runs them leaks in."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no fault of the program, and a build must not fail by chance.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "fuzz", settings.get_profile("steady"), derandomize=False, max_examples=200_000
)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def no_keys_and_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take keys, addresses and proxies out of the environment, here and for child processes."""
    for name in list(os.environ):
        upper = name.upper()
        if upper.endswith(("_API_KEY", "_BASE_URL", "_MODEL", "_PROXY")) or upper in {
            "OLLAMA_HOST",
            "BACKEND_URL",
            "BACKEND_KEY",
            "LLM_SIDECAR_CONFIG",
        }:
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests need more time than the rest come first: no worker is to end alone."""
    long = {item.path for item in items if item.get_closest_marker("timeout")}
    items.sort(key=lambda item: item.path not in long)
