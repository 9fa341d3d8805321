"""Aligned text for a terminal: tables, and the status of a running sidecar. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tunnel.status import as_text

MOST_CLIENTS = 20  # rows
OPEN = "OPEN: everybody may use it who knows the address"

_HEADS = (
    "BACKEND", "DIALECT", "AT", "STATE", "PROBE", "SUCCESS", "MEAN", "P95", "MIN", "MAX",
    "LAST FAULT",
)  # fmt: skip


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell; None is a dash."""
    cells = [list(heads), *([_cell(one) for one in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
    return "\n".join(lines)


def status(seen: Mapping[str, Any]) -> str:
    """The answer of `GET /status` as text."""
    configuration = seen["configuration"]
    parts = [
        f"llm-sidecar {seen['version']}: {seen['status']}, up {_span(seen['uptime'])}"
        + (", draining" if seen["draining"] else "")
    ]
    if seen["echo"]:
        parts.append("The built-in echo is among the backends: no model answers there.")
    parts.append(f"Configuration {seen['revision'] or 'none'}")
    for name in ("warnings", "restart_needed"):
        parts[-1] += "".join(f"\n  {line}" for line in configuration[name])
    if configuration["faults"]:
        parts[-1] += "\n  The last one read cannot be used:"
        parts[-1] += "".join(f"\n  {line}" for line in configuration["faults"].splitlines())
    parts.append(table(_HEADS, [_backend(one) for one in seen["backends"]]))
    parts.append(
        table(
            ("ROUTE", "MODELS", "READY", "CHAIN"),
            [_route(one) for one in seen["routes"]],
        )
    )
    if seen.get("public") is not None:
        parts.append(_public(seen["public"]))
    if seen.get("tunnel") is not None:
        parts.append(as_text(seen["tunnel"]))
    return "\n\n".join(parts)


def _public(public: Mapping[str, Any]) -> str:
    """Who may use the public listener, and who has."""
    keys, whom = public["keys"], []
    if keys is not None:
        whom.append("1 key" if keys == 1 else f"{keys} keys")
    if public["access"]:
        whom.append("Cloudflare Access")
    shut = f"for {' and '.join(whom)}"
    head = f"Public listener on port {public['port']}, {OPEN if public['open'] else shut}"
    if not public["clients"]:
        return f"{head}; nobody has used it yet"
    rows = [
        (one["name"], one["requests"], one["streams"], one["bytes"], _moment(one["last_used"]))
        for one in public["clients"][:MOST_CLIENTS]
    ]
    left = len(public["clients"]) - len(rows)
    more = f"\n... and {left} more (--json shows all)" if left > 0 else ""
    return f"{head}\n{table(('CLIENT', 'REQUESTS', 'STREAMS', 'BYTES', 'LAST USED'), rows)}{more}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _backend(one: Mapping[str, Any]) -> list[object]:
    latency = one["latency"] or {}
    rate, fault = one["success_rate"], one["last_fault"] or {}
    times = [_milliseconds(latency.get(key)) for key in ("mean", "p95", "shortest", "longest")]
    success = None if rate is None else f"{rate:.1%}"
    where = [one["name"], one["dialect"], one["host"]]
    return [
        *where,
        _state(one),
        _probe(one["probe"]),
        success,
        *times,
        fault.get("message"),
    ]


def _state(one: Mapping[str, Any]) -> str:
    """Availability, with the time that an ejection lasts and the models that are ejected alone."""
    breaker, told = one["breaker"], str(one["availability"])
    if breaker["state"] == "half_open":
        told += " (on trial)"
    elif breaker["seconds"]:
        told += f" ({_span(breaker['seconds'])})"
    models = ", ".join(
        f"{name} ({_span(each['seconds'])})" for name, each in breaker["models"].items()
    )
    return f"{told}; ejected: {models}" if models else told


def _route(one: Mapping[str, Any]) -> list[object]:
    marks = [mark for mark in ("default", "relay") if one[mark]]
    name = one["name"] + (f" ({', '.join(marks)})" if marks else "")
    chain = (
        target["backend"] + (f":{target['model']}" if target["model"] else "")
        for target in one["targets"]
    )
    return [name, ", ".join(one["models"]), one["available_backends"], " → ".join(chain)]


def _probe(probe: Mapping[str, Any] | None) -> str | None:
    """What the latest probe found, how long its answer took, and how old it is."""
    if probe is None:
        return None
    latency = _milliseconds(probe["latency"])
    return f"{probe['found']}{f' {latency}' if latency else ''}, {_span(probe['age'])} ago"


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1000:.0f}ms"


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
