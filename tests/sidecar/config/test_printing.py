"""What `print-config` prints can be loaded again, means the same and holds no secret."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from sidecar.config.load import load
from sidecar.config.printing import as_yaml

FILE = """\
log: {level: debug}
fetch_images: true
listeners:
  data: {manage: home}
  public: {keys: {file: keys.txt}, access: {team: acme, audience: x}, commit_after: none,
           limits: {per_key: {requests: 7/min, bytes: none, streams: none},
                    per_source: {bytes: 1000B/s, failures: 10/min}}}
hosts: [Box]
backends:
  home: {preset: ollama, base_url: "http://${HOST}:11434/"}
  desk: {preset: azure-openai, base_url: https://acme.openai.azure.com, deployment: d,
         auth: {header: {name: api-key, value: {env: AZURE_KEY}}}}
  cloud: {preset: openai, auth: {forward: {replace: ["sk-ant-*"], else: {file: key}}}}
  odd: {dialect: openai, base_url: http://10.0.0.1/v1, timeouts: {first_token: 1m30s},
        quirks: {header: {x-team: "${TEAM}"}, set: {n: 1}}, models: {Small: big}, context: {big: 9},
        batch: 3}
  none: {preset: ollama, probe: {every: none}, quirks: {set: {a: null, b: {}}}}
  claude: {preset: anthropic, auth: {header: {name: x-api-key, value: {env: AZURE_KEY}}}}
  off: {preset: groq, enabled: false}
routes:
  chat: {targets: [{backend: home}, {backend: desk}], public: true, deadline: 90s, on: {dns: final}}
  rest: {models: [], default: true, losses: strict,
         targets: [{backend: odd, model: big, first_token: 1s}]}
"""
ENVIRON = {"HOST": "10.9.8.7", "AZURE_KEY": "azure-secret", "TEAM": "team-secret"}


def printed(tmp_path: Path, text: str) -> Any:
    (tmp_path / "f.yaml").write_text(text)
    return yaml.safe_load(as_yaml(load(str(tmp_path / "f.yaml"), ENVIRON)))["backends"]


def test_what_a_merge_overrides_is_not_printed(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """\
backends:
  a: &a {dialect: openai, base_url: "${U:-http://10.0.0.1/v1}", quirks: {set: {x: "${HOST}"}}}
  b: {<<: *a, base_url: http://127.0.0.1:9/v1, quirks: {set: {x: 3}, header: {y: "${TEAM}"}}}
  c: {<<: [{quirks: {drop: [q]}}, *a]}
  d: {<<: *a}
routes: {r: {targets: [{backend: a}]}}
""",
    )
    assert found["a"]["base_url"] == found["d"]["base_url"] == "${U:-http://10.0.0.1/v1}"
    assert found["b"]["base_url"] == "http://127.0.0.1:9/v1"
    assert found["b"]["quirks"]["set"] == {"x": 3}
    assert found["b"]["quirks"]["header"] == {"y": "${TEAM}"}
    assert "set" not in found["c"]["quirks"]
    assert found["d"]["quirks"]["set"] == {"x": "${HOST}"}


def test_it_loads_again_and_means_the_same(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("file-secret")
    (tmp_path / "keys.txt").write_text(f"anna {'0' * 64}")
    (tmp_path / "a.yaml").write_text(FILE)
    first = load(str(tmp_path / "a.yaml"), ENVIRON)
    printed = as_yaml(first)
    (tmp_path / "b.yaml").write_text(printed)
    again = load(str(tmp_path / "b.yaml"), ENVIRON)
    same = {"revision": "", "routes": None}
    assert replace(again.snapshot, **same) == replace(first.snapshot, **same)  # type: ignore[arg-type]
    assert again.snapshot.routes.routes == first.snapshot.routes.routes
    assert as_yaml(again) == printed
    assert "secret" not in printed
    assert "10.9.8.7" not in printed
    assert "${HOST}" in printed
