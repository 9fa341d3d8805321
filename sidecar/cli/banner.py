"""What a person reads when the sidecar has started. Pure text.

It says what was found, who may now receive prompts, and what to paste to point a client here.
"""

import io
from urllib.parse import urlsplit

from sidecar import __version__
from sidecar.cli.tables import table
from sidecar.config.snapshot import Snapshot
from sidecar.config.zero import Discovery

ECHO = (
    "No model answers here: the built-in echo repeats what it is told, so that a first request\n"
    "works. Start Ollama or export OPENAI_API_KEY or ANTHROPIC_API_KEY, and start again."
)
OPEN = (
    "WARNING: the public listener is open: everybody who knows its address may use it.\n"
    "Make a key with `llm-sidecar keys add NAME`, and name its file in the configuration."
)
NAME_TO_COME = (
    "The tunnel's public name follows below, once a request has come back through it: as a rule\n"
    "within half a minute. `llm-sidecar tunnel status` tells how it gets on."
)
ECHO_TOO = "The built-in echo is among the backends: no model answers there."


def banner(snapshot: Snapshot, source: str, discovery: Discovery | None = None) -> str:
    """The whole banner; `discovery` is given where there is no configuration file."""
    parts = [f"llm-sidecar {__version__} listens on {_address(snapshot)} ({source})"]
    if discovery is None:
        parts.append(_configured(snapshot))
    elif discovery.found:
        rows = [(one.name, one.address, one.model, one.source) for one in discovery.found]
        parts.append(table(("FOUND", "AT", "DEFAULT MODEL", "BY"), rows))
    if any(backend.echo and backend.enabled for backend in snapshot.backends.values()):
        only = all(backend.echo for backend in snapshot.backends.values() if backend.enabled)
        parts.append(ECHO if only else ECHO_TOO)
    if discovery is not None:
        parts.append("\n".join(discovery.notes))
    if snapshot.public is not None and snapshot.public.is_open:
        parts.append(OPEN)
    if snapshot.tunnel is not None:
        parts.append(NAME_TO_COME)
    parts += [_receivers(snapshot), _clients(snapshot)]
    return "\n\n".join(part for part in parts if part) + "\n"


def invitation(url: str) -> str:
    """A public name as text and as a QR code for the camera of a phone."""
    import segno  # few sidecars ever draw one

    drawn = io.StringIO()
    segno.make_qr(url).terminal(drawn, border=2, compact=True)
    return f"{drawn.getvalue()}\n{url}"


def receivers(snapshot: Snapshot) -> list[str]:
    """The hosts that may receive prompts and are not surely local, in the order of the file."""
    open_routes = [route for route in snapshot.routes.routes if not route.stay_local]
    asked = {target.backend for route in open_routes for target in route.targets}
    # a request may also name a backend outright
    everybody = bool(open_routes)
    hosts = [
        urlsplit(backend.base_url).netloc
        for backend in snapshot.backends.values()
        if backend.enabled and backend.local is not True and (everybody or backend.name in asked)
    ]
    return list(dict.fromkeys(hosts))


def _receivers(snapshot: Snapshot) -> str:
    hosts = receivers(snapshot)
    if not hosts:
        return "Prompts stay on this machine and on private addresses."
    return (
        f"Remote services that may now receive prompts: {', '.join(hosts)}\n"
        "(--local-only keeps all of them on loopback and private addresses.)"
    )


def _configured(snapshot: Snapshot) -> str:
    rows = [
        (route.name, ", ".join(route.models), " → ".join(one.backend for one in route.targets))
        for route in snapshot.routes.routes
    ]
    return table(("ROUTE", "MODELS", "CHAIN"), rows)


def _clients(snapshot: Snapshot) -> str:
    here = _address(snapshot)
    model = next(
        (name for route in snapshot.routes.routes for name in route.models if "*" not in name),
        "auto",
    )
    return (
        "To point a client here, paste its line into the shell of the client:\n"
        f"  export OPENAI_BASE_URL={here}/v1 OPENAI_API_KEY=sidecar\n"
        f"  export ANTHROPIC_BASE_URL={here} ANTHROPIC_API_KEY=sidecar\n"
        f"  export OLLAMA_HOST={here}\n"
        "\n"
        "Try it:\n"
        f"  curl {here}/v1/chat/completions -H 'content-type: application/json' \\\n"
        f"""    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""
    )


def _address(snapshot: Snapshot) -> str:
    host = snapshot.data.addresses[0]
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{snapshot.data.port}"
