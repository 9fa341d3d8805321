"""Zero configuration: what the environment offers, as the data that a file would hold.

Pure: who calls has looked whether an Ollama answers. What is malformed or skipped is said in a
note and never stops the rest. Variables that hold keys are referred to, never copied.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sidecar.config import base_url, units
from sidecar.config.backends import locality, pasted
from sidecar.config.presets import PRESETS
from sidecar.config.schema import AdminSection, DataSection
from sidecar.dialects import by_name

LOCAL_OLLAMA = "http://localhost:11434"
SOURCE = "the environment"

# preset, variables of the key (the first that is set counts), of the address and of the model
_VENDORS = (
    ("openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL", "OPENAI_MODEL"),
    ("anthropic", ("ANTHROPIC_API_KEY",), "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL"),
    ("qwen", ("QWEN_API_KEY", "DASHSCOPE_API_KEY"), "QWEN_BASE_URL", "QWEN_MODEL"),
    ("mistral", ("MISTRAL_API_KEY",), None, None),
)
_CUSTOM = re.compile(r"CUSTOM_BACKEND_(\d{1,3})_([A-Z_]+)")
_CUSTOM_PARTS = ("API_URL", "API_KEY", "MODEL", "REQUEST_TIMEOUT")


@dataclass(frozen=True, slots=True)
class Found:
    """A backend that was found, and the variable that told of it."""

    name: str
    source: str
    address: str
    model: str | None


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: the data for the loader, and what the banner tells of it."""

    data: dict[str, object]
    found: tuple[Found, ...]
    notes: tuple[str, ...]  # what was skipped or corrected, in whole sentences
    echo: bool


def ollama_addresses(environ: Mapping[str, str]) -> list[str]:
    """Where an Ollama may be, the likeliest first; never one of our own listeners."""
    look = _Look(environ)
    return [url for url in (look.ollama_host(), LOCAL_OLLAMA) if url is not None]


def discover(
    environ: Mapping[str, str],
    ollamas: Mapping[str, tuple[str, ...]],
    *,
    local_only: bool = False,
    allow_echo: bool = True,
    exposed_to: str | None = None,
) -> Discovery:
    """Read the environment; `ollamas` holds the addresses that answered, with their models.

    With `exposed_to`, the path of a file of keys, all of it is offered to clients with such a key
    through a quick tunnel.
    """
    look = _Look(environ, local_only)
    look.ollama(ollamas)
    look.vendors()
    look.custom()
    look.backend_url()
    echo = allow_echo and not look.backends
    if echo:
        look.backends["echo"] = {"preset": "echo"}
    route: dict[str, object] = {
        "models": ["*"],
        "default": True,
        "listed_first": True,
        "targets": [{"backend": name} for name in look.backends],
    }
    data: dict[str, object] = {"version": 1}
    if exposed_to is not None:
        route["public"] = True
        data |= {
            "listeners": {"public": {"keys": {"file": exposed_to}}},
            "tunnel": {"quick": True},
        }
    if look.backends:
        data |= {"backends": look.backends, "routes": {"default": route}}
    return Discovery(data, tuple(look.found), tuple(dict.fromkeys(look.notes)), echo)


@dataclass
class _Look:
    """One look around; collects backends and notes."""

    environ: Mapping[str, str]
    local_only: bool = False
    backends: dict[str, dict[str, object]] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def get(self, variable: str) -> str:
        """A variable's value; empty counts as not set."""
        return self.environ.get(variable, "").strip()

    def ollama_host(self) -> str | None:
        """OLLAMA_HOST as a URL, unless it is malformed or one of our own listeners."""
        written = self.get("OLLAMA_HOST")
        if not written:
            return None
        try:
            url = ollama_url(written)
        except ValueError:
            self.notes.append("OLLAMA_HOST is not an address: skipped.")
            return None
        return None if self._is_own("OLLAMA_HOST", url) else url

    def ollama(self, ollamas: Mapping[str, tuple[str, ...]]) -> None:
        host = self.ollama_host()
        if host is not None and host not in ollamas:
            self.notes.append(f"No Ollama answers at {host} (OLLAMA_HOST): skipped.")
        url = next((one for one in (host, LOCAL_OLLAMA) if one in ollamas), None)
        if url is None:
            return
        models = ollamas[url]
        if not models:
            self.notes.append("Ollama has no model yet; get one with: ollama pull llama3.2")
        source = "OLLAMA_HOST" if url == host else "it answers there"
        model = models[0] if models else None
        self._add("ollama", source, {"preset": "ollama", "base_url": url, "model": model})

    def vendors(self) -> None:
        for preset, keys, url_variable, model_variable in _VENDORS:
            url = None
            if url_variable is not None and self.get(url_variable):
                url = self._url(url_variable, PRESETS[preset].dialect)
                if url is None:
                    continue
            key = next((one for one in keys if self.get(one)), None)
            if key is None:
                if url is not None:
                    self.notes.append(f"{url_variable} is set, but {keys[0]} is not: skipped.")
                continue
            if not self._is_key(key):
                continue
            model = self.get(model_variable) if model_variable else ""
            backend: dict[str, object] = {
                "preset": preset,
                "base_url": url,
                "auth": _auth(preset, key),
                "model": model or None,
            }
            self._add(preset, key, backend)

    def custom(self) -> None:
        numbers = sorted({int(number) for number, _ in self._custom_variables()})
        if numbers != list(range(1, len(numbers) + 1)):
            row = ", ".join(map(str, numbers))
            self.notes.append(f"CUSTOM_BACKEND_ goes {row}: a number is missing, all are used.")
        for number in numbers:
            prefix = f"CUSTOM_BACKEND_{number}"
            if not self.get(f"{prefix}_API_URL"):
                self.notes.append(f"{prefix}_API_URL is not set: {prefix} is skipped.")
                continue
            limit = self._limit(f"{prefix}_REQUEST_TIMEOUT", "milliseconds", 0.001)
            self._add_plain(
                f"custom-{number}", f"{prefix}_API_URL", f"{prefix}_API_KEY",
                self.get(f"{prefix}_MODEL"), limit,
            )  # fmt: skip

    def backend_url(self) -> None:
        if self.get("BACKEND_URL"):
            limit = self._limit("BACKEND_TIMEOUT_SECS", "seconds", 1.0)
            self._add_plain("backend", "BACKEND_URL", "BACKEND_KEY", "", limit)
        elif self.get("BACKEND_KEY"):
            self.notes.append("BACKEND_KEY is set, but BACKEND_URL is not: skipped.")

    def _add_plain(
        self, name: str, url_variable: str, key_variable: str, model: str, limit: float | None
    ) -> None:
        url = self._url(url_variable, "openai")
        if url is None:
            return
        backend: dict[str, object] = {"dialect": "openai", "base_url": url, "model": model or None}
        if self.get(key_variable):
            if not self._is_key(key_variable):
                return
            backend["auth"] = {"bearer": {"env": key_variable}}
        if limit is not None:
            written = units.write_duration(limit)
            backend["timeouts"] = {"first_token": written, "whole": written}
        self._add(name, url_variable, backend)

    def _add(self, name: str, source: str, backend: dict[str, object]) -> None:
        preset = PRESETS.get(str(backend.get("preset", "")))
        url = str(backend.get("base_url") or (preset.base_url if preset else ""))
        if self.local_only and locality(url) is False:
            self.notes.append(f"{url} ({source}) is a public address: skipped by --local-only.")
            return
        self.backends[name] = {key: value for key, value in backend.items() if value is not None}
        model = backend.get("model") or (preset.model if preset else None)
        self.found.append(Found(name, source, url, str(model) if model else None))

    def _url(self, variable: str, dialect_name: str) -> str | None:
        """The base URL in a variable; None, with a note, where it cannot be used."""
        written, dialect = self.get(variable), by_name(dialect_name)
        assert dialect is not None
        url, taken = base_url.trim(written, pasted(dialect))
        try:
            base_url.read(url)
        except ValueError as error:
            self.notes.append(f"{variable} is not {error}: skipped.")
            return None
        if self._is_own(variable, url):
            return None
        if taken and taken != ["/"]:
            self.notes.append(f"{variable} names a whole endpoint; trimmed to {url}.")
        if dialect.base_prefix and not base_url.has_path(written):
            url += dialect.base_prefix
            self.notes.append(f"{variable} has no path: {url} is asked.")
        return url

    def _is_own(self, variable: str, url: str) -> bool:
        ports = (DataSection().port, AdminSection().port)
        own = [(base_url.LOOPBACK, port) for port in ports]
        if not base_url.is_own(base_url.read(url), own):
            return False
        self.notes.append(f"{variable} points to this sidecar itself: skipped.")
        return True

    def _is_key(self, variable: str) -> bool:
        value = self.get(variable)
        if value.isascii() and value.isprintable() and " " not in value:
            return True
        self.notes.append(f"{variable} does not hold a key (one word of ASCII): skipped.")
        return False

    def _custom_variables(self) -> Iterator[tuple[str, str]]:
        for variable in self.environ:
            match = _CUSTOM.fullmatch(variable)
            if match is None or not self.get(variable):
                continue
            if match[2] not in _CUSTOM_PARTS or match[1] != str(int(match[1])) or match[1] == "0":
                parts = ", ".join(f"_{part}" for part in _CUSTOM_PARTS)
                self.notes.append(
                    f"{variable} is not known (CUSTOM_BACKEND_1{parts}, then 2, 3, …)."
                )
                continue
            yield match[1], match[2]

    def _limit(self, variable: str, unit: str, seconds: float) -> float | None:
        """A limit that is written as a plain number of some unit, in seconds."""
        written = self.get(variable)
        if not written:
            return None
        if re.fullmatch(r"\d{1,8}(\.\d+)?", written):
            limit = float(written) * seconds
            if units.SHORTEST <= limit <= units.LONGEST:
                return limit
        self.notes.append(f"{variable} is not a sensible number of {unit}: ignored.")
        return None


def _auth(preset: str, variable: str) -> dict[str, object]:
    """A reference to a vendor's key, which goes where the vendor takes it."""
    key, ref = PRESETS[preset].key, {"env": variable}
    if key is None or key.place == "bearer":
        return {"bearer": ref}
    return {key.place: {"name": key.name, "value": ref}}


def ollama_url(written: str) -> str:
    """OLLAMA_HOST (host, host:port or URL) as a base URL, read as Ollama's own client reads it."""
    scheme, _, rest = written.rpartition("://")
    host, _, path = rest.partition("/")
    path = re.sub(r"(^|/)(v1|api)(/.*)?$", "", path)  # of an endpoint, not of the server
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"  # an IPv6 address
    if host.startswith(":") or not host:
        host = f"127.0.0.1{host}"
    address = base_url.read(f"{scheme or 'http'}://{host}")
    name = "127.0.0.1" if address.host in ("0.0.0.0", "::") else address.host  # noqa: S104
    name = f"[{name}]" if ":" in name else name
    has_port = re.search(r":\d+$", host) is not None
    port = address.port if has_port or scheme else 11434
    return f"{address.scheme}://{name}:{port}/{path}".rstrip("/")
