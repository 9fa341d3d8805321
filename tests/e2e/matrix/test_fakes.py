"""The official clients directly against the strict backends of their own dialect.

What a vendor's client sends must pass the strict checks, and the streams must please the client;
only then does a failure through the sidecar say something about the sidecar.
"""

from __future__ import annotations

import pytest

from tests.e2e.matrix.clients import CLIENTS, VENDORS
from tests.e2e.matrix.outcomes import CELLS, Cell, Unasked, expected
from tests.e2e.matrix.scenarios import SCENARIOS, Stage
from tests.fakes.strict.backend import KEY, StrictBackend


def direct(dialect: str, fake: StrictBackend) -> str:
    return fake.base_url.removesuffix("/v1") if dialect.startswith("openai") else fake.base_url


SAME = [(cell, stream) for cell in CELLS if cell.client == cell.backend for stream in cell.modes]


@pytest.mark.parametrize(
    ("cell", "stream"),
    [
        pytest.param(cell, stream, id=cell.id(stream))
        for cell, stream in SAME
        if not isinstance(expected(cell), Unasked)
    ],
)
async def test_the_fake_and_the_client_understand_each_other(cell: Cell, stream: bool) -> None:
    async with StrictBackend(VENDORS[cell.backend]) as fake:
        client = CLIENTS[cell.client](direct(cell.client, fake), KEY)
        try:
            await SCENARIOS[cell.feature](Stage(client, fake, stream, direct=True))
        finally:
            await client.close()
