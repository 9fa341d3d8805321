"""The stand-in's command line: what stands where, and how it ends where that is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.cloudflared import flags
from tests.fakes.cloudflared.credentials import Tunnel
from tests.fakes.cloudflared.launch import Standin

TUNNEL = Tunnel.new()
ISOLATED = ["--config", "/dev/null", "--metrics", "127.0.0.1:0"]


@pytest.fixture
def standin(tmp_path: Path) -> Standin:
    return Standin(tmp_path / "bin", scale=0.01)


def play(
    standin: Standin, *args: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    whole = {"HOME": str(standin.folder), "PATH": os.environ["PATH"], **(env or {})}
    return subprocess.run(
        [standin.path, *args],
        env=whole,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_it_tells_its_version_fast(standin: Standin) -> None:
    started = time.monotonic()
    told = play(standin, "--version")
    assert told.returncode == 0
    assert told.stdout.startswith("cloudflared version 2026.8.2 (built ")
    assert time.monotonic() - started < 2
    assert standin.starts == []


@pytest.mark.parametrize(
    "args",
    [
        ["tunnel", "--bogus", "run"],
        ["tunnel", "--token", "x", "run"],  # belongs behind `run`
        ["tunnel", "--token-file", "x", "run"],
        ["tunnel", "run", "--metrics", "127.0.0.1:0"],  # belongs before it
        ["tunnel", "run", "--retries", "1"],
        ["tunnel", "--retries", "many", "run"],
        ["tunnel", "--retries"],
    ],
    ids=" ".join,
)
def test_a_flag_that_is_not_known_there_is_help_and_exit_0(
    standin: Standin, args: list[str]
) -> None:
    told = play(standin, *args)
    assert told.returncode == 0
    assert told.stdout.startswith("Incorrect Usage: ")
    assert "OPTIONS:" in told.stdout
    assert told.stderr == ""


def test_an_older_version_does_not_know_newer_flags(standin: Standin) -> None:
    standin.behave(unknown_flags=["max-edge-addr-retries"])
    told = play(standin, "tunnel", "--max-edge-addr-retries", "1", "run", "--token", TUNNEL.token)
    assert (told.returncode, told.stdout.splitlines()[0]) == (
        0,
        "Incorrect Usage: flag provided but not defined: -max-edge-addr-retries",
    )


CREDENTIALS = ["run", "--credentials-file", "{folder}/absent.json", TUNNEL.tunnel_id]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([*ISOLATED, "run", "--token", "garbage"], 255, "Provided Tunnel token is not valid."),
        ([*ISOLATED, "run", "--token-file", "/absent"], 255, "Failed to read token file"),
        ([*ISOLATED, "run", "--token-file", "/dev/null"], 255, "requires the ID or name"),
        ([*ISOLATED, "run"], 255, "requires the ID or name"),
        ([*ISOLATED, *CREDENTIALS], 1, "doesn't exist or is not a file"),
        ([*ISOLATED, "run", "a-name"], 1, "origin cert"),
        (["--config", "{folder}/bad.yml", "run", "--token", TUNNEL.token], 1, "parsing YAML"),
        (["--config", "/absent.yml", "run", "--token", TUNNEL.token], 1, "no such file"),
        ([*ISOLATED, "--protocol", "tcp", "run", "--token", TUNNEL.token], 1, "unknown protocol"),
        ([*ISOLATED, "--grace-period", "4m", "run", "--token", TUNNEL.token], 1, "3m0s"),
        ([*ISOLATED, "--edge-ip-version", "5", "run", "--token", TUNNEL.token], 1, "ip-version"),
        (["--metrics", "nonsense", "run", "--token", TUNNEL.token], 1, "missing port"),
        ([*ISOLATED, "run", "--token", TUNNEL.token], 1, "Could not lookup srv records"),
        ([], 1, "did not specify any valid additional argument"),
    ],
)
def test_how_it_ends_at_start(standin: Standin, args: list[str], code: int, words: str) -> None:
    (standin.folder / "bad.yml").write_text("ingress: [", encoding="ascii")
    told = play(standin, "tunnel", *(each.format(folder=standin.folder) for each in args))
    assert (told.returncode, told.stdout) == (code, "")
    assert words in told.stderr
    assert TUNNEL.token not in told.stderr


def test_a_metrics_port_that_is_taken_ends_it(standin: Standin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        told = play(standin, "tunnel", "--metrics", address, "run", "--token", TUNNEL.token)
    assert told.returncode == 1
    assert "address already in use" in told.stderr


def test_orders_for_one_start_after_another(standin: Standin) -> None:
    standin.script(
        {"exit": {"code": 7, "stderr": "first\n"}}, {"exit": {"code": -6}}, rest={"dns": "down"}
    )
    standin.behave(version={"text": "no version at all", "code": 3})
    told = [play(standin, "tunnel", "run", "--token", TUNNEL.token) for _ in range(3)]
    assert [each.returncode for each in told] == [7, -6, 1]
    assert told[0].stderr == "first\n"
    version = play(standin, "--version")
    assert (version.returncode, version.stdout) == (3, "no version at all")
    assert [each["argv"][:2] for each in standin.starts] == [["tunnel", "run"]] * 3


def test_the_environment_says_what_no_flag_says() -> None:
    environ = {"TUNNEL_RETRIES": "2", "TUNNEL_TOKEN": "t", "TUNNEL_EDGE": "a:1,b:2"}
    options = flags.Options(["tunnel", "--metrics", "x:0", "run"], environ, [])
    told = [options.get(name) for name in ("retries", "token", "edge", "metrics", "url")]
    assert told == [2, "t", ("a:1", "b:2"), "x:0", "http://localhost:8080"]
    assert not options.is_set("url")
    assert flags.Options(["tunnel", "--retries", "4", "run"], environ, []).get("retries") == 4


@pytest.mark.parametrize(
    ("text", "expected"), [("20s", 20), ("1m30s", 90), ("1.5s", 1.5), ("500ms", 0.5), ("1h", 3600)]
)
def test_durations(text: str, expected: float) -> None:
    assert flags.seconds(text) == pytest.approx(expected)
    with pytest.raises(ValueError, match=text[:-1]):
        flags.seconds(text[:-1] + "x")
