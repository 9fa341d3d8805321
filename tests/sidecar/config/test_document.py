"""YAML text to data with places."""

import pytest

from sidecar.config.document import parse
from sidecar.config.faults import ConfigError, Mark

ENVIRON = {"HOST": "box", "EMPTY": "", "PORT": "8080"}


def data(text: str) -> object:
    return parse(text, ENVIRON, "f.yaml").data


def faults(text: str) -> list[str]:
    try:
        found = parse(text, ENVIRON, "f.yaml").faults
    except ConfigError as error:
        found = error.faults
    return [fault.render("f") for fault in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("on: off\nyes: no", {"on": "off", "yes": "no"}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: 12:30\nb: 2026-05-01", {"a": "12:30", "b": "2026-05-01"}),
        ("a: 010\nb: 0x1F\nc: 0o17\nd: -3", {"a": 10, "b": 31, "c": 15, "d": -3}),
        ("a: 1.5\nb: 1e3\nc: .5", {"a": 1.5, "b": 1000.0, "c": 0.5}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        ('a: "1"\nb: "true"', {"a": "1", "b": "true"}),
        ("a: [1, {b: 2}]", {"a": [1, {"b": 2}]}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        (
            "a: &x {k: 1}\nb: &y {k: 2, l: 3}\nc: {<<: [*x, *y]}",
            {"a": {"k": 1}, "b": {"k": 2, "l": 3}, "c": {"k": 1, "l": 3}},
        ),
        ("a: http://${HOST}:${PORT}/v1", {"a": "http://box:8080/v1"}),
        ("a: ${NONE:-x}-${EMPTY:-y}-${EMPTY}", {"a": "x-y-"}),
        ("a: $HOST ${not a name}", {"a": "$HOST ${not a name}"}),
    ],
)
def test_what_a_text_means(text: str, expected: object) -> None:
    assert data(text) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: a: found the key a second time, expected each key once; "
         "it stands first in line 1, column 1"),
        ("1: x", "f:1:1: found the key 1, expected a key that is text; put it in quotes"),
        ("a: {true: x}", "f:1:5: a: found the key true, expected a key that is text; "
         "put it in quotes"),
        ("a: 1\n---\nb: 2", "f:2:1: found a second document, expected one; "
         "remove what follows the line ---"),
        ("a: 1\n\tb: 2", "f:2:1: found a tab, expected spaces: YAML is indented with spaces only"),
        ("- a\n- b", "f:1:1: found something else, expected a mapping with keys such as backends "
         "and routes"),
        ("a: ${NOPE}", "f:1:4: a: found ${NOPE}, but the variable NOPE is not set, expected a "
         "variable of the environment; set it, or write ${NOPE:-default}"),
        ("a: !!binary aGk=", "f:1:4: a: found the tag binary, expected a value without a tag"),
    ],
)  # fmt: skip
def test_what_is_at_fault(text: str, line: str) -> None:
    assert faults(text) == [line]


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: {b: 1", "a: 'x", "a: *nope", "a: b: c", "a: \x07", "&a [*a]", "a: &a {b: *a}",
     "[" * 3000, "a: " + "[" * 60 + "]" * 60],
)  # fmt: skip
def test_broken_text_is_a_fault_and_never_a_crash(text: str) -> None:
    assert len(faults(text)) == 1


def test_aliases_cannot_fill_the_memory() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "unfold without end" in faults(text)[0]


def test_all_faults_at_once() -> None:
    assert len(faults("a: ${NOPE}\nb: ${NADA}\na: 1\n2: x")) == 4


def test_what_is_not_at_fault_is_data_all_the_same() -> None:
    assert data("a: ${NOPE}\nb: {x: 1}\nc: [2, '${NOPE}']\nb: {y: 3}\nd: 4\nd: 5\n6: x") == {
        "a": None, "b": {"x": 1, "y": 3}, "c": [2, None], "d": 5,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a: [", "a: 1\n---\nb: 2", "- a", "${NOPE}"])
def test_a_text_without_data_raises(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, ENVIRON, "f.yaml")


def test_places_and_variables_are_kept() -> None:
    document = parse("a:\n  - b: ${HOST}\n", ENVIRON, "f")
    assert document.keys[("a",)] == Mark(1, 1)
    assert document.values[("a", 0, "b")] == Mark(2, 8)
    assert document.variables == {("a", 0, "b"): "${HOST}"}
