"""Where the configuration comes from: a named file, a file at a usual place, or the environment."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tunnel.config
from sidecar.cli.client import look_for_ollamas
from sidecar.config import reading, zero
from sidecar.config.faults import ConfigError, Fault
from sidecar.config.guest import Guest
from sidecar.config.load import Loaded, load, load_mapping
from sidecar.config.zero import Discovery, discover, ollama_addresses

VARIABLE = "LLM_SIDECAR_CONFIG"
USUAL_PLACES = ("./sidecar.yaml", "/etc/llm-sidecar/config.yaml")

TUNNEL = Guest(
    "tunnel",
    tunnel.config.TunnelSection,
    "Exposes the public listener through Cloudflare.",
    tunnel.config.settle,
)


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration that can be loaded again and again; `path` is None without a file."""

    path: str | None
    name: str
    load: Callable[[], Loaded]  # raises ConfigError
    discovery: Discovery | None = None


def find(named: str | None, environ: Mapping[str, str]) -> str | None:
    """The path of the configuration file; None where there is none."""
    if named or environ.get(VARIABLE):
        return named or environ[VARIABLE]
    return next((path for path in USUAL_PLACES if os.path.exists(path)), None)


def load_file(path: str, environ: Mapping[str, str], *, local_only: bool = False) -> Loaded:
    """Load a file, the section of the tunnel included; raises ConfigError."""
    return load(path, environ, local_only=local_only, guest=TUNNEL)


def source(
    named: str | None,
    environ: Mapping[str, str],
    *,
    local_only: bool,
    allow_echo: bool,
    quick_keys: str | None = None,
) -> Source:
    """The configuration that `run` would use. Without a file it looks around, once.

    With `quick_keys`, the path of a file of keys, what is found is exposed by a quick tunnel.
    """
    path = find(named, environ)
    if path is not None:
        return Source(path, path, lambda: load_file(path, environ, local_only=local_only))
    found = discover(
        environ,
        look_for_ollamas(ollama_addresses(environ)),
        local_only=local_only,
        allow_echo=allow_echo,
        exposed_to=quick_keys,
    )

    def load_found() -> Loaded:
        if not found.found and not found.echo:
            raise ConfigError(zero.SOURCE, [_nothing(found)])
        return load_mapping(
            found.data,
            environ,
            source=zero.SOURCE,
            local_only=local_only,
            guest=TUNNEL,
            bundle=None if quick_keys is None else reading.read(quick_keys, lambda _: [quick_keys]),
        )

    return Source(None, "no configuration file", load_found, found)


def _nothing(found: Discovery) -> Fault:
    """The fault of a start that has neither a file nor anything in the environment."""
    return Fault(
        ("backends",),
        "; ".join(("no configuration file and no backend", *found.notes)),
        "a key in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, QWEN_API_KEY, "
        "MISTRAL_API_KEY, BACKEND_URL, CUSTOM_BACKEND_1_API_URL), an Ollama at OLLAMA_HOST or "
        "localhost:11434, or --config FILE; to try the sidecar without any, say --echo",
    )
