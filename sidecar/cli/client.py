"""What the command line asks by HTTP: a running sidecar's control socket, and whether an Ollama is
there. No proxy is asked, every wait is short.
"""

import glob
import http.client
import json
import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from typing import Any

import httpx

ANSWER_LIMIT = 30.0  # seconds
LOOK_LIMIT = 1.0


class NotRunning(Exception):
    """No sidecar answers at the control socket; the message says where it was looked for."""


class NotAllowed(NotRunning):
    """The control socket is somebody else's."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket. httpx could do it too, but leaks the socket when nobody is there."""

    def __init__(self, path: str, limit: float) -> None:
        super().__init__("localhost")
        self._path, self._limit = path, limit

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._limit)
        self.sock.connect(self._path)


def ask(
    path: str, method: str, target: str, limit: float = ANSWER_LIMIT
) -> tuple[int, Mapping[str, Any]]:
    """One question to the control socket at `path`: status and JSON of the answer.

    No wait is longer than `limit` seconds. Raises NotRunning.
    """
    try:
        with closing(_UnixConnection(path, limit)) as connection:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
    except PermissionError as error:
        raise NotAllowed(
            f"The control socket {path} belongs to another user; ask as the user who runs it."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotRunning(
            f"No sidecar answers at {path}. Start one with `llm-sidecar run`, or say which "
            "configuration it runs with: --config FILE (or --socket PATH)."
        ) from error


def answering(folder: str) -> list[str]:
    """The control sockets in a folder at which a sidecar answers."""
    found = []
    for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*.sock"))):
        with suppress(NotRunning):
            ask(path, "GET", "/status", LOOK_LIMIT)
            found.append(path)
    return found


def look_for_ollamas(addresses: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The addresses where an Ollama answers, each with its models, the latest first."""
    with httpx.Client(timeout=LOOK_LIMIT, trust_env=False) as client:
        found = {url: _models(client, url) for url in dict.fromkeys(addresses)}
    return {url: models for url, models in found.items() if models is not None}


def _models(client: httpx.Client, url: str) -> tuple[str, ...] | None:
    try:
        if "version" not in client.get(f"{url}/api/version").raise_for_status().json():
            return None
        listed = client.get(f"{url}/api/tags").raise_for_status().json()["models"]
        names = [str(model["name"]) for model in listed]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None
    # one that makes embeddings cannot answer a chat
    return tuple(name for name in names if "embed" not in name)
