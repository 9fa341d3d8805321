"""As much of an API server as a dry run of Helm asks: which kinds there are, which objects exist.

It only reads; nothing is ever installed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

KINDS = {
    "v1": {"configmaps": "ConfigMap", "secrets": "Secret", "services": "Service", "pods": "Pod"},
    "apps/v1": {"deployments": "Deployment"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
}
OPERATOR = {
    "monitoring.coreos.com/v1": {
        "podmonitors": "PodMonitor", "prometheusrules": "PrometheusRule",
    }
}  # fmt: skip
ROOT_CERTIFICATE = "configmaps/kube-root-ca.crt"  # in every namespace of a real cluster


@contextmanager
def cluster(*objects: str, operator: bool = False) -> Iterator[str]:
    """The address of a cluster that has these objects, `secrets/NAME` and the like, everywhere."""
    kinds = KINDS | (OPERATOR if operator else {})
    has = {ROOT_CERTIFICATE, *objects}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = _answer(self.path.partition("?")[0], kinds, has)
            body = json.dumps(found or {"kind": "Status", "code": 404}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _answer(
    path: str, kinds: dict[str, dict[str, str]], has: Collection[str]
) -> dict[str, object] | None:
    groups = [version.split("/") for version in kinds if "/" in version]
    match path.strip("/").split("/"):
        case ["version"]:
            return {"major": "1", "minor": "33", "gitVersion": "v1.33.0"}
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            told = [
                {"name": name, "versions": [{"groupVersion": f"{name}/{v}", "version": v}]}
                for name, v in groups
            ]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": told}
        case ["api" | "apis", *version] if "/".join(version) in kinds:
            named = "/".join(version)
            resources = [
                {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get"]}
                for plural, kind in kinds[named].items()
            ]
            return {"kind": "APIResourceList", "groupVersion": named, "resources": resources}
        case ["api", "v1", "namespaces", _, plural, name] if f"{plural}/{name}" in has:
            return {"apiVersion": "v1", "kind": kinds["v1"][plural], "metadata": {"name": name}}
    return None
