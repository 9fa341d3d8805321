"""The programs that the tests of charts, manifests and the image need, and where they are.

A test that needs one which is missing is skipped with the reason, and how to get it. In CI it fails
instead: `.ci/run` installs all of them, so that there nothing is left out in silence.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Where each comes from, in the words of the one who has to get it.
SOURCES = {
    "helm": "`make tools` builds it (Go is needed)",
    "kustomize": "`make tools` builds it (Go is needed)",
    "kubernetes-validate": "`make install-test` installs it",
    "hadolint": "`make install-test` installs it",
    "promtool": "Debian: apt-get install prometheus",
    "prometheus": "Debian: apt-get install prometheus",
    "buildah": "Debian: apt-get install buildah",
    "mmdebstrap": "Debian: apt-get install mmdebstrap",
    "docker-compose": "Debian: apt-get install docker-compose",
    "systemd-analyze": "Debian: apt-get install systemd",
    "setpriv": "Debian: apt-get install util-linux",
}


def find(name: str) -> str | None:
    """The path of a program: of `make tools`, beside this Python, or in the PATH; None: nowhere."""
    own = (str(ROOT / ".tools" / "bin"), str(Path(sys.executable).parent))
    return shutil.which(name, path=os.pathsep.join((*own, os.environ.get("PATH", os.defpath))))


def need(name: str) -> str:
    """The path of a program of `SOURCES`; without it the test is skipped, and in CI it fails."""
    path = find(name)
    if path is not None:
        return path
    reason = f"{name} is missing; {SOURCES[name]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
