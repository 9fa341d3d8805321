"""Loads a configuration, from a file or from plain data, on one road.

Raises ConfigError with every fault. Watches nothing and keeps nothing; who reloads calls again.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

from sidecar.config import document, reading, resolve
from sidecar.config.backends import Surroundings
from sidecar.config.document import Document
from sidecar.config.faults import ConfigError, Fault, Severity
from sidecar.config.guest import Guest
from sidecar.config.reading import Bundle
from sidecar.config.schema import Configuration
from sidecar.config.snapshot import Doors, Snapshot

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
    bundle: Bundle  # what was read


def load(
    path: str,
    environ: Mapping[str, str],
    *,
    local_only: bool = False,
    guest: Guest | None = None,
) -> Loaded:
    """Load a file with its secrets and certificates; raises ConfigError.

    `guest` is the section that another package owns.
    """

    @cache  # the text is parsed once, however often it is read
    def parse(content: bytes) -> Document | ConfigError:
        try:
            return _parse(content, environ, path)
        except ConfigError as error:
            return error

    def references(content: bytes) -> Iterable[str]:
        found = parse(content)
        return () if isinstance(found, ConfigError) else _references(found.data, guest)

    bundle = reading.read(path, references)
    if isinstance(bundle.text, str):
        raise ConfigError(path, [Fault((), bundle.text, "a configuration file")])
    parsed = parse(bundle.text)
    if isinstance(parsed, ConfigError):
        raise parsed
    found = resolve.resolve(
        parsed,
        Surroundings(environ, bundle.files, folder=_folder(path), guest=guest),
        source=path,
        local_only=local_only,
    )
    warnings = (*found.warnings, _BOUND_ALONE) if _is_bound_alone(path) else found.warnings
    folders = tuple(Path(folder) for folder in sorted(bundle.folders))
    return Loaded(found.snapshot, warnings, path, folders, found.configuration, parsed, bundle)


def is_unchanged(loaded: Loaded) -> bool:
    """Whether loading once more would read the same; costs a reading and no parsing.

    The variables of the environment are taken to be what they were.
    """
    before = loaded.bundle
    if not os.path.isfile(loaded.source):  # plain data; changes of its files are noticed
        return True
    return reading.read(loaded.source, lambda _: before.files) == before


def load_mapping(
    data: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    source: str,
    local_only: bool = False,
    guest: Guest | None = None,
    bundle: Bundle | None = None,
) -> Loaded:
    """Load plain data; raises ConfigError. `bundle` has the files that it refers to."""
    parsed, bundle = Document(data), bundle or Bundle(b"")
    around = Surroundings(environ, bundle.files, guest=guest)
    found = resolve.resolve(parsed, around, source=source, local_only=local_only)
    folders = tuple(Path(folder) for folder in sorted(bundle.folders))
    return Loaded(
        found.snapshot, found.warnings, source, folders, found.configuration, parsed, bundle
    )


def doors(path: str | None, environ: Mapping[str, str]) -> Doors:
    """Where to listen, even if the rest of a file is broken."""
    if path is None:
        return resolve.doors(Document({}), Surroundings(environ, {}))
    parsed = Document({})
    text = reading.read(path, lambda _: ()).text
    for content in (text, _listeners(text)) if isinstance(text, bytes) else ():
        with suppress(ConfigError):  # at last the defaults must do
            parsed = _parse(content, environ, path)
            break
    return resolve.doors(parsed, Surroundings(environ, {}, folder=_folder(path)))


def check_text(path: str, environ: Mapping[str, str]) -> None:
    """Raise ConfigError unless a file can be read and holds data, whatever its faults."""
    _read_text(path, environ)


def client_keys_files(path: str, environ: Mapping[str, str]) -> list[str]:
    """The files with keys of clients that a configuration names, whatever else is wrong with it.

    Strangers' come first. Raises ConfigError where the configuration cannot be read at all.
    """
    named = _client_keys_of(_read_text(path, environ).data)
    return [os.path.join(os.path.dirname(path), one) for one in named]


def _read_text(path: str, environ: Mapping[str, str]) -> Document:
    text = reading.read(path, lambda _: ()).text
    if isinstance(text, str):
        raise ConfigError(path, [Fault((), text, "a configuration file")])
    return _parse(text, environ, path)


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _listeners(text: bytes) -> bytes:
    """Only the block `listeners:` of a text that is no valid YAML as a whole."""
    lines = iter(text.splitlines(keepends=True))
    first = next((line for line in lines if line.startswith(b"listeners:")), b"")
    below = takewhile(lambda line: line[:1].isspace(), lines)
    return first + b"".join(below)


def _parse(content: bytes, environ: Mapping[str, str], source: str) -> Document:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise ConfigError(source, [Fault((), found, "UTF-8 text")]) from None
    return document.parse(text, environ, source)


def _references(data: Mapping[str, object], guest: Guest | None) -> Iterator[str]:
    """The files that a configuration refers to: `ca: PATH` and `file: PATH`, where they may be."""
    yield from _named(data.get("listeners"), "file")
    backends = data.get("backends")
    for backend in backends.values() if isinstance(backends, dict) else ():
        if isinstance(backend, dict):
            if isinstance(ca := backend.get("ca"), str):
                yield ca
            yield from _named(backend.get("auth"), "file")
    if guest is not None:
        yield from _named(data.get(guest.key), "file", "ca")


def _client_keys_of(data: Mapping[str, object]) -> Iterator[str]:
    """The paths of the files with keys of clients, as they are written."""
    for listener in ("public", "data"):
        found: object = data
        for key in ("listeners", listener, "keys", "file"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            yield found


def _named(section: object, *names: str) -> Iterator[str]:
    """The text of all keys of these names below a section."""
    if isinstance(section, dict):
        for name, value in section.items():
            if name in names and isinstance(value, str):
                yield value
            else:
                yield from _named(value, *names)
    elif isinstance(section, list):
        for value in section:
            yield from _named(value, *names)


def _is_bound_alone(path: str) -> bool:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            points = {line.split()[4] for line in mounts}
    except OSError:
        return False
    return os.path.realpath(path) in points
