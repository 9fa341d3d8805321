"""Ids come back as they went, and names fit without becoming the same."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.names import fitting_names, fitting_user, original_id, safe_id

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)  # lone surrogates too
SAFE = re.compile(r"[a-zA-Z0-9_-]+")


@given(ANY_TEXT)
def test_an_id_is_safe_and_comes_back(id: str) -> None:
    assert SAFE.fullmatch(safe_id(id))
    assert original_id(safe_id(id)) == id


@given(ANY_TEXT | ANY_TEXT.map("sc64_".__add__))
def test_an_id_that_we_did_not_make_is_left_alone(id: str) -> None:
    assert original_id(id) == id or safe_id(original_id(id)) == id


@pytest.mark.parametrize(
    ("id", "safe"),
    [
        pytest.param("toolu_01A-b", "toolu_01A-b", id="safe already"),
        pytest.param("call:1", "sc64_Y2FsbDox", id="a colon"),
        pytest.param("", "sc64_", id="empty"),
        pytest.param("sc64_Y2FsbDox", "sc64_c2M2NF9ZMkZzYkRveA", id="one that looks like ours"),
    ],
)
def test_safe_id(id: str, safe: str) -> None:
    assert safe_id(id) == safe
    assert original_id(safe) == id


@pytest.mark.parametrize("id", ["sc64_!!", "sc64_Y", "sc64_é", "sc64_YWJj", "call_1"])
def test_what_is_not_of_our_making_stays(id: str) -> None:
    assert original_id(id) == id


@given(
    st.lists(ANY_TEXT | st.text("ab_.", min_size=60, max_size=70), max_size=8),
    st.sampled_from((64, 128)),
)
def test_names_fit_and_stay_apart(names: list[str], longest: int) -> None:
    made = fitting_names(names, longest)
    final = {name: made.get(name, name) for name in names}
    assert all(len(name) <= longest and SAFE.fullmatch(name) for name in final.values())
    assert len(set(final.values())) == len(set(names))
    assert all(name not in made for name in names if len(name) <= longest and SAFE.fullmatch(name))


def test_a_made_name_makes_way_for_one_that_is_told() -> None:
    (made,) = fitting_names(["a.b"], 64).values()
    both = fitting_names(["a.b", made], 64)
    assert both.keys() == {"a.b"} and both["a.b"] != made


def test_the_same_name_is_shortened_to_the_same() -> None:
    name = "mcp__filesystem__" + "x" * 80
    assert fitting_names([name], 64) == fitting_names(["other", name], 64)
    assert fitting_names([name], 128) == {}


@pytest.mark.parametrize("user", ["", "u" * 64, "ü" * 64])
def test_a_user_whose_name_fits_keeps_it(user: str) -> None:
    assert fitting_user(user, 64) == user


@pytest.mark.parametrize("user", ["u" * 65, "\ud800" * 65])
def test_a_user_with_a_longer_name_has_the_same_one_each_time(user: str) -> None:
    short = fitting_user(user, 64)
    assert re.fullmatch("[0-9a-f]{64}", short)
    assert short == fitting_user(user, 64) != fitting_user(user + "u", 64)
