"""Reads the section `tunnel:` of a file for the tunnel alone, with what it refers to."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from tunnel import config
from tunnel.settings import Settings

ORIGIN = "http://127.0.0.1:14402"

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Unusable(Exception):
    """The configuration cannot be used; the message has a line for every fault."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a file came to, and the files that it was read from with what they held."""

    settings: Settings
    files: Mapping[str, bytes | str] = field(repr=False)


def read(path: str, environ: Mapping[str, str]) -> Read:
    """The settings of a file. Raises Unusable."""
    try:
        with open(path, encoding="utf-8") as file:
            data = yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise Unusable(f"{path}: {told}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise Unusable(f"{path}{place}: this is no YAML") from None
    written = data.get("tunnel") if isinstance(data, dict) else None
    if written is None:
        raise Unusable(f"{path}: found no section `tunnel:`, expected one, such as quick: true")
    faults: list[str] = []
    section = config.check(_filled(written, environ, faults))
    if isinstance(section, list):
        faults += [_told(one["loc"], one["msg"].removeprefix("Value error, ")) for one in section]
    if faults or isinstance(section, list):
        raise Unusable("\n".join(f"{path}: {fault}" for fault in faults))
    folder = os.path.dirname(os.path.abspath(path))
    files = {name: _content(os.path.join(folder, name)) for name in _files(written)}
    settled = config.settle(section, section.origin or ORIGIN, files, environ, folder)
    if settled.settings is None:
        lines = (
            _told(one.path, f"found {one.found}, expected {one.expected}", one.hint)
            for one in settled.complaints
        )
        raise Unusable("\n".join(f"{path}: {line}" for line in lines))
    return Read(settled.settings, files)


def _told(place: Sequence[str | int], words: str, hint: str = "") -> str:
    name = ".".join(map(str, ("tunnel", *place)))
    return f"{name}: {words}{f'; {hint}' if hint else ''}"


def _filled(value: Any, environ: Mapping[str, str], faults: list[str]) -> Any:
    """The value with every `${NAME}` replaced from the environment."""
    if isinstance(value, dict):
        return {name: _filled(one, environ, faults) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environ, faults) for one in value]
    if not isinstance(value, str):
        return value

    def fill(found: re.Match[str]) -> str:
        told: str | None = environ.get(found[1], found[2])
        if told is None:
            faults.append(f"found ${{{found[1]}}}, expected a variable that is set")
            return ""
        return told

    return _VARIABLE.sub(fill, value)


def _files(section: object) -> Iterator[str]:
    """The paths that a section refers to."""
    for name, value in section.items() if isinstance(section, dict) else ():
        if name in ("file", "ca") and isinstance(value, str):
            yield value
        else:
            yield from _files(value)


def _content(path: str) -> bytes | str:
    try:
        with open(path, "rb") as file:
            return file.read(1_000_000)
    except OSError as error:
        return (error.strerror or "it cannot be read").lower()
