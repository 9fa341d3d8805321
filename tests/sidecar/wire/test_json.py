"""What is JSON and what is not, by whichever of the two roads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire import json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_is_written_reads_back(value: object) -> None:
    assert json.loads(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param(rb'"\ud800"', "\ud800", id="an escaped lone surrogate"),
        pytest.param(
            rb'{"a":"x\udfff","b":1.5}', {"a": "x\udfff", "b": 1.5}, id="inside an object"
        ),
        pytest.param(rb'"\ud83d\ude00"', "😀", id="a pair"),
        pytest.param(b'{"a":1,"a":2}', {"a": 2}, id="duplicate keys"),
        pytest.param(b" [1] ", [1], id="white space"),
        pytest.param(b"12345678901234567890123", 12345678901234567890123.0, id="a big number"),
        pytest.param(
            rb'["\ud800",12345678901234567890123]',
            ["\ud800", 12345678901234567890123.0],
            id="a big number on the other road",
        ),
        pytest.param(b"[" * 200 + b"]" * 200, ..., id="deep"),
        pytest.param(b"[" + b"[]," * 300 + b"[]]", ..., id="many brackets, not deep"),
        pytest.param('{"é":1}', {"é": 1}, id="text"),
    ],
)
def test_json(text: bytes | str, value: object) -> None:
    assert value is ... or json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{'a':1}", id="wrong quotes"),
        pytest.param(b"[1,]", id="trailing comma"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"-Infinity", id="Infinity"),
        pytest.param(rb'["\ud800",NaN]', id="NaN on the other road"),
        pytest.param(rb'["\ud800",]', id="a fault on the other road"),
        pytest.param(b"1e999", id="past every float"),
        pytest.param(rb'["\ud800",1e999]', id="past every float on the other road"),
        pytest.param(rb'["\ud800",' + b"9" * 400 + b"]", id="a whole number past every float"),
        pytest.param(b"[" * 201 + b"]" * 201, id="too deep"),
        pytest.param("[" * 201 + "]" * 201, id="too deep, as text"),
        pytest.param(b'{"a":' * 201 + b"1" + b"}" * 201, id="too deep, in objects"),
        pytest.param(b"[" * 100_000, id="much too deep"),
        pytest.param(rb'["\ud800",' + b"[" * 100_000, id="too deep on the other road"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="a raw surrogate"),
        pytest.param('{"a":1}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"a":1}'.encode("utf-32"), id="UTF-32"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'"a\nb"', id="a raw line break"),
        pytest.param(b"{} {}", id="two"),
    ],
)
def test_not_json(text: bytes) -> None:
    with pytest.raises(json.InvalidJson):
        json.loads(text)


def test_the_fault_has_a_place() -> None:
    with pytest.raises(json.InvalidJson, match=r"line 2, column 6"):
        json.loads(b'{"a":1,\n"b": x}')


@given(st.binary(max_size=50) | st.text(max_size=50))
def test_nothing_but_invalid_json_is_raised(text: bytes | str) -> None:
    try:
        json.loads(text)
    except json.InvalidJson as error:
        assert str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, True, None]}, b'{"a":[1,true,null]}'),
        ("é", '"é"'.encode()),
        ("\ud800", rb'"\ud800"'),
        ({"big": 2**70}, b'{"big":1180591620717411303424}'),
    ],
)
def test_dumps(value: object, text: bytes) -> None:
    assert json.dumps(value) == text


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', b"\xff", "[" * 300])
def test_what_is_no_object(text: bytes | str) -> None:
    assert json.loads_object(text) is None


def test_an_object() -> None:
    assert json.loads_object('{"a": 1}') == {"a": 1}
