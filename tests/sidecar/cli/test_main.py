"""The command as people use it: what it prints and which code it returns."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import UnixStreamServer
from typing import ClassVar

import pytest
import yaml

from sidecar import __version__
from sidecar.cli import source as sources
from sidecar.cli.client import look_for_ollamas
from sidecar.cli.main import main
from sidecar.config.zero import Discovery

GOOD = """\
backends: {a: {dialect: openai, base_url: http://10.0.0.1/v1/, auth: {bearer: {env: MY_SECRET}}}}
routes: {r: {targets: [{backend: a}]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, where nothing outside is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_SECRET", "hush-hush")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(sources, "USUAL_PLACES", ("./sidecar.yaml",))
    monkeypatch.setattr(sources, "look_for_ollamas", lambda _: {})
    return tmp_path


def test_check_says_ok_and_what_was_corrected(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "f.yaml").write_text(GOOD)
    assert main(["check", "f.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "f.yaml:1:43: warning: backends.a.base_url: found '/' at the end, expected the address "
        "before it; corrected to http://10.0.0.1/v1",
        "OK: 1 backend, 1 route",
    ]


def test_check_warns_of_a_grace_that_a_stop_has_no_time_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program gives the tunnel 7 s less than `drain.limit`, whatever its grace is."""
    (folder / "keys.txt").write_text("# none yet\n")
    text = """\
backends: {a: {preset: echo}}
routes: {r: {default: true, public: true, targets: [{backend: a}]}}
listeners: {public: {keys: {file: keys.txt}}}
drain: {limit: LIMIT}
tunnel: {quick: true, grace: 20s}
"""
    for limit, warned in (("26s", True), ("27s", False)):
        (folder / "f.yaml").write_text(text.replace("LIMIT", limit))
        assert main(["check", "f.yaml"]) == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "tunnel" in line]
        assert len(told) == warned
        for line in told:
            assert line.startswith("f.yaml:5:")
            assert "found 20s, of which a stop with drain.limit 26s leaves 19s" in line
            assert "raise drain.limit to 27s" in line


def test_check_tells_every_fault(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "f.yaml").write_text(GOOD.replace("backend: a", "backend: b, modle: x"))
    assert main(["check", "f.yaml"]) == 78
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "f.yaml: 2 faults, 1 warning"
    assert len(lines) == 4


def test_check_of_a_missing_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nope.yaml"]) == 78
    assert "nope.yaml: found no such file" in capsys.readouterr().out


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "backends" in json.loads(capsys.readouterr().out)["properties"]


def test_print_config_prints_no_secret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "f.yaml").write_text(GOOD)
    assert main(["print-config", "f.yaml"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["backends"]["a"]["base_url"] == "http://10.0.0.1/v1"
    assert "hush" not in printed


def test_print_config_without_a_file_prints_what_run_would_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["backends"]["echo"]["preset"] == "echo"
    (folder / "sidecar.yaml").write_text(GOOD)
    assert main(["print-config"]) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)["backends"]) == ["a"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["run", "--help"], 0), (["nonsense"], 2),
     (["check"], 2), (["run", "--start", "soon"], 2)],
)  # fmt: skip
def test_codes_of_usage(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == code
    told = capsys.readouterr()
    assert code != 0 or told.out.startswith((f"llm-sidecar {__version__}", "usage: llm-sidecar"))


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "reload"])
def test_nobody_is_there(folder: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 1
    assert f"No sidecar answers at {folder}/llm-sidecar/14400.sock" in capsys.readouterr().err


class _Control(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"at": self.server.server_address}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it belongs into the output of the tests."""


@pytest.fixture
def running(folder: Path) -> Iterator[Callable[[str], str]]:
    """Makes a control socket that answers in the usual folder; gives its path."""
    with ExitStack() as stack:

        def start(name: str) -> str:
            (folder / "llm-sidecar").mkdir(exist_ok=True)
            path = str(folder / "llm-sidecar" / name)
            server = stack.enter_context(UnixStreamServer(path, _Control))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return path

        yield start


@pytest.mark.parametrize(
    ("text", "says"),
    [("listeners: {data: {port: 5001}}", ""), ("a: [", "f.yaml:1:5: found a mistake in the YAML"),
     (None, "f.yaml: found no such file")],
)  # fmt: skip
def test_the_only_sidecar_is_asked_when_the_file_leads_nowhere(
    folder: Path,
    running: Callable[[str], str],
    text: str | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        (folder / "f.yaml").write_text(text)
    path = running("5000.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{folder}/llm-sidecar/5009.sock")
    assert main(["status", "--json", "--config", "f.yaml"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"at": path}
    assert told.err.startswith(says)
    assert told.err.splitlines()[-1].endswith(f"asking {path}.")
    assert len(told.err.splitlines()) == 1 or says


def test_of_several_sidecars_one_must_be_chosen(
    folder: Path, running: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [running("5000.sock"), running("5001.sock")]
    assert main(["status", "--json"]) == 1
    told = capsys.readouterr().err
    assert f"No sidecar answers at {folder}/llm-sidecar/14400.sock" in told
    assert f"with --socket PATH: {paths[0]}, {paths[1]}" in told
    assert main(["status", "--json", "--socket", paths[1]]) == 0
    assert json.loads(capsys.readouterr().out) == {"at": paths[1]}
    (folder / "f.yaml").write_text("listeners: {data: {port: 5000}}")
    assert main(["status", "--json", "--config", "f.yaml"]) == 0
    assert json.loads(capsys.readouterr().out) == {"at": paths[0]}


def test_run_stops_at_a_broken_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "sidecar.yaml").write_text("nonsense: 1")
    assert main(["run"]) == 78
    assert "unknown key 'nonsense'" in capsys.readouterr().err


def test_the_order_of_places(folder: Path) -> None:
    assert sources.find(None, {}) is None
    (folder / "sidecar.yaml").write_text(GOOD)
    assert sources.find(None, {}) == "./sidecar.yaml"
    assert sources.find(None, {"LLM_SIDECAR_CONFIG": "b"}) == "b"
    assert sources.find("a", {"LLM_SIDECAR_CONFIG": "b"}) == "a"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_echo_only_where_it_is_allowed(folder: Path, allowed: bool) -> None:
    chosen = sources.source(None, {}, local_only=False, allow_echo=allowed)
    assert isinstance(chosen.discovery, Discovery)
    assert chosen.discovery.echo is allowed


class _Ollama(BaseHTTPRequestHandler):
    answers: ClassVar = {
        "/api/version": {"version": "0.9"},
        "/api/tags": {"models": [{"name": "nomic-embed-text"}, {"name": "llama3.2:3b"}]},
        "/other/api/version": {"hello": 1},
    }

    def do_GET(self) -> None:
        found = self.answers.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it belongs into the output of the tests."""


@pytest.fixture
def ollama() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Ollama) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_only_an_ollama_is_taken_for_one(ollama: str) -> None:
    addresses = ["http://127.0.0.1:1", f"{ollama}/other", ollama]
    assert look_for_ollamas(addresses) == {ollama: ("llama3.2:3b",)}


def test_a_running_sidecar_is_asked_and_reloaded(folder: Path) -> None:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    text = (
        f"listeners: {{data: {{port: {ports[0]}}}, admin: {{port: {ports[1]}}}}}\n"
        "backends: {e: {preset: echo}}\nroutes: {r: {targets: [{backend: e}]}}\n"
    )
    (folder / "sidecar.yaml").write_text(text)
    repository = str(Path(__file__).parents[3])
    environ = {**os.environ, "PYTHONPATH": repository}

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "sidecar", *arguments]

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments), env=environ, capture_output=True, text=True, check=False
        )

    with subprocess.Popen(
        command("run"), env=environ, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert "is in force" in running.stderr.readline()
        try:
            while (seen := ask("status")).returncode == 1:  # it does not listen yet
                assert running.poll() is None
            assert "e        openai   built in  ready" in seen.stdout
            assert "unchanged" in ask("reload").stdout
            (folder / "sidecar.yaml").write_text("nonsense: 1")
            broken = ask("reload", "--socket", f"{folder}/llm-sidecar/{ports[0]}.sock")
            assert broken.returncode == 78
            assert "unknown key 'nonsense'" in broken.stdout
        finally:
            running.send_signal(signal.SIGTERM)
            running.stderr.read()
        assert running.wait() == 0
