"""The charts: what they print is valid, keeps to the rules and is what the program reads.

What could not work is refused with a sentence.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar import __version__
from sidecar.cli.source import load_file
from sidecar.config.load import Loaded
from tests.kubernetes import charts, readme
from tests.kubernetes.apiserver import cluster
from tests.kubernetes.charts import CHART, EXAMPLE, LIBRARY, VERSIONS, helm, refusal, rendered, the
from tests.kubernetes.tools import ROOT
from tests.tunnel.test_config import TOKEN

CI = charts.ci_values()
EVERY_CI = pytest.mark.parametrize("chart, values", CI, ids=[f"{c}-{v.stem}" for c, v in CI])
GATEWAY = yaml.safe_load((ROOT / "helm/llm-sidecar/ci/gateway-values.yaml").read_text())
TUNNEL = yaml.safe_load((ROOT / "helm/llm-sidecar/ci/tunnel-values.yaml").read_text())


@pytest.fixture(scope="module")
def helms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return charts.copied(tmp_path_factory.mktemp("charts"))


def changed(base: Any, **by_path: object) -> Any:
    """Values with some changed; `a__b` stands for the path a.b."""
    values = copy.deepcopy(base)
    for path, value in by_path.items():
        *folders, last = path.split("__")
        at = values
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = value
    return values


# --- what is printed ------------------------------------------------------------------------------


@EVERY_CI
def test_it_lints(helms: Path, chart: str, values: Path) -> None:
    done = helm("lint", "--strict", helms / chart, "--values", values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@EVERY_CI
def test_every_object_is_valid(helms: Path, chart: str, values: Path, version: str) -> None:
    objects = rendered(helms / chart, "--values", values, version=version)
    assert objects
    charts.validate(objects, version)


@EVERY_CI
def test_pods_have_no_rights_and_no_mount_that_never_changes(
    helms: Path, chart: str, values: Path
) -> None:
    for pod in charts.pods(rendered(helms / chart, "--values", values)):
        assert pod["automountServiceAccountToken"] is False
        for one in [*pod.get("initContainers", ()), *pod["containers"]]:
            context = one["securityContext"]
            assert context["runAsNonRoot"] is True
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "memory" in one["resources"]["limits"]
            assert "cpu" not in one["resources"]["limits"]
            for mount in one.get("volumeMounts", ()):
                assert not {"subPath", "subPathExpr"} & set(mount)
            for port in one.get("ports", ()):
                assert set(port) == {"containerPort", "protocol"}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if one["name"] == "llm-sidecar":
                    assert isinstance(one[probe]["httpGet"]["port"], int)
        for volume in pod.get("volumes", ()):
            projected = volume.get("projected")
            assert projected is None or projected["defaultMode"] == 0o444


@EVERY_CI
def test_ports_of_services_and_policies_are_numbers(helms: Path, chart: str, values: Path) -> None:
    for one in rendered(helms / chart, "--values", values):
        if one["kind"] == "Service":
            assert all(isinstance(port["targetPort"], int) for port in one["spec"]["ports"])
        if one["kind"] == "NetworkPolicy":
            ways = [*one["spec"].get("ingress", ()), *one["spec"].get("egress", ())]
            ports = [port["port"] for way in ways for port in way.get("ports", ())]
            assert ports
            assert all(isinstance(port, int) for port in ports)


def test_the_container_is_the_one_of_the_page(helms: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    (block,) = re.findall(
        r"^## The container\n.*?^```yml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    told = yaml.safe_load(block)["spec"]
    spec = the(rendered(helms / EXAMPLE), "Deployment")["spec"]["template"]["spec"]
    (made,) = spec["initContainers"]
    assert made.pop("imagePullPolicy") == "IfNotPresent"
    assert made | {"image": f"<{made['image']}>"} == told["initContainers"][0]
    assert spec["containers"][0]["env"][:3] == told["containers"][0]["env"]
    assert [volume["name"] for volume in spec["volumes"]] == [
        one["name"] for one in told["volumes"]
    ]
    assert spec["volumes"][1] == told["volumes"][1]
    projected, shown = (one["volumes"][0]["projected"] for one in (spec, told))
    assert projected["defaultMode"] == shown["defaultMode"]
    assert [list(one) for one in projected["sources"]] == [list(one) for one in shown["sources"]]


def test_as_an_ordinary_container_it_is_first_and_holds_open(helms: Path) -> None:
    values = {LIBRARY: {"mode": "container", "holdOpen": 7}}
    for version in ("1.28.0", "1.33.0"):
        found = the(rendered(helms / EXAMPLE, values=values, version=version), "Deployment")
        spec = found["spec"]["template"]["spec"]
        assert "initContainers" not in spec
        assert [one["name"] for one in spec["containers"]] == ["llm-sidecar", "app"]
        assert "restartPolicy" not in spec["containers"][0]
        waits = ["python3", "-c", "import time; time.sleep(7)"]
        assert spec["containers"][0]["lifecycle"] == {"preStop": {"exec": {"command": waits}}}


def test_a_native_sidecar_and_a_gateway_have_no_hook(helms: Path) -> None:
    spec = the(rendered(helms / EXAMPLE), "Deployment")["spec"]["template"]["spec"]
    assert "lifecycle" not in spec["initContainers"][0]
    gateway = the(rendered(helms / CHART, values=GATEWAY), "Deployment")
    assert "lifecycle" not in gateway["spec"]["template"]["spec"]["containers"][0]


def test_pods_outlive_their_drain(helms: Path) -> None:
    values = changed(GATEWAY, gateway__drain={"settle": 7, "limit": 100}) | {
        "tunnel": {**TUNNEL["tunnel"], "grace": 60}
    }
    objects = rendered(helms / CHART, values=values)
    grace = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for one in objects if one["kind"] == "Deployment"
    }  # fmt: skip
    assert grace == {"r-llm-sidecar-gateway": 130, "r-llm-sidecar-tunnel": 90}
    gateway, tunnel = (
        yaml.safe_load(the(objects, "ConfigMap", name)["data"]["config.yaml"]) for name in grace
    )
    assert gateway["drain"] == {"mode": "gateway", "settle": "7s", "limit": "100s"}
    assert tunnel["drain"] == {"mode": "sidecar", "limit": "80s"}
    assert tunnel["tunnel"]["grace"] == "60s"


def test_selectors_find_the_pods_of_their_component_only(helms: Path) -> None:
    objects = rendered(helms / CHART, values=GATEWAY | {"tunnel": TUNNEL["tunnel"]})
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in objects if one["kind"] == "Deployment"
    }  # fmt: skip
    for one in objects:
        spec = one.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if selector is None or one["kind"] == "Pod":
            continue
        wanted = selector.get("matchLabels", selector).items()
        found = [name for name, has in labels.items() if wanted <= has.items()]
        assert found == [one["metadata"]["name"]]


def test_everybody_else_is_kept_out(helms: Path) -> None:
    objects = rendered(helms / CHART, values=GATEWAY | {"tunnel": TUNNEL["tunnel"]})
    gateway = the(objects, "NetworkPolicy", "r-llm-sidecar-gateway")["spec"]
    tunnel = the(objects, "NetworkPolicy", "r-llm-sidecar-tunnel")["spec"]
    assert [way["ports"][0]["port"] for way in gateway["ingress"]] == [14400, 14400, 14401]
    assert [way["ports"][0]["port"] for way in tunnel["ingress"]] == [14401]
    assert gateway["policyTypes"] == tunnel["policyTypes"] == ["Ingress"]


def test_its_own_test_may_come_in(helms: Path) -> None:
    values = changed(GATEWAY, gateway__networkPolicy={"from": [{"namespaceSelector": {}}]})
    objects = rendered(helms / CHART, values=values)
    (source,) = the(objects, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    asks = the(objects, "Pod")["metadata"]["labels"]
    assert source["podSelector"]["matchLabels"].items() <= asks.items()


# --- what the program reads -----------------------------------------------------------------------


def loaded(objects: list[charts.Object], name: str, folder: Path, **environ: str) -> Loaded:
    """What the program makes of a ConfigMap, with the files of the Secrets beside it."""
    folder.mkdir()
    for file, content in {
        "config.yaml": the(objects, "ConfigMap", name)["data"]["config.yaml"],
        "keys.txt": f"anna {'0' * 64}\n",
        "tunnel-token": TOKEN,
        "openai-key": "a-key",
        "gateway-key": "a-key",
    }.items():
        (folder / file).write_text(content, encoding="utf-8")
    around = {"POD_IP": "10.1.2.3", "LLM_SIDECAR_ADMIN_BIND": "10.1.2.3", **environ}
    found = load_file(str(folder / "config.yaml"), around)
    assert not found.warnings
    assert found.snapshot.admin.addresses == ("10.1.2.3",)
    assert (found.snapshot.data.port, found.snapshot.admin.port) == (14400, 14401)
    return found


def test_the_gateway_loads(helms: Path, tmp_path: Path) -> None:
    objects = rendered(helms / CHART, values=GATEWAY)
    found = loaded(objects, "r-llm-sidecar-gateway", tmp_path / "g").snapshot
    assert found.data.addresses == ("0.0.0.0",)  # noqa: S104  # its clients need keys
    assert found.drain.mode == "gateway"
    assert "r-llm-sidecar-gateway.llm.svc" in found.hosts
    assert list(found.backends) == ["openai", "vllm"]


def test_the_tunnel_loads(helms: Path, tmp_path: Path) -> None:
    objects = rendered(helms / CHART, values=TUNNEL)
    found = loaded(objects, "r-llm-sidecar-tunnel", tmp_path / "t").snapshot
    assert found.data.addresses == ("127.0.0.1", "::1")
    assert found.public is not None
    assert found.public.listener.port == 14402
    assert found.tunnel is not None
    assert found.drain.mode == "sidecar"


def test_everything_at_once_loads(helms: Path, tmp_path: Path) -> None:
    path = ROOT / "helm/llm-sidecar/ci/everything-values.yaml"
    objects = rendered(helms / CHART, "--values", path)
    gateway = loaded(objects, "llm-gateway", tmp_path / "g", OPENAI_API_KEY="k").snapshot
    assert gateway.data.addresses == ("::",)
    assert gateway.hosts[0] == "llm.internal"
    assert gateway.data.bounds is not None
    tunnel = loaded(objects, "llm-tunnel", tmp_path / "t").snapshot
    assert tunnel.public is not None


def test_the_examples_configuration_loads(helms: Path, tmp_path: Path) -> None:
    found = loaded(rendered(helms / EXAMPLE), "app-with-sidecar-llm", tmp_path / "a").snapshot
    assert found.data.addresses == ("127.0.0.1", "::1")


def test_all_pods_have_one_revision(helms: Path, tmp_path: Path) -> None:
    # else LLMSidecarConfigSkew would fire for every gateway
    objects = rendered(helms / CHART, values=GATEWAY)
    one, other = (
        loaded(objects, "r-llm-sidecar-gateway", tmp_path / pod, POD_IP=pod).snapshot.revision
        for pod in ("10.0.0.1", "10.0.0.2")
    )
    assert one == other


# --- what is watched ------------------------------------------------------------------------------


def test_the_rules_are_those_of_the_file(helms: Path) -> None:
    values = {"gateway": {"enabled": False}, "monitoring": {"prometheusRule": {"enabled": True}}}
    spec = the(rendered(helms / CHART, values=values), "PrometheusRule")["spec"]
    assert spec == yaml.safe_load((ROOT / "helm/llm-sidecar/files/rules.yaml").read_text())


def test_an_installation_has_its_own_limits(helms: Path) -> None:
    own = {
        "enabled": True,
        "firstToken": 12.5,
        "spendPerHour": 250,
        "runbooks": "https://w.example/x",
    }
    values = {"gateway": {"enabled": False}, "monitoring": {"prometheusRule": own}}
    spec = the(rendered(helms / CHART, values=values), "PrometheusRule")["spec"]
    limits = {one["record"]: one["expr"] for one in spec["groups"][0]["rules"]}
    assert list(limits.values()) == ["vector(12.5)", "vector(250)"]
    alerts = [rule for group in spec["groups"] for rule in group["rules"] if "alert" in rule]
    assert all(
        one["annotations"]["runbook_url"] == f"https://w.example/x#{one['alert'].lower()}"
        for one in alerts
    )


def test_the_dashboard_is_the_file(helms: Path) -> None:
    values = {"gateway": {"enabled": False}, "monitoring": {"dashboards": {"enabled": True}}}
    (config,) = rendered(helms / CHART, values=values)
    path = ROOT / "helm/llm-sidecar/files/dashboards/llm-sidecar.json"
    assert json.loads(config["data"]["llm-sidecar.json"]) == json.loads(path.read_text())
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_pod_monitor_finds_every_role(helms: Path) -> None:
    values = GATEWAY | {"tunnel": TUNNEL["tunnel"], "monitoring": {"podMonitor": {"enabled": True}}}
    objects = rendered(helms / CHART, values=values) + rendered(helms / EXAMPLE)
    (wanted,) = the(objects, "PodMonitor")["spec"]["selector"]["matchExpressions"]
    templates = [one["spec"]["template"] for one in objects if one["kind"] == "Deployment"]
    roles = {one["metadata"]["labels"][wanted["key"]] for one in templates}
    assert roles == {"gateway", "tunnel", "sidecar"}
    for one in templates:
        assert one["metadata"]["annotations"]["llm-sidecar.dev/config-map"]


# --- what is refused ------------------------------------------------------------------------------

REFUSED = [
    ("nothing", {}, "The gateway has no configuration. Write backends and routes"),
    ("no-keys", changed(GATEWAY, gateway__clientKeys={}), "so its clients need keys"),
    ("two", changed(GATEWAY, gateway__configMap="x"), "are both set. Use one of them"),
    ("bind", changed(GATEWAY, gateway__config__listeners={"data": {"bind": "::"}}),
     "gateway.config.listeners.data.bind is written by the chart; set gateway.bind"),
    ("admin", changed(GATEWAY, gateway__config__listeners={"admin": {"port": 1}}),
     "gateway.config.listeners.admin is written by the chart; probes depend on it"),
    ("drain", changed(GATEWAY, gateway__config__drain={"mode": "sidecar"}), "set gateway.drain"),
    ("old", GATEWAY, "requires kubeVersion: >=1.27.0-0"),
    ("no-tunnel-config", changed(TUNNEL, tunnel__config={}), "The tunnel has no configuration"),
    ("no-token", changed(TUNNEL, tunnel__token={}), "The tunnel has no token. Put it into"),
    ("nobody", changed(TUNNEL, tunnel__clientKeys={}), "Nobody may come in through the tunnel"),
    ("nothing-public", changed(TUNNEL, tunnel__config__routes={"r": {"targets": []}}),
     "No route of tunnel.config has `public: true`"),
    ("tunnel-grace", changed(TUNNEL, tunnel__config__tunnel={"grace": 1}), "set tunnel.grace"),
    ("tunnel-data-port", changed(TUNNEL, tunnel__config__listeners={"data": {"port": 1500}}),
     "tunnel.config.listeners.data.port is written by the chart"),
    ("label", changed(GATEWAY, pod={"labels": {"app.kubernetes.io/name": "x"}}),
     "pod.labels has app.kubernetes.io/name, which is written by the chart"),
    ("annotation", changed(GATEWAY, pod={"annotations": {"llm-sidecar.dev/mode": "native"}}),
     "pod.annotations has llm-sidecar.dev/mode"),
    ("variable", changed(GATEWAY, gateway__env=[{"name": "POD_IP", "value": "::1"}]),
     "env has POD_IP, which the container has already"),
    ("public-port", changed(GATEWAY, gateway__config__listeners={"public": {"port": 14401}}),
     "gateway.config.listeners.public.port is 14401, where the gateway listens already"),
    ("settle", changed(GATEWAY, gateway__drain={"settle": 60, "limit": 60}),
     "gateway.drain.settle is 60 s, and gateway.drain.limit ends it all after 60 s"),
    ("listener", changed(GATEWAY, gateway__config__listeners={"data": 14400}),
     "at '/gateway/config/listeners/data': got number, want object"),
    ("dotted", changed(GATEWAY, fullnameOverride="a.b"), "fullnameOverride"),
    ("no-tag", changed(GATEWAY, image={"tag": ""}), "image/tag"),
    ("null", changed(GATEWAY, monitoring=None), "missing property 'monitoring'"),
    ("null-tag", changed(GATEWAY, image={"tag": None}), "at '/image': missing property 'tag'"),
    ("null-config", changed(TUNNEL, tunnel__config=None), "The tunnel has no configuration"),
    ("unknown", changed(GATEWAY, gateway__replica=3), "replica"),
    ("unknown-top", changed(GATEWAY, gatway={}), "gatway"),
    ("unknown-lib", changed(GATEWAY, **{LIBRARY: {"mod": "native"}}), "mod"),
    ("grace", changed(TUNNEL, tunnel__grace=181), "grace"),
    ("url", changed(TUNNEL, tunnel__url="http://llm.example.com"), "url"),
    ("digest", changed(GATEWAY, image={"digest": "latest"}), "digest"),
]  # fmt: skip


@pytest.mark.parametrize("values, sentence", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_could_not_work_is_refused(helms: Path, values: object, sentence: str) -> None:
    version = "1.26.0" if sentence.startswith("requires kubeVersion") else "1.33.0"
    assert sentence in refusal(helms / CHART, values, version)


def test_what_is_empty_may_be_null(helms: Path) -> None:
    values = changed(TUNNEL, tunnel__secrets=None, tunnel__env=None, pod__labels=None)
    assert rendered(helms / CHART, values=values) == rendered(helms / CHART, values=TUNNEL)


@pytest.mark.parametrize("name", ["1llm", "llm.prod"])
def test_a_release_has_a_name_that_its_service_may_have(helms: Path, name: str) -> None:
    done = helm("template", name, helms / CHART, values=GATEWAY)
    assert f"The release is called {name}, and no Service can have a name that" in done.stderr
    done = helm("template", name, helms / CHART, values=changed(GATEWAY, fullnameOverride="llm"))
    assert done.returncode == 0, done.stderr


def notes(chart: Path, values: object, *objects: str, operator: bool = False) -> str:
    """What a person reads who installs a chart in a cluster that has these objects."""
    with cluster(*objects, operator=operator) as address:
        given = ("install", "r", chart, "--namespace", "llm", "--kube-apiserver", address)
        flags = ("--dry-run=server", "--disable-openapi-validation")
        done = helm(*given, *flags, values=values, version=None)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("NOTES:")[2]


SECRETS = ("secrets/llm-backends", "secrets/llm-clients", "secrets/llm-tunnel")
WATCHED = {"monitoring": {"podMonitor": {"enabled": True}}}


@pytest.mark.parametrize("values", [GATEWAY, TUNNEL], ids=["gateway", "tunnel"])
def test_where_all_is_there_the_notes_warn_of_nothing(helms: Path, values: object) -> None:
    told = notes(helms / CHART, values, *SECRETS)
    assert "kubectl" in told
    assert "WARNING" not in told


OPEN = changed(GATEWAY, gateway__clientKeys={},
               gateway__config__listeners={"data": {"i_know_this_is_open": True}})  # fmt: skip
OWN = {"gateway": {"configMap": "mine", "clientKeys": {"secret": "llm-clients"}}}


@pytest.mark.parametrize(
    "values, objects, sentence",
    [
        (OPEN, SECRETS, "whoever reaches the gateway can use it and spend your keys"),
        (GATEWAY, SECRETS[1:], "there is no Secret llm-backends in llm. The pods wait for it."),
        (TUNNEL, SECRETS[:2], "there is no Secret llm-tunnel in llm."),
        (OWN, SECRETS, "there is no ConfigMap mine in llm."),
        (changed(GATEWAY, gateway__start="degraded"), SECRETS, "answers 503"),
        (changed(GATEWAY, gateway__networkPolicy={"from": []}), SECRETS, "nobody can reach"),
        (changed(TUNNEL, tunnel__url=""), SECRETS, "without tunnel.url"),
    ],
)
def test_the_notes_warn(
    helms: Path, values: object, objects: tuple[str, ...], sentence: str
) -> None:
    told = notes(helms / CHART, values, *objects)
    assert [line for line in told.splitlines() if line.startswith("WARNING") and sentence in line]
    assert told.count("WARNING") == 1


def test_what_watches_needs_the_operator(helms: Path) -> None:
    with pytest.raises(AssertionError, match='no matches for kind "PodMonitor"'):
        notes(helms / CHART, GATEWAY | WATCHED, *SECRETS)
    assert "WARNING" not in notes(helms / CHART, GATEWAY | WATCHED, *SECRETS, operator=True)


def test_the_notes_tell_what_an_own_configuration_needs(helms: Path, tmp_path: Path) -> None:
    told = notes(helms / CHART, OWN, *SECRETS, "configmaps/mine")
    block = told.partition("It needs:\n\n")[2]
    offers = "backends: {home: {preset: ollama}}\nroutes: {chat: {targets: [{backend: home}]}}\n"
    config = {"kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {
        "config.yaml": offers + textwrap.dedent(block)}}  # fmt: skip
    found = loaded([config], "mine", tmp_path / "c").snapshot
    assert found.drain.mode == "gateway"
    assert "r-llm-sidecar-gateway" in found.hosts


@pytest.fixture(scope="module")
def consumer(helms: Path) -> Path:
    """A chart whose pod is told by its values; `SIDECAR` stands for the library's container."""
    chart = helms / "examples" / "any-pod"
    shutil.copytree(helms / EXAMPLE, chart)
    (chart / "templates" / "_pod.tpl").write_text(
        '{{- define "app.pod" -}}\n'
        '{{- $own := include "llm-sidecar.container" . -}}\n'
        '{{- $volumes := include "llm-sidecar.volumes" . | fromYamlArray | toJson -}}\n'
        '{{- toJson .Values.pod | replace "\\"SIDECAR\\"" (fromYamlArray $own | first | toJson)\n'
        '    | replace "\\"VOLUMES\\"" $volumes -}}\n'
        "{{- end }}\n"
    )
    return chart


APP = {"name": "app", "image": "app:1"}
POD: Any = {"initContainers": ["SIDECAR"], "containers": [APP], "volumes": "VOLUMES"}
LISTENING = APP | {"ports": [{"containerPort": 14400}]}
MOUNTING = APP | {
    "volumeMounts": [
        {"name": "llm-sidecar-config", "mountPath": "/c.yaml", "subPath": "config.yaml"}
    ]
}
UNFIT = [
    ("port", POD | {"containers": [LISTENING]}, {},
     "the container app listens on the port 14400, which the sidecar needs. Give the"),
    ("admin-port", POD | {"containers": [LISTENING]}, {"dataPort": 1500, "adminPort": 14400},
     "listens on the port 14400"),
    ("init-port", POD | {"initContainers": ["SIDECAR", LISTENING]}, {}, "listens on the port"),
    ("subpath", POD | {"containers": [MOUNTING]}, {},
     "mounts llm-sidecar-config with a subPath, and such a mount never changes"),
    ("second", POD | {"initContainers": [APP, "SIDECAR"]}, {},
     "must be the first of initContainers, so that all others can ask it; the first one is app"),
    ("left-out", {"containers": [APP], "volumes": "VOLUMES"}, {}, "the first one is missing"),
    ("misplaced", POD | {"initContainers": [], "containers": ["SIDECAR", APP]}, {},
     "with mode native the sidecar belongs into initContainers, and it is in containers"),
    ("volumes", POD | {"volumes": []}, {}, "the pod has no volume llm-sidecar-config. Include"),
    ("job", POD | {"initContainers": [], "containers": ["SIDECAR", APP], "restartPolicy": "Never"},
     {"mode": "container"}, "this job would never end, for the sidecar never does. Use mode"),
    ("hold-open", POD | {"initContainers": [], "containers": ["SIDECAR", APP]},
     {"mode": "container", "holdOpen": 30},
     "holdOpen is 30 s, and the pod is killed after 30 s (terminationGracePeriodSeconds)"),
    ("no-config", POD, {"configMap": ""}, "configMap is empty. Name the ConfigMap"),
    ("same-ports", POD, {"dataPort": 2000, "adminPort": 2000}, "Each needs a port of its own"),
    ("mode", POD, {"mode": "init"}, "mode"),
]  # fmt: skip


@pytest.mark.parametrize("pod, own, sentence", [r[1:] for r in UNFIT], ids=[r[0] for r in UNFIT])
def test_a_pod_that_could_not_work_is_refused(
    consumer: Path, pod: object, own: object, sentence: str
) -> None:
    assert sentence in refusal(consumer, {"pod": pod, LIBRARY: own})


def test_the_same_pod_is_taken_where_all_is_well(consumer: Path) -> None:
    ports = [{"containerPort": 8080}, {"containerPort": 14400, "protocol": "UDP"}]
    quiet = APP | {"ports": ports, "volumeMounts": [
        {"name": "data", "mountPath": "/d", "subPath": "x"}]}  # fmt: skip
    pod = POD | {"initContainers": ["SIDECAR", APP | {"name": "migrate"}], "containers": [quiet]}
    assert rendered(consumer, values={"pod": pod})


@pytest.mark.parametrize(
    "version, fits", [("1.28.9", False), ("1.29.0", True), ("1.29.0-gke.1", True)]
)
def test_a_native_sidecar_needs_1_29(helms: Path, version: str, fits: bool) -> None:
    if fits:
        assert rendered(helms / EXAMPLE, version=version)
    else:
        sentence = "mode native needs Kubernetes 1.29 or newer, and this cluster is v1.28.9"
        assert sentence in refusal(helms / EXAMPLE, {}, version)
        assert rendered(helms / EXAMPLE, values={LIBRARY: {"mode": "container"}}, version=version)


def test_an_alias_works(helms: Path) -> None:
    chart = helms / "examples" / "alias"
    shutil.copytree(helms / EXAMPLE, chart)
    file = chart / "Chart.yaml"
    file.write_text(file.read_text() + "    alias: sidecar\n")
    for path in (chart / "values.yaml", *chart.glob("templates/*")):
        text = path.read_text()
        text = text.replace(
            '(dict "root" . "pod"', '(dict "root" . "sidecar" .Values.sidecar "pod"'
        )
        text = re.sub(
            r'(include "llm-sidecar\.\w+") \.',
            r'\1 (dict "root" . "sidecar" .Values.sidecar)',
            text,
        )
        path.write_text(text.replace("llm-sidecar-lib", "sidecar"))
    assert rendered(chart) == rendered(helms / EXAMPLE)


# --- what is written about them -------------------------------------------------------------------


PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^ *```yml\n( *# (?!kustomization)(\w+)\.yaml\n.*?)^ *```$", re.DOTALL | re.MULTILINE
)
SHOWN = [(name, yaml.safe_load(textwrap.dedent(block))) for block, name in BLOCK.findall(PAGE)]


@pytest.mark.parametrize("values", [values for _, values in SHOWN], ids=[name for name, _ in SHOWN])
def test_the_values_of_the_page_work(helms: Path, tmp_path: Path, values: Any) -> None:
    objects = rendered(helms / CHART, values=values)
    charts.validate(objects, "1.33.0")
    for name in (name for name in ("gateway", "tunnel") if "config" in values.get(name, {})):
        assert loaded(objects, f"r-llm-sidecar-{name}", tmp_path / name).snapshot.routes.routes


def test_the_page_shows_values_for_each_way() -> None:
    assert [name for name, _ in SHOWN] == ["gateway", "tunnel", "monitoring"]


@pytest.mark.parametrize("chart", readme.CHARTS, ids=lambda chart: str(chart.name))
def test_the_readme_is_current(chart: Path) -> None:
    message = "run `make charts`"
    assert (chart / "README.md").read_text(encoding="utf-8") == readme.page(chart), message


@pytest.mark.parametrize("chart", readme.CHARTS, ids=lambda chart: str(chart.name))
def test_the_schema_knows_every_value_and_no_other(chart: Path) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())

    def compare(known: Any, has: Any, path: str) -> None:
        if "properties" not in known or known.get("additionalProperties") is not False:
            return
        names = set(known["properties"]) - ({"global", LIBRARY} if not path else set())
        if path.endswith("resources"):
            names -= {"claims"}
        assert names == set(has), path
        if not path.endswith(".resources"):
            told = {name for name, value in has.items() if value and type(value) in (str, int)}
            assert told - {"replicas"} <= set(known.get("required", ())), path  # `null` removes it
        for name, value in has.items():
            compare(known["properties"][name], value, f"{path}.{name}")

    compare(schema, values, "")


def test_all_versions_are_the_programs() -> None:
    for chart in readme.CHARTS:
        described = yaml.safe_load((chart / "Chart.yaml").read_text())
        values = yaml.safe_load((chart / "values.yaml").read_text())
        assert described["version"] == described["appVersion"] == __version__
        assert values["image"]["tag"] == __version__
        for needed in described.get("dependencies", ()):
            assert needed["version"] == __version__
            assert "condition" not in needed
