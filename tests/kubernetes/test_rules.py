"""The rules and the dashboard: promtool reads them, their metrics exist, each alert has its page.

And each fires when it should, and not when it should not.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.tools import ROOT, need

RULES = ROOT / "helm" / "llm-sidecar" / "files" / "rules.yaml"
DASHBOARD = ROOT / "helm" / "llm-sidecar" / "files" / "dashboards" / "llm-sidecar.json"
GROUPS: list[Any] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
EVERY = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in EVERY if "alert" in rule]
PANELS: list[Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]

NAME = re.compile(r"\b(llm_sidecar_\w+|process_\w+|kube_\w+)\b")
# metrics that the language of metrics knows and the program does not write yet
PLANNED = {"llm_sidecar_cost_total", "llm_sidecar_model_load_seconds"}
OTHERS = {
    "kube_pod_init_container_status_restarts_total", "kube_pod_container_status_restarts_total",
}  # fmt: skip
FILLED = {"$__rate_interval": "5m", "$__range": "6h"}


def run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(
        [need("promtool"), *command], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def known() -> set[str]:
    """The metrics that the page of metrics tells, and what a histogram makes of them."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    found = set(re.findall(r"^\| `(llm_sidecar_\w+)` \|", page, re.MULTILINE))
    assert not found & PLANNED, "it is built: take it out of PLANNED"
    names = found | PLANNED | OTHERS
    names |= {f"process_{name}" for name in (
        "resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds")}  # fmt: skip
    return names | {f"{name}_bucket" for name in names}


def expressions() -> list[str]:
    """Those of all panels, with the dashboard's variables filled in."""
    found = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]
    for name, value in FILLED.items():
        found = [one.replace(name, value) for one in found]
    return [re.sub(r"\$(namespace|route|backend)\b", ".*", one) for one in found]


def test_promtool_has_nothing_to_say() -> None:
    run("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_promtool_reads_every_panel(tmp_path: Path) -> None:
    assert not [one for one in expressions() if "$" in one]
    rules = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(expressions())]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run("check", "rules", file)


@pytest.mark.parametrize(
    "asked", [[rule["expr"] for rule in EVERY], expressions()], ids=["rules", "dashboard"]
)
def test_every_metric_exists(asked: list[str]) -> None:
    records = {rule["record"] for rule in EVERY if "record" in rule}
    colons = {name for one in asked for name in re.findall(r"\b\w+:[\w:]+", one)}
    assert colons <= records
    plain = [re.sub(r"\b\w+:[\w:]+", "", one) for one in asked]
    assert {name for one in plain for name in NAME.findall(one)} <= known()


def test_the_dashboard_has_its_rows_and_variables() -> None:
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        "Overview", "Traffic", "Latency", "Backends and failover", "Tokens and cost",
        "Configuration and fleet", "Tunnel", "Runtime",
    ]  # fmt: skip
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = [one["name"] for one in dashboard["templating"]["list"]]
    assert variables == ["datasource", "namespace", "route", "backend"]
    numbers = [panel["id"] for panel in PANELS]
    assert len(numbers) == len(set(numbers))
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24


def test_every_alert_says_what_and_where_to_read_on() -> None:
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert {rule["alert"] for rule in ALERTS} == set(heads), "each alert has its section"
    for rule in ALERTS:
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}
        assert notes["summary"] and notes["description"]
        url, _, anchor = notes["runbook_url"].partition("#")
        assert (ROOT / url.removeprefix("https://llm-sidecar.dev/")).is_file()
        assert anchor == rule["alert"].lower()
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


# --- when they fire -------------------------------------------------------------------------------

POD = 'namespace="n",job="j",instance="i"'


@dataclass(frozen=True)
class Case:
    """Series (promtool's notation, one value a minute), and what fires after so many minutes."""

    name: str
    alert: str
    after: int  # minutes
    series: Mapping[str, str]
    fires: Iterable[Mapping[str, str]] = field(default_factory=tuple)


def requests(outcome: str) -> str:
    return f'llm_sidecar_requests_total{{{POD},route="chat",operation="chat",outcome="{outcome}"}}'


def attempts(outcome: str) -> str:
    return f'llm_sidecar_attempts_total{{{POD},backend="b",outcome="{outcome}"}}'


JOB = {"namespace": "n", "job": "j"}
ONE = JOB | {"instance": "i"}
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}

CASES = [
    Case("a-fifth-fails", "LLMSidecarErrorBudgetBurn", 70,
         {requests("ok"): "0+80x100", requests("upstream_error"): "0+20x100"},
         [JOB | CRITICAL | {"window": "1h"}, JOB | CRITICAL | {"window": "6h"},
          JOB | WARNING | {"window": "1d"}]),
    Case("one-in-a-thousand-fails", "LLMSidecarErrorBudgetBurn", 300,
         {requests("ok"): "0+999x400", requests("timeout"): "0+1x400"}),
    Case("clients-fail-themselves", "LLMSidecarErrorBudgetBurn", 300,
         {requests("ok"): "0+10x400", requests("client_error"): "0+90x400"}),
    Case("it-is-over", "LLMSidecarErrorBudgetBurn", 90,
         {requests("ok"): "0+80x100", requests("upstream_error"): "0+20x30 600x70"},
         [JOB | WARNING | {"window": "1d"}]),
    Case("hardly-anybody-asks", "LLMSidecarErrorBudgetBurn", 300,
         {requests("ok"): "0x400", requests("upstream_error"): "0x100 1x300"}),
    Case("scraped-no-more", "LLMSidecarTargetDown", 20,
         {f"up{{{POD}}}": "1x10 0x20", f"llm_sidecar_build_info{{{POD}}}": "1x10 _x20"},
         [ONE | WARNING]),
    Case("a-target-of-others", "LLMSidecarTargetDown", 20, {f"up{{{POD}}}": "0x30"}),
    Case("no-backend", "LLMSidecarRouteUnavailable", 5,
         {f'llm_sidecar_route_available_backends{{{POD},route="chat"}}': "0x10",
          f'llm_sidecar_route_available_backends{{{POD},route="code"}}': "1x10"},
         [JOB | CRITICAL | {"route": "chat"}]),
    Case("most-see-it-down", "LLMSidecarBackendDown", 15,
         {f'llm_sidecar_backend_up{{namespace="n",job="j",instance="{n}",backend="b"}}':
          f"{int(n == 1)}x30" for n in range(3)},
         [JOB | WARNING | {"backend": "b"}]),
    Case("one-of-three-sees-it-down", "LLMSidecarBackendDown", 15,
         {f'llm_sidecar_backend_up{{namespace="n",job="j",instance="{n}",backend="b"}}':
          f"{int(n > 0)}x30" for n in range(3)}),
    Case("half-fall-back", "LLMSidecarFallbackRateHigh", 35,
         {requests("ok"): "0+10x40",
          f'llm_sidecar_fallbacks_total{{{POD},route="chat",reason="timeout"}}': "0+5x40"},
         [JOB | WARNING | {"route": "chat"}]),
    Case("slow", "LLMSidecarTimeToFirstTokenHigh", 40,
         {f'llm_sidecar_time_to_first_token_seconds_bucket{{{POD},route="chat",le="{le}"}}':
          f"0+{n}x60" for le, n in (("30", 8), ("60", 10), ("+Inf", 10))},
         [JOB | WARNING | {"route": "chat"}]),
    Case("quick", "LLMSidecarTimeToFirstTokenHigh", 40,
         {f'llm_sidecar_time_to_first_token_seconds_bucket{{{POD},route="chat",le="{le}"}}':
          "0+10x60" for le in ("1", "30", "60", "+Inf")}),
    Case("a-key-is-refused", "LLMSidecarUpstreamAuthFailing", 12,
         {attempts("ok"): "0+9x30", attempts("auth"): "0+1x30"},
         [JOB | CRITICAL | {"backend": "b"}]),
    Case("no-key-is-refused", "LLMSidecarUpstreamAuthFailing", 12,
         {attempts("ok"): "0+9x30", attempts("auth"): "0x30"}),
    Case("half-are-429", "LLMSidecarUpstreamRateLimited", 35,
         {attempts("ok"): "0+5x40", attempts("rate_limited"): "0+5x40"},
         [JOB | WARNING | {"backend": "b"}]),
    Case("a-bad-file", "LLMSidecarConfigReloadFailed", 8,
         {f"llm_sidecar_config_last_reload_successful{{{POD}}}": "1x1 0x20"}, [ONE | WARNING]),
    Case("two-configurations", "LLMSidecarConfigSkew", 20,
         {f'llm_sidecar_config_hash{{namespace="n",job="j",instance="{n}"}}':
          f"{10**14 + n}x30" for n in range(2)},
         [JOB | WARNING]),
    Case("two-jobs", "LLMSidecarConfigSkew", 20,
         {f'llm_sidecar_config_hash{{namespace="n",job="{n}",instance="i"}}':
          f"{10**14 + n}x30" for n in range(2)}),
    Case("full", "LLMSidecarSaturated", 15,
         {f'llm_sidecar_inflight_requests{{{POD},route="chat"}}': "60x30",
          f'llm_sidecar_inflight_requests{{{POD},route="code"}}': "35x30",
          f"llm_sidecar_inflight_requests_limit{{{POD}}}": "100x30"}, [ONE | WARNING]),
    Case("without-a-limit", "LLMSidecarSaturated", 15,
         {f'llm_sidecar_inflight_requests{{{POD},route="chat"}}': "60x30",
          f"llm_sidecar_inflight_requests_limit{{{POD}}}": "0x30"}),
    Case("restarts", "LLMSidecarRestarting", 50,
         {'kube_pod_init_container_status_restarts_total'
          '{namespace="n",pod="p",container="llm-sidecar"}': "0+1x60",
          'kube_pod_container_status_restarts_total'
          '{namespace="n",pod="p",container="app"}': "0+1x60"},
         [{"namespace": "n", "pod": "p", "container": "llm-sidecar"} | WARNING]),
    Case("dear", "LLMSidecarSpendHigh", 80,
         {f'llm_sidecar_cost_total{{{POD},route="chat",backend="b",currency="EUR"}}': "0+1x90"},
         [JOB | WARNING | {"currency": "EUR"}]),
    Case("down", "LLMTunnelDown", 8,
         {f'llm_sidecar_tunnel_ready_connections{{{POD},tunnel="main"}}': "4x1 0x20"},
         [ONE | CRITICAL | {"tunnel": "main"}]),
    Case("one-connection", "LLMTunnelDegraded", 20,
         {f'llm_sidecar_tunnel_ready_connections{{{POD},tunnel="main"}}': "1x30"},
         [ONE | {"severity": "info", "tunnel": "main"}]),
    Case("down-is-not-degraded", "LLMTunnelDegraded", 20,
         {f'llm_sidecar_tunnel_ready_connections{{{POD},tunnel="main"}}': "0x30"}),
    Case("flapping", "LLMTunnelFlapping", 20,
         {f'llm_sidecar_tunnel_restarts_total{{{POD},tunnel="main",reason="exit"}}': "0x6 1+1x20"},
         [ONE | WARNING | {"tunnel": "main"}]),
    Case("told-to-restart", "LLMTunnelFlapping", 20,
         {f'llm_sidecar_tunnel_restarts_total{{{POD},tunnel="main",reason="operator"}}': "0+1x30"}),
]  # fmt: skip


def as_test(case: Case) -> dict[str, object]:
    """A case as promtool has it: an alert that fires is a sample of ALERTS."""
    fixed = {"alertname": case.alert, "alertstate": "firing"}
    samples = [
        {"labels": "ALERTS{" + ", ".join(f'{k}="{v}"' for k, v in (one | fixed).items()) + "}",
         "value": 1}
        for one in map(dict, case.fires)
    ]  # fmt: skip
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in case.series.items()],
        "promql_expr_test": [{
            "expr": f'ALERTS{{alertname="{case.alert}", alertstate="firing"}}',
            "eval_time": f"{case.after}m",
            "exp_samples": samples,
        }],
    }  # fmt: skip


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    assert {case.alert for case in CASES if case.fires} == {rule["alert"] for rule in ALERTS}
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [as_test(case) for case in CASES],
    }
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(tests, width=1000))
    run("test", "rules", file)


def test_what_a_person_reads(tmp_path: Path) -> None:
    def told(alert: str, labels: Mapping[str, str], description: str) -> dict[str, object]:
        (summary,) = {r["annotations"]["summary"] for r in ALERTS if r["alert"] == alert}
        url = f"https://llm-sidecar.dev/docs/runbooks.md#{alert.lower()}"
        notes = {"summary": summary, "description": description, "runbook_url": url}
        return {"eval_time": "70m", "alertname": alert, "exp_alerts": [
            {"exp_labels": dict(labels), "exp_annotations": notes}]}  # fmt: skip

    series = {
        attempts("ok"): "0+5x100", attempts("rate_limited"): "0+5x100",
        f'llm_sidecar_tunnel_ready_connections{{{POD},tunnel="main"}}': "0x100",
    }  # fmt: skip
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": [{"series": name, "values": text} for name, text in series.items()],
            "alert_rule_test": [
                told("LLMSidecarUpstreamRateLimited", JOB | WARNING | {"backend": "b"},
                     "50% of what the backend b was asked got a 429 (j in n)."),
                told("LLMTunnelDown", ONE | CRITICAL | {"tunnel": "main"},
                     "The tunnel main of i (j in n) has no connection with the edge. "
                     "Clients of the pod's own are served all the same."),
            ],
        }],
    }  # fmt: skip
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(tests, width=1000))
    run("test", "rules", file)
