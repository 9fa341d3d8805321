"""Where pods stand in objects, and what is no object."""

from __future__ import annotations

import pytest

from sidecar.inject.manifests import inject
from sidecar.inject.settings import Settings
from sidecar.inject.workloads import WORKLOADS, Path

SETTINGS = Settings("llm-sidecar:1")
POD: dict[str, object] = {"spec": {"containers": [{"name": "web"}]}}


def wrapped(path: Path, inner: object) -> dict[str, object]:
    for step in reversed(path):
        inner = {str(step): inner}
    assert isinstance(inner, dict)
    return inner


@pytest.mark.parametrize(("known", "path"), WORKLOADS.items())
def test_every_workload(known: tuple[str, str], path: Path) -> None:
    group, kind = known
    version = f"{group}/v1".lstrip("/")
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}
    (outcome,) = inject({**document, **wrapped(path, POD)}, SETTINGS)
    assert (outcome.title, outcome.state, outcome.refusal) == (f"{kind}/x", "injected", "")
    assert all(one.path[: len(path)] == path for one in outcome.additions)

    (outcome,) = inject({**document, "spec": {}}, SETTINGS)
    assert outcome.refusal


def test_lists_are_gone_through() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **POD}
    inner = {"apiVersion": "v1", "kind": "PodList", "items": [pod]}
    outer = {"apiVersion": "v1", "kind": "List", "items": [{**pod, "kind": "Secret"}, inner, pod]}
    first, second = inject(outer, SETTINGS)
    assert {one.path[:4] for one in first.additions} == {("items", 1, "items", 0)}
    assert {one.path[:2] for one in second.additions} == {("items", 2)}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (None, "It is no mapping with apiVersion and kind."),
        ([], "It is no mapping with apiVersion and kind."),
        ("text", "It is no mapping with apiVersion and kind."),
        ({"apiVersion": "v1"}, "It is no object of Kubernetes: it has no kind."),
        ({"kind": "Pod"}, "It is no object of Kubernetes: it has no apiVersion."),
        ({"apiVersion": "v1", "kind": "List", "items": [{}]},
         "Item 0 of the list is no object of Kubernetes: it has no kind."),
    ],
)  # fmt: skip
def test_garbage(document: object, says: str) -> None:
    assert [one.refusal for one in inject(document, SETTINGS)] == [says]


@pytest.mark.parametrize(
    ("version", "kind", "state"),
    [
        ("argoproj.io/v1alpha1", "Rollout", "left alone: pods of this kind are not known here"),
        ("extensions/v1beta1", "Deployment", "left alone: pods of this kind are not known here"),
    ],
)
def test_other_kinds_with_pods_are_told(version: str, kind: str, state: str) -> None:
    document = {"apiVersion": version, "kind": kind, "spec": {"template": POD}}
    assert [(one.state, one.additions) for one in inject(document, SETTINGS)] == [(state, ())]


def test_objects_without_pods_are_passed_over() -> None:
    assert list(inject({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}, SETTINGS)) == []
