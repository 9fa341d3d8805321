"""The stand-in `cloudflared`: from its command line to its exit code.

A real program, that starts fast: threads, sockets, and no module that takes long to import.
`launch.install` writes its executable. It obeys `behaviour.json` beside that; it keeps to the real
program's order of things, so that each fault comes at its own moment.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import signal
import socket
import sys
import threading
import time

from tests.fakes.cloudflared import flags, orders, quick, ready
from tests.fakes.cloudflared.behaviour import GLANCE, Behaviour
from tests.fakes.cloudflared.connections import Connections
from tests.fakes.cloudflared.journal import Journal
from tests.fakes.cloudflared.tunnel import VERSION, Tunnel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from tests.fakes.cloudflared.flags import Options

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
DNS_TIME = 0.5
LONGEST_GRACE = 180.0
DNS_FAILED = "edge discovery: error looking up Cloudflare edge IPs: the DNS query failed"
NO_ID = (
    '"cloudflared tunnel run" requires the ID or name of the tunnel to run as the last command '
    "line argument or in the configuration file."
)
NO_COMMAND = "You did not specify any valid additional argument to the cloudflared tunnel command."


class Ended(Exception):
    """The process ends: the last line on stderr, and the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def main(folder: str) -> NoReturn:
    """Run as `cloudflared` with the process's own arguments; `folder` holds the executable."""
    behaviour = Behaviour(folder)
    args = sys.argv[1:]
    if args[:1] == ["tunnel"] and args[-1:] != ["ready"]:
        behaviour.claim()
        orders.at_start(behaviour)
    try:
        options = flags.Options(args, os.environ, behaviour.get("unknown_flags") or [])
        if options.get("version") or options.get("v") or options.command == ["version"]:
            _tell_version(behaviour)
        if options.get("help") or options.get("h"):
            _leave(0, flags.help_text(options.command))
    except flags.Misused as error:
        _leave(0, f"Incorrect Usage: {error}\n\n{flags.help_text(['tunnel'])}")
    try:
        if options.command == ["tunnel", "ready"]:
            _ask_ready(options)
        _serve(_tunnel(options, behaviour))
    except flags.Misused as error:
        _leave(0, f"Incorrect Usage: {error}\n\n{flags.help_text(options.command)}")
    except Ended as error:
        os.write(2, f"{error}\n".encode())
        os._exit(error.code)


def _leave(code: int, text: str) -> NoReturn:
    data = text.encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(code)


def _tell_version(behaviour: Behaviour) -> NoReturn:
    """Order `version`: `text`, `code`, `after` seconds."""
    odd = behaviour.get("version") or {}
    time.sleep(odd.get("after", 0))
    usual = f"cloudflared version {VERSION} (built 2026-08-20T09:54:27Z)\n"
    _leave(odd.get("code", 0), odd.get("text", usual))


def _ask_ready(options: Options) -> NoReturn:
    """The health command of containers."""
    host, _, port = str(options.get("metrics")).rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 5) as client:
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            status = client.recv(12)
    except (OSError, ValueError) as error:
        raise Ended(str(error)) from None
    if not status.endswith(b"200"):
        raise Ended(f"http://{host}:{port}/ready endpoint returned status code {status[-3:]!r}")
    os._exit(0)


# --- who it is ------------------------------------------------------------------------------------


def _usage(message: str, command: str = "tunnel run") -> Ended:
    return Ended(f"{message}\nSee 'cloudflared {command} --help'.", 255)


def _credentials(options: Options) -> dict[str, str]:
    """Of `tunnel run`; raises Ended."""
    token = str(options.get("token"))
    if not token and (file := options.get("token-file")):
        try:
            with open(file, encoding="latin-1") as stream:
                token = stream.read().strip()
        except OSError as error:
            text = f"Failed to read token file: open {file}: {(error.strerror or '').lower()}"
            raise _usage(text) from None
    if token:
        return _of_token(token)
    name = (options.words or [str(options.file.get("tunnel", ""))])[0]
    if len(options.words) > 1:
        raise _usage('"cloudflared tunnel run" accepts only one argument')
    if not name:
        raise _usage(NO_ID)
    if not UUID.fullmatch(name):
        text = "Error locating origin cert: client didn't specify origincert path"
        raise Ended(f"error parsing tunnel ID: {text}")
    return _of_file(options, name)


def _of_token(token: str) -> dict[str, str]:
    try:
        told = json.loads(base64.b64decode(token, validate=True))
        base64.b64decode(told["s"], validate=True)
        if not UUID.fullmatch(told["t"]):
            raise ValueError
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise _usage("Provided Tunnel token is not valid.") from None
    return {"AccountTag": told["a"], "TunnelSecret": told["s"], "TunnelID": told["t"]}


def _of_file(options: Options, tunnel_id: str) -> dict[str, str]:
    contents = options.get("credentials-contents")
    if not contents:
        file = options.get("credentials-file")
        try:
            with open(file, encoding="utf-8") as stream:
                contents = stream.read()
        except OSError:
            text = f"Tunnel credentials file '{file}' doesn't exist or is not a file"
            raise Ended(text) from None
    try:
        told = json.loads(contents)
        return {**told, "TunnelID": told.get("TunnelID") or tunnel_id}
    except (ValueError, AttributeError):
        raise Ended("invalid JSON when parsing tunnel credentials file") from None


def _read_config(options: Options) -> str:
    """The file that was read, or nothing; raises Ended."""
    path = flags.find_config(options, os.environ.get("HOME", "/"))
    if not path:
        return ""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise Ended(f"open {path}: {(error.strerror or '').lower()}") from None
    if text.strip():
        import site  # only a file needs a parser, which lives beside the standard library

        site.main()
        import yaml

        try:
            told = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise Ended(f"error parsing YAML in config file at {path}: {error}") from None
        if not isinstance(told, dict):
            raise Ended(f"error parsing YAML in config file at {path}")
        options.file = told
    return path


# --- its life -------------------------------------------------------------------------------------


def _tunnel(options: Options, behaviour: Behaviour) -> Tunnel:
    if not options.command or options.command[0] != "tunnel":
        raise Ended(NO_COMMAND)
    config = _read_config(options)
    journal = Journal(str(options.get("loglevel")), as_json=options.get("output") == "json")
    if options.command == ["tunnel", "run"]:
        credentials = _credentials(options)
        journal.info("Starting tunnel", tunnelID=credentials["TunnelID"])
    elif options.command == ["tunnel"] and options.is_set("url"):
        service = str(options.get("quick-service"))
        try:
            credentials = quick.request(service, journal, behaviour)
        except quick.QuickFailed as error:
            raise Ended(str(error)) from None
    else:
        raise Ended(NO_COMMAND)
    if not config:
        journal.info(
            "Cannot determine default configuration path. No file [config.yml config.yaml]"
        )
    return Tunnel(options, journal, behaviour, credentials)


def _serve(tunnel: Tunnel) -> NoReturn:
    options, journal, behaviour = tunnel.options, tunnel.journal, tunnel.behaviour
    _mind_signals(tunnel)
    journal.info(f"Version {VERSION} (Checksum {'0' * 64})")
    journal.info("GOOS: linux, GOVersion: go1.26.0, GoArch: amd64")
    journal.info(f"Settings: {options.settings()}")
    if variables := options.variables():
        journal.info(f"Environmental variables {variables}")
    try:
        protocol = _prepare(tunnel)
    except ValueError as error:
        journal.error("Couldn't start tunnel", error=str(error))
        raise Ended(str(error)) from None
    addresses = [] if behaviour.get("dns") == "down" else list(options.get("edge"))
    journal.error(DNS_FAILED)  # harmless where addresses are given, and printed all the same
    while behaviour.holds("dns"):
        time.sleep(GLANCE)
    try:
        server = ready.listen(str(options.get("metrics")))
    except ready.CannotListen as error:
        why = f"failed to bind to address ({options.get('metrics')}): {error}"
        journal.error("Error opening metrics server listener", error=why)
        raise Ended(f"Error opening metrics server listener: {why}") from None
    host, port = server.getsockname()[:2]
    told = behaviour.get("told_port") or port
    journal.info(f"Starting metrics server on {host}:{told}/metrics")
    behaviour.tell_port(port)
    ready.Metrics(tunnel, server, behaviour).start()
    orders.watch(tunnel)
    if not addresses:
        behaviour.sleep(DNS_TIME)
        journal.error(DNS_FAILED)
        _end(tunnel, "Could not lookup srv records on _v2-origintunneld._tcp.argotunnel.com")
    _end(tunnel, Connections(tunnel, [_address(each) for each in addresses], protocol).run())


def _prepare(tunnel: Tunnel) -> str:
    """The protocol it begins with; raises ValueError."""
    options, journal = tunnel.options, tunnel.journal
    journal.info(f"Generated Connector ID: {tunnel.connector}")
    tunnel.set_rules(options.file.get("ingress"))
    protocol = str(options.get("protocol"))
    if protocol not in ("auto", "quic", "http2", "h2mux"):
        raise ValueError(f"unknown protocol {protocol}, available protocols: auto, http2, quic")
    if protocol == "auto":
        direct = options.command == ["tunnel"] or options.is_set("token")
        protocol = "quic" if direct else tunnel.behaviour.get("txt") or "http2"
    journal.info(f"Initial protocol {protocol}")
    if options.get("grace-period") > LONGEST_GRACE:
        raise ValueError("grace-period must be equal or less than 3m0s")
    if options.get("edge-ip-version") not in ("4", "6", "auto"):
        raise ValueError(f"invalid value for edge-ip-version: {options.get('edge-ip-version')}")
    return protocol


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _end(tunnel: Tunnel, why: str | None) -> NoReturn:
    if why is not None:
        tunnel.journal.error("Initiating shutdown", error=why)
    tunnel.journal.info("Tunnel server stopped")
    tunnel.journal.info("Metrics server stopped")
    if why is not None:
        tunnel.journal.raw(f"{why}\n".encode())
    os._exit(0 if why is None else 1)


def _mind_signals(tunnel: Tunnel) -> None:
    """From here on SIGTERM drains; before, it kills."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*ends, signal.SIGQUIT})

    def mind() -> None:
        awaited: set[Any] = {*ends, signal.SIGQUIT}
        while True:
            number = signal.sigwait(awaited)
            if number == signal.SIGQUIT:
                _dump(tunnel)
            if tunnel.behaviour.get("ignore_sigterm"):
                continue
            word = "terminated" if number == signal.SIGTERM else "interrupt"
            tunnel.journal.info(f"Initiating graceful shutdown due to signal {word} ...")
            awaited -= ends
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)  # the next one kills
            tunnel.stop.set()

    threading.Thread(target=mind, daemon=True).start()


def _dump(tunnel: Tunnel) -> None:
    lines = ["SIGQUIT: quit", "PC=0x0 m=0 sigcode=0", ""]
    for number in range(1, 200):
        lines += [
            f"goroutine {number} [select]:",
            "main.main()",
            f"\t/src/main.go:{number} +0x1d",
            "",
        ]
    tunnel.journal.raw("\n".join(lines).encode() + b"\n")
    os._exit(2)
