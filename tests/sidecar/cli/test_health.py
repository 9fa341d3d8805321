"""`llm-sidecar health`: what containers ask, against a listener that answers as it is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from sidecar.cli.health import main
from sidecar.cli.main import main as command


class Listener(BaseHTTPRequestHandler):
    """Lives, and is not ready."""

    codes: ClassVar[dict[str, int]] = {"/livez": 200, "/readyz": 503}

    def do_GET(self) -> None:
        self.send_response(self.codes.get(self.path, 404))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_exit_code_tells_whether_it_lives(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([address]) == 0
    assert command(["health", address]) == 0
    assert main(["--ready", address]) == 1
    assert capsys.readouterr().out.splitlines() == ["/livez: 200"] * 2 + ["/readyz: 503"]


def test_nobody_there_is_not_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("Nobody answers at 127.0.0.1:1: ")


@pytest.mark.parametrize("wrong", ["14401", "localhost", "localhost:", ":1", "localhost:99999"])
def test_an_address_has_two_parts(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([wrong]) == 2
    assert wrong in capsys.readouterr().err


def test_it_loads_nothing_of_the_program() -> None:
    asked = "import sys, runpy; sys.argv = ['sidecar', 'health', '127.0.0.1:1']\n"
    asked += "try: runpy.run_module('sidecar', run_name='__main__')\n"
    asked += "except SystemExit as end: print(end.code, *sys.modules)"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    code, *loaded = told.stdout.split()
    assert code == "1"
    assert not {"aiohttp", "pydantic", "yaml", "asyncio", "sidecar.app"} & {*loaded}
