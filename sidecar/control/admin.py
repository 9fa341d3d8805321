"""The admin listener: probes, health, metrics and status. It only reads.

The same doors stand here as on the data listener, so that no web page and no tunnel can look in;
the pod's own address is allowed for probes and scrapes.
"""

from collections.abc import Callable

from aiohttp import web

from sidecar.neutral.problem import Problem, ProblemKind
from sidecar.policy.doors import refuse
from sidecar.runtime.current import Current
from sidecar.runtime.life import Life
from sidecar.runtime.report import Report
from sidecar.telemetry.instruments import Instruments
from sidecar.wire import json

Page = Callable[[web.BaseRequest], web.Response]


class Admin:
    """The handler for aiohttp's low-level server."""

    def __init__(
        self, current: Current, life: Life, report: Report, instruments: Instruments
    ) -> None:
        self._current, self._life = current, life
        self._report, self._instruments = report, instruments
        self._pages: dict[str, Page] = {
            "/livez": lambda _: self._probe(True),
            "/readyz": lambda _: self._probe(life.ready),
            "/startupz": lambda _: self._probe(life.started),
            "/health": lambda _: self._json(report.health()),
            "/status": lambda _: self._json(report.status()),
            "/metrics": self._metrics,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if problem := self._refuse(request):
            headers = {"allow": "GET, HEAD"} if problem.status == 405 else {}
            told = {"error": {"code": problem.code, "message": problem.message}}
            return self._json(told, problem.status or 500, headers)
        return self._pages[request.path](request)

    def _refuse(self, request: web.BaseRequest) -> Problem | None:
        snapshot = self._current.get()
        reached = request.get_extra_info("sockname")
        problem = refuse(
            request.method,
            request.headers.items(),
            local_address=reached[0] if isinstance(reached, tuple) else None,
            hosts=snapshot.hosts if snapshot else (),
            origins=snapshot.admin.origins if snapshot else (),
        )
        if problem is not None:
            return problem
        if request.path not in self._pages:
            return Problem(
                ProblemKind.BAD_REQUEST,
                f"There is nothing at {request.path[:100]!r}. This is the admin listener; it has "
                f"{', '.join(self._pages)}.",
                status=404,
                code="unknown_path",
            )
        if request.method not in ("GET", "HEAD"):
            return Problem(
                ProblemKind.BAD_REQUEST,
                "The admin listener only reads: use GET. Changes of state come by the control "
                "socket, for example `llm-sidecar reload`.",
                status=405,
                code="method_not_allowed",
            )
        return None

    def _probe(self, well: bool) -> web.Response:
        return self._json({"ok": well}, 200 if well else 503)

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        body, content_type = self._instruments.metrics.expose(request.headers.get("accept", ""))
        return web.Response(body=body, headers={"content-type": content_type})

    def _json(
        self, value: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> web.Response:
        # faults quote backends, and a backend may quote the key that it was sent
        text = self._instruments.redact(json.dumps(value).decode())
        return web.Response(
            text=text + "\n", status=status, headers=headers, content_type="application/json"
        )
