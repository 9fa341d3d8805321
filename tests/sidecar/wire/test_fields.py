"""Reads of a request: what is as expected is given, all else is refused with its path."""

from collections.abc import Callable

import pytest

from sidecar.neutral.problem import ProblemKind, RequestRefused
from sidecar.wire.fields import Fields

BODY = {
    "text": "a",
    "empty": "",
    "true": True,
    "one": 1,
    "float": 3.0,
    "half": 0.5,
    "texts": ["a", "b"],
    "mixed": ["a", 1],
    "object": {"inner": 1},
    "objects": [{"x": 1}, {"x": None}],
    "null": None,
}
Read = Callable[[Fields], object]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        pytest.param(lambda body: body.text("text"), "a", id="text"),
        pytest.param(lambda body: body.text("empty"), "", id="text, empty"),
        pytest.param(lambda body: body.text("null"), None, id="text, null"),
        pytest.param(lambda body: body.text("absent"), None, id="text, absent"),
        pytest.param(lambda body: body.needed_text("text"), "a", id="needed text"),
        pytest.param(lambda body: body.truth("true"), True, id="truth"),
        pytest.param(lambda body: body.truth("null"), None, id="truth, null"),
        pytest.param(lambda body: body.whole("one"), 1, id="whole"),
        pytest.param(lambda body: body.whole("float"), 3, id="whole, written as a float"),
        pytest.param(lambda body: body.number("half"), 0.5, id="number"),
        pytest.param(lambda body: body.number("one"), 1, id="number, whole"),
        pytest.param(lambda body: body.mapping("object"), {"inner": 1}, id="mapping"),
        pytest.param(lambda body: body.object("absent"), None, id="object, absent"),
        pytest.param(lambda body: list(body.items("texts")), ["a", "b"], id="items"),
        pytest.param(lambda body: list(body.items("null")), [], id="items, null"),
        pytest.param(lambda body: body.texts("texts"), ("a", "b"), id="texts"),
        pytest.param(lambda body: body.texts("text"), ("a",), id="texts, a single one"),
        pytest.param(lambda body: body.texts("absent"), (), id="texts, absent"),
        pytest.param(lambda body: body.has("null"), False, id="has, null"),
        pytest.param(lambda body: body.has("empty"), True, id="has, empty"),
        pytest.param(lambda body: body.raw("object"), {"inner": 1}, id="raw"),
    ],
)
def test_what_is_as_expected(read: Read, value: object) -> None:
    assert read(Fields(BODY)) == value


@pytest.mark.parametrize(
    ("read", "param", "message"),
    [
        pytest.param(
            lambda body: body.text("one"),
            "one",
            "`one` is a number; a string was expected.",
            id="text",
        ),
        pytest.param(
            lambda body: body.needed_text("null"),
            "null",
            "`null` is missing; a string was expected.",
            id="needed text",
        ),
        pytest.param(
            lambda body: body.truth("one"),
            "one",
            "`one` is a number; true or false was expected.",
            id="truth",
        ),
        pytest.param(
            lambda body: body.whole("true"),
            "true",
            "`true` is a boolean; a whole number was expected.",
            id="whole, a boolean",
        ),
        pytest.param(
            lambda body: body.whole("half"),
            "half",
            "`half` is a number; a whole number was expected.",
            id="whole, a fraction",
        ),
        pytest.param(
            lambda body: body.number("true"),
            "true",
            "`true` is a boolean; a number was expected.",
            id="number, a boolean",
        ),
        pytest.param(
            lambda body: body.object("texts"),
            "texts",
            "`texts` is a list; an object was expected.",
            id="object",
        ),
        pytest.param(
            lambda body: body.items("object"),
            "object",
            "`object` is an object; a list was expected.",
            id="items",
        ),
        pytest.param(
            lambda body: body.texts("mixed"),
            "mixed[1]",
            "`mixed[1]` is a number; a string was expected.",
            id="texts",
        ),
        pytest.param(
            lambda body: body.objects("texts"),
            "texts[0]",
            "`texts[0]` is a string; an object was expected.",
            id="objects",
        ),
        pytest.param(
            lambda body: body.objects("objects")[1].needed_text("x"),
            "objects[1].x",
            "`objects[1].x` is missing; a string was expected.",
            id="in an object of a list",
        ),
        pytest.param(
            lambda body: (body.object("object") or body).text("inner"),
            "object.inner",
            "`object.inner` is a number; a string was expected.",
            id="in an object",
        ),
    ],
)
def test_what_is_not(read: Read, param: str, message: str) -> None:
    with pytest.raises(RequestRefused) as refusal:
        read(Fields(BODY))
    problem = refusal.value.problem
    assert (problem.kind, problem.param, problem.message) == (
        ProblemKind.BAD_REQUEST,
        param,
        message,
    )


def test_what_nobody_asked_for() -> None:
    body = Fields({"a": 1, "b": 2, "c": None, "d": False})
    body.whole("a")
    assert body.unread() == ["b", "d"]
