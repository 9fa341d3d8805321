"""The resolved configuration as a file: defaults and presets filled in, secrets left as references.

What it prints can be loaded again and means the same.
"""

from typing import Any

from sidecar.config.backends import with_preset
from sidecar.config.document import write
from sidecar.config.load import Loaded


def as_yaml(loaded: Loaded) -> str:
    """YAML text. A value that came from `${NAME}` is printed as `${NAME}`."""
    configuration, snapshot = loaded.configuration, loaded.snapshot
    backends = {
        name: with_preset(section).model_copy(
            update={"base_url": snapshot.backends[name].base_url or None}
        )
        for name, section in configuration.backends.items()
    }
    routes = {
        route.name: configuration.routes[route.name].model_copy(update={"models": route.models})
        for route in snapshot.routes.routes
    }
    filled = configuration.model_copy(update={"backends": backends, "routes": routes})
    data: dict[str, Any] = filled.model_dump(mode="json", by_alias=True)
    for path, written in loaded.document.variables.items():
        _restore(data, path, written)
    return write(_without_empty(data))


def _restore(data: Any, path: tuple[str | int, ...], written: str) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = written


def _without_empty(data: Any, *, literal: bool = False) -> Any:
    """The data without what says nothing; an empty list of models, or a `none`, says much.

    What a quirk sets is not the configuration's own.
    """
    if isinstance(data, dict) and not literal:
        kept = {
            key: _without_empty(value, literal=key == "set" and "usage_in_stream" in data)
            for key, value in data.items()
        }
        return {key: value for key, value in kept.items() if value is not None and value != {}}
    return data
