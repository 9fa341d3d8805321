"""What an injected sidecar is like: by flags for all of a file, by annotations for one workload.

Both speak the same words: `--config-map NAME` is the annotation `llm-sidecar.dev/config-map: NAME`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

PREFIX = "llm-sidecar.dev/"
LABEL = f"{PREFIX}inject"  # "true": wanted, "false": never

DATA_PORT = 14400  # unless the configuration says otherwise
ADMIN_PORT = 14401
PUBLIC_PORT = 14402
VARIABLES = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST")
NONE = "none"

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|[MGTPE]|[KMGTPE]i)?")


class Mode(StrEnum):
    """How the sidecar stands in the pod."""

    NATIVE = "native"  # an init container that stays: Kubernetes 1.29 and newer
    CONTAINER = "container"  # beside the application's containers: older clusters


class Unusable(Exception):
    """A setting that cannot be used; the message says which, and what was expected."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one sidecar is injected with."""

    image: str
    mode: Mode = Mode.NATIVE
    config_map: str = "llm-sidecar"
    secret: str | None = None
    data_port: int = DATA_PORT
    cpu_request: str = "25m"
    memory_request: str = "96Mi"
    memory_limit: str = "256Mi"
    env: tuple[str, ...] = VARIABLES  # of these, what the application's containers get
    containers: tuple[str, ...] | None = field(default=None)  # None: all that are no init ones


def with_texts(settings: Settings, texts: Mapping[str, str], prefix: str = "--") -> Settings:
    """The settings with others by name, as people write them; raises Unusable.

    `prefix` is what stands before a name where people wrote it.
    """
    read: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            read[name.replace("-", "_")] = READERS[name](text.strip())
        except ValueError as error:
            raise Unusable(f"{prefix}{name} is {text!r}; expected {error}.") from None
    return replace(settings, **read)


def amount(quantity: str) -> Decimal:
    """What a quantity such as 96Mi stands for, in its unit: processors or bytes."""
    number = quantity.rstrip("mkKMGTPEi")
    unit = quantity.removeprefix(number)
    base = 1024 if unit.endswith("i") else 1000
    power = -1 if unit == "m" else " kMGTPE".index(unit[:1].replace("K", "k") or " ")
    return Decimal(number) * Decimal(base) ** power


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(expected)
        return text

    return read


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        raise ValueError("native or container") from None


def _port(text: str) -> int:
    taken = (ADMIN_PORT, PUBLIC_PORT)
    number = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    if not 1024 <= number <= 65535 or number in taken:
        raise ValueError(
            f"a port from 1024 to 65535 that is not the sidecar's own for probes ({ADMIN_PORT}) "
            f"or for a tunnel ({PUBLIC_PORT})"
        )
    return number


def _variables(text: str) -> tuple[str, ...]:
    names = () if text == NONE else tuple(part.strip() for part in text.split(","))
    if not set(names) <= set(VARIABLES):
        raise ValueError(f"{NONE}, or some of {', '.join(VARIABLES)}, parted by commas")
    return tuple(name for name in VARIABLES if name in names)


def _containers(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(map(_LABEL.fullmatch, names)):
        raise ValueError("names of containers, parted by commas")
    return names


_name = _matching(_NAME, "the name of an object: small letters, digits, hyphens and dots")
_quantity = _matching(_QUANTITY, "a quantity such as 25m or 96Mi")

# every name that is known, as a flag and as an annotation
READERS: Mapping[str, Callable[[str], Any]] = {
    "config-map": _name,
    "secret": _name,
    "mode": _mode,
    "image": _matching(re.compile(r"[^\s]+"), "the name of an image"),
    "data-port": _port,
    "cpu-request": _quantity,
    "memory-request": _quantity,
    "memory-limit": _quantity,
    "env": _variables,
    "containers": _containers,
}
