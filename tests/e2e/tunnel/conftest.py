"""One program for all tests of a module; each has a tunnel of its own in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

pytest.register_assert_rewrite("tests.e2e.tunnel.house")

from tests.e2e.tunnel.house import House, house  # noqa: E402 - its asserts explain themselves


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="house")
async def _house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("house")) as one:
        yield one
