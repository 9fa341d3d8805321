"""One sidecar for many tests; and what judges a fault is to explain itself, as the tests do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.crossing import ENV
from tests.e2e.harness import NOBODY, Sidecar

pytest.register_assert_rewrite(
    "tests.e2e.faults.hearing", "tests.e2e.faults.judge", "tests.e2e.faults.wants"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sidecar]:
    """One sidecar for the tests of a module; each has it play its own configuration."""
    async with Sidecar(tmp_path_factory.mktemp("shared"), NOBODY, env=ENV) as sidecar:
        yield sidecar
