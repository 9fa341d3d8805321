"""How faults are told."""

import pytest

from sidecar.config.faults import (
    ConfigError,
    Fault,
    Mark,
    Report,
    Severity,
    did_you_mean,
    dotted,
    shown,
)


def test_a_fault_is_one_line() -> None:
    fault = Fault(
        ("routes", "chat", "targets", 0), "'x'", "y", "did you mean 'y'?", mark=Mark(3, 7)
    )
    assert fault.render("f.yaml") == (
        "f.yaml:3:7: routes.chat.targets[0]: found 'x', expected y; did you mean 'y'?"
    )


def test_an_error_holds_all_faults_in_the_order_of_the_file() -> None:
    error = ConfigError(
        "f",
        [
            Fault(("c",), "1", "2"),
            Fault(("b",), "1", "2", severity=Severity.WARNING, mark=Mark(2, 1)),
            Fault(("a",), "1", "2", mark=Mark(1, 5)),
        ],
    )
    assert str(error).splitlines() == [
        "f:1:5: a: found 1, expected 2",
        "f:2:1: warning: b: found 1, expected 2",
        "f: c: found 1, expected 2",
        "f: 2 faults, 1 warning",
    ]


def test_a_report_is_broken_by_errors_only() -> None:
    report = Report()
    report.warn(("a",), "1", "2", "corrected")
    assert not report.broken
    report.error(("a",), "1", "2")
    assert report.broken


def test_paths_as_people_write_them() -> None:
    assert dotted(("routes", "chat", "targets", 0, "backend")) == "routes.chat.targets[0].backend"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), (True, "true"), (3, "3"), ("x", "'x'"),
     ([], "an empty list"), ([1], "a list"),
     ({}, "an empty mapping"), ({"a": 1, "b": 2}, "a mapping with a, b")],
)  # fmt: skip
def test_values_in_words(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "secret",
    ["sk-abcdef", "sk-proj-1234", "gsk_abc", "Bearer abc", "AIzaSyABC", "eyJhbGciOi.x.y",
     "http://user:pw@box/v1", "http://box/?api_key=12", "4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"],
)  # fmt: skip
def test_what_looks_like_a_secret_never_shows(secret: str) -> None:
    assert secret not in shown(secret)


def test_nothing_below_auth_ever_shows() -> None:
    assert "hunter2" not in shown("hunter2", ("backends", "a", "auth", "bearer"))


def test_the_nearest_name() -> None:
    assert did_you_mean("opnai", ["openai", "ollama"]) == "did you mean 'openai'?"
    assert did_you_mean("zzz", ["openai"]) == ""
