"""Questions to a child at its metrics port: is it ready, what does it serve, what is its name.

Whatever listens there gets little time and little room, and is believed only where it names the
connector that the child's own log told: the port of a child that ended may be somebody else's.
"""

import asyncio
import json
import re
from typing import Any

import aiohttp

from tunnel.events import Ingress, Readiness, Ready

PATIENCE = 2.0  # seconds for a whole answer
MOST = 64 * 1024  # bytes of an answer
MOST_CONFIG = 1024 * 1024  # bytes of a configuration, which a person may have made long

_NO_ANSWER = Readiness(Ready.NO_ANSWER)
_HOSTNAME = re.compile(r"(?!api\.)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")


async def ask_ready(port: int, connector: str | None) -> Readiness:
    """Whether the child of this connector has connections. Never raises."""
    answer = await _ask(port, "/ready", MOST)
    if answer is None:
        return _NO_ANSWER
    status, told = answer
    if status not in (200, 503) or not isinstance(told, dict):
        return _NO_ANSWER
    if connector is None or told.get("connectorId") != connector:
        return Readiness(Ready.FOREIGN)
    connections = _number(told.get("readyConnections"))
    if connections is None or connections < 0:
        return _NO_ANSWER
    return Readiness(Ready.READY if status == 200 else Ready.NOT_READY, connections)


async def ask_ingress(port: int) -> Ingress | None:
    """What it serves; None where it does not tell. Never raises."""
    answer = await _ask(port, "/config", MOST_CONFIG)
    if answer is None or answer[0] != 200 or not isinstance(answer[1], dict):
        return None
    config = answer[1].get("config")
    rules = config.get("ingress") if isinstance(config, dict) else None
    if not isinstance(rules, list):
        return None
    services: list[str] = []
    hostnames: list[str] = []
    for rule in rules:
        service = rule.get("service") if isinstance(rule, dict) else None
        if not isinstance(service, str):
            return None
        services.append(service)
        if isinstance(name := rule.get("hostname"), str) and name:
            hostnames.append(name)
    return Ingress(tuple(services), tuple(hostnames))


async def ask_quick_hostname(port: int) -> str | None:
    """The name that a quick tunnel was given; None while there is none. Never raises."""
    answer = await _ask(port, "/quicktunnel", MOST)
    if answer is None or answer[0] != 200 or not isinstance(answer[1], dict):
        return None
    name = answer[1].get("hostname")
    if not isinstance(name, str):
        return None
    name = name.removeprefix("https://")
    return name if len(name) <= 253 and _HOSTNAME.fullmatch(name) else None


async def _ask(port: int, path: str, most: int) -> tuple[int, Any] | None:
    """Status and JSON of an answer; None where there is none, or one that cannot be read."""
    try:
        async with asyncio.timeout(PATIENCE), _session() as session:
            url = f"http://127.0.0.1:{port}{path}"
            async with session.get(url, allow_redirects=False) as response:
                body = await _read(response.content, most)
                return None if body is None else (response.status, json.loads(body))
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError):
        return None


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def _read(content: aiohttp.StreamReader, most: int) -> bytes | None:
    """A whole body; None where it is longer."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
