"""What can be said of manifests without a cluster: they are valid, and they keep to the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidecar.inject.container import NAME
from sidecar.inject.workloads import WORKLOADS, member
from tests.kubernetes import charts

VERSIONS = ("1.29.0", "1.34.0")  # the first with native sidecars, and a new one
Object = Mapping[str, Any]


def validate(objects: list[Object]) -> None:
    """Every object is what the API server of the oldest and of a new cluster would take."""
    for version in VERSIONS:
        charts.validate([one for one in objects if _is_known(one)], version)


def _is_known(one: Object) -> bool:
    """Whether there is a schema; what others define is left to them."""
    group = str(one["apiVersion"]).rpartition("/")[0]
    return (one["apiVersion"], one["kind"]) in charts.CUSTOM or (
        "." not in group or group.endswith(".k8s.io")
    )


def flat(documents: list[Any]) -> list[Object]:
    """The objects of documents, those of lists one by one."""
    found: list[Object] = []
    for one in documents:
        found += flat(one["items"]) if one["kind"].endswith("List") else [one]
    return found


def pods(objects: list[Object]) -> Iterator[Any]:
    """The pods and templates of pods of all workloads."""
    for one in objects:
        group = str(one["apiVersion"]).rpartition("/")[0]
        if (path := WORKLOADS.get((group, one["kind"]))) is not None:
            yield member(one, path)


def sidecars(pod: Any) -> list[Any]:
    """The containers of a pod that are the sidecar."""
    spec = pod["spec"]
    every = [*(spec.get("initContainers") or []), *spec["containers"]]
    return [one for one in every if one["name"] == NAME]


def check_rules(pod: Any) -> None:
    """Of the sidecar in a pod: no rights, no mount that never changes, only numbers as ports."""
    (one,) = sidecars(pod)
    native = one.get("restartPolicy") == "Always"
    assert pod["spec"]["initContainers" if native else "containers"][0] == one, "it is first"
    assert native != ("lifecycle" in one), "a native sidecar has no preStop"
    context = one["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == 65532
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not [mount for mount in one["volumeMounts"] if "subPath" in mount]
    assert "cpu" not in one["resources"]["limits"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert isinstance(one[probe]["httpGet"]["port"], int)
    assert all("name" not in port for port in one["ports"])
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    for mount in one["volumeMounts"]:
        assert mount["name"] in volumes
        projected = volumes[mount["name"]].get("projected")
        assert projected is None or projected["defaultMode"] == 0o444
