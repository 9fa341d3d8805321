"""Loads a configuration, from a file or from plain data, on one road.

Raises ConfigError with every fault. Watches nothing and keeps nothing; who reloads calls again.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sidecar.config import document, reading, resolve
from sidecar.config.backends import Surroundings
from sidecar.config.document import Document
from sidecar.config.faults import ConfigError, Fault, Severity
from sidecar.config.schema import Configuration
from sidecar.config.snapshot import Listener, Snapshot

_BOUND_ALONE = Fault(
    (),
    "a file that is mounted by itself",
    "a mounted folder",
    "such a mount never shows that the file was replaced, so no change is picked up",
    Severity.WARNING,
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A snapshot, what was corrected on the way, and the folders where changes would show."""

    snapshot: Snapshot
    warnings: tuple[Fault, ...]
    source: str  # how faults call it
    directories: tuple[Path, ...]
    configuration: Configuration
    document: Document


def load(path: str, environ: Mapping[str, str], *, local_only: bool = False) -> Loaded:
    """Load a file with its secrets and certificates; raises ConfigError."""

    def references(content: bytes) -> Iterator[str]:
        # a file that is broken refers to nothing; it is parsed again below, with all faults
        try:
            return _references(_parse(content, environ, path).data)
        except ConfigError:
            return iter(())

    bundle = reading.read(path, references)
    if isinstance(bundle.text, str):
        raise ConfigError(path, [Fault((), bundle.text, "a configuration file")])
    parsed = _parse(bundle.text, environ, path)
    found = resolve.resolve(
        parsed, Surroundings(environ, bundle.files), source=path, local_only=local_only
    )
    warnings = (*found.warnings, _BOUND_ALONE) if _is_bound_alone(path) else found.warnings
    folders = tuple(Path(folder) for folder in sorted(bundle.folders))
    return Loaded(found.snapshot, warnings, path, folders, found.configuration, parsed)


def load_mapping(
    data: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    source: str,
    local_only: bool = False,
) -> Loaded:
    """Load plain data, which refers to no files; raises ConfigError."""
    parsed = Document(data)
    found = resolve.resolve(parsed, Surroundings(environ, {}), source=source, local_only=local_only)
    return Loaded(found.snapshot, found.warnings, source, (), found.configuration, parsed)


def doors(path: str | None, environ: Mapping[str, str]) -> tuple[Listener, Listener, str]:
    """Where to listen (data, admin, control socket) even if the rest of a file is broken."""
    parsed = Document({})
    if path is not None:
        text = reading.read(path, lambda _: ()).text
        with suppress(ConfigError):  # then the defaults must do
            parsed = _parse(text, environ, path) if isinstance(text, bytes) else parsed
    return resolve.doors(parsed, environ)


def _parse(content: bytes, environ: Mapping[str, str], source: str) -> Document:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise ConfigError(source, [Fault((), found, "UTF-8 text")]) from None
    return document.parse(text, environ, source)


def _references(data: object) -> Iterator[str]:
    """The files that a configuration refers to: `{file: PATH}` and `ca: PATH`, wherever it is."""
    if isinstance(data, Mapping):
        for name, value in data.items():
            if name in ("file", "ca") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(data, list):
        for value in data:
            yield from _references(value)


def _is_bound_alone(path: str) -> bool:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            points = {line.split()[4] for line in mounts}
    except OSError:
        return False
    return os.path.realpath(path) in points
