"""The checks that every dialect makes; their words are tested with the dialects."""

import pytest

from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.wire.contract import RequestLimits
from sidecar.wire.facts import LONGEST_NAME, check_messages, check_model, check_stream, size_of

LIMITS = RequestLimits(body=1000, messages=2, content=10, header=100)


@pytest.mark.parametrize(
    ("told", "expected"), [({}, None), ({"name": ""}, None), ({"name": "m"}, "m")]
)
def test_a_model_by_another_name(told: dict[str, object], expected: str | None) -> None:
    assert check_model(told, "name") == expected


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(RequestRefused, match=f"`name` has {LONGEST_NAME + 1} characters"):
        check_model({"name": "x" * (LONGEST_NAME + 1)}, "name")


@pytest.mark.parametrize(
    ("told", "default", "expected"),
    [({}, False, False), ({}, True, True), ({"stream": False}, True, False),
     ({"stream": None}, True, True), ({"stream": True}, False, True)],
)  # fmt: skip
def test_stream(told: dict[str, object], default: bool, expected: bool) -> None:
    assert check_stream(told, default) is expected


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ([], "empty_input", "input"),
        ("x", "invalid_input", "input"),
        (["x"], "invalid_input", "input[0]"),
        ([{}, {}, {}], "too_many_messages", "input"),
        ([{}, {"content": "x" * 11}], "content_too_large", "input[1].content"),
    ],
)
def test_messages_by_another_name(value: object, code: str, param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_messages("input", value, LIMITS)
    problem = caught.value.problem
    assert (problem.code, problem.param) == (code, param)
    assert (problem.kind is ProblemKind.TOO_LARGE) is (code == "content_too_large")


@pytest.mark.parametrize(
    ("content", "size"),
    [("abc", 3), ("é", 2), ("\ud800", 3), (["a", {"b": "cd", "e": [1, None]}], 3), (None, 0)],
)
def test_size(content: object, size: int) -> None:
    assert size_of(content) == size
