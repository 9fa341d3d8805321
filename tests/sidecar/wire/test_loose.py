"""Reads of what may be anything."""

import pytest

from sidecar.wire.loose import count_in, object_in, objects_in, text_in


@pytest.mark.parametrize(
    ("value", "text", "count", "inner", "objects"),
    [
        ("a", "a", 0, {}, []),
        (3, "", 3, {}, []),
        (0, "", 0, {}, []),
        (-1, "", 0, {}, []),
        (True, "", 0, {}, []),
        (1.5, "", 0, {}, []),
        ({"b": 1}, "", 0, {"b": 1}, []),
        ([{"b": 1}, 2, {}], "", 0, {}, [{"b": 1}, {}]),
        (None, "", 0, {}, []),
    ],
)
def test_a_member(value: object, text: str, count: int, inner: object, objects: object) -> None:
    told = {"x": value}
    assert (text_in(told, "x"), count_in(told, "x")) == (text, count)
    assert (object_in(told, "x"), objects_in(told, "x")) == (inner, objects)


@pytest.mark.parametrize("told", [{}, None, "x", [{"x": 1}]])
def test_what_is_no_object_has_no_members(told: object) -> None:
    assert (text_in(told, "x"), count_in(told, "x")) == ("", 0)
    assert (object_in(told, "x"), objects_in(told, "x")) == ({}, [])
