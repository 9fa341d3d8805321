"""What stands in a pod that has the sidecar: its container, its volumes, what the application gets.

The chart and the kustomize component say the same; `tests/kubernetes/test_inject.py` compares them.
"""

from typing import Any

from sidecar.inject.settings import ADMIN_PORT, PREFIX, Mode, Settings

NAME = "llm-sidecar"
CONFIG_FOLDER = "/etc/llm-sidecar"
CONFIG_FILE = "config.yaml"
CONFIG_VOLUME = "llm-sidecar-config"
TMP_VOLUME = "llm-sidecar-tmp"
USER = 65532

# As an ordinary container it is told to end together with the application, which may go on to call
# it; a native one is told afterwards. (The action `sleep` is newer than the clusters that need it.)
HOLD = 10  # seconds
_HOLD = {"exec": {"command": ["python3", "-c", f"import time; time.sleep({HOLD})"]}}


def container(settings: Settings) -> dict[str, Any]:
    """The sidecar's container; it is to stand first among those of its kind."""
    return {
        "name": NAME,
        "image": settings.image,
        **({"restartPolicy": "Always"} if settings.mode is Mode.NATIVE else {}),
        "args": ["run", "--config", f"{CONFIG_FOLDER}/{CONFIG_FILE}", "--start", "degraded"],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LLM_SIDECAR_ADMIN_BIND", "value": "$(POD_IP)"},
        ],
        "ports": [{"containerPort": ADMIN_PORT, "protocol": "TCP"}],
        **({"lifecycle": {"preStop": _HOLD}} if settings.mode is Mode.CONTAINER else {}),
        "startupProbe": _probe("/startupz", period=1, limit=2, failures=120),
        "livenessProbe": _probe("/livez", period=10, limit=5, failures=6),
        "readinessProbe": _probe("/readyz", period=5, limit=3, failures=3),
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": CONFIG_VOLUME, "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": TMP_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - a volume of its own
        ],
    }


def _probe(path: str, *, period: int, limit: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": ADMIN_PORT},
        "periodSeconds": period,
        "timeoutSeconds": limit,
        "failureThreshold": failures,
    }


def volumes(settings: Settings) -> list[dict[str, Any]]:
    """One with configuration and secrets, so that they share a generation, and one for /tmp."""
    sources: list[dict[str, Any]] = [{"configMap": {"name": settings.config_map}}]
    if settings.secret is not None:
        sources.append({"secret": {"name": settings.secret}})
    return [
        {"name": CONFIG_VOLUME, "projected": {"defaultMode": 0o444, "sources": sources}},
        {"name": TMP_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
    ]


def env(settings: Settings) -> list[dict[str, str]]:
    """What the application's containers get."""
    base = f"http://127.0.0.1:{settings.data_port}"
    known = {"OPENAI_BASE_URL": f"{base}/v1", "ANTHROPIC_BASE_URL": base, "OLLAMA_HOST": base}
    return [{"name": name, "value": known[name]} for name in settings.env]


def labels() -> dict[str, str]:
    """By what a PodMonitor finds the pod."""
    return {f"{PREFIX}role": "sidecar"}


def annotations(settings: Settings) -> dict[str, str]:
    """What is in the pod, for people and for metrics."""
    secret = {} if settings.secret is None else {f"{PREFIX}secret": settings.secret}
    return {
        f"{PREFIX}config-map": settings.config_map,
        **secret,
        f"{PREFIX}mode": settings.mode.value,
    }
