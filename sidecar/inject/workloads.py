"""Which objects of a manifest run pods, and where in them the pod stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]

POD: Path = ()
TEMPLATE: Path = ("spec", "template")
# by API group and kind
WORKLOADS: Mapping[tuple[str, str], Path] = {
    ("", "Pod"): POD,
    ("", "ReplicationController"): TEMPLATE,
    ("", "PodTemplate"): ("template",),
    ("apps", "Deployment"): TEMPLATE,
    ("apps", "StatefulSet"): TEMPLATE,
    ("apps", "DaemonSet"): TEMPLATE,
    ("apps", "ReplicaSet"): TEMPLATE,
    ("batch", "Job"): TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", *TEMPLATE),
}
ENDING = ("Job", "CronJob")  # their pods are done when their containers are


class NoObject(Exception):
    """It is no object of Kubernetes; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Found:
    """One object: its kind and name for people, the object, and the path to it."""

    kind: str
    title: str  # Deployment/web
    manifest: Mapping[str, object]
    path: Path
    pod: Path | None  # from the object to its pod or pod template; None where it runs none


def find(document: object, path: Path = ()) -> Iterator[Found]:
    """The objects of a document, those of its lists too, in their order; raises NoObject."""
    if not isinstance(document, Mapping):
        raise NoObject(f"{_place(path)} is no mapping with apiVersion and kind.")
    kind, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str):
        missing = "kind" if not isinstance(kind, str) else "apiVersion"
        raise NoObject(f"{_place(path)} is no object of Kubernetes: it has no {missing}.")
    items = document.get("items")
    if kind.endswith("List") and isinstance(items, list):
        for place, item in enumerate(items):
            yield from find(item, (*path, "items", place))
        return
    group = version.rpartition("/")[0]
    yield Found(kind, _title(kind, document), document, path, WORKLOADS.get((group, kind)))


def member(data: object, path: Path) -> object:
    """What stands at a path of mappings, or None."""
    for step in path:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def _title(kind: str, document: Mapping[str, object]) -> str:
    for key in ("name", "generateName"):
        if isinstance(name := member(document, ("metadata", key)), str):
            return f"{kind}/{name}"
    return kind


def _place(path: Path) -> str:
    return f"Item {path[-1]} of the list" if path else "It"
