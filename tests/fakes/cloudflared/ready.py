"""The metrics server of the stand-in: `/ready` and its neighbours, one thread a connection."""

from __future__ import annotations

import errno
import json
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.fakes.cloudflared.behaviour import Behaviour
    from tests.fakes.cloudflared.tunnel import Tunnel

HEAD_LIMIT = 64 * 1024
PLAIN = "text/plain; charset=utf-8"
DEFAULT_PORTS = range(20241, 20246)


class CannotListen(Exception):
    """The address is taken, or none."""


def listen(address: str) -> socket.socket:
    """The listening socket; without an address one of the usual ports, or any."""
    if not address:
        for port in DEFAULT_PORTS:
            try:
                return socket.create_server(("127.0.0.1", port))
            except OSError:
                continue
        return socket.create_server(("127.0.0.1", 0))
    host, colon, port_text = address.rpartition(":")
    if not colon or not port_text.isdigit():
        raise CannotListen(f"listen tcp: address {address}: missing port in address")
    try:
        return socket.create_server((host or "127.0.0.1", int(port_text)))
    except OSError as error:
        why = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotListen(f"listen tcp {address}: bind: {why}") from None


class Metrics:
    """Answers about one tunnel at one listening socket, until the process ends."""

    def __init__(self, tunnel: Tunnel, server: socket.socket, behaviour: Behaviour) -> None:
        self._tunnel, self._server, self._behaviour = tunnel, server, behaviour

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        buffer = b""
        try:
            with client:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        more = client.recv(16 * 1024)
                        if not more or len(buffer) > HEAD_LIMIT:
                            return
                        buffer += more
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    path = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0]
                    if not self._answer(client, path) or b"connection: close" in head.lower():
                        return
        except OSError:
            return

    def _answer(self, client: socket.socket, path: str) -> bool:
        """False where the connection is over."""
        if path == "/ready":
            odd = self._behaviour.get("ready")
            if odd is not None:
                return self._odd_ready(client, odd)
            status, text = self._ready()
            return _send(client, status, text)
        if path == "/debug/pprof/cmdline":
            return _send(client, 403, "forbidden\n")
        page = self._page(path)
        if page is None:
            return _send(client, 404, "404 page not found\n")
        return _send(client, 200, page)

    def _page(self, path: str) -> str | None:
        match path:
            case "/healthcheck":
                return "OK\n"
            case "/quicktunnel":
                return f'{{"hostname":"{self._tunnel.quick_hostname}"}}'
            case "/config":
                return json.dumps(self._tunnel.config(), separators=(",", ":"))
            case "/metrics":
                return self._series()
            case "/diag/tunnel":
                return json.dumps({"connectorID": self._tunnel.connector})
            case _:
                return None

    def _ready(self) -> tuple[int, str]:
        count = len(self._tunnel.ready)
        status = 200 if count else 503
        body = {"status": status, "readyConnections": count, "connectorId": self._tunnel.connector}
        return status, json.dumps(body, separators=(",", ":"))

    def _odd_ready(self, client: socket.socket, odd: dict[str, Any]) -> bool:
        """`after`, `hang`, `lie`, `connector`, `status`, `body`, `cut`, `huge`, `endless`."""
        time.sleep(odd.get("after", 0))
        if odd.get("hang"):
            time.sleep(3600)
        status, text = self._ready()
        if odd.get("lie"):
            status, count = 200, 4
            told = {"status": 200, "readyConnections": count, "connectorId": self._tunnel.connector}
            text = json.dumps(told, separators=(",", ":"))
        if "connector" in odd:
            text = text.replace(self._tunnel.connector, odd["connector"])
        status, text = odd.get("status", status), odd.get("body", text)
        if odd.get("cut"):
            client.sendall(_head(status, len(text)) + text.encode()[: len(text) // 2])
            return False
        if odd.get("huge"):
            text = text[:-1] + ',"more":"' + "x" * odd["huge"] + '"}'
        if odd.get("endless"):
            client.sendall(_head(status, None) + text.encode()[:-1])
            while True:
                client.sendall(b" " * 1024)
                time.sleep(0.01)
        return _send(client, status, text)

    def _series(self) -> str:
        tunnel = self._tunnel
        lines = [
            f'build_info{{goversion="go",revision="",type="",version="{tunnel.version}"}} 1',
            f"cloudflared_tunnel_ha_connections {tunnel.loops}",
            f"cloudflared_tunnel_total_requests {tunnel.requests}",
            f"cloudflared_tunnel_request_errors {tunnel.failures}",
            f"cloudflared_tunnel_concurrent_requests_per_tunnel {tunnel.in_flight}",
            f"cloudflared_orchestration_config_version {tunnel.config_version}",
        ]
        lines += [
            "cloudflared_tunnel_server_locations"
            f'{{connection_id="{index}",edge_location="{place}"}} 1'
            for index, place in sorted(tunnel.locations.items())
        ]
        lines += [
            f'cloudflared_tunnel_response_by_code{{status_code="{code}"}} {count}'
            for code, count in sorted(tunnel.statuses.items())
        ]
        if tunnel.quick_hostname:
            name = f"https://{tunnel.quick_hostname}"
            lines.append(f'cloudflared_tunnel_user_hostnames_counts{{userHostname="{name}"}} 1')
        return "\n".join(lines) + "\n"


def _head(status: int, length: int | None) -> bytes:
    words = {200: "OK", 403: "Forbidden", 404: "Not Found", 503: "Service Unavailable"}
    sized = "Connection: close" if length is None else f"Content-Length: {length}"
    reason = words.get(status, "Status")
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: {PLAIN}\r\n{sized}\r\n\r\n".encode()


def _send(client: socket.socket, status: int, text: str) -> bool:
    body = text.encode()
    client.sendall(_head(status, len(body)) + body)
    return True
