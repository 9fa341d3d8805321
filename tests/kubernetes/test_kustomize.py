"""The kustomize components and examples, as `kustomize build` makes them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.source import load_file
from tests.kubernetes import rules
from tests.kubernetes.cluster import check_rules, pods, sidecars, validate
from tests.kubernetes.test_inject import MANIFESTS
from tests.kubernetes.tools import ROOT, need
from tests.tunnel.test_config import TOKEN

K8S = ROOT / "k8s"
EXAMPLES = sorted(path.name for path in (K8S / "examples").iterdir())
FILES = {"keys.txt": f"laptop {'0' * 64}\n", "tunnel-token": TOKEN}


def build(folder: Path) -> list[Any]:
    command = [need("kustomize"), "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


def with_component(folder: Path, *files: str, resources: tuple[str, ...] = ()) -> list[Any]:
    """Manifests, and files that are there, with the sidecar in them by the component."""
    for name in files:
        text = (MANIFESTS / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("generateName: summarize-", "name: summarize"))
    # kustomize takes only relative paths
    (folder / "native-sidecar").symlink_to(K8S / "components" / "native-sidecar")
    kustomization = {"resources": [*files, *resources], "components": ["native-sidecar"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return build(folder)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_and_keeps_to_the_rules(name: str) -> None:
    objects = build(K8S / "examples" / name)
    validate(objects)
    found = list(pods(objects))
    assert found
    for pod in found:
        assert pod["spec"]["automountServiceAccountToken"] is False
        if name in ("gateway", "in-cluster-tunnel"):
            sidecars(pod)[0]["lifecycle"] = {}  # of nobody's sidecar: it needs no preStop
        check_rules(pod)
    for one in objects:
        for port in one["spec"].get("ports", []) if one["kind"] == "Service" else []:
            assert isinstance(port["targetPort"], int)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_a_configuration_that_loads(name: str, tmp_path: Path) -> None:
    """It is in the ConfigMap that the pod mounts, under a name that no change of it changes."""
    objects = build(K8S / "examples" / name)
    (pod,) = pods(objects)
    (volume,) = [one for one in pod["spec"]["volumes"] if "projected" in one]
    mounted = volume["projected"]["sources"][0]["configMap"]["name"]
    (config,) = [one for one in objects if one["kind"] == "ConfigMap"]
    assert config["metadata"]["name"] == mounted
    assert pod["metadata"]["annotations"]["llm-sidecar.dev/config-map"] == mounted
    assert not re.search(r"-[0-9a-z]{10}$", mounted)
    file = tmp_path / "config.yaml"
    file.write_text(config["data"]["config.yaml"], encoding="utf-8")
    for secret in re.findall(r"file: ([\w.-]+)", file.read_text(encoding="utf-8")):
        (tmp_path / secret).write_text(FILES.get(secret, "a-key\n"), encoding="utf-8")
    loaded = load_file(str(file), {"LLM_SIDECAR_ADMIN_BIND": "10.1.2.3"})
    assert not loaded.warnings
    assert loaded.snapshot.admin.addresses == ("10.1.2.3",)
    data = loaded.snapshot.data
    assert data.keys is not None or data.addresses == ("127.0.0.1", "::1"), "it needs keys"
    drain = loaded.snapshot.drain
    assert drain.limit < pod["spec"].get("terminationGracePeriodSeconds", 301)


def test_the_component_takes_every_workload(tmp_path: Path) -> None:
    files = ("deployment.yaml", "statefulset.yaml", "daemonset.yaml", "replicaset.yaml",
             "job.yaml", "cronjob.yaml")  # fmt: skip
    objects = with_component(tmp_path, *files)
    validate(objects)
    found = list(pods(objects))
    assert len(found) == len(files)
    for pod in found:
        check_rules(pod)
    by_kind = {one["kind"]: pod for one, pod in zip(objects, found, strict=True)}
    names = [one["name"] for one in by_kind["Deployment"]["spec"]["initContainers"]]
    assert names == ["llm-sidecar", "migrate"], "what was there comes behind it"
    volumes = [one["name"] for one in by_kind["Deployment"]["spec"]["volumes"]]
    assert sorted(volumes) == ["llm-sidecar-config", "llm-sidecar-tmp", "settings"]
    kept = by_kind["CronJob"]["spec"]["containers"][0]
    assert kept == {"name": "report", "image": "report:4"}


def test_the_component_takes_what_is_written_in_flow_style(tmp_path: Path) -> None:
    app = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "flow"}, "spec": {
        "selector": {"matchLabels": {"app": "flow"}},
        "template": {"metadata": {"labels": {"app": "flow"}}, "spec": {
            "initContainers": [{"name": "migrate", "image": "m:1"}],
            "containers": [{"name": "app", "image": "a:1"}],
            "volumes": [{"name": "data", "emptyDir": {}}]}}}}  # fmt: skip
    (tmp_path / "app.json").write_text(json.dumps(app))
    (pod,) = pods(with_component(tmp_path, resources=("app.json",)))
    check_rules(pod)
    assert [one["name"] for one in pod["spec"]["initContainers"]] == ["llm-sidecar", "migrate"]
    assert len(pod["spec"]["volumes"]) == 3


def test_the_component_leaves_alone_what_is_labelled_so(tmp_path: Path) -> None:
    text = (MANIFESTS / "statefulset.yaml").read_text(encoding="utf-8")
    labelled = text.replace(
        "{name: agent}\n", '{name: agent, labels: {llm-sidecar.dev/inject: "false"}}\n', 1
    )
    (tmp_path / "labelled.yaml").write_text(labelled, encoding="utf-8")
    (tmp_path / "native-sidecar").symlink_to(K8S / "components" / "native-sidecar")
    kustomization = {"resources": ["labelled.yaml"], "components": ["native-sidecar"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    assert build(tmp_path) == list(yaml.safe_load_all(labelled))


def test_the_monitoring_component_builds(tmp_path: Path) -> None:
    (tmp_path / "monitoring").symlink_to(K8S / "components" / "monitoring")
    (tmp_path / "kustomization.yaml").write_text("components: [monitoring]\n")
    monitor, alerts = build(tmp_path)
    validate([monitor, alerts])
    assert monitor["kind"] == "PodMonitor"
    assert [one["portNumber"] for one in monitor["spec"]["podMetricsEndpoints"]] == [14401]
    assert alerts["spec"] == yaml.safe_load(rules.SOURCE.read_text(encoding="utf-8"))


def test_the_alerts_of_the_component_are_those_of_the_chart() -> None:
    assert rules.COPY.read_text(encoding="utf-8") == rules.written(), "`make charts` writes them"
