"""The control socket: the only door for changes of state, for whoever may open the file.

HTTP on a Unix socket of mode 0600: `POST /reload`, `POST /backends/NAME/ACTION`, `GET /status`,
`GET /tunnel`, `POST /tunnel/restart`.
"From loopback" would prove nothing, since web pages and tunnels come from loopback too; the rights
of a file do.
"""

import os
import re
import socket
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from sidecar.config.resolve import LONGEST_SOCKET_PATH
from sidecar.control.operate import Action, Operator, Refused
from sidecar.control.reload import Reload, Result
from sidecar.runtime.report import Report
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json

_ACTION = re.compile(rf"/backends/(?P<name>.+)/(?P<action>{'|'.join(Action)})", re.DOTALL)


class TunnelDoor(NamedTuple):
    """What can be asked of the tunnel: its facts (None where there is none), and a new child."""

    status: Callable[[], Mapping[str, object] | None]
    restart: Callable[[], Awaitable[str]]  # a sentence of what is done


class ControlSocketError(Exception):
    """The socket cannot be opened; the message says why and what to do."""


class ControlSocket:
    """One socket file, from `open` to `close`."""

    def __init__(
        self,
        path: Path,
        reload_now: Callable[[], Awaitable[Reload]],
        operator: Operator,
        report: Report,
        tunnel: TunnelDoor,
        redact: Redactor,
    ) -> None:
        self._path, self._reload_now, self._operator = path, reload_now, operator
        self._tunnel = tunnel
        self._report, self._redact = report, redact
        self._runner: web.ServerRunner | None = None
        self._inode: int | None = None

    async def open(self) -> None:
        """Bind and serve; raises ControlSocketError."""
        listening = bind(self._path)
        self._inode = self._path.stat().st_ino
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Stop serving, and remove the file unless another process has put its own there."""
        if self._runner is None:
            return
        await self._runner.cleanup()
        self._runner = None
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.method, request.path:
            case "POST", "/reload":
                done = await self._reload_now()
                return self._answer(asdict(done), 422 if done.result is Result.FAILED else 200)
            case "GET", "/status":
                return self._answer(self._report.status())
            case ("GET", "/tunnel") | ("POST", "/tunnel/restart"):
                return await self._ask_tunnel(restart=request.method == "POST")
            case "POST", path if found := _ACTION.fullmatch(path):
                return await self._act(found["name"], Action(found["action"]))
            case _:
                message = (
                    "The control socket has POST /reload, POST /backends/NAME/ACTION with "
                    f"{', '.join(Action)}, GET /status, GET /tunnel and POST /tunnel/restart."
                )
                return self._answer({"error": {"code": "unknown_path", "message": message}}, 404)

    async def _ask_tunnel(self, *, restart: bool) -> web.Response:
        told = self._tunnel.status()
        if told is None:
            message = "No tunnel is configured. Add the section `tunnel:` to the configuration."
            return self._answer({"error": {"code": "no_tunnel", "message": message}}, 404)
        if restart:
            return self._answer({"message": await self._tunnel.restart()})
        return self._answer(told)

    async def _act(self, name: str, action: Action) -> web.Response:
        try:
            done = await self._operator.act(name, action)
        except Refused as error:
            told = {"error": {"code": error.code, "message": str(error)}}
            return self._answer(told, error.status)
        return self._answer(asdict(done))

    def _answer(self, value: object, status: int = 200) -> web.Response:
        text = self._redact(json.dumps(value).decode())
        return web.Response(text=text, status=status, content_type="application/json")


def bind(path: Path) -> socket.socket:
    """A listening socket that only this user can open; a stale file is replaced."""
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ControlSocketError(
            f"The path of the control socket is longer than {LONGEST_SOCKET_PATH} bytes: {path}. "
            "Give a shorter one as `listeners.control.socket`."
        )
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _prepare_folder(path.parent)
        _remove_stale(path)
        listening.bind(os.fspath(path))
        # nobody can connect before listen(), so the file is never open to others
        path.chmod(0o600)
        listening.listen()
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ControlSocketError(
            f"The control socket {path} cannot be opened: {error.strerror}. Give another path as "
            "`listeners.control.socket`."
        ) from error
    except ControlSocketError:
        listening.close()
        raise
    return listening


def _prepare_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    is_sticky = status.st_mode & stat.S_ISVTX  # as /tmp is: others cannot replace our file
    if others_write and not is_sticky:
        raise ControlSocketError(
            f"Others may write to {folder}, where the control socket should be. Make it private "
            f"with `chmod 700 {folder}`, or give another path as `listeners.control.socket`."
        )


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlSocketError(
            f"{path} exists and is not a socket. Remove it, or give another path as "
            "`listeners.control.socket`."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1)
        try:
            knock.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except (BlockingIOError, TimeoutError):
            pass  # somebody listens, but is busy
    raise ControlSocketError(
        f"Another sidecar answers at {path}. Stop it first, or give each its own ports and its own "
        "`listeners.control.socket`."
    )
