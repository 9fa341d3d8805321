"""Charts without a cluster: they are rendered, and the objects checked as an API server would."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.kubernetes.tools import ROOT, need

VERSIONS = ("1.29.0", "1.31.0", "1.33.0", "1.34.0")
HELM = ROOT / "helm"
CHART, LIBRARY, EXAMPLE = "llm-sidecar", "llm-sidecar-lib", "examples/app-with-sidecar"

Object = Mapping[str, Any]


def copied(folder: Path) -> Path:
    """A copy of all charts, with their dependencies as `helm dependency build` brings them."""
    helm = need("helm")
    charts = folder / "helm"
    shutil.copytree(HELM, charts, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    for one in (CHART, EXAMPLE):
        subprocess.run([helm, "dependency", "build", charts / one], check=True, capture_output=True)
    return charts


def ci_values() -> list[tuple[str, Path]]:
    """Every chart with each of the values that it is tested with."""
    return [(one, path) for one in (CHART, EXAMPLE) for path in sorted(HELM.glob(f"{one}/ci/*"))]


def helm(
    *arguments: str | Path, values: object = None, version: str | None = "1.33.0"
) -> subprocess.CompletedProcess[str]:
    """Run a command of Helm on a chart; `values` go in as a file. Not all take a `version`."""
    given = [] if values is None else ["--values", "-"]
    given += [] if version is None else ["--kube-version", version]
    return subprocess.run(
        [need("helm"), *arguments, *given],
        input=None if values is None else json.dumps(values),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def rendered(
    chart: Path, *arguments: str | Path, values: object = None, version: str = "1.33.0"
) -> list[Object]:
    """The objects of a chart."""
    done = helm(
        "template", "r", chart, "--namespace", "llm", *arguments, values=values, version=version
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def refusal(chart: Path, values: object, version: str = "1.33.0") -> str:
    """Why a chart is not rendered."""
    done = helm("template", "r", chart, "--namespace", "llm", values=values, version=version)
    assert done.returncode != 0, done.stdout
    return done.stderr


def the(objects: Iterable[Object], kind: str, name: str = "") -> Any:
    """The one object of a kind, and of a name where there are several."""
    (found,) = (
        one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"])
    )
    return found


def pods(objects: Iterable[Object]) -> Iterator[Any]:
    """The specs of all pods."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["spec"]
        elif one["kind"] == "Deployment":
            yield one["spec"]["template"]["spec"]


def validate(objects: Iterable[Object], version: str) -> None:
    """Every object is what an API server of that version takes, and has no field that it drops."""
    need("kubernetes-validate")
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for one in objects:
        schema = CUSTOM.get((one["apiVersion"], one["kind"]))
        if schema is not None:
            Draft7Validator(schema).validate(one)
        else:
            kubernetes_validate.validate(one, version.rpartition(".")[0], strict=True)


def _closed(*required: str, **properties: object) -> dict[str, object]:
    return {
        "type": "object", "additionalProperties": False, "properties": properties,
        "required": list(required),
    }  # fmt: skip


def _custom(spec: object) -> dict[str, object]:
    return _closed(
        "apiVersion", "kind", "metadata", "spec",
        apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"},
        spec=spec,
    )  # fmt: skip


_TEXT, _TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_LABELS = {"type": "object", "additionalProperties": _TEXT}
_DURATION = {"type": "string", "pattern": r"^(0|([0-9]+(y|w|d|h|m|s|ms))+)$"}
_SELECTOR = _closed(
    matchLabels=_LABELS,
    matchExpressions={
        "type": "array",
        "items": _closed("key", "operator", key=_TEXT, operator=_TEXT, values=_TEXTS),
    },
)
_ENDPOINT = _closed(
    portNumber={"type": "integer", "minimum": 1, "maximum": 65535},
    path=_TEXT,
    interval=_DURATION,
    relabelings={
        "type": "array",
        "items": _closed(
            action={"enum": ["replace", "keep", "drop"]},
            sourceLabels={
                "type": "array",
                "items": {**_TEXT, "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
            },
            regex=_TEXT,
            targetLabel=_TEXT,
        ),
    },
)
_RULE: dict[str, object] = {
    **_closed("expr", record=_TEXT, alert=_TEXT, expr=_TEXT, labels=_LABELS, annotations=_LABELS,
              **{"for": _DURATION}),
    "oneOf": [{"required": ["record"]}, {"required": ["alert"]}],
}  # fmt: skip

# what these charts use of the Prometheus operator's own objects, and nothing else
CUSTOM = {
    ("monitoring.coreos.com/v1", "PodMonitor"): _custom(
        _closed(
            "selector", "podMetricsEndpoints",
            selector=_SELECTOR,
            namespaceSelector=_closed(any={"type": "boolean"}, matchNames=_TEXTS),
            podMetricsEndpoints={"type": "array", "items": _ENDPOINT, "minItems": 1},
        )
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _custom(
        _closed(
            groups={
                "type": "array",
                "items": _closed("name", name=_TEXT, rules={"type": "array", "items": _RULE}),
            },
        )
    ),
}  # fmt: skip
