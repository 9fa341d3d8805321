"""What the tunnel tells when it runs alone: probes, status and metrics on loopback. It only reads.

`/readyz` is for rolling updates: an old replica may go once the new one carries.
"""

from collections.abc import Callable
from ipaddress import ip_address

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tunnel.facts import Facts
from tunnel.metrics import CARRIES
from tunnel.status import as_values

PAGES = ("/livez", "/readyz", "/status", "/metrics")


class Admin:
    """The handler, and the one listener that it is served on."""

    def __init__(
        self, facts: Callable[[], Facts], now: Callable[[], float], registry: CollectorRegistry
    ) -> None:
        self._facts, self._now, self._registry = facts, now, registry
        self._runner: web.ServerRunner | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if _comes_from_afar(request):
            return web.json_response(
                {"error": "This listener is for local clients only."}, status=403
            )
        if request.method not in ("GET", "HEAD"):
            return web.json_response({"error": "This listener only reads: use GET."}, status=405)
        facts = self._facts()
        match request.path:
            case "/livez":
                return web.json_response({"ok": True})
            case "/readyz":
                ready = facts.state in CARRIES
                return web.json_response({"ok": ready}, status=200 if ready else 503)
            case "/status":
                return web.json_response(as_values(facts, self._now()))
            case "/metrics":
                encode, content_type = choose_encoder(request.headers.get("accept", ""))
                return web.Response(
                    body=encode(self._registry), headers={"content-type": content_type}
                )
            case _:
                told = f"There is nothing here. This listener has {', '.join(PAGES)}."
                return web.json_response({"error": told}, status=404)


def _comes_from_afar(request: web.BaseRequest) -> bool:
    """Whether a web page or a tunnel sent it: by its Host, an Origin, or Cloudflare's marks."""
    if any(name in request.headers for name in ("origin", "cf-ray", "cf-connecting-ip")):
        return True
    name = request.host.rpartition(":")[0] if ":" in request.host else request.host
    if name == "localhost":
        return False
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return True
    return False
