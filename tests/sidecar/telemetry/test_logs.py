"""The log as it is written: one line a record, no credential anywhere."""

import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from sidecar.config.snapshot import Log
from sidecar.telemetry.logs import Logs, fields
from sidecar.telemetry.redact import Redactor
from sidecar.wire import json

SECRET = "hunter2-hunter2"
log = logging.getLogger("sidecar.test")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Written:
    def __init__(self, stream: StringIO) -> None:
        self.stream = stream
        self.lost: list[BaseException | None] = []
        self.logs = Logs(Redactor([SECRET]), self.lost.append, stream)

    @property
    def text(self) -> str:
        self.logs.flush()
        return self.stream.getvalue()

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def written() -> Iterator[Written]:
    written = Written(StringIO())
    written.logs.apply(Log())
    yield written
    written.logs.close()


@pytest.fixture
def terminal() -> Iterator[Written]:
    written = Written(Terminal())
    written.logs.apply(Log())
    yield written
    written.logs.close()


def test_a_record_is_one_line_of_json(written: Written) -> None:
    log.info("request", extra=fields(route="chat", ms=1.5, ttft=None))
    (line,) = written.lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "request",
        "logger": "sidecar.test",
        "route": "chat",
        "ms": 1.5,
    }


def test_credentials_are_masked_in_messages_fields_and_tracebacks(written: Written) -> None:
    def fail() -> None:
        raise ValueError(f"Bearer abcdefgh {SECRET}")

    try:
        fail()
    except ValueError:
        log.exception("failed with %s", SECRET, extra=fields(headers={"x": SECRET}))
    logging.getLogger("aiohttp.server").error("sent %s", {"authorization": "Bearer abcdefgh"})
    text = written.text
    assert SECRET not in text
    assert "abcdefgh" not in text
    line, _ = written.lines()
    assert "ValueError: Bearer *** ***" in line["traceback"]


def test_the_level_changes_while_running_and_is_ours_alone(written: Written) -> None:
    log.debug("unseen")
    written.logs.apply(Log(level="debug"))
    log.debug("seen")
    logging.getLogger("httpx").info("not ours")
    logging.getLogger("aiohttp.access").error("never")
    assert [line["event"] for line in written.lines()] == ["seen"]


def test_a_terminal_gets_aligned_and_coloured_text(terminal: Written) -> None:
    attempts = [
        {"backend": "vllm", "outcome": "timeout", "ms": 10.0, "problem": "silent for 10 s"},
        {"backend": "openai", "outcome": "ok", "ms": 5.5, "problem": None},
    ]
    log.info("request", extra=fields(stream=True, attempts=attempts, key=SECRET))
    text = terminal.text
    assert "\x1b[32mINFO   \x1b[0m request  " in text
    assert "vllm[timeout 10.0 ms: silent for 10 s] → openai[ok 5.5 ms]" in text
    assert "yes" in text
    assert SECRET not in text


def test_colour_can_be_refused(terminal: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.logs.apply(Log())
    log.warning("plain")
    assert "\x1b" not in terminal.text


def test_json_can_be_wanted_on_a_terminal(terminal: Written) -> None:
    terminal.logs.apply(Log(format="json"))
    log.info("words")
    assert terminal.lines()[0]["event"] == "words"


def test_applying_twice_writes_once(written: Written) -> None:
    written.logs.apply(Log())
    log.info("once")
    assert len(written.lines()) == 1
