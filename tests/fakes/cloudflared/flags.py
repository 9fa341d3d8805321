"""The command line of the stand-in: what may stand where, and which variable says the same.

A flag that is unknown where it stands ends in help on standard output and exit code 0.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

Flags = dict[str, "tuple[str, str | None, Any]"]  # name: kind, variable, default

_PROXY: Flags = {
    "url": ("text", "TUNNEL_URL", "http://localhost:8080"),
    "hello-world": ("bool", "TUNNEL_HELLO_WORLD", False),
    "unix-socket": ("text", "TUNNEL_UNIX_SOCKET", ""),
    "http-host-header": ("text", "TUNNEL_HTTP_HOST_HEADER", ""),
    "origin-server-name": ("text", "TUNNEL_ORIGIN_SERVER_NAME", ""),
    "origin-ca-pool": ("text", "TUNNEL_ORIGIN_CA_POOL", ""),
    "no-tls-verify": ("bool", "NO_TLS_VERIFY", False),
    "no-chunked-encoding": ("bool", "TUNNEL_NO_CHUNKED_ENCODING", False),
    "http2-origin": ("bool", "TUNNEL_ORIGIN_ENABLE_HTTP2", False),
    "proxy-connect-timeout": ("time", None, 30.0),
    "proxy-tls-timeout": ("time", None, 10.0),
    "proxy-tcp-keepalive": ("time", None, 30.0),
    "proxy-keepalive-connections": ("int", None, 100),
    "proxy-keepalive-timeout": ("time", None, 90.0),
}
_CREDENTIALS: Flags = {"credentials-file": ("text", "TUNNEL_CRED_FILE", "")}
_PROTOCOL: Flags = {"protocol": ("text", "TUNNEL_TRANSPORT_PROTOCOL", "auto")}
TUNNEL: Flags = {
    **_PROXY,
    **_CREDENTIALS,
    **_PROTOCOL,
    "config": ("text", None, ""),
    "origincert": ("text", "TUNNEL_ORIGIN_CERT", ""),
    "autoupdate-freq": ("time", None, 86400.0),
    "no-autoupdate": ("bool", "NO_AUTOUPDATE", False),
    "no-prechecks": ("bool", "TUNNEL_NO_PRECHECKS", False),
    "metrics": ("text", "TUNNEL_METRICS", ""),
    "metrics-update-freq": ("time", "TUNNEL_METRICS_UPDATE_FREQ", 5.0),
    "pidfile": ("text", "TUNNEL_PIDFILE", ""),
    "loglevel": ("text", "TUNNEL_LOGLEVEL", "info"),
    "transport-loglevel": ("text", "TUNNEL_TRANSPORT_LOGLEVEL", "info"),
    "logfile": ("text", "TUNNEL_LOGFILE", ""),
    "log-directory": ("text", "TUNNEL_LOGDIRECTORY", ""),
    "output": ("text", "TUNNEL_LOG_OUTPUT", "default"),
    "edge": ("list", "TUNNEL_EDGE", ()),
    "region": ("text", "TUNNEL_REGION", ""),
    "edge-ip-version": ("text", "TUNNEL_EDGE_IP_VERSION", "auto"),
    "edge-bind-address": ("text", "TUNNEL_EDGE_BIND_ADDRESS", ""),
    "cacert": ("text", "TUNNEL_CACERT", ""),
    "tag": ("list", "TUNNEL_TAG", ()),
    "label": ("text", None, ""),
    "max-edge-addr-retries": ("int", None, 8),
    "retries": ("int", "TUNNEL_RETRIES", 5),
    "ha-connections": ("int", None, 4),
    "rpc-timeout": ("time", None, 5.0),
    "grace-period": ("time", "TUNNEL_GRACE_PERIOD", 30.0),
    "post-quantum": ("bool", "TUNNEL_POST_QUANTUM", False),
    "management-diagnostics": ("bool", "TUNNEL_MANAGEMENT_DIAGNOSTICS", True),
    "management-hostname": ("text", "TUNNEL_MANAGEMENT_HOSTNAME", "management.argotunnel.com"),
    "stdin-control": ("bool", "STDIN_CONTROL", False),
    "quick-service": ("text", None, "https://api.trycloudflare.com"),
    "name": ("text", "TUNNEL_NAME", ""),
    "help": ("bool", None, False),
    "h": ("bool", None, False),
}
RUN: Flags = {
    **_PROXY,
    **_CREDENTIALS,
    **_PROTOCOL,
    "credentials-contents": ("text", "TUNNEL_CRED_CONTENTS", ""),
    "token": ("text", "TUNNEL_TOKEN", ""),
    "token-file": ("text", "TUNNEL_TOKEN_FILE", ""),
    "features": ("list", None, ()),
    "post-quantum": ("bool", "TUNNEL_POST_QUANTUM", False),
    "max-active-flows": ("int", "TUNNEL_MAX_ACTIVE_FLOWS", 0),
    "help": ("bool", None, False),
    "h": ("bool", None, False),
}
_APP: Flags = {**TUNNEL, "version": ("bool", None, False), "v": ("bool", None, False)}
_SECRET = ("token", "credentials-contents")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Misused(Exception):
    """The command line cannot be read; the message is told together with the help."""


def seconds(text: str) -> float:
    """A duration such as `1m30s`; raises ValueError."""
    total, rest = 0.0, text
    while rest:
        digits = 0
        while digits < len(rest) and (rest[digits].isdigit() or rest[digits] == "."):
            digits += 1
        unit = next((each for each in _UNITS if rest[digits:].startswith(each)), None)
        if unit == "m" and rest[digits:].startswith("ms"):
            unit = "ms"
        if unit is None or not digits:
            raise ValueError(text)
        total += float(rest[:digits]) * _UNITS[unit]
        rest = rest[digits + len(unit) :]
    if not text:
        raise ValueError(text)
    return total


def _value(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "int":
            return int(text)
        if kind == "time":
            return seconds(text)
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except (ValueError, KeyError):
        raise Misused(f'invalid value "{text}" for flag -{name}: parse error') from None
    return tuple(text.split(",")) if kind == "list" else text


def _walk(args: list[str], known: Flags) -> tuple[dict[str, Any], list[str]]:
    """Flags up to the first word that is none; gives what they say, and the rest."""
    told: dict[str, Any] = {}
    rest = list(args)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, text = word.lstrip("-").partition("=")
        if name not in known:
            raise Misused(f"flag provided but not defined: -{name}")
        kind = known[name][0]
        if not equals:
            if kind == "bool":
                text = "true"
            elif rest:
                text = rest.pop(0)
            else:
                raise Misused(f"flag needs an argument: -{name}")
        value = _value(name, kind, text)
        told[name] = (*told.get(name, ()), *value) if kind == "list" else value
    return told, rest


class Options:
    """What command line, environment and configuration file say together."""

    def __init__(self, args: list[str], environ: Mapping[str, str], missing: list[str]) -> None:
        """Raises Misused. `missing` are flags that this version is to know nothing of."""
        self._environ = environ
        self.file: dict[str, Any] = {}  # what the configuration file says
        self.command: list[str] = []
        self.words: list[str] = []
        self._levels: list[tuple[Flags, dict[str, Any]]] = []
        known = {name: flag for name, flag in _APP.items() if name not in missing}
        told, rest = _walk(args, known)
        self._levels.append((known, told))
        if rest[:1] == ["tunnel"]:
            known = {name: flag for name, flag in TUNNEL.items() if name not in missing}
            told, rest = _walk(rest[1:], known)
            self._levels.insert(0, (known, told))
            self.command = ["tunnel"]
            if rest[:1] == ["run"]:
                known = {name: flag for name, flag in RUN.items() if name not in missing}
                told, rest = _walk(rest[1:], known)
                self._levels.insert(0, (known, told))
                self.command = ["tunnel", "run"]
            elif rest:
                self.command.append(rest.pop(0))
        elif rest:
            self.command.append(rest.pop(0))
        self.words = rest

    def _find(self, name: str) -> tuple[bool, Any]:
        default: Any = None
        for known, told in self._levels:
            if name not in known:
                continue
            kind, variable, default = known[name]
            if name in told:
                return True, told[name]
            if variable and self._environ.get(variable):
                return True, _value(name, kind, self._environ[variable])
            if name in self.file:
                return True, _value(name, kind, str(self.file[name]))
            if name != "protocol":  # the innermost command that knows a flag decides
                break
        return False, default

    def get(self, name: str) -> Any:
        return self._find(name)[1]

    def is_set(self, name: str) -> bool:
        return self._find(name)[0]

    def settings(self) -> str:
        """All that was said on the command line, as the log tells it."""
        told = {name: value for _, each in self._levels for name, value in each.items()}
        shown = (
            f"{name}:{'*****' if name in _SECRET else _shown(name, told[name])}"
            for name in sorted(told)
        )
        return f"map[{' '.join(shown)}]"

    def variables(self) -> str:
        """The variables of ours, as the log tells them."""
        secret = {flag[1] for name, flag in RUN.items() if name in _SECRET}
        names = sorted(name for name in self._environ if "TUNNEL_" in name)
        shown = (f"{name}:{'*****' if name in secret else self._environ[name]}" for name in names)
        return f"map[{' '.join(shown)}]" if names else ""


def _shown(name: str, value: Any) -> str:
    kind = {**TUNNEL, **RUN}[name][0]
    if kind == "time":
        return f"{value:g}s"
    return str(value).lower() if kind == "bool" else str(value)


def help_text(command: list[str]) -> str:
    """What is printed after a word that nobody understands."""
    known = RUN if command == ["tunnel", "run"] else TUNNEL
    listed = "\n".join(f"   --{name} value" for name in sorted(known))
    path = " ".join(["cloudflared", *command])
    head = f"NAME:\n   {path} - Cloudflare Tunnel\n\nUSAGE:\n   {path} [options]"
    return f"{head}\n\nOPTIONS:\n{listed}\n"


def find_config(options: Options, home: str) -> str:
    """The configuration file that is read: the named one, else the first default one there is."""
    if options.is_set("config"):
        return str(options.get("config"))
    for folder in (".cloudflared", ".cloudflare-warp", "cloudflare-warp"):
        for name in ("config.yml", "config.yaml"):
            path = os.path.join(home, folder, name)
            if os.path.exists(path):
                return path
    return ""
