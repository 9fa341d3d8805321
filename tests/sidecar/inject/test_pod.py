"""What a pod gets, as a patch; and what is in the way."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from sidecar.inject import container
from sidecar.inject.pod import Plan, Refused, plan
from sidecar.inject.settings import Mode, Settings

IMAGE = Settings("llm-sidecar:1")
CONTAINER = Settings("llm-sidecar:1", mode=Mode.CONTAINER)
OWN = container.container(IMAGE)
APP = {"name": "web", "image": "web:1"}


def pod(*containers: dict[str, Any], metadata: dict[str, Any] | None = None, **spec: Any) -> Any:
    named = {} if metadata is None else {"metadata": metadata}
    return {**named, "spec": {"containers": [*containers], **spec}}


def added(made: Plan) -> dict[str, Any]:
    """What is added, by path."""
    found = {"/".join(map(str, one.path)): one.value for one in made.additions}
    assert all(one.path[0] in ("spec", "metadata") for one in made.additions)
    return found


def test_a_plain_pod() -> None:
    made = plan(pod(APP), IMAGE)
    got = added(made)
    assert got["spec/initContainers"] == [OWN]
    assert got["spec/volumes"] == container.volumes(IMAGE)
    assert got["metadata/labels"] == {"llm-sidecar.dev/role": "sidecar"}
    assert got["metadata/annotations"] == {
        "llm-sidecar.dev/config-map": "llm-sidecar", "llm-sidecar.dev/mode": "native"
    }  # fmt: skip
    assert got["spec/containers/0/env"] == [
        {"name": "OPENAI_BASE_URL", "value": "http://127.0.0.1:14400/v1"},
        {"name": "ANTHROPIC_BASE_URL", "value": "http://127.0.0.1:14400"},
        {"name": "OLLAMA_HOST", "value": "http://127.0.0.1:14400"},
    ]
    assert (made.state, made.warnings) == ("injected", [])


def test_it_is_first_among_init_containers() -> None:
    got = added(plan(pod(APP, initContainers=[{"name": "migrate"}]), IMAGE))
    assert got["spec/initContainers/0"] == OWN
    assert "spec/initContainers" not in got


def test_in_mode_container_it_is_the_first_of_the_containers() -> None:
    got = added(plan(pod(APP, initContainers=[{"name": "migrate"}]), CONTAINER))
    assert got["spec/containers/0"] == container.container(CONTAINER)
    assert "spec/containers/1/env" in got
    assert not [path for path in got if path.startswith("spec/initContainers")]


def test_lists_that_are_there_are_added_to() -> None:
    app = {**APP, "env": [{"name": "A", "value": "1"}]}
    made = plan(pod(app, volumes=[{"name": "data"}], initContainers=None), IMAGE)
    paths = ["/".join(map(str, one.path)) for one in made.additions]
    assert paths.count("spec/volumes/-") == len(container.volumes(IMAGE))
    assert paths.count("spec/containers/0/env/-") == 3
    assert "spec/initContainers" in paths


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ({}, ["web", "jobs"]),
        ({"containers": "jobs"}, ["jobs"]),
        ({"containers": "migrate, web"}, ["migrate", "web"]),
        ({"env": "none"}, []),
    ],
)
def test_who_gets_the_addresses(annotations: dict[str, str], told: list[str]) -> None:
    metadata = {"annotations": {f"llm-sidecar.dev/{k}": v for k, v in annotations.items()}}
    both = pod(APP, {"name": "jobs"}, initContainers=[{"name": "migrate"}], metadata=metadata)
    names = {"spec/initContainers/1/env": "migrate", "spec/containers/0/env": "web",
             "spec/containers/1/env": "jobs"}  # fmt: skip
    got = added(plan(both, IMAGE))
    assert [names[path] for path in got if path.endswith("/env")] == told


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("config-map", "mine", "config_map", "mine"),
        ("secret", "keys", "secret", "keys"),
        ("mode", "container", "mode", Mode.CONTAINER),
        (
            "image",
            "example.test/llm-sidecar@sha256:0",
            "image",
            "example.test/llm-sidecar@sha256:0",
        ),
        ("data-port", "14500", "data_port", 14500),
        ("cpu-request", "50m", "cpu_request", "50m"),
        ("memory-request", "128Mi", "memory_request", "128Mi"),
        ("memory-limit", "1Gi", "memory_limit", "1Gi"),
        ("env", "OLLAMA_HOST", "env", ("OLLAMA_HOST",)),
    ],
)
def test_annotations_win_over_flags(name: str, text: str, field: str, value: object) -> None:
    told = pod(APP, metadata={"annotations": {f"llm-sidecar.dev/{name}": text}})
    wanted = replace(IMAGE, **{field: value})  # type: ignore[arg-type]
    assert added(plan(told, IMAGE))["spec/volumes"] == container.volumes(wanted)
    changed = [path for path in added(plan(told, IMAGE)) if not path.startswith("metadata/")]
    assert changed == [path for path in added(plan(pod(APP), wanted)) if "metadata" not in path]


KEPT = [
    ({**APP, "env": [{"name": "OPENAI_BASE_URL", "value": "http://mine"}]},
     "container 'web' sets OPENAI_BASE_URL itself; that stays"),
    ({**APP, "env": [{"name": "OPENAI_BASE_URL", "valueFrom": {"secretKeyRef": {}}}]},
     "container 'web' sets OPENAI_BASE_URL itself; that stays"),
]  # fmt: skip


@pytest.mark.parametrize(("app", "warning"), KEPT)
def test_a_variable_of_the_application_stays(app: dict[str, Any], warning: str) -> None:
    made = plan(pod(app), IMAGE)
    names = [one.value["name"] for one in made.additions if one.path[-2:] == ("env", "-")]  # type: ignore[index]
    assert names == ["ANTHROPIC_BASE_URL", "OLLAMA_HOST"]
    assert made.warnings == [warning]


def test_a_volume_and_labels_that_are_there_stay() -> None:
    volume = container.volumes(IMAGE)[0]["name"]
    mine = {"name": volume, "hostPath": {"path": "/x"}}
    labels = {"llm-sidecar.dev/role": "mine"}
    notes = {"llm-sidecar.dev/config-map": "mine", "llm-sidecar.dev/mode": "native"}
    kept = {"labels": labels, "annotations": notes}
    made = plan(pod(APP, volumes=[mine], metadata=kept), IMAGE)
    values = [one.value for one in made.additions if one.path[:2] == ("spec", "volumes")]
    assert values == container.volumes(IMAGE)[1:]
    assert f"it has a volume {volume} already, which is used as it is" in made.warnings
    assert not [one for one in made.additions if one.path[0] == "metadata"]


@pytest.mark.parametrize(
    ("notes", "says"),
    [
        ({"data_port": "14500"}, "its configuration has to say listeners.data.port: 14500 as well"),
        ({"mode": "container", "containers": "migrate,web"},
         "its init container 'migrate' ends before a sidecar in mode container starts"),
    ],
)  # fmt: skip
def test_warnings_of_annotations(notes: dict[str, str], says: str) -> None:
    given = {**pod(APP, initContainers=[{"name": "migrate"}]), **noted(**notes)}
    assert plan(given, IMAGE).warnings == [says]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"hostNetwork": True}, "it uses the node's network"),
        ({"terminationGracePeriodSeconds": 0}, "its terminationGracePeriodSeconds is 0"),
        ({"volumes": [{"name": "llm-sidecar-tmp"}]}, "it has a volume llm-sidecar-tmp already"),
    ],
)
def test_warnings(spec: dict[str, Any], says: str) -> None:
    made = plan(pod(APP, **spec), IMAGE)
    assert [one for one in made.warnings if one.startswith(says)]
    assert made.state == "injected"


def test_variables_of_a_config_map_are_warned_of() -> None:
    made = plan(pod({**APP, "envFrom": [{"configMapRef": {"name": "all"}}]}), IMAGE)
    assert len(made.warnings) == 1
    assert "takes further variables by envFrom" in made.warnings[0]


def test_an_unknown_annotation_is_warned_of() -> None:
    notes = {"llm-sidecar.dev/imgae": "x", "llm-sidecar.dev/inject": "true", "other/x": "y"}
    made = plan(pod(APP, metadata={"annotations": notes}), IMAGE)
    assert len(made.warnings) == 1
    assert "llm-sidecar.dev/imgae is not known" in made.warnings[0]


def test_the_label_keeps_it_out() -> None:
    for value in ("false", False):
        made = plan(pod(APP, metadata={"labels": {"llm-sidecar.dev/inject": value}}), IMAGE)
        assert made.additions == []
        assert "left alone" in made.state


@pytest.mark.parametrize("settings", [IMAGE, CONTAINER])
def test_what_is_injected_is_left_alone(settings: Settings) -> None:
    own = container.container(settings)
    native: dict[str, Any] = {"initContainers": [own]} if settings.mode is Mode.NATIVE else {}
    made = plan(pod(APP, *([] if native else [own]), **native), IMAGE)
    assert (made.additions, made.warnings, made.state) == ([], [], "injected already")


def test_it_is_told_when_it_stands_behind_others() -> None:
    made = plan(pod(APP, initContainers=[{"name": "migrate"}, OWN]), IMAGE)
    assert made.additions == []
    assert "is not the first of its init containers" in made.warnings[0]


def with_subpath(own: dict[str, Any]) -> dict[str, Any]:
    mounts = [{**mount, "subPath": "config.yaml"} for mount in own["volumeMounts"]]
    return {**own, "volumeMounts": mounts}


def noted(**notes: str) -> dict[str, Any]:
    texts = {f"llm-sidecar.dev/{name.replace('_', '-')}": text for name, text in notes.items()}
    return {"metadata": {"annotations": texts}}


REFUSED = [
    ({}, "It has no spec that is a mapping"),
    ({"spec": []}, "It has no spec that is a mapping"),
    ({"spec": {}}, "It has no containers"),
    ({"spec": {"containers": "web"}}, "Its containers is no list of mappings."),
    (pod(APP, initContainers=["x"]), "Its initContainers is no list of mappings."),
    (pod({**APP, "env": "A=1"}), "Its env is no list of mappings."),
    (pod(APP, {"name": "llm-sidecar", "image": "other"}), "another container with the name"),
    (pod(APP, initContainers=[{"name": "llm-sidecar"}]), "another container with the name"),
    (pod(APP, initContainers=[with_subpath(OWN)]), "mounts the configuration by subPath"),
    (pod(APP, initContainers=[{k: v for k, v in OWN.items() if k != "restartPolicy"}]),
     "has no restartPolicy: Always"),
    (pod({**APP, "ports": [{"containerPort": 14400}]}),
     "'web' listens on port 14400, where the sidecar serves"),
    (pod(APP, initContainers=[{"name": "x", "ports": [{"containerPort": 14401}]}]),
     "'x' listens on port 14401, which the sidecar has for probes"),
    (pod(APP, os={"name": "windows"}), "run on Windows"),
    (pod(APP, nodeSelector={"kubernetes.io/os": "windows"}), "run on Windows"),
    ({**pod(APP), **noted(containers="wbe")}, "no container 'wbe' in it; there are web."),
    ({**pod(APP), **noted(mode="natif")}, "expected native or container"),
    ({**pod(APP), **noted(data_port="14401")}, "the annotation llm-sidecar.dev/data-port is"),
    ({**pod(APP), **noted(data_port="80")}, "expected a port from 1024"),
    ({**pod(APP), **noted(memory_limit="lots")}, "expected a quantity such as 25m"),
    ({**pod(APP), **noted(env="OPENAI_API_KEY")}, "expected none, or some of OPENAI_BASE_URL"),
    ({**pod(APP), **noted(config_map="My_Map")}, "expected the name of an object"),
    ({**pod(APP), **noted(image="")}, "expected the name of an image"),
    ({**pod(APP, restartPolicy="Never"), **noted(mode="container")}, "running for ever"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_refusals(given: Any, says: str) -> None:
    with pytest.raises(Refused, match=re.escape(says)):
        plan(given, IMAGE)


def test_a_pod_that_ends_needs_a_native_sidecar() -> None:
    assert plan(pod(APP, restartPolicy="Never"), IMAGE, ends=True).additions
    with pytest.raises(Refused, match="Use mode native"):
        plan(pod(APP), CONTAINER, ends=True)


@pytest.mark.parametrize(
    "port", [{"containerPort": 14400, "protocol": "UDP"}, {"containerPort": 8080}]
)
def test_other_ports_are_no_clash(port: dict[str, Any]) -> None:
    assert plan(pod({**APP, "ports": [port]}), IMAGE).additions


def test_another_port_solves_a_clash() -> None:
    app = {**APP, "ports": [{"containerPort": 14400}]}
    got = added(plan({**pod(app), **noted(data_port="14500")}, IMAGE))
    assert got["spec/containers/0/env"][0]["value"] == "http://127.0.0.1:14500/v1"
