"""What tests of a tunnel stand on: a ground each, or one program for all tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("tests.e2e.tunnel.house")

from tests.e2e.strangers import MODEL  # noqa: E402 - its asserts explain themselves
from tests.e2e.tunnel.harness import Ground, ground  # noqa: E402
from tests.e2e.tunnel.house import House, house  # noqa: E402
from tests.fakes.backend import Backend  # noqa: E402


@pytest_asyncio.fixture(name="place")
async def given_place(tmp_path: Path) -> AsyncIterator[Ground]:
    """A binary, an edge and a public name."""
    async with ground(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(name="backend")
async def given_backend() -> AsyncIterator[Backend]:
    """What answers behind the sidecar."""
    async with Backend("p", models=(MODEL,)) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="house")
async def _house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("house")) as one:
        yield one
