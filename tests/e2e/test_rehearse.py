"""`llm-sidecar rehearse`, the real command, on configurations of several kinds."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.dialects import DIALECTS
from tests.e2e.harness import ROOT, Config

KEY = "sk-the-operators-own-key-0123456789"
GOOD: Config = {"timeouts": {"first_token": "10s", "whole": "120s"}}
NAMES = [dialect.name for dialect in DIALECTS]


@contextmanager
def canaries(count: int) -> Iterator[tuple[list[int], list[socket.socket]]]:
    """Ports on which somebody listens who is never to be called."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        for server in servers:
            server.setblocking(False)
        yield [server.getsockname()[1] for server in servers], servers


def configuration(
    backends: Mapping[str, tuple[str, int]], routes: Config, **more: object
) -> Config:
    """Backends by name as dialect and port, each with a key."""
    return {
        "backends": {
            name: {
                "dialect": dialect,
                "base_url": f"http://127.0.0.1:{port}{'/v1' if 'openai' in dialect else ''}",
                "auth": {"bearer": {"env": "OWN_KEY"}},
            }
            for name, (dialect, port) in backends.items()
        },
        "routes": routes,
        **more,
    }


def chain(*names: str, **more: object) -> Config:
    return {"targets": [{"backend": name, "model": "m"} for name in names], **more}


async def rehearse(folder: Path, config: Config | str, *args: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    file = folder / "sidecar.yaml"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "rehearse", "--config", str(file), *args,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OWN_KEY": KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    assert KEY not in out.decode() + err.decode()
    return process.returncode, out.decode(), err.decode()


def marks(told: Mapping[str, Any], route: int = 0) -> dict[int, str]:
    return {row["row"]: row["mark"] for row in told["routes"][route]["rows"]}


def failing(found: Mapping[int, str]) -> set[int]:
    return {row for row, mark in found.items() if mark == "fails"}


def settings(told: Mapping[str, Any], row: int) -> set[str]:
    """Every setting that the plays of a row advise to change."""
    rows = {one["row"]: one for one in told["routes"][0]["rows"]}
    return {advice["setting"] for play in rows[row]["plays"] for advice in play["advice"]}


async def test_a_good_configuration_holds_and_no_real_backend_is_called(tmp_path: Path) -> None:
    with canaries(2) as (ports, servers):
        backends = {"home": ("openai", ports[0]), "cloud": ("openai", ports[1])}
        config = configuration(backends, {"chat": chain("home", "cloud")}, defaults=GOOD)
        code, out, err = await rehearse(tmp_path, config, "--json")
        for server in servers:
            with pytest.raises(BlockingIOError):  # nobody has connected
                server.accept()
    told = json.loads(out)
    found = marks(told)
    assert failing(found) == set()
    assert (code, told["holds"]) == (0, True)
    assert {row for row, mark in found.items() if mark == "not_rehearsed"} == {28}
    assert list(found) == list(range(1, 33))
    assert err == ""  # no bar without a terminal, no log


async def test_a_single_target_fails_with_advice(tmp_path: Path) -> None:
    config = configuration({"home": ("openai", 9)}, {"chat": chain("home")}, defaults=GOOD)
    code, out, _ = await rehearse(tmp_path, config, "--json")
    assert code == 1
    told = json.loads(out)
    found = marks(told)
    nowhere_to_go = {2, 4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19, 20, 24, 25, 30}
    assert failing(found) == nowhere_to_go
    for row in nowhere_to_go:
        assert "routes.chat.targets" in settings(told, row)
    assert {row for row in found if found[row] == "holds"} >= {3, 10, 11, 13, 21, 22, 23, 27, 29}
    code, out, _ = await rehearse(tmp_path, config, "--row", "4")
    assert code == 1
    assert "row 4, route chat: the client got a 503" in out
    assert "routes.chat.targets: it has one target; add a second one on another backend" in out


async def test_settings_that_break_a_promise(tmp_path: Path) -> None:
    backends = {"home": ("openai", 9), "cloud": ("openai", 9)}
    config = configuration(
        backends,
        {"chat": chain("home", "cloud", deadline="50s")},
        defaults={"timeouts": {"first_token": "60s"}},
    )
    code, out, _ = await rehearse(tmp_path, config, "--json", "--row", "6", "7", "10")
    told = json.loads(out)
    assert code == 1
    assert marks(told) == {6: "fails", 7: "fails", 10: "holds"}
    assert settings(told, 6) == {"routes.chat.deadline"}
    assert settings(told, 7) == {"defaults.timeouts.first_token"}


@pytest.mark.parametrize("name", NAMES)
async def test_each_dialect(name: str, tmp_path: Path) -> None:
    other = NAMES[NAMES.index(name) - 1]
    backends = {"home": (name, 9), "twin": (name, 9), "other": (other, 9)}
    routes: Config = {"same": chain("home", "twin"), "cross": chain("home", "other")}
    config = configuration(backends, routes, defaults=GOOD)
    rows = [str(row) for row in range(1, 33) if row != 15]
    code, out, _ = await rehearse(tmp_path, config, "--json", "--row", *rows)
    told = json.loads(out)
    assert [route["client"] for route in told["routes"]] == [name, name]
    for place in (0, 1):
        assert failing(marks(told, place)) == set()
    assert code == 0


async def test_one_route_of_two(tmp_path: Path) -> None:
    routes: Config = {"chat": chain("home"), "work": chain("home")}
    config = configuration({"home": ("openai", 9)}, routes)
    code, out, _ = await rehearse(tmp_path, config, "--row", "10", "--route", "work", "--json")
    assert code == 0
    assert [route["name"] for route in json.loads(out)["routes"]] == ["work"]
    code, out, err = await rehearse(tmp_path, config, "--route", "wrk")
    assert (code, out) == (2, "")
    assert "'wrk'" in err
    assert "work" in err


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("backends: {a: {dialect: opnai}}\nroutes: {}\n", "opnai"),
        ("a: [", "sidecar.yaml"),
        (configuration({"home": ("openai", 9)}, {"chat": chain("hme")}), "did you mean 'home'"),
    ],
)
async def test_a_broken_configuration(config: Config | str, says: str, tmp_path: Path) -> None:
    code, out, err = await rehearse(tmp_path, config)
    assert (code, out) == (78, "")
    assert says in err


async def test_a_missing_key_is_named(tmp_path: Path) -> None:
    config = configuration({"home": ("openai", 9)}, {"chat": chain("home")})
    text = yaml.safe_dump(config).replace("OWN_KEY", "MISSING_KEY")
    code, out, err = await rehearse(tmp_path, text)
    assert (code, out) == (78, "")
    assert "MISSING_KEY, which is not set" in err
