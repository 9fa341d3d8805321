"""All ways into Kubernetes make the same container: inject, component, chart, and the page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.inject import IMAGE
from sidecar.inject import container
from sidecar.inject.settings import Mode, Settings
from tests.kubernetes import charts
from tests.kubernetes.cluster import pods, sidecars
from tests.kubernetes.test_kustomize import build, with_component
from tests.kubernetes.tools import ROOT

NAMED = Settings(IMAGE, secret="llm-sidecar")


def shape(pod: Any, app: int = -1) -> dict[str, Any]:
    """What ways must agree on."""
    (one,) = sidecars(pod)
    ours = [each for each in pod["spec"]["volumes"] if each["name"].startswith("llm-sidecar-")]
    metadata = pod["metadata"]
    return {
        "container": one,
        "volumes": ours,
        "env": pod["spec"]["containers"][app].get("env", [])[:3],
        "labels": {k: v for k, v in metadata["labels"].items() if "llm-sidecar.dev" in k},
        "annotations": {
            k: v for k, v in metadata.get("annotations", {}).items() if "llm-sidecar.dev" in k
        },
    }


def injected(settings: Settings) -> dict[str, Any]:
    return {
        "container": container.container(settings),
        "volumes": container.volumes(settings),
        "env": container.env(settings),
        "labels": container.labels(),
        "annotations": container.annotations(settings),
    }


@pytest.mark.parametrize("file", ["deployment.yaml", "cronjob.yaml"])
def test_the_component(file: str, tmp_path: Path) -> None:
    (pod,) = pods(with_component(tmp_path, file))
    got = shape(pod)
    if file == "cronjob.yaml":  # it names a ConfigMap and a Secret itself, for inject
        del got["annotations"]
    sources = got["volumes"][0]["projected"]["sources"]
    assert sources[1]["secret"].pop("optional") is True  # the component cannot know of one
    wanted = injected(NAMED)
    assert {**got, "env": wanted["env"]} == {key: wanted[key] for key in got}


def test_the_example_of_kustomize() -> None:
    (pod,) = pods(build(ROOT / "k8s" / "examples" / "app-with-sidecar"))
    assert shape(pod)["env"] == container.env(NAMED)


@pytest.mark.parametrize(
    ("name", "role", "grace"), [("gateway", "gateway", 330), ("in-cluster-tunnel", "tunnel", 210)]
)
def test_the_other_examples(name: str, role: str, grace: int) -> None:
    """A gateway and a tunnel are the container by itself: no app to hold open for."""
    (pod,) = pods(build(ROOT / "k8s" / "examples" / name))
    got, settings = shape(pod), replace(NAMED, mode=Mode.CONTAINER)
    one, wanted = got["container"], container.container(settings)
    del wanted["lifecycle"]
    differ = {key for key in {*one, *wanted} if one.get(key) != wanted.get(key)}
    assert differ <= {"args", "image", "ports", "resources"}
    assert one["args"] == [*wanted["args"][:-1], "strict"]
    assert wanted["ports"][0] in one["ports"]
    assert got["labels"] == {"llm-sidecar.dev/role": role}
    assert pod["spec"]["terminationGracePeriodSeconds"] == grace


@pytest.mark.parametrize("mode", list(Mode))
def test_the_chart(mode: Mode, tmp_path: Path) -> None:
    chart = charts.copied(tmp_path) / charts.EXAMPLE
    values = {"llm-sidecar-lib": {"mode": str(mode), "configMap": "llm-sidecar",
                                  "secret": "llm-sidecar"}}  # fmt: skip
    (pod,) = pods(charts.rendered(chart, values=values, version="1.29.0"))
    got = shape(pod)
    # for a tag that is not `latest` it is what Kubernetes does without the field
    assert got["container"].pop("imagePullPolicy") == "IfNotPresent"
    assert got == injected(replace(NAMED, mode=mode))


def test_the_page() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    found = re.search(r"^## The container\n.*?^```yml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    spec = yaml.safe_load(found[1])["spec"]
    settings = Settings("<llm-sidecar:0.1.0>", config_map="<config-map>", secret="<secret>")
    assert spec["initContainers"] == [container.container(settings)]
    assert spec["volumes"] == container.volumes(settings)
    assert spec["containers"][0]["env"] == container.env(settings)
