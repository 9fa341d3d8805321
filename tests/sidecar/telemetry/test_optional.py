"""A part that fails is told once, counted each time, and fails nothing else."""

import logging

import pytest

from sidecar.telemetry.optional import Optionals, Part


def broken() -> None:
    raise RuntimeError("broken")


def test_a_failure_is_logged_once_for_each_part(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[Part] = []
    optional = Optionals(counted.append)
    for part in (Part.METRICS, Part.LOG, Part.METRICS):
        optional.run(part, broken)
    assert counted == [Part.METRICS, Part.LOG, Part.METRICS]
    assert [record.getMessage().split()[0] for record in caplog.records] == ["metrics", "log"]
    assert all(record.exc_info for record in caplog.records)


def test_work_that_succeeds_is_not_a_failure() -> None:
    counted: list[Part] = []
    done: list[bool] = []
    Optionals(counted.append).run(Part.LOG, lambda: done.append(True))
    assert (done, counted) == ([True], [])


def test_counting_and_logging_may_fail_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(_: Part) -> None:
        broken()

    def error(*_: object, **__: object) -> None:
        broken()

    monkeypatch.setattr(logging.getLogger("sidecar.telemetry.optional"), "error", error)
    Optionals(count).run(Part.METRICS, broken)
