"""The alerts of the chart as the kustomize component has them: `make charts` writes them anew."""

from __future__ import annotations

import textwrap

from tests.kubernetes.tools import ROOT

SOURCE = ROOT / "helm" / "llm-sidecar" / "files" / "rules.yaml"
COPY = ROOT / "k8s" / "components" / "monitoring" / "prometheusrule.yaml"
HEAD = """\
# Written by `make charts` from helm/llm-sidecar/files/rules.yaml: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: llm-sidecar}
spec:
"""


def written() -> str:
    """What the component's file has to be."""
    return HEAD + textwrap.indent(SOURCE.read_text(encoding="utf-8"), "  ")


if __name__ == "__main__":
    COPY.write_text(written(), encoding="utf-8")
