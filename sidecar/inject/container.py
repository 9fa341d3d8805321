"""What stands in a pod that has the sidecar: its container, its volumes, what the application gets.

The chart and the kustomize component say the same; `tests/kubernetes/test_inject.py` compares them.
"""

from typing import Any

from sidecar.inject.settings import ADMIN_PORT, Mode, Settings

NAME = "llm-sidecar"
CONFIG_FOLDER = "/etc/llm-sidecar"
CONFIG_FILE = "config.yaml"
CONFIG_VOLUME = "llm-sidecar-config"
TMP_VOLUME = "llm-sidecar-tmp"


def container(settings: Settings) -> dict[str, Any]:
    """The sidecar's container; in mode native it is to stand first among the init containers."""
    native = {"restartPolicy": "Always"} if settings.mode is Mode.NATIVE else {}
    return {
        "name": NAME,
        "image": settings.image,
        **native,
        "args": ["run", "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}", "--start", "degraded"],
        "startupProbe": _probe("/startupz", periodSeconds=1, failureThreshold=60),
        "livenessProbe": _probe("/livez", periodSeconds=10, failureThreshold=3),
        "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=2),
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": CONFIG_VOLUME, "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": TMP_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - a volume of its own
        ],
    }


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": ADMIN_PORT}, **timing}


def volumes(settings: Settings) -> list[dict[str, Any]]:
    """One with configuration and secrets, so that they share a generation, and one for /tmp."""
    sources: list[dict[str, Any]] = [{"configMap": {"name": settings.config_map, "optional": True}}]
    if settings.secret is not None:
        sources.append({"secret": {"name": settings.secret, "optional": True}})
    return [
        {"name": CONFIG_VOLUME, "projected": {"defaultMode": 0o444, "sources": sources}},
        {"name": TMP_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]


def env(settings: Settings) -> list[dict[str, str]]:
    """What the application's containers get."""
    base = f"http://localhost:{settings.data_port}"
    known = {"OPENAI_BASE_URL": f"{base}/v1", "ANTHROPIC_BASE_URL": base, "OLLAMA_HOST": base}
    return [{"name": name, "value": known[name]} for name in settings.env]


def labels(settings: Settings) -> dict[str, str]:
    return {}


def annotations(settings: Settings) -> dict[str, str]:
    return {}
