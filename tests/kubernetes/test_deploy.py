"""The files that put the sidecar on a machine: Dockerfile, compose.yaml, the systemd unit.

Each goes through the tool that will read it at its user's. The image itself: test_image.py.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli.source import load_file
from tests.kubernetes.tools import ROOT, need
from tests.tunnel.test_config import TOKEN

HOME = ROOT / "deploy/home"
RULES = ROOT / "helm/llm-sidecar/files/rules.yaml"
ENOUGH = 60  # seconds for one of the tools


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=ENOUGH, check=False,
        env={**os.environ, **environ},
    )  # fmt: skip


def test_hadolint_likes_the_dockerfile() -> None:
    told = run(need("hadolint"), "--failure-threshold", "style", "Dockerfile")
    assert (told.returncode, told.stdout) == (0, "")


def test_every_image_is_an_argument_and_names_no_registry() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    names = set(re.findall(r"^ARG (\w+)=\w+(?:/\w+)?:[\w.-]+$", text.partition("\nFROM ")[0], re.M))
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.M)) | {"scratch"}
    for base in re.findall(r"^FROM (\S+)", text, re.M):
        assert base in stages or base.strip("${}") in names, base
    assert re.findall(r"^FROM .* AS (\w+)$", text, re.M)[-1] == "slim"


def test_the_context_has_what_is_copied_and_no_more() -> None:
    """Secrets, tests and history of the folder stay out of the build."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", text, re.M)
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert any(Path(path).is_relative_to(one) for one in kept), path


def compose() -> dict[str, Any]:
    shown = run(
        need("docker-compose"), "--profile", "monitoring", "--profile", "keys", "config",
        SIDECAR_UID="1000",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = yaml.safe_load(shown.stdout)
    return found


def test_compose_takes_the_file() -> None:
    told = run(need("docker-compose"), "config", "-q", SIDECAR_UID="1000")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_compose_says_what_is_missing() -> None:
    told = run(need("docker-compose"), "config", "-q", SIDECAR_UID="")
    assert told.returncode != 0
    assert "docs/home.md" in told.stderr


def test_nothing_in_compose_has_more_than_it_needs() -> None:
    services = compose()["services"]
    assert set(services) == {"ollama", "sidecar", "keys", "prometheus", "grafana"}
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:") or port["host_ip"] == "127.0.0.1", name
    assert "ports" not in services["ollama"]
    assert set(services["ollama"]["networks"]).isdisjoint(services["prometheus"]["networks"])
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
    assert "environment" not in services["sidecar"]  # secrets are files


def test_what_compose_mounts_is_there() -> None:
    mounts = [one for service in compose()["services"].values() for one in service["volumes"]]
    sources = [str(one).partition(":")[0] for one in mounts]
    paths = [Path(one) for one in sources if one.startswith("/")]
    assert HOME / "config" in paths
    for path in paths:
        ours = path.is_relative_to(HOME) or (ROOT / "helm/llm-sidecar").exists()
        assert not ours or path.exists(), path


def test_the_home_box_s_configuration_loads(tmp_path: Path) -> None:
    text = (HOME / "config/config.yaml").read_text(encoding="utf-8")
    assert "file: /run/secrets/tunnel-token" in text
    (tmp_path / "config.yaml").write_text(text.replace("/run/secrets/", ""), encoding="utf-8")
    (tmp_path / "tunnel-token").write_text(TOKEN, encoding="utf-8")
    (tmp_path / "keys.txt").write_text(f"anna {'0' * 64}\n", encoding="utf-8")

    loaded = load_file(str(tmp_path / "config.yaml"), {})

    assert not loaded.warnings
    assert loaded.snapshot.drain.limit == 60


def test_prometheus_takes_its_file(tmp_path: Path) -> None:
    shutil.copy(HOME / "prometheus.yml", tmp_path)
    rules = RULES.read_text(encoding="utf-8") if RULES.exists() else "groups: []\n"
    (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
    told = run(need("promtool"), "check", "config", str(tmp_path / "prometheus.yml"))
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("path", sorted(HOME.glob("grafana/*/*.yaml")), ids=lambda path: path.name)
def test_grafana_s_files_have_its_version(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1


UNIT = ROOT / "deploy/systemd/llm-sidecar.service"


def unit(folder: Path) -> Path:
    """The unit with programs of this machine in the place of those that it will find."""
    text = UNIT.read_text(encoding="utf-8")
    python = "/opt/llm-sidecar/.venv/bin/python"
    assert text.count(python) == 1
    path = folder / UNIT.name
    path.write_text(text.replace(python, sys.executable), encoding="utf-8")
    return path


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    told = run(need("systemd-analyze"), "verify", "--man=no", str(unit(tmp_path)))
    assert told.returncode == 0, told.stderr
    assert UNIT.name not in told.stderr, told.stderr


def test_the_unit_gives_little_away(tmp_path: Path) -> None:
    told = run(
        need("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager",
        str(unit(tmp_path)),
    )  # fmt: skip
    assert told.returncode == 0, told.stdout


def test_the_unit_waits_for_the_drain() -> None:
    found = dict(re.findall(r"^(\w+)=(.+)$", UNIT.read_text(encoding="utf-8"), re.M))
    assert int(found["TimeoutStopSec"]) > 300 + 20
    assert found["KillMode"] == "mixed"
    assert found["RestartPreventExitStatus"] == "78"
