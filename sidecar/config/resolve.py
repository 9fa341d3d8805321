"""The only road from what people write to the snapshot that the program reads.

Makes every check that needs more than one key, and reports all faults together. Variables and
files come in as values.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from sidecar.config import complaints, units
from sidecar.config.backends import BackendResolver, Surroundings, bounds
from sidecar.config.base_url import LOOPBACK
from sidecar.config.complaints import Checked
from sidecar.config.document import Document
from sidecar.config.faults import (
    ConfigError,
    Fault,
    KeyPath,
    Report,
    Severity,
    did_you_mean,
    in_order,
    listed,
    shown,
)
from sidecar.config.public import keys_of, listener_of, resolve_public
from sidecar.config.routes import Backends, check_names, resolve_routes
from sidecar.config.schema import Configuration, ControlSection, DataSection, ListenersSection
from sidecar.config.snapshot import Backend, Doors, Drain, Listener, Log, Public, Snapshot
from sidecar.dialects import DIALECTS
from sidecar.policy.budget import BudgetSettings
from sidecar.wire import json
from sidecar.wire.contract import RequestLimits

ADMIN_BIND = "LLM_SIDECAR_ADMIN_BIND"  # a pod's manifest puts the pod's address there
LONGEST_SOCKET_PATH = 103  # bytes that every system takes; Linux takes 107


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration that can be used, and what was corrected in it."""

    snapshot: Snapshot
    configuration: Configuration
    warnings: tuple[Fault, ...]


def resolve(
    document: Document, around: Surroundings, *, source: str, local_only: bool = False
) -> Resolved:
    """Check everything and build the snapshot; raises ConfigError with all faults.

    `source` is how the faults call the configuration. `local_only` keeps every route on loopback
    and private addresses.
    """
    checked = complaints.check(document.data, document.faults, around.guest)
    configuration, report = checked.configuration, Report()
    data, admin = _listeners(configuration.listeners, around, report)
    if (held := configuration.listeners.data.keys) is not None:
        place: KeyPath = ("listeners", "data", "keys", "file")
        data = replace(data, keys=keys_of(held, place, around.files, report))
    public = configuration.listeners.public
    bound = [data, admin] if public is None else [data, admin, listener_of(public)]
    around = replace(around, listeners=tuple((one.addresses, one.port) for one in bound))
    resolver = BackendResolver(around, configuration.defaults.timeouts, local_only, report)
    backends: dict[str, Backend | None] = {
        name: None if _is_unknown(name, checked) else resolver.resolve(name, section)
        for name, section in configuration.backends.items()
    }
    _check_backends(backends, resolver.barred, report)
    known = {**_mentioned(document), **backends}
    table = resolve_routes(
        configuration.routes, known, resolver.barred if local_only else None, report
    )
    door = None if public is None else resolve_public(public, around.files, table, report)
    manages = _manages(configuration.listeners.data, known, resolver.barred, report)
    if public is not None and door is not None and public.probe_secret is not None:
        path: KeyPath = ("listeners", "public", "probe_secret")
        door = replace(door, probe_secret=resolver.secret(path, public.probe_secret))
    drain = Drain(configuration.drain.mode, configuration.drain.settle, configuration.drain.limit)
    tunnel = _guest(configuration, door, drain, around, report, resolver.secrets)
    own = Report(fault for fault in report.faults if not checked.explains(fault))
    check_names(document.data.get("routes"), own)
    located = in_order(document.locate([*document.faults, *checked.faults, *own.faults]))
    if any(fault.severity is Severity.ERROR for fault in located):
        raise ConfigError(source, located)
    snapshot = Snapshot(
        revision=_revision(document, around, resolver.secrets),
        log=Log(configuration.log.level, configuration.log.format),
        data=data,
        admin=admin,
        control_socket=control_socket(configuration.listeners, around),
        hosts=configuration.hosts,
        drain=drain,
        backends={name: backend for name, backend in backends.items() if backend is not None},
        routes=table,
        limits=RequestLimits(**configuration.limits.model_dump()),
        fetch_images=configuration.fetch_images,
        manages=manages,
        retry_budget=BudgetSettings(
            configuration.retry_budget.share, configuration.retry_budget.floor
        ),
        model_label=configuration.metrics.model_label,
        secrets=tuple(resolver.secrets),
        public=door,
        tunnel=tunnel,
    )
    return Resolved(snapshot, configuration, located)


def doors(document: Document, around: Surroundings) -> Doors:
    """Where to listen, as far as a broken configuration tells it."""
    checked = complaints.check(document.data, document.faults, around.guest)
    report = Report()
    listeners = checked.configuration.listeners
    data, admin = _listeners(listeners, around, report)
    if report.broken:
        listeners = ListenersSection()
        data, admin = _listeners(listeners, around, report)
    return Doors(data, admin, control_socket(listeners, around))


def control_socket(listeners: ListenersSection, around: Surroundings) -> str:
    """The path of the control socket; `auto` is private to the user, one for each data port."""
    if listeners.control.socket != "auto":
        return os.path.join(around.folder, listeners.control.socket)
    return os.path.join(socket_folder(around.environ), f"{listeners.data.port}.sock")


def socket_folder(environ: Mapping[str, str]) -> str:
    """Where the control sockets are whose path is `auto`."""
    folder = environ.get("XDG_RUNTIME_DIR")
    if folder:
        return os.path.join(folder, "llm-sidecar")
    return os.path.join(tempfile.gettempdir(), f"llm-sidecar-{os.getuid()}")


def _is_unknown(name: str, checked: Checked) -> bool:
    """Whether a backend's address was left out, so that a preset's own must not stand for it."""
    return any(("backends", name, key) in checked.left_out for key in ("preset", "base_url"))


def _mentioned(document: Document) -> Backends:
    """The names of all backends, also of those that the schema has refused."""
    written = document.data.get("backends")
    return dict.fromkeys(written) if isinstance(written, dict) else {}


def _listeners(
    section: ListenersSection, around: Surroundings, report: Report
) -> tuple[Listener, Listener]:
    data, admin = section.data, section.admin
    bound = {
        name: Listener(
            _bind(("listeners", name, "bind"), bind, report),
            listener.port,
            tuple(origin.lower().rstrip("/") for origin in listener.origins),
        )
        for name, listener, bind in (
            ("data", data, data.bind),
            ("admin", admin, _admin_bind(section, around.environ)),
        )
    }
    within = bounds(("listeners", "data"), data.in_flight, data.queue, report)
    bound["data"] = replace(
        bound["data"], keepalive=data.keepalive, commit_after=data.commit_after, bounds=within
    )
    _check_open(data, bound["data"], report)
    _check_socket(section.control, around.folder, report)
    _check_ports(section, report)
    return bound["data"], bound["admin"]


def _check_ports(section: ListenersSection, report: Report) -> None:
    """Each listener has a port of its own; it is told where one is written."""
    seen: dict[int, str] = {}
    listeners = {"data": section.data, "admin": section.admin, "public": section.public}
    for name, listener in listeners.items():
        if listener is None:
            continue
        other = seen.setdefault(listener.port, name)
        if other != name:
            at, too = (name, other) if "port" in listener.model_fields_set else (other, name)
            found = f"{listener.port}, the port of {too} too"
            report.error(("listeners", at, "port"), found, "a port of its own")


def _admin_bind(section: ListenersSection, environ: Mapping[str, str]) -> str:
    """Where the file says nothing the environment may: probes must not depend on the file."""
    if "bind" in section.admin.model_fields_set:
        return section.admin.bind
    return environ.get(ADMIN_BIND) or section.admin.bind


def _bind(path: KeyPath, bind: str, report: Report) -> tuple[str, ...]:
    if bind in ("loopback", "localhost"):
        return LOOPBACK
    try:
        return (str(ip_address(bind)),)
    except ValueError:
        hint = "write 0.0.0.0 for all addresses" if bind == "*" else ""
        report.error(path, shown(bind), "loopback or an IP address", hint)
        return LOOPBACK


def _manages(data: DataSection, backends: Backends, barred: set[str], report: Report) -> str | None:
    """The backend whose models clients may change, where one is named that can be reached."""
    path: KeyPath = ("listeners", "data", "manage")
    name = data.manage
    if name is None or name in barred:
        return None
    if name not in backends:
        known = f"one of {listed(backends)}" if backends else "the name of a backend"
        report.error(path, shown(name), known, did_you_mean(name, backends))
        return None
    backend = backends[name]
    if backend is None:
        return None
    if not backend.enabled:
        report.error(path, f"{name!r}, which is not enabled", "a backend that can be reached")
    elif not backend.dialect.managing:
        able = listed(one.name for one in DIALECTS if one.managing)
        report.error(
            path, f"{name!r}, which speaks the dialect {backend.dialect.name}",
            f"a backend of the dialect {able}", "no other has paths that change models",
        )  # fmt: skip
    return name


def _guest(
    configuration: Configuration,
    public: Public | None,
    drain: Drain,
    around: Surroundings,
    report: Report,
    secrets: list[str],
) -> object | None:
    """The settings of the section that another package owns, where there is one."""
    guest = around.guest
    section = None if guest is None else getattr(configuration, guest.key)
    if guest is None or section is None:
        return None
    if public is None:
        report.error(
            (guest.key,), "nobody who may come in through it",
            "listeners.public with keys or access",
            "make a key with `llm-sidecar keys add NAME`, and write "
            "`public: {keys: {file: keys.txt}}` under listeners",
            at_key=True,
        )  # fmt: skip
        return None
    settled = guest.settle(
        section, public.listener.url, around.files, around.environ, around.folder
    )
    for path, found, expected, hint in settled.complaints:
        report.error((guest.key, *path), found, expected, hint)
    secrets += settled.secrets
    _check_grace(settled.grace, drain, (guest.key, "grace"), report)
    return settled.settings


def _check_grace(grace: float, drain: Drain, path: KeyPath, report: Report) -> None:
    if grace <= drain.for_tunnel:
        return
    told, limit = units.write_duration(grace), units.write_duration(drain.limit)
    left, enough = units.write_duration(drain.for_tunnel), grace + drain.limit - drain.for_tunnel
    report.warn(
        path, f"{told}, of which a stop with drain.limit {limit} leaves {left}",
        f"at most {left}",
        f"requests through the tunnel are cut then; raise drain.limit to "
        f"{units.write_duration(enough)}, and the platform's own grace period above it",
    )  # fmt: skip


def _check_open(data: DataSection, listener: Listener, report: Report) -> None:
    is_guarded = data.keys is not None or data.i_know_this_is_open
    if is_guarded or all(ip_address(one).is_loopback for one in listener.addresses):
        return
    report.error(
        ("listeners", "data", "bind"), f"{data.bind}, where others than this machine can come in",
        "loopback, since nobody needs a key",
        "give clients keys (`llm-sidecar keys add NAME`, and listeners.data.keys); if everybody "
        "may use it, add i_know_this_is_open: true to listeners.data",
    )  # fmt: skip


def _check_socket(control: ControlSection, folder: str, report: Report) -> None:
    path: KeyPath = ("listeners", "control", "socket")
    if "\0" in control.socket:
        report.error(path, "a null character", "a path")
    elif control.socket == "auto":
        return
    elif len(os.fsencode(os.path.join(folder, control.socket))) > LONGEST_SOCKET_PATH:
        report.error(path, "a very long path", f"a path of at most {LONGEST_SOCKET_PATH} bytes")


def _check_backends(backends: Backends, barred: set[str], report: Report) -> None:
    path: KeyPath = ("backends",)
    if not backends:
        report.error(path, "no backend", "at least one, such as home: {preset: ollama}")
    elif all(one is not None and not one.enabled for one in backends.values()) and not barred:
        report.error(path, "only backends that are not enabled", "at least one that is")
    folded: dict[str, str] = {}
    for name in backends:
        first = folded.setdefault(name.casefold(), name)
        if first != name:
            found = f"{name!r} beside {first!r}"
            expected = "names that differ in more than case"
            report.error(("backends", name), found, expected, at_key=True)


def _revision(document: Document, around: Surroundings, secrets: list[str]) -> str:
    """A digest of all that went in; it changes when any of it does and gives none of it away."""
    parts = [document.text.encode(), json.dumps(document.data), *(one.encode() for one in secrets)]
    parts += [part for part in around.files.values() if isinstance(part, bytes)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
