"""`llm-sidecar inject`: prints manifests with the sidecar in their pods.

Either everything is printed, or nothing is and every refusal is told.
"""

import argparse
import sys

from sidecar import __version__
from sidecar.config import manifest
from sidecar.config.faults import ConfigError
from sidecar.inject.manifests import Outcome, inject
from sidecar.inject.settings import READERS, Settings, Unusable, with_texts

IMAGE = f"llm-sidecar:{__version__}"
LARGEST = 20_000_000  # bytes

_HELP = {
    "config-map": ("NAME", "the ConfigMap with the configuration under config.yaml (llm-sidecar)"),
    "secret": ("NAME", "a Secret whose keys are files beside the configuration (none)"),
    "mode": ("MODE", "native (the default; Kubernetes 1.29 and newer), or container"),
    "image": ("IMAGE", f"the sidecar's image ({IMAGE})"),
    "data-port": ("PORT", "the port on localhost (14400)"),
    "cpu-request": ("QUANTITY", "25m"),
    "memory-request": ("QUANTITY", "96Mi"),
    "memory-limit": ("QUANTITY", "256Mi"),
    "env": ("NAMES", "which variables the application gets, or none (OPENAI_BASE_URL,"
            "ANTHROPIC_BASE_URL,OLLAMA_HOST)"),
    "containers": ("NAMES", "which containers get them (all but init containers)"),
}  # fmt: skip


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "inject",
        help="print Kubernetes manifests with the sidecar in their pods",
        description="Prints a manifest with the sidecar in its pods. Pods, Deployments, "
        "StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and lists of them are known; "
        "everything else, and what has the sidecar already, is printed as it is. Comments are "
        "lost. An annotation llm-sidecar.dev/OPTION of the pod wins over the option here.",
    )
    parser.add_argument(
        "--file", metavar="FILE", required=True, help="the manifests in YAML or JSON; - for stdin"
    )
    for name, (value, text) in _HELP.items():
        parser.add_argument(f"--{name}", metavar=value, help=text)
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace) -> int:
    given = {name: getattr(options, name.replace("-", "_")) for name in READERS}
    try:
        settings = with_texts(
            Settings(IMAGE), {name: text for name, text in given.items() if text is not None}
        )
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    name = "stdin" if options.file == "-" else options.file
    try:
        text = _text(options.file)
    except (OSError, UnicodeDecodeError) as error:
        print(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or error}", file=sys.stderr
        )
        return 1
    try:
        return _inject(name, manifest.read(text, name), settings)
    except ConfigError as error:
        print(error, file=sys.stderr)
        if "{{" in text:
            print("It looks like a template: have Helm render it first.", file=sys.stderr)
        return 1


def _inject(name: str, documents: list[manifest.Manifest], settings: Settings) -> int:
    outcomes = [(one, outcome) for one in documents for outcome in inject(one.data, settings)]
    if not outcomes:
        print(f"{name}: nothing in it runs pods; it is printed as it is", file=sys.stderr)
    refused = [outcome for _, outcome in outcomes if _tell(name, outcome)]
    if refused:
        return 1
    for one, outcome in outcomes:
        for addition in outcome.additions:
            one.add(addition.path, addition.value)
    print(manifest.write(documents), end="")
    return 0


def _text(file: str) -> str:
    if file == "-":
        content = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with open(file, "rb") as opened:
            content = opened.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(0, f"more than {LARGEST // 1_000_000} MB")
    return content.decode("utf-8-sig")


def _tell(name: str, outcome: Outcome) -> bool:
    """Say on stderr what became of an object; whether it is refused."""
    title = outcome.title or name
    if outcome.refusal:
        print(f"{title}: refused. {outcome.refusal}", file=sys.stderr)
        return True
    print(f"{title}: {outcome.state}", file=sys.stderr)
    for warning in outcome.warnings:
        print(f"{title}: warning: {warning}", file=sys.stderr)
    return False
