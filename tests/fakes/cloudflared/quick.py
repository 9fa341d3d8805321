"""Asks a service for a quick tunnel, over plain HTTP alone: it never leaves this machine."""

from __future__ import annotations

import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.fakes.cloudflared.behaviour import Behaviour
    from tests.fakes.cloudflared.journal import Journal

TIMEOUT = 15.0
DISCLAIMER = (
    "Thank you for trying Cloudflare Tunnel. Account-less Tunnels have no uptime guarantee "
    "(https://www.cloudflare.com/website-terms/)"
)
CREATED = "Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):"


class QuickFailed(Exception):
    """What the process says last before it ends with code 1."""


def request(service: str, journal: Journal, behaviour: Behaviour) -> dict[str, str]:
    """The credentials of a new tunnel, with its `Hostname`; raises QuickFailed."""
    journal.info(DISCLAIMER)
    journal.info("Requesting new quick Tunnel on trycloudflare.com...")
    status, body = _post(service, behaviour.seconds(TIMEOUT))
    try:
        told = json.loads(body)
    except ValueError:
        why = f"invalid character '{body[:1]}' looking for beginning of value"
        message = f"Error unmarshaling QuickTunnel response: {body}"
        journal.error(message, error=why, status_code=status)
        raise QuickFailed(f"failed to unmarshal quick Tunnel: {why}") from None
    result = told.get("result") or {}
    tunnel_id = result.get("id", "")
    if len(tunnel_id) != 36:
        raise QuickFailed(f"failed to parse quick Tunnel ID: invalid UUID length: {len(tunnel_id)}")
    host = result["hostname"].removeprefix("https://")
    _banner(journal, [CREATED, f"https://{host}"])
    return {
        "AccountTag": result["account_tag"],
        "TunnelSecret": result["secret"],
        "TunnelID": tunnel_id,
        "Hostname": host,
    }


def _post(service: str, timeout: float) -> tuple[str, str]:
    """Status and body of the answer."""
    url = f"{service}/tunnel"
    scheme, _, host = service.partition("://")
    name, _, port = host.rpartition(":")

    def failed(why: str) -> QuickFailed:
        return QuickFailed(f'failed to request quick Tunnel: Post "{url}": {why}')

    if scheme != "http":
        raise failed(f"dial tcp: lookup {host}: connection refused")
    try:
        with socket.create_connection((name, int(port)), timeout) as client:
            client.sendall(
                f"POST /tunnel HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while more := client.recv(64 * 1024):
                answer += more
    except TimeoutError:
        raise failed("context deadline exceeded (Client.Timeout exceeded)") from None
    except OSError as error:
        raise failed(f"dial tcp {host}: connect: {(error.strerror or '').lower()}") from None
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")[2]
    if b"chunked" in head.lower():
        body = b"".join(body.split(b"\r\n")[1::2])
    return status, body.decode("utf-8", "replace")


def _banner(journal: Journal, lines: list[str]) -> None:
    width = max(map(len, lines)) + 4
    edge = f"+{'-' * width}+"
    for text in (edge, *(f"|  {line.ljust(width - 2)}|" for line in lines), edge):
        journal.info(text)
