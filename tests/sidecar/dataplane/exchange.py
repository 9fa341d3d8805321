"""One request over a real socket, answered by a piece of the data plane."""

from collections.abc import Awaitable, Callable, Mapping

import httpx
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from sidecar.dataplane.answer import Answer
from sidecar.dialects.openai_chat import DIALECT
from sidecar.neutral.problem import AttemptFailed
from sidecar.wire.contract import Dialect

Act = Callable[[Answer], Awaitable[None]]


async def exchange(
    act: Act,
    headers: Mapping[str, str] | None = None,
    *,
    dialect: Dialect = DIALECT,
    method: str = "GET",
) -> httpx.Response:
    """What a client gets when `act` answers it; what it raises is told as a broken answer."""

    async def handle(http: web.BaseRequest) -> web.StreamResponse:
        answer = Answer(http, dialect, "r1", lambda: None)
        try:
            await act(answer)
        except AttemptFailed as failed:
            await answer.fail(failed.problem)
        return answer.response

    async with RawTestServer(handle) as server, httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, str(server.make_url("/")), headers=headers or {})
