"""Speaks HTTP on a listener, and answers what is not HTTP in a dialect's shape."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from sidecar.dataplane.answer import SERVER
from sidecar.dialects import DIALECTS
from sidecar.neutral.problem import Problem, ProblemKind

MOST_HEADERS = 1000  # fields; `limits.header` bounds what they add up to
LINGER = 2.0  # seconds in which the rest of a refused body is read away

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpListener(web.Server):
    """Hands requests to a handler, which is cancelled when its client leaves."""

    def __init__(
        self, handle: Handler, header_limit: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        super().__init__(handle, handler_cancellation=True)
        self._header_limit = header_limit
        self._new_id = new_id

    def __call__(self) -> web.RequestHandler:
        """The protocol of one new connection, under the limits of this moment."""
        limit = self._header_limit()
        return _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            max_line_size=limit,
            max_field_size=limit,
            max_headers=MOST_HEADERS,
            lingering_time=LINGER,
            new_id=self._new_id,
        )


class _Protocol(web.RequestHandler):
    __slots__ = ("_new_id",)

    def __init__(self, manager: web.Server, *, new_id: Callable[[], str], **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._new_id = new_id

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a head that could not be read."""
        if isinstance(exc, LineTooLong):
            problem = headers_too_large(self.max_field_size)
        else:
            problem = Problem(
                ProblemKind.BAD_REQUEST,
                "This is not a valid HTTP/1.1 request. Check what sends it.",
                code="invalid_http",
            )
        status, body = DIALECTS[0].encode_error(problem)
        headers = {
            "x-request-id": self._new_id(),
            "x-sidecar-attempts": "0",
            "server": SERVER,
            "content-type": "application/json",
        }
        response = web.Response(status=status, body=body, headers=headers)
        response.force_close()
        return response


def headers_too_large(limit: int) -> Problem:
    """The problem of a head past `limits.header`."""
    return Problem(
        ProblemKind.TOO_LARGE,
        f"The request's header is larger than {limit} bytes. Send fewer or shorter header fields, "
        "or raise `limits.header`.",
        status=431,
        code="headers_too_large",
    )
