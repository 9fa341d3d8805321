"""`llm-sidecar inject` on manifests as they are in the world."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.inject import IMAGE
from sidecar.cli.main import main
from sidecar.inject.settings import PREFIX, READERS, Settings, amount
from tests.kubernetes.cluster import check_rules, flat, pods, sidecars, validate
from tests.kubernetes.tools import ROOT
from tests.test_docs import DASH, rows_by_span, section

MANIFESTS = Path(__file__).parent / "manifests"
EVERY = sorted(path.name for path in MANIFESTS.iterdir())


def inject(
    capsys: pytest.CaptureFixture[str], file: Path, *flags: str, code: int = 0
) -> tuple[str, str]:
    """What is printed, and what is said beside it."""
    assert main(["inject", "--file", str(file), *flags]) == code
    out, err = capsys.readouterr()
    return out, err


def load(text: str) -> list[Any]:
    return [one for one in yaml.safe_load_all(text) if one is not None]


# what each of the manifests gets, as it is said on stderr
SAID = {
    "deployment.yaml": [
        "Deployment/shop: injected",
        "Deployment/shop: warning: container 'web' sets OPENAI_BASE_URL itself; that stays",
        "Deployment/shop: warning: container 'worker' takes further variables by envFrom; should "
        "OPENAI_BASE_URL, ANTHROPIC_BASE_URL, OLLAMA_HOST be among them, the sidecar's win (the "
        "annotation llm-sidecar.dev/env chooses)",
    ],
    "statefulset.yaml": ["StatefulSet/agent: injected"],
    "daemonset.yaml": [
        "DaemonSet/log-reader: injected",
        "DaemonSet/log-reader: warning: it uses the node's network (hostNetwork): everything on "
        "that node can call the sidecar, and a second such pod there finds its ports taken",
    ],
    "job.yaml": ["Job/summarize-: injected"],
    "cronjob.yaml": ["CronJob/nightly: injected"],
    "pod.yaml": ["Pod/shell: injected"],
    "replicaset.yaml": ["ReplicaSet/bare: injected"],
    "several.yaml": [
        "Deployment/one: injected",
        "Deployment/no-models: left alone: its label llm-sidecar.dev/inject is false",
    ],
    "list.json": ["Deployment/web: injected"],
    "custom.yaml": ["Rollout/custom: left alone: pods of this kind are not known here"],
    "merged.yaml": ["Deployment/merged: injected"],
    "hand-written.yaml": ["Deployment/by-hand: injected already"],
}


@pytest.mark.parametrize("name", EVERY)
def test_it_is_said_what_was_done(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = inject(capsys, MANIFESTS / name)
    assert err.splitlines() == SAID[name]


@pytest.mark.parametrize("name", EVERY)
def test_the_results_are_valid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = inject(capsys, MANIFESTS / name)
    objects = flat(load(out))
    validate(objects)
    found = [pod for pod in pods(objects) if sidecars(pod)]
    assert len(found) == err.count(": injected")
    if name != "hand-written.yaml":
        for pod in found:
            check_rules(pod)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("mode", ["native", "container"])
def test_twice_injected_is_once_injected(
    name: str, mode: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ends = name in ("job.yaml", "cronjob.yaml") and mode == "container"
    out, _ = inject(capsys, MANIFESTS / name, "--mode", mode, code=1 if ends else 0)
    if ends:
        assert out == ""
        return
    (tmp_path / "once.yaml").write_text(out, encoding="utf-8")
    again, err = inject(capsys, tmp_path / "once.yaml", "--mode", mode)
    assert again == out
    assert ": injected\n" not in err


@pytest.mark.parametrize("name", EVERY)
def test_the_rest_stays_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Taking out what was put in gives what was there, in the same order."""
    before = load((MANIFESTS / name).read_text(encoding="utf-8"))
    after = load(inject(capsys, MANIFESTS / name)[0])
    if name == "hand-written.yaml":
        assert after == before
        return
    for pod, was in zip(pods(flat(after)), pods(flat(before)), strict=True):
        if sidecars(pod):
            take_out(pod, was)
    assert json.dumps(after, default=str) == json.dumps(before, default=str)


def take_out(pod: Any, was: Any) -> None:
    spec = pod["spec"]
    del spec["initContainers"][0]
    spec["volumes"] = [one for one in spec["volumes"] if not one["name"].startswith("llm-sidecar-")]
    for key in ("initContainers", "volumes"):
        if key not in was["spec"]:
            assert not spec.pop(key)
    for one, before in zip(spec["containers"], was["spec"]["containers"], strict=True):
        added = one["env"][len(before.get("env", [])) :]
        assert {each["name"] for each in added} <= {
            "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"
        }  # fmt: skip
        del one["env"][len(before.get("env", [])) :]
        if "env" not in before:
            assert not one.pop("env")
    for key in ("labels", "annotations"):
        there = (was.get("metadata") or {}).get(key, {})
        for name in list(pod["metadata"][key]):
            if name not in there:
                assert name.startswith("llm-sidecar.dev/")
                del pod["metadata"][key][name]
        if not there:
            assert not pod["metadata"].pop(key)
    if "metadata" not in was:
        assert not pod.pop("metadata")


APP = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
"""
REFUSED = {
    "no yaml": ("a: [", "f.yaml:1:5: found a mistake in the YAML"),
    "a template": ("kind: Pod\nspec: {{ .Values.spec }}\n", "have Helm render it first"),
    "a list of nothing": ("- a\n- b\n", "f.yaml: refused. It is no mapping with apiVersion"),
    "no kind": ("apiVersion: v1\nmetadata: {name: p}\n", "it has no kind"),
    "a port": (APP + "  - {name: a, ports: [{containerPort: 14400}]}\n",
               "Pod/p: refused. Its container 'a' listens on port 14400, where the sidecar serves."
               " Give the sidecar another one: --data-port, or the annotation"),
    "another container": (APP + "  - {name: llm-sidecar, image: 'mine:1'}\n",
                          "Pod/p: refused. It has another container with the name llm-sidecar"),
    "a subPath": (APP + "  - {name: llm-sidecar, args: [run], volumeMounts: [{name: c, subPath: "
                  "config.yaml, mountPath: /etc/llm-sidecar/config.yaml}]}\n",
                  "mounts the configuration by subPath, and such a mount never shows a change"),
    "more memory than it may have": (
        APP.replace("name: p}", "name: p, annotations: {llm-sidecar.dev/memory-request: 1Gi}}")
        + "  - {name: a, image: 'a:1'}\n",
        "Pod/p: refused. The sidecar would ask for 1Gi of memory with a limit of 256Mi"),
    "the same key twice": ("kind: Pod\nkind: Pod\n", "f.yaml:2:1: found the key kind a second"),
    "no pod": ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: 1}\n",
               "Deployment/d: refused. It has no spec.template"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals_say_why_and_print_nothing(
    text: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "f.yaml"
    good = (MANIFESTS / "pod.yaml").read_text(encoding="utf-8")
    for content in (text, f"{text}---\n{good}" if "[" not in text[:5] else text):
        file.write_text(content, encoding="utf-8")
        out, err = inject(capsys, file, code=1)
        assert out == ""
        assert says in err.replace(str(tmp_path) + "/", "")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--mode", "both"), "--mode is 'both'; expected native or container."),
        (("--data-port", "14401"), "--data-port is '14401'; expected a port from 1024 to 65535"),
        (("--memory-limit", "many"), "--memory-limit is 'many'; expected a quantity"),
    ],
)
def test_flags_that_cannot_be(
    flags: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = inject(capsys, MANIFESTS / "pod.yaml", *flags, code=2)
    assert out == ""
    assert says in err


def test_flags_are_for_all_and_annotations_for_one(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--config-map", "ours", "--memory-limit", "1Gi", "--image", "mirror.test/sidecar:9",
             "--env", "none", "--data-port", "14500")  # fmt: skip
    out, _ = inject(capsys, MANIFESTS / "cronjob.yaml", *flags)
    (pod,) = pods(load(out))
    (one,) = sidecars(pod)
    assert one["image"] == "mirror.test/sidecar:9"
    assert one["resources"]["limits"] == {"memory": "512Mi"}
    sources = pod["spec"]["volumes"][0]["projected"]["sources"]
    assert sources == [{"configMap": {"name": "nightly-llm"}}, {"secret": {"name": "nightly-keys"}}]
    assert "env" not in pod["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("less", "more"),
    [("999m", "1"), ("96Mi", "101M"), ("1000Ki", "1Mi"), ("1.5G", "1.5Gi"), ("100k", "1P")],
)
def test_amounts_compare(less: str, more: str) -> None:
    assert amount(less) < amount(more)


@pytest.mark.parametrize(("grace", "warns"), [(10, True), (11, False)])
def test_a_pod_that_ends_before_it_is_let_go(
    grace: int, warns: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(
        f"{APP}  - {{name: a, image: 'a:1'}}\n  terminationGracePeriodSeconds: {grace}\n"
    )
    _, err = inject(capsys, file, "--mode", "container")
    assert ("the sidecar is held open for 10 s: requests in flight are cut" in err) is warns


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = inject(capsys, tmp_path / "none.yaml", code=1)
    assert (out, err) == (
        "",
        f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory\n",
    )


def test_what_has_no_pods_passes_through(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("apiVersion: v1\nkind: ConfigMap\ndata: {mode: 0644, on: yes}\n")
    out, err = inject(capsys, file)
    assert out == file.read_text()
    assert "nothing in it runs pods" in err


def test_the_page_has_every_option() -> None:
    """With the same default as the program."""
    told = rows_by_span(section("docs/kubernetes.md", "By inject"), 4)
    assert told.keys() == {f"--{name}" for name in READERS}
    for option, (annotation, default, _) in told.items():
        name = option.removeprefix("--")
        assert annotation == f"`{PREFIX}{name}`"
        known = getattr(Settings(IMAGE), name.replace("-", "_"))
        text = ",".join(known) if isinstance(known, tuple) else known
        assert default == (DASH if known is None else f"`{text}`")


def test_from_stdin_to_stdout() -> None:
    text = (MANIFESTS / "list.json").read_bytes()
    command = [sys.executable, "-m", "sidecar", "inject", "--file", "-"]
    done = subprocess.run(command, input=text, capture_output=True, check=True, cwd=ROOT)
    assert len(list(pods(flat(load(done.stdout.decode()))))) == 1
    assert done.stderr == b"Deployment/web: injected\n"
